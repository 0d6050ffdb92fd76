//! The whole shop comes back at once (F17): every till has a queue to send, half of it for the second time, and
//! the disk is not awake yet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use logs_ingest::host::thread;

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::http::{Client, INGEST};
use crate::support::ledger::Ledger;
use crate::support::load::{Answer, Report};
use crate::support::shim::Shim;
use crate::support::stores::Found;

const TILLS: usize = 200;
/// Refusals that a till takes for one event before it gives up.
const TRIES: usize = 2_000;
/// Refusals before the disk answers.
const STORM: u64 = 1_000;

/// What one till saw.
#[derive(Default)]
struct Till {
    report: Report,
    /// How often each `Retry-After` was said.
    waits: BTreeMap<u32, usize>,
}

impl Till {
    /// Sends `count` events twice each, in order, until each is taken both times.
    fn run(mut self, addr: SocketAddr, count: usize) -> Self {
        let mut client = Client::connect(addr);
        for _ in 0..count {
            let event = events::event();
            for _ in 0..2 {
                self.send(&mut client, addr, &event);
            }
        }
        self
    }

    fn send(&mut self, client: &mut Client, addr: SocketAddr, event: &serde_json::Value) {
        let (request_id, body) = (event["request_id"].as_str().unwrap(), event.to_string());
        for _ in 0..TRIES {
            let answer = client.post(INGEST, &[("Idempotency-Key", request_id)], &body);
            if answer.closes() {
                *client = Client::connect(addr);
            }
            if answer.status == 503 || answer.status == 409 {
                let wait: u32 = answer.header("Retry-After").unwrap().parse().unwrap();
                *self.waits.entry(wait).or_default() += 1;
                // A second of a till's is ten milliseconds of this test's.
                std::thread::sleep(Duration::from_millis(10) * wait);
                continue;
            }
            assert_eq!(answer.status, 202, "{}", answer.text());
            self.report.answers.push(Answer {
                request_id: request_id.to_owned(),
                status: answer.status,
                ingest_id: answer.header("X-Ingest-Id").map(str::to_owned),
                stored_in: answer.header("X-Stored-In").map(str::to_owned),
                latency: Duration::ZERO,
            });
            return;
        }
        panic!("refused {TRIES} times");
    }
}

#[test]
fn every_till_comes_back_at_once_and_nothing_is_lost() {
    let count = if std::env::var_os("LOGS_INGEST_LONG").is_some() { 500 } else { 20 };
    let disk = Shim::disk();
    let daemon = disk.under(Daemon::builder().env("QUEUE_EVENTS", 32)).start();
    disk.begin("hang");
    let tills: Vec<JoinHandle<Till>> = (0..TILLS)
        .map(|number| {
            let addr = daemon.addr();
            let till = move || Till::default().run(addr, count);
            thread::start(&format!("till-{number}"), till).unwrap()
        })
        .collect();
    // The queue is full until then, however fast the machine is.
    daemon.wait_for("/stats", Duration::from_secs(8), |stats| {
        stats["counters"]["refused_full"].as_u64() >= Some(STORM)
    });
    disk.end("hang");
    let mut report = Report::default();
    let mut waits = BTreeMap::new();
    for till in tills {
        let till = till.join().unwrap();
        report.answers.extend(till.report.answers);
        till.waits.into_iter().for_each(|(wait, times)| *waits.entry(wait).or_default() += times);
    }
    assert_eq!(report.with_status(202), 2 * TILLS * count);
    // The second time each till heard what it heard the first time.
    let mut ids: HashMap<&str, HashSet<&str>> = HashMap::new();
    for answer in &report.answers {
        ids.entry(&answer.request_id).or_default().insert(answer.ingest_id.as_deref().unwrap());
    }
    assert_eq!(ids.len(), TILLS * count);
    assert!(ids.values().all(|ids| ids.len() == 1), "a repeat got an id of its own");
    Found::look(None, &daemon.data_dir()).assert_safe(&report);
    assert!(Ledger::settled(&daemon, Duration::from_secs(10)).balances());

    println!("waits {waits:?}, {} KiB at most, {} threads", daemon.peak_rss_kib(), daemon.threads());
    let refused: usize = waits.values().sum();
    assert!(refused > 100, "the storm was none: {waits:?}");
    assert!(waits.len() >= 3, "they are told to come back together: {waits:?}");
    assert!(waits.values().all(|times| *times < refused * 3 / 4), "{waits:?}");
    // What a healthy crowd may take, and the answers that are remembered for their keys, half a KiB each.
    let rss_max = 64 * 1024 + TILLS * count / 2;
    assert!(daemon.peak_rss_kib() < rss_max as u64, "{} KiB at most", daemon.peak_rss_kib());
    assert!(daemon.threads() <= super::THREADS_MAX, "{} threads", daemon.threads());
}
