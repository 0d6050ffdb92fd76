//! The consumer of docs/consumers.md, as it stands, on a real broker: every event once, though the topic has some of them
//! twice.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::TempDir;
use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::kafka::{Broker, Version};

/// The consumer joins its group and reads within this, on a machine whose cores are all busy.
const IDLE: Duration = Duration::from_secs(20);

#[test]
fn a_consumer_counts_each_event_once() {
    let (broker, folder) = (Broker::start(Version::V4_3), TempDir::new());
    let mut daemon = Daemon::builder().start();
    let mut client = daemon.client();
    for _ in 0..20 {
        assert_eq!(client.post_event(events::event().to_string()).status, 202);
    }
    daemon.terminate();
    // Twice, as after an ack that was lost.
    for _ in 0..2 {
        let mut replay = Command::new(env!("CARGO_BIN_EXE_logs-ingest"));
        let replayed = replay.args(["replay", "--rate", "0"]).env("DATA_DIR", daemon.data_dir());
        let output = replayed.env("KAFKA_BROKERS", broker.address()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/python/consumer/bin/python");
    assert!(python.exists(), "{} is missing: scripts/python-env consumer makes it", python.display());
    let run = || {
        let output = Command::new(&python)
            .arg(root.join("scripts/examples/consumer.py"))
            .env("KAFKA_BROKERS", broker.address())
            .env("STORE", folder.path().join("events.sqlite3"))
            .env("STOP_WHEN_IDLE_MS", IDLE.as_millis().to_string())
            .output()
            .expect("python starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    let said = run();
    let of = |kind: &str| said.lines().filter(|line| line.starts_with(kind)).count();
    assert_eq!((of("event "), of("again ")), (20, 20), "{said}");
    // Its place is noted: nothing is read again.
    assert_eq!(run(), "");
}
