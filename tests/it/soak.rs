//! A shop's days in short (F21): steady events, faults of every part, and in the end every event is in
//! Kafka, the books balance, and the daemon is no larger than before. What hours of outages do to the order, the cap
//! and the rate of events is shown in virtual time, by `src/delivery/tests/`.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::daemon::Daemon;
use crate::support::kafka::{Broker, Version};
use crate::support::load::{Load, MakeBody, Until, valid_events};
use crate::support::postgres::Server;
use crate::support::proxy::Proxy;
use crate::support::random::Seed;
use crate::support::stores::Found;

const RATE: u32 = 400;
const LIMIT: Duration = Duration::from_secs(120);
/// With everything that a fault makes it hold: the queue's bytes are its largest part.
const RSS_MAX_KIB: u64 = 256 * 1024;

/// So many events a second, all clients together.
fn paced(rate: u32) -> impl MakeBody {
    let next = Mutex::new(Instant::now());
    move |number| {
        let at = {
            let mut next = next.lock().expect("nobody panics with it");
            // What an outage has held up is not made up for.
            let at = (*next).max(Instant::now() - Duration::from_millis(100));
            *next = at + Duration::from_secs(1) / rate;
            at
        };
        crate::support::pause(at.saturating_duration_since(Instant::now()));
        valid_events(number)
    }
}

/// What a process takes.
#[derive(Clone, Copy, Debug)]
struct Size {
    rss_kib: u64,
    threads: u64,
    fds: usize,
}

impl Size {
    fn of(daemon: &Daemon) -> Self {
        Self { rss_kib: daemon.rss_kib(), threads: daemon.threads(), fds: daemon.fds() }
    }

    /// Flat: no more than what a helper, a client's buffers or some connections may differ by.
    fn assert_flat(self, then: Self) {
        let flat = then.rss_kib <= self.rss_kib + self.rss_kib / 2 + 24 * 1024
            && then.threads <= self.threads + 4
            && then.fds <= self.fds + 24;
        assert!(flat, "{self:?} became {then:?}");
    }
}

struct Shop {
    broker: Broker,
    server: Server,
    daemon: Daemon,
    /// When everything first worked since the daemon's start.
    first: Option<Size>,
}

impl Shop {
    fn open() -> Self {
        let (broker, server) = (Broker::start(Version::V3_9), Server::start());
        let daemon = Daemon::builder()
            .env("KAFKA_BROKERS", broker.address())
            .env("KAFKA_DEADLINE", "2s")
            .env("POSTGRES_URL", server.url())
            .env("POSTGRES_DEADLINE", "2s")
            .env("PORT", Proxy::reserve())
            .start();
        Self { broker, server, daemon, first: None }
    }

    /// Everything works again and nothing waits; then the daemon is as large as it was.
    fn calm(&mut self) {
        self.daemon.wait_for("/health", LIMIT, |health| {
            let up = |store: &str| health[store]["state"] == "up";
            up("kafka") && health["spool"]["held"] == 0
        });
        let size = Size::of(&self.daemon);
        assert!(self.daemon.peak_rss_kib() < RSS_MAX_KIB, "{} KiB at the most", self.daemon.peak_rss_kib());
        match self.first {
            None => self.first = Some(size),
            Some(first) => first.assert_flat(size),
        }
    }

    /// Waits until so many events more were stored in the place, so that a fault is seen to matter.
    fn until_stored(&self, counter: &str, more: u64) {
        let count = |stats: &serde_json::Value| stats["counters"][counter].as_u64().unwrap_or_default();
        let before = count(&self.daemon.stats());
        self.daemon.wait_for("/stats", LIMIT, |stats| count(stats) >= before + more);
    }

    fn suffer(&mut self, fault: u64) {
        match fault {
            0 => {
                self.broker.kill();
                self.until_stored("stored_postgres", 400);
                self.broker.restart();
            }
            1 => {
                self.broker.freeze();
                self.until_stored("stored_postgres", 400);
                self.broker.thaw();
            }
            2 => {
                self.broker.freeze();
                self.server.kill();
                self.until_stored("stored_held", 400);
                self.server.restart();
                self.broker.thaw();
            }
            3 => {
                self.server.freeze();
                self.broker.freeze();
                self.until_stored("stored_held", 400);
                self.broker.thaw();
                self.server.thaw();
            }
            4 => {
                for _ in 0..100 {
                    self.daemon.signal(Signal::HUP);
                }
                assert!(self.daemon.terminate().success(), "{}", self.daemon.log_text());
                self.daemon.restart_on_same_port();
                self.first = None;
            }
            _ => {
                self.daemon.kill9();
                self.daemon.restart_on_same_port();
                self.first = None;
            }
        }
    }
}

#[test]
fn faults_of_every_part_under_steady_load_lose_nothing_and_leave_nothing_behind() {
    let is_long = std::env::var_os("LOGS_INGEST_LONG").is_some();
    let mut seed = Seed::new();
    let mut shop = Shop::open();
    let load = Load::start(shop.daemon.addr(), 8, Until::Stopped, paced(RATE));
    shop.until_stored("stored_kafka", 400);
    // The daemon's own ends come first, so that its size can be compared; then each other fault, in any order.
    let mut faults: Vec<u64> = (0..4).collect();
    for fault in [5, 4] {
        shop.suffer(fault);
        shop.calm();
    }
    while !faults.is_empty() {
        let fault = faults.swap_remove(seed.index(faults.len()));
        shop.suffer(fault);
        shop.calm();
    }
    let end = Instant::now() + Duration::from_secs(if is_long { 3_600 } else { 0 });
    while Instant::now() < end {
        shop.suffer(seed.below(6));
        shop.calm();
    }
    let report = load.stop();
    shop.calm();
    let waiting = "SELECT count(*) FROM raw_logs WHERE state = 'held' AND forwarded_at IS NULL";
    crate::support::poll(LIMIT, "Postgres to be drained", || {
        (shop.server.value(waiting) == "0").then_some(())
    });
    let stats = shop.daemon.wait_for("/stats", LIMIT, |stats| stats["counters"]["in_flight"] == 0);
    assert_eq!(stats["ledger"]["balanced"], true, "{stats}");

    let found = Found::look(Some(&shop.broker), &shop.daemon.data_dir());
    found.assert_safe(&report);
    assert!(found.held.is_empty() && found.dead.is_empty(), "{} held", found.held.len());
    let accepted: HashSet<_> = report.accepted().filter_map(|answer| answer.ingest_id.as_deref()).collect();
    let in_kafka = accepted.iter().filter(|id| found.in_kafka.contains_key(**id)).count();
    assert_eq!(in_kafka, accepted.len(), "every accepted event is in Kafka");
    // Beside those there can only be events whose answer was lost or was a refusal: by a kill, or too late.
    let in_doubt = report.unanswered.len() + report.answers.len() - report.with_status(202);
    let beside = found.in_kafka.len() - in_kafka;
    assert!(beside <= in_doubt, "{beside} events nobody was answered for, {in_doubt} in doubt");
    println!(
        "{} accepted, {in_doubt} in doubt, {beside} of them in Kafka; {:?} in the end",
        accepted.len(),
        Size::of(&shop.daemon)
    );
    assert!(accepted.len() > 2_000, "{} accepted", accepted.len());
}
