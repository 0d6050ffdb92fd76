//! Held rows on their way to Kafka: each once, by one drainer.

use super::*;

#[test]
fn forwarded_rows_are_not_read_again() {
    let bench = Bench::new();
    let mut store = bench.connect();
    hold(&mut store, 0..10);
    let rows = held(&mut store);
    let odd: Vec<i64> = rows.iter().filter(|(_, n)| n % 2 == 1).map(|(seq, _)| *seq).collect();
    store.forwarded(&odd).unwrap();
    let first = bench
        .server
        .sql("SELECT seq, forwarded_at FROM raw_logs WHERE forwarded_at IS NOT NULL ORDER BY seq");
    assert_eq!(first.len(), 5);
    store.forwarded(&odd).unwrap();
    store.forwarded(&[]).unwrap();
    assert_eq!(numbers(&held(&mut store)), [0, 2, 4, 6, 8]);
    let again = bench
        .server
        .sql("SELECT seq, forwarded_at FROM raw_logs WHERE forwarded_at IS NOT NULL ORDER BY seq");
    assert_eq!(first, again, "the first acknowledgement counts");
    hold(&mut store, 0..10);
    assert_eq!(
        numbers(&held(&mut store)),
        [0, 2, 4, 6, 8],
        "a repeat of a forwarded event is not held again"
    );
}

#[test]
fn a_row_that_is_committed_late_is_still_found() {
    let bench = Bench::new();
    let mut store = bench.connect();
    hold(&mut store, [1]);
    let mut late = bench.server.session();
    let mut transaction = late.transaction().unwrap();
    transaction
        .batch_execute(
            "INSERT INTO raw_logs (ingest_id, received_at, state, reason, instance, payload) \
             SELECT '00000000-0000-0000-0000-000000000002', received_at, state, reason, instance, payload FROM raw_logs",
        )
        .unwrap();
    hold(&mut store, [3]);
    let rows = held(&mut store);
    assert_eq!(numbers(&rows), [1, 3]);
    store.forwarded(&rows.iter().map(|(seq, _)| *seq).collect::<Vec<_>>()).unwrap();
    transaction.commit().unwrap();
    let found = held(&mut store);
    assert_eq!(numbers(&found), [2]);
    assert!(found[0].0 < rows[1].0, "its place is before a row that was forwarded");
}

#[test]
fn one_connection_drains_and_the_next_takes_over_when_it_ends() {
    let bench = Bench::new();
    let (mut first, mut second) = (bench.connect(), bench.connect());
    assert!(first.take_drain_lock().unwrap());
    assert!(first.take_drain_lock().unwrap(), "asked again, it still has it");
    assert!(!second.take_drain_lock().unwrap());
    hold(&mut second, [1]);
    assert_eq!(numbers(&held(&mut first)), [1], "the other may write");
    drop(first);
    poll(PATIENCE, "the lock of a closed connection", || second.take_drain_lock().unwrap().then_some(()));

    // As when the drainer's machine is lost and the server gives its connection up.
    let mut third = bench.connect();
    assert!(!third.take_drain_lock().unwrap());
    bench.server.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
    poll(PATIENCE, "the lock of a lost connection", || third.take_drain_lock().unwrap().then_some(()));
    bench.down(&second.take_drain_lock().unwrap_err());
    let keepalives = bench.server.sql(
        "SELECT client_port, state FROM pg_stat_activity WHERE application_name = 'logs-ingest' AND pid IN \
         (SELECT pid FROM pg_locks WHERE locktype = 'advisory')",
    );
    assert_eq!(keepalives.len(), 1, "one session has the lock: {keepalives:?}");
}

#[test]
fn two_schemas_of_one_database_are_drained_apart() {
    let bench = Bench::new();
    bench.server.sql("CREATE SCHEMA north AUTHORIZATION till; CREATE SCHEMA south AUTHORIZATION till");
    let url = |schema: &str| format!("{}?options=-csearch_path%3D{schema}", bench.server.url());
    let mut north = connected(&url("north")).store;
    let mut south = connected(&url("south")).store;
    let mut north_too = connected(&url("north")).store;
    assert!(north.take_drain_lock().unwrap() && south.take_drain_lock().unwrap());
    assert!(!north_too.take_drain_lock().unwrap());
    hold(&mut north, [1]);
    assert_eq!(numbers(&held(&mut north_too)), [1]);
    assert_eq!(numbers(&held(&mut south)), [0; 0]);
}
