//! Events as rows: bytes, order, duplicates, what is refused, what is kept for how long.

use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);

#[test]
fn odd_characters_come_back_as_they_went_in() {
    let bench = Bench::new();
    let mut store = bench.connect();
    let stack = "at line 1\n".repeat(40_000);
    let odd = serde_json::json!({
        "request_id": "r\u{0}\u{1F9FE}\"\\", "service": "", "env": "\u{202e}", "timestamp": "2025-W47-2",
        "action": "a'; DROP TABLE raw_logs; --", "level": "critical", "message": "a\u{0}b", "user_id": null,
        "price": 1e300, "quantity": i64::MIN, "stack": stack, "raw_data": {"k": [1.10, null]},
        "unknown": "kept", "\u{0}": "\u{0}",
    })
    .to_string();
    let arrival = Arrival {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        x_request_id: Some("req-7".into()),
        client: Some("till-7".into()),
        instance: Some("a neighbour".into()),
        ..Arrival::new(Uuid::now_v7(), RELEASED_MS + 7)
    };
    let sent = Event::restored(arrival, Bytes::from("r\u{0}\u{1F9FE}\"\\"), Bytes::from(odd));
    all_ok(&store.append(&Arc::from(vec![sent.clone()]), Standing::Held, "kafka is \0 down"));

    let rows = store.held_after(0, 10, 1).unwrap();
    let got = rows[0].event.as_ref().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(got.payload(), sent.payload());
    assert_eq!(got.key(), sent.key());
    assert_eq!(got.ingest_id(), sent.ingest_id());
    assert_eq!(got.received_at_ms(), sent.received_at_ms());
    assert!(got.headers().eq(sent.headers()), "{got:?}");

    let shown = bench.server.sql(
        "SET timezone = 'UTC'; SELECT received_at, request_id, message, action, price, quantity, user_id IS NULL, \
         raw_data::json -> 'k' ->> 0, event_timestamp, length(stack), state, reason, instance, trace_parent, \
         topic, cluster_id IS NULL, client, x_request_id, stored_at > now() - interval '1 hour', \
         position('kept' IN convert_from(payload, 'UTF8')) > 0, forwarded_at IS NULL FROM raw_logs",
    );
    let expected = [
        "2026-11-01 00:00:00.007+00",
        "r\u{fffd}\u{1F9FE}\"\\",
        "a\u{fffd}b",
        "a'; DROP TABLE raw_logs; --",
        "1e+300",
        "-9223372036854775808",
        "t",
        "1.1",
        "2025-W47-2",
        "400000",
        "held",
        "kafka is \u{fffd} down",
        "a neighbour",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "pos-logs",
        "t",
        "till-7",
        "req-7",
        "t",
        "t",
        "t",
    ];
    assert_eq!(shown, [expected]);
}

#[test]
fn held_rows_are_read_in_the_order_of_arrival_page_by_page() {
    let bench = Bench::new();
    let mut store = bench.connect();
    let expected: Vec<u64> = (0..500).step_by(50).flat_map(|start| (start..start + 50).rev()).collect();
    for start in (0..500).step_by(50) {
        hold(&mut store, (start..start + 50).rev());
    }
    all_ok(&store.append(&batch(900..905), Standing::Home, "no kafka is configured"));
    let rows = held(&mut store);
    assert_eq!(numbers(&rows), expected);

    assert_eq!(store.held_after(0, 7, 1 << 20).unwrap().len(), 7);
    assert_eq!(store.held_after(rows[6].0, 3, 1 << 20).unwrap()[0].seq, rows[7].0);
    assert_eq!(store.held_after(0, 7, 1).unwrap().len(), 1, "one row comes however large it is");
    let size = event(49).payload().len();
    assert_eq!(store.held_after(0, 100, 3 * size + size / 2).unwrap().len(), 3);
    assert_eq!(store.held_after(i64::MAX - 1, 7, 1 << 20).unwrap().len(), 0);
}

#[test]
fn a_repeated_event_is_stored_once_and_answered_as_stored() {
    let bench = Bench::new();
    let mut store = bench.connect();
    hold(&mut store, [1, 2, 2, 3]);
    hold(&mut store, [3, 1, 4]);
    hold(&mut store, []);
    assert_eq!(numbers(&held(&mut store)), [1, 2, 3, 4]);
}

