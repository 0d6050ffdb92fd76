//! A broker whose disk is replaced while the daemon is idle (F26): nothing that the daemon learned from the old cluster
//! may be used on the new one.

use super::*;
use crate::support::kafka::Version;
use crate::support::stores::TOPIC;

/// A broker gives its first producer the same id as the cluster before it did, and takes what has the number of one of
/// another's last five batches for a repeat: it acknowledges it and writes nothing.
#[test]
fn what_a_wiped_broker_acknowledges_is_written() {
    for version in [Version::V3_9, Version::V4_3] {
        let mut broker = Broker::start(version);
        let daemon = daemon_of(&broker.address(), None).start();
        daemon.wait_until_up("kafka");
        for _ in 0..2 {
            assert_eq!(post(&daemon, &mut Report::default()), "kafka");
        }
        broker.wipe();
        broker.create_topic(TOPIC, 1, &[]);
        let others: Vec<String> = (0..5).map(|n| format!("another {n}")).collect();
        broker.write_as_another(TOPIC, &others);
        let mut answered: Vec<String> = Vec::new();
        for _ in 0..6 {
            let answer = daemon.client().post_event(events::event().to_string());
            assert_eq!(answer.status, 202, "{}", answer.text());
            answered.push(answer.header("X-Ingest-Id").expect("an id").to_owned());
        }
        all_in_kafka(&daemon, None);
        let written: Vec<_> =
            broker.read_all(TOPIC).iter().filter_map(|record| record.header("ingest_id")).collect();
        for id in answered {
            assert!(
                written.contains(&id),
                "{version:?}: {id} was acknowledged, and is in no topic: {written:?}"
            );
        }
    }
}
