//! PostgreSQL as a store, on real servers: what goes in comes out, and no trouble of the server holds the caller longer
//! than the deadline.

mod faults;
mod held;
mod outages;
mod rows;
mod schema;
mod speed;
mod tls;
mod versions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use logs_ingest::event::{Arrival, Event};
use logs_ingest::host::thread;
use logs_ingest::limits::RELEASED_MS;
use logs_ingest::store::postgres::{Connected, Postgres, Settings, connect};
use logs_ingest::store::{Batch, Destination, Standing, StoreError};
use uuid::Uuid;

use crate::support::poll;
use crate::support::postgres::{Builder, Server};

/// Of an ordinary call: more than any takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// Of a call that has to run into it.
const SHORT: Duration = Duration::from_secs(2);
/// What a busy machine may add to a deadline.
const MARGIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// One server and the right to have connections: how many may be left behind is counted for the process.
struct Bench {
    server: Server,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Server::builder())
    }

    fn with(builder: Builder) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self { server: builder.start(), _alone: alone }
    }

    fn connect(&self) -> Postgres {
        self.connect_within(DEADLINE)
    }

    fn connect_within(&self, deadline: Duration) -> Postgres {
        connect(&settings(&self.server.url(), deadline)).unwrap().store
    }

    /// Waits for those left behind to come back, and connects.
    fn connect_again(&self) -> Postgres {
        let url = self.server.url();
        poll(PATIENCE, "a new connection", || connect(&settings(&url, DEADLINE)).ok()).store
    }

    /// The texts of a refused connection, which never hold the password.
    fn refused(&self, url: &str) -> String {
        match connect(&settings(url, DEADLINE)) {
            Ok(_) => panic!("it connected"),
            Err(error) => self.down(&error),
        }
    }

    /// The text of an `Unavailable`.
    fn down(&self, error: &StoreError) -> String {
        let StoreError::Unavailable(_, why) = error else { panic!("not the store's fault: {error}") };
        assert!(why.contains(&format!(":{}/", self.server.port())), "it names the place: {why}");
        assert!(!why.contains(self.server.password()), "{why}");
        why.to_string()
    }

    /// Appends and insists that all are `Unavailable` for one reason, within the deadline.
    fn append_fails(
        &self,
        store: &mut Postgres,
        deadline: Duration,
        numbers: std::ops::Range<u64>,
    ) -> String {
        let started = Instant::now();
        let outcomes = store.append(&batch(numbers), Standing::Held, "kafka is down");
        assert!(started.elapsed() < deadline + MARGIN, "{:?}", started.elapsed());
        let texts: Vec<String> =
            outcomes.iter().map(|outcome| self.down(outcome.as_ref().unwrap_err())).collect();
        assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
        texts[0].clone()
    }

    fn count(&self, table: &str) -> usize {
        self.server.value(&format!("SELECT count(*) FROM {table}")).parse().unwrap()
    }
}

fn settings(url: &str, deadline: Duration) -> Settings {
    Settings {
        url: url.to_owned(),
        deadline,
        instance: "till-7".to_owned(),
        destination: Some(Destination::new("pos-logs")),
    }
}

fn connected(url: &str) -> Connected {
    connect(&settings(url, DEADLINE)).unwrap_or_else(|error| panic!("{error}"))
}

/// The event number `n`, received `n` milliseconds after the release.
fn event(n: u64) -> Event {
    event_with(n, &format!("message {n}"))
}

fn event_with(n: u64, message: &str) -> Event {
    let payload = serde_json::json!({
        "request_id": format!("r-{n}"), "service": "pos", "env": "shop", "timestamp": "2025-11-18T17:21:35Z",
        "action": "pay", "level": "info", "message": message, "price": 12.5, "quantity": n,
    });
    let arrival = Arrival::new(Uuid::from_u128(u128::from(n)), RELEASED_MS + i64::try_from(n).unwrap());
    Event::restored(arrival, Bytes::from(format!("r-{n}")), Bytes::from(payload.to_string()))
}

fn batch(numbers: impl IntoIterator<Item = u64>) -> Batch {
    numbers.into_iter().map(event).collect()
}

/// The number in an event's id.
fn number(event: &Event) -> u64 {
    u64::try_from(event.ingest_id().as_u128()).unwrap()
}

/// Appends held events and insists that each is stored.
fn hold(store: &mut Postgres, numbers: impl IntoIterator<Item = u64>) {
    all_ok(&store.append(&batch(numbers), Standing::Held, "kafka is down"));
}

fn all_ok(outcomes: &[Result<(), StoreError>]) {
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

/// Every held event's seq and number, in order.
fn held(store: &mut Postgres) -> Vec<(i64, u64)> {
    let rows = store.held_after(0, 100_000, 1 << 30).unwrap();
    rows.iter().map(|row| (row.seq, number(row.event.as_ref().unwrap()))).collect()
}

fn numbers(rows: &[(i64, u64)]) -> Vec<u64> {
    rows.iter().map(|(_, number)| *number).collect()
}

fn because(error: &str) -> Arc<str> {
    Arc::from(error)
}
