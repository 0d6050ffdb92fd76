//! The threads that bring events to the stores: the producer, recovery, and the probers that connect for them.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::Base;
use crate::config::Config;
use crate::delivery::connect::StoreConnector;
use crate::delivery::link::Link;
use crate::delivery::pacing::Pace;
use crate::delivery::producer::Producer;
use crate::delivery::queue::{self, Inlet};
use crate::delivery::recovery::{Plan, Recovery};
use crate::delivery::rounds::Rounds;
use crate::delivery::route::Route;
use crate::host::thread;
use crate::limits::STOP_LOOK;
use crate::store::{Connected, Standing, StoredIn, kafka, postgres};
use crate::telemetry::health::Vitals;

/// The recovery thread: what ends it when dropped, and the thread, which gives its link back.
type Recovering = (Sender<()>, JoinHandle<Link<Connected>>);

/// The running threads, and the way to them.
pub(super) struct Delivery {
    pub(super) inlet: Inlet,
    /// Gives the links of its routes back.
    producer: JoinHandle<Vec<Link<Connected>>>,
    recovery: Option<Recovering>,
}

impl Delivery {
    /// Starts them. Does not wait for a store.
    pub(super) fn start(config: &Config, base: &Base) -> io::Result<Self> {
        let recovery = start_recovery(config, base)?;
        let (inlet, outlet) = queue::bounded(config.queue.queue_events, config.queue.queue_bytes);
        let producer = Producer::new(
            Rounds::new(outlet),
            live_routes(config, base)?,
            base.spool.clone(),
            Arc::clone(&base.stats),
            Arc::clone(&base.health),
            base.timings.clone(),
            Arc::clone(&base.clock),
        );
        // Essential: every event passes it.
        let producer = thread::essential("producer", || producer.run())?;
        Ok(Self { inlet, producer, recovery })
    }

    /// Stores and answers what was taken, and ends the threads; nothing else may have an inlet by then. `left`: the
    /// time for it. False: some did not end in time.
    #[must_use]
    pub(super) fn stop(self, left: impl Fn() -> Duration) -> bool {
        drop(self.inlet);
        let (mut links, mut clean) = (Vec::new(), true);
        if let Some((stop, recovery)) = self.recovery {
            drop(stop);
            clean &= collect(recovery, left(), |link| links.push(link));
        }
        clean &= collect(self.producer, left(), |of_routes| links.extend(of_routes));
        for link in links {
            // A prober that is connecting holds no event: it ends with the process.
            let _ = link.close(left().min(STOP_LOOK));
        }
        clean
    }
}

/// The end of a thread, and what it gives back. False: not in time, or it panicked.
fn collect<T>(handle: JoinHandle<T>, within: Duration, take: impl FnOnce(T)) -> bool {
    thread::join_within(handle, within).map(take).is_some()
}

fn start_recovery(config: &Config, base: &Base) -> io::Result<Option<Recovering>> {
    let (health, standing) = (&base.health, standing_in_postgres(config));
    let (target, connector, vitals) = match (kafka(config, base), postgres(config, base)) {
        (Some(kafka), _) => (StoredIn::Kafka, StoreConnector::kafka(kafka), &health.kafka),
        (None, Some(postgres)) => {
            (StoredIn::Postgres, StoreConnector::postgres(postgres, standing), &health.postgres)
        }
        (None, None) => return Ok(None),
    };
    let (stop, stopped) = crossbeam_channel::bounded(0);
    let recovery = Recovery::new(Plan {
        target,
        link: Link::start("probe-r", connector)?,
        spool: &base.spool,
        postgres: postgres(config, base).map(|settings| (settings, standing, config.keep())),
        postgres_rows: &health.postgres_rows,
        pace: Pace::new(config.recovery.recovery_rate),
        stats: &base.stats,
        vitals,
        stop: stopped,
        clock: &base.clock,
    })?;
    // Essential: without it held events would wait for ever.
    Ok(Some((stop, thread::essential("recovery", move || recovery.run())?)))
}

/// The stores behind the network, in order of preference.
fn live_routes(config: &Config, base: &Base) -> io::Result<Vec<Route>> {
    let (health, clock) = (&base.health, &base.clock);
    let mut routes = Vec::new();
    let mut add = |thread, store, connector: StoreConnector, address, first_wait, vitals: &Arc<Vitals>| {
        let link = Link::start(thread, connector.logging(store, address, vitals, clock))?;
        routes.push(Route::new(store, first_wait, link, Arc::clone(vitals), Arc::clone(clock)));
        io::Result::Ok(())
    };
    if let Some(settings) = kafka(config, base) {
        let address = format!("kafka brokers={} topic={}", settings.brokers.join(","), settings.topic);
        let deadline = settings.deadline;
        let connector = StoreConnector::kafka(settings);
        add("kafka-probe", StoredIn::Kafka, connector, address, deadline, &health.kafka)?;
    }
    if let Some(settings) = postgres(config, base) {
        let address = format!("postgres at={:?}", postgres::describe(&settings.url).unwrap_or_default());
        let deadline = settings.deadline;
        let connector = StoreConnector::postgres(settings, standing_in_postgres(config));
        add("pg-probe", StoredIn::Postgres, connector, address, deadline, &health.postgres)?;
    }
    Ok(routes)
}

fn kafka(config: &Config, base: &Base) -> Option<kafka::Settings> {
    let destination = base.destination.clone();
    config.kafka().map(|settings| kafka::Settings { destination, ..settings })
}

fn postgres(config: &Config, base: &Base) -> Option<postgres::Settings> {
    let destination = base.destination.clone();
    config.postgres().map(|settings| postgres::Settings { destination, ..settings })
}

/// The standing of rows that live events make in PostgreSQL.
fn standing_in_postgres(config: &Config) -> Standing {
    if config.kafka().is_some() { Standing::Held } else { Standing::Home }
}
