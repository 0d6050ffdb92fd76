//! A broker that answers and refuses: one event, or everything until someone acts.

use super::*;

#[test]
fn only_the_oversized_event_is_rejected() {
    let _alone = alone(&CLASSIC);
    for choice in [ClientChoice::Modern, ClientChoice::Classic] {
        let topic = format!("oversized-{choice:?}");
        let mut connected = connected(&KAFKA_3, &topic, choice);
        let mut batch = events("small", 20);
        batch.insert(7, event_at("big", vec![b'x'; 1_200_000], clock::record_ms(), None));
        let outcomes = connected.store.write(&batch.clone().into());
        assert_rejected_only(&outcomes, 7, "max.message.bytes");
        batch.remove(7);
        let written = by_key(KAFKA_3.read_all(&topic));
        assert_eq!(written.into_keys().collect::<Vec<_>>(), keys(&batch), "{choice:?}");
    }
}

#[track_caller]
fn assert_rejected_only(outcomes: &[Result<(), StoreError>], bad: usize, word: &str) {
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Err(StoreError::Rejected(_, why)) if index == bad => assert!(why.contains(word), "{why}"),
            outcome if index == bad => panic!("the bad event: {outcome:?}"),
            outcome => assert_eq!(outcome, &Ok(()), "event {index}"),
        }
    }
}

/// F31, F32: as they are, the topic would refuse the one and remove the others at its next look.
#[test]
fn events_of_a_wrong_clock_or_a_long_outage_get_the_time_of_sending() {
    let (ahead_max, day) = (("message.timestamp.after.max.ms", "3600000"), 86_400_000);
    for (broker, version) in [(&KAFKA_3, 3), (&KAFKA_4, 4)] {
        let topic = format!("times-{version}");
        broker.create_topic(&topic, 1, &[ahead_max, ("retention.ms", "172800000")]);
        let mut connected = connected(broker, &topic, ClientChoice::Modern);
        let began = clock::record_ms();
        let received = [began - 1_000, began + 400 * day, began - day - 60_000, began - 40 * day];
        let batch: Vec<_> = received
            .iter()
            .enumerate()
            .map(|(n, received_ms)| event_at(&format!("event-{n}"), "{}", *received_ms, None))
            .collect();
        assert_stored(&connected.store.write(&batch.into()), 4);
        let records = by_key(broker.read_all(&topic));
        let time = |n: usize| records[&format!("event-{n}")].timestamp;
        assert_eq!(time(0), received[0], "an event that is hardly late keeps its time");
        for n in 1..4 {
            assert!((began..=clock::record_ms()).contains(&time(n)), "event {n}: {} at {began}", time(n));
            let stays = records[&format!("event-{n}")].header("received_at");
            assert_eq!(stays, Some(clock::rfc3339(received[n])));
        }
    }
}

#[test]
fn a_topic_with_a_small_limit_takes_what_fits_one_by_one() {
    let _alone = alone(&CLASSIC);
    for choice in [ClientChoice::Modern, ClientChoice::Classic] {
        let topic = format!("small-{choice:?}");
        KAFKA_3.create_topic(&topic, 1, &[("max.message.bytes", "4096")]);
        let mut connected = connected(&KAFKA_3, &topic, choice);
        let mut batch = events("fits", 300);
        batch.push(event_at("does-not", vec![b'x'; 5_000], clock::record_ms(), None));
        let outcomes = connected.store.write(&batch.clone().into());
        assert_rejected_only(&outcomes, 300, "max.message.bytes");
        batch.pop();
        assert_eq!(by_key(KAFKA_3.read_all(&topic)).into_keys().collect::<Vec<_>>(), keys(&batch));
    }
}

#[test]
fn a_batch_of_the_largest_size_goes_through() {
    let _alone = alone(&CLASSIC);
    for choice in [ClientChoice::Modern, ClientChoice::Classic] {
        let topic = format!("large-{choice:?}");
        KAFKA_3.create_topic(&topic, 1, &[]);
        let mut connected = connected(&KAFKA_3, &topic, choice);
        let large = |number: usize| {
            event_at(&format!("{number}"), vec![b'x'; 400 * 1024 - 600], clock::record_ms(), None)
        };
        let batch: Batch = (0..10).map(large).collect();
        assert_stored(&connected.store.write(&batch), 10);
        assert_eq!(KAFKA_3.read_all(&topic).len(), 10);
    }
}

#[test]
fn the_event_is_not_to_blame_for_a_topic_that_may_not_be_written() {
    let broker = alone(&FRAGILE);
    broker.create_topic("forbidden", 1, &[]);
    broker.make_read_only("forbidden");
    let mut connected = connected(&broker, "forbidden", ClientChoice::Auto);
    let started = Instant::now();
    let outcomes = connected.store.write(&events("shy", 5).into());
    assert_within(started, DEADLINE);
    assert_unavailable(&outcomes, 5);
    let why = outcomes[0].as_ref().unwrap_err().to_string();
    assert!(why.contains("not allowed") && why.contains("grant WRITE"), "{why}");
}