#[test]
fn one_refused_row_in_500_costs_only_itself() {
    let bench = Bench::new();
    let mut store = bench.connect();
    bench.server.sql("ALTER TABLE raw_logs ADD CONSTRAINT no_321 CHECK (request_id <> 'r-321')");
    let outcomes = store.append(&batch(0..500), Standing::Held, "kafka is down");
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(()) => assert_ne!(n, 321),
            Err(StoreError::Rejected(_, why)) => {
                assert!(n == 321 && why.contains("no_321") && !why.contains("message 321"), "{n}: {why}");
            }
            Err(other) => panic!("{n}: {other}"),
        }
    }
    let kept: Vec<u64> = (0..500).filter(|n| *n != 321).collect();
    assert_eq!(numbers(&held(&mut store)), kept);
}

#[test]
fn texts_too_long_for_an_index_that_somebody_added_cost_only_themselves() {
    let bench = Bench::new();
    let mut store = bench.connect();
    // Digits of hashes cannot be compressed to fit.
    let hashes = bench
        .server
        .value("SELECT string_agg(sha512(n::text::bytea)::text, '') FROM generate_series(1, 100) n");
    let long = [event(1), event_with(2, &hashes), event_with(3, &"x".repeat(3_000)), event(4)];
    all_ok(&store.append(&Arc::from(long.to_vec()), Standing::Held, "ours takes any length"));
    bench.server.sql("TRUNCATE raw_logs; CREATE INDEX theirs ON raw_logs (message)");
    let outcomes = store.append(&Arc::from(long.to_vec()), Standing::Held, "theirs does not");
    assert!(
        matches!(&outcomes[1], Err(StoreError::Rejected(_, why)) if why.contains("54000")),
        "{outcomes:?}"
    );
    assert_eq!(numbers(&held(&mut store)), [1, 3, 4]);
}

#[test]
fn a_database_in_another_encoding_takes_every_event_and_says_what_it_shows() {
    let bench = Bench::new();
    bench.server.sql("CREATE DATABASE latin OWNER till ENCODING 'LATIN1' TEMPLATE template0");
    let Connected { mut store, notes } = connected(&bench.server.url_of("latin"));
    assert!(notes.iter().any(|note| note.contains("LATIN1")), "{notes:?}");
    let sent = event_with(1, "\u{1F9FE} für 5 €");
    all_ok(&store.append(&Arc::from(vec![sent.clone()]), Standing::Held, "größer"));
    let rows = store.held_after(0, 10, 1 << 20).unwrap();
    assert_eq!(rows[0].event.as_ref().unwrap().payload(), sent.payload());
    let shown = bench.server.sql_in("latin", "SELECT message, reason FROM raw_logs");
    assert_eq!(shown, [["? f?r 5 ?", "gr??er"]]);
}

