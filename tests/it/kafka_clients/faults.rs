//! Brokers that are frozen, killed, or none at all: everything ends in time, nothing acknowledged is lost.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;

use super::*;

#[test]
fn a_frozen_broker_holds_a_write_for_the_deadline_and_a_connect_too() {
    let broker = alone(&FRAGILE);
    broker.create_topic("frozen", 3, &[]);
    let mut connected = connected_with(&broker, settings(&broker, "frozen", ClientChoice::Auto));
    assert_stored(&connected.store.write(&events("before", 10).into()), 10);
    broker.freeze();
    let started = Instant::now();
    assert_unavailable(&connected.store.write(&events("during", 500).into()), 500);
    assert_within(started, DEADLINE);
    let started = Instant::now();
    drop(connected);
    assert!(started.elapsed() < MARGIN, "a drop never waits for the broker");
    let started = Instant::now();
    let why = refusal(&settings(&broker, "frozen", ClientChoice::Auto));
    assert_within(started, DEADLINE);
    assert!(!why.contains("classic"), "silence does not mean unsupported: {why}");
    broker.thaw();
    let mut connected = connected_soon(&broker, "frozen");
    assert_stored(&connected.store.write(&events("after", 10).into()), 10);
}

/// A broker that was frozen or killed acknowledges again when its old session has run out.
fn connected_soon(broker: &Broker, topic: &str) -> Connected {
    let end = Instant::now() + Duration::from_secs(60);
    let mut trial = 0;
    loop {
        trial += 1;
        let connection = connect(&settings(broker, topic, ClientChoice::Auto));
        if let Ok(mut connected) = connection {
            let outcomes = connected.store.write(&events(&format!("trial-{trial}"), 1).into());
            if outcomes == [Ok(())] {
                return connected;
            }
        }
        assert!(Instant::now() < end, "the broker never came back: {}", broker.log());
    }
}

#[test]
fn a_broker_killed_in_mid_write_loses_nothing_that_it_acknowledged() {
    let mut broker = alone(&FRAGILE);
    broker.create_topic("killed", 3, &[]);
    let mut idle = connected_with(&broker, settings(&broker, "killed", ClientChoice::Auto));
    assert_stored(&idle.store.write(&events("early", 3).into()), 3);
    let mut connected = connected_with(&broker, settings(&broker, "killed", ClientChoice::Auto));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let acknowledged = Arc::clone(&acknowledged);
        logs_ingest::host::thread::start("t-writer", move || {
            for round in 0.. {
                let batch: Batch = events(&format!("round-{round}"), 200).into();
                let started = Instant::now();
                let outcomes = connected.store.write(&batch);
                let took = started.elapsed();
                let stored = batch.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
                acknowledged.lock().unwrap().extend(stored.map(|(event, _)| key(event)));
                if outcomes.iter().any(Result::is_err) {
                    return took;
                }
            }
            unreachable!()
        })
        .unwrap()
    };
    let end = Instant::now() + Duration::from_secs(30);
    while acknowledged.lock().unwrap().len() < 2_000 {
        assert!(Instant::now() < end, "the writer does not get on");
        std::thread::yield_now();
    }
    broker.kill();
    let took = writer.join().unwrap();
    assert!(took < DEADLINE + MARGIN, "the write under way took {took:?}");
    broker.restart();
    drop(connected_soon(&broker, "killed"));
    // A client that slept through it has a dead connection: that costs a retry, not the deadline.
    let started = Instant::now();
    assert_stored(&idle.store.write(&events("late", 3).into()), 3);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    let written: Vec<String> = broker
        .read_all("killed")
        .into_iter()
        .map(|record| String::from_utf8(record.key.unwrap()).unwrap())
        .collect();
    let written: BTreeSet<&String> = written.iter().collect();
    for key in acknowledged.lock().unwrap().iter() {
        assert!(written.contains(key), "{key} was acknowledged and is gone");
    }
}

#[test]
fn classic_clients_stuck_in_a_frozen_broker_are_left_behind_up_to_a_bound() {
    let _alone = alone(&CLASSIC);
    let broker = Broker::start(Version::V3_9);
    let mut stores: Vec<Connected> =
        (0..4).map(|_| connected_with(&broker, settings(&broker, "stuck", ClientChoice::Classic))).collect();
    assert_stored(&stores[0].store.write(&events("before", 5).into()), 5);
    broker.freeze();
    for connected in &mut stores {
        let started = Instant::now();
        assert_unavailable(&connected.store.write(&events("during", 5).into()), 5);
        assert_within(started, DEADLINE);
        let started = Instant::now();
        assert_unavailable(&connected.store.write(&events("again", 5).into()), 5);
        assert!(started.elapsed() < MARGIN, "a lost client says so at once");
    }
    drop(stores);
    let settings = settings(&broker, "stuck", ClientChoice::Classic);
    let why = refusal(&settings);
    assert!(why.contains("4 classic clients still wait"), "{why}");
    broker.thaw();
    let end = Instant::now() + Duration::from_secs(30);
    let mut connected = loop {
        match connect(&settings) {
            Ok(connected) => break connected,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    };
    assert_stored(&connected.store.write(&events("after", 5).into()), 5);
}

/// A peer that accepts connections, reads a little, says `answer` and hangs up, or stays silent with
/// an empty one. It ends with the test process.
fn no_kafka(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if answer.is_empty() {
                silent.push(stream);
                continue;
            }
            // What the client does with it is its own affair: it may be gone already.
            let _ = stream.read(&mut [0; 16]);
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(Shutdown::Both);
        }
    };
    drop(logs_ingest::host::thread::start("t-no-kafka", serve).unwrap());
    address
}

#[test]
fn what_answers_and_is_not_kafka_is_reported_in_time_by_every_choice() {
    let _alone = alone(&CLASSIC);
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
        b"\x7f\xff\xff\xff\x00\x00\x00\x01",
        b"\x00\x00\x00\x04\x00\x00\x00\x01",
        b"\x00\x00\x00\x0c\x00\x00\x00\x00\xff\xff\xff\xff\x7f\xff\xff\xff",
        b"",
    ] {
        for client in [ClientChoice::Auto, ClientChoice::Modern, ClientChoice::Classic] {
            let settings = Settings {
                brokers: vec![no_kafka(answer)],
                topic: "nowhere".to_owned(),
                client,
                deadline: Duration::from_secs(1),
                max_event_bytes: 1024,
                embed_id: false,
                security: Default::default(),
                destination: None,
            };
            let started = Instant::now();
            let why = refusal(&settings);
            assert_within(started, settings.deadline);
            assert!(why.contains(&settings.brokers[0]), "{why}");
            assert_eq!(why.contains("classic"), client == ClientChoice::Classic, "auto stays: {why}");
        }
    }
}

#[test]
fn bootstrap_addresses_that_refuse_or_stay_silent_are_passed_over() {
    let _alone = alone(&CLASSIC);
    for client in [ClientChoice::Modern, ClientChoice::Classic] {
        let topic = format!("bootstrap-{client:?}");
        KAFKA_3.create_topic(&topic, 1, &[]);
        let mut settings = settings(&KAFKA_3, &topic, client);
        settings.brokers.insert(0, no_kafka(b""));
        settings.brokers.insert(0, "127.0.0.1:1".to_owned());
        let started = Instant::now();
        let mut connected = connect(&settings).unwrap_or_else(|error| panic!("{error}"));
        assert_within(started, DEADLINE);
        assert_stored(&connected.store.write(&events("boot", 3).into()), 3);
    }
}