#[test]
fn dead_letters_keep_the_event_and_its_error() {
    let bench = Bench::new();
    let mut store = bench.connect();
    hold(&mut store, 0..4);
    let rows = held(&mut store);
    store.forwarded(&[rows[3].0]).unwrap();
    let too_late = (rows[3].0, because("it is in Kafka"));
    let letters = [(rows[1].0, because("too large")), (999, because("not there")), too_late];
    store.dead_letter(&letters).unwrap();
    store.dead_letter(&letters).unwrap();
    store.keep_letters(&[(event(7), because("policy \0")), (event(8), because("policy"))]).unwrap();
    store.keep_letters(&[(event(7), because("again"))]).unwrap();
    assert_eq!(numbers(&held(&mut store)), [0, 2]);
    let shown = bench.server.sql(
        "SELECT request_id, error, state, reason, instance, failed_at > now() - interval '1 hour', \
         convert_from(payload, 'UTF8')::json ->> 'message' FROM dead_letters ORDER BY seq",
    );
    let expected = [
        ["r-1", "too large", "held", "kafka is down", "till-7", "t", "message 1"],
        ["r-7", "policy \u{fffd}", "held", "rejected", "till-7", "t", "message 7"],
        ["r-8", "policy", "held", "rejected", "till-7", "t", "message 8"],
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_damaged_row_is_reported_and_its_neighbours_are_read() {
    let bench = Bench::new();
    let mut store = bench.connect();
    hold(&mut store, 0..3);
    bench.server.sql("UPDATE raw_logs SET payload = 'no event' WHERE request_id = 'r-1'");
    let rows = store.held_after(0, 10, 1 << 20).unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows[0].event.is_ok() && rows[2].event.is_ok());
    let why = rows[1].event.as_ref().unwrap_err();
    assert!(why.contains("not an event"), "{why}");
    store.dead_letter(&[(rows[1].seq, Arc::clone(why))]).unwrap();
    assert_eq!(bench.server.value("SELECT payload = 'no event' FROM dead_letters"), "t");
}

#[test]
fn old_rows_go_step_by_step_and_held_ones_never() {
    let bench = Bench::new();
    let mut store = bench.connect();
    hold(&mut store, 0..20);
    all_ok(&store.append(&batch(100..110), Standing::Home, "no kafka is configured"));
    let rows = held(&mut store);
    store.forwarded(&rows[..10].iter().map(|(seq, _)| *seq).collect::<Vec<_>>()).unwrap();
    assert_eq!(store.sweep(HOUR, 1_000_000 * HOUR, 100).unwrap(), 0, "all are young");
    bench.server.sql(
        "UPDATE raw_logs SET forwarded_at = now() - interval '2 hours' WHERE quantity < 6 AND state = 'held'; \
         UPDATE raw_logs SET received_at = now() - interval '40 days'",
    );
    assert_eq!(
        store.sweep(1_000 * HOUR, HOUR, 100).unwrap(),
        0,
        "a daemon's clock says nothing of their age"
    );
    bench.server.sql(
        "UPDATE raw_logs SET stored_at = now() - interval '3 hours'; \
         UPDATE raw_logs SET stored_at = now() WHERE quantity IN (108, 109)",
    );
    assert_eq!(store.sweep(HOUR, 4 * HOUR, 4).unwrap(), 4, "as many as may go at once");
    assert_eq!(store.sweep(HOUR, 4 * HOUR, 100).unwrap(), 2, "forwarded rows");
    assert_eq!(store.sweep(HOUR, HOUR, 100).unwrap(), 8, "home rows");
    assert_eq!(store.sweep(HOUR, HOUR, 100).unwrap(), 0);
    let left = bench.server.sql("SELECT quantity FROM raw_logs ORDER BY quantity");
    let expected: Vec<String> = (6..20).chain(108..110).map(|n: u64| n.to_string()).collect();
    assert_eq!(left.concat(), expected);
    assert_eq!(numbers(&held(&mut store)), (10..20).collect::<Vec<u64>>());
}

#[test]
fn a_table_beyond_its_size_gives_up_its_oldest_rows_and_never_held_ones() {
    let bench = Bench::new();
    let mut store = bench.connect();
    hold(&mut store, 0..100);
    for start in (1_000..3_000).step_by(500) {
        all_ok(&store.append(&batch(start..start + 500), Standing::Home, "no kafka is configured"));
    }
    let rows = held(&mut store);
    store.forwarded(&rows[..50].iter().map(|(seq, _)| *seq).collect::<Vec<_>>()).unwrap();
    let of_a_row = "SELECT avg(2 * octet_length(payload) + 500)::int8 FROM raw_logs";
    let row: u64 = bench.server.value(of_a_row).parse().unwrap();
    let live = || bench.server.value("SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'raw_logs'");
    poll(Duration::from_secs(30), "the server to have counted", || (live() == "2100").then_some(()));
    assert_eq!(store.trim(3_000 * row, 1_000).unwrap(), 0, "there is room");
    let removed = store.trim(1_600 * row, 300).unwrap();
    assert_eq!(removed, 300, "as many as may go at once");
    poll(Duration::from_secs(30), "the table to be as small as it should", || {
        store.trim(1_600 * row, 300).unwrap();
        (bench.count("raw_logs") < 1_700).then_some(())
    });
    let left = bench.server.sql("SELECT min(quantity), max(quantity) FROM raw_logs WHERE state = 'home'");
    assert_eq!(left[0][1], "2999", "the newest stay");
    assert!(left[0][0].parse::<u64>().unwrap() > 1_200, "{left:?}");
    assert_eq!(numbers(&held(&mut store)), (50..100).collect::<Vec<u64>>());
}

#[test]
fn figures_tell_what_is_there() {
    let bench = Bench::new();
    let mut store = bench.connect();
    let counts = store.counts().unwrap();
    assert_eq!((counts.held, counts.home, counts.dead_letters, counts.oldest_held_ms), (0, 0, 0, None));
    hold(&mut store, [5, 3, 8]);
    all_ok(&store.append(&batch(100..102), Standing::Home, "no kafka is configured"));
    store.keep_letters(&[(event(7), because("policy"))]).unwrap();
    let next = held(&mut store)[0].0;
    store.forwarded(&[next]).unwrap();
    let counts = store.counts().unwrap();
    let oldest = Some(event(3).received_at_ms());
    assert_eq!((counts.held, counts.home, counts.dead_letters, counts.oldest_held_ms), (2, 2, 1, oldest));
}
