//! The server answers with an error: each has its class and a text that says what to do (F9).

use super::*;

/// Waits until so many sessions of the daemon wait for a lock.
fn wait_for_lock(bench: &Bench, what: &str) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'logs-ingest' \
                   AND wait_event_type = 'Lock'";
    poll(PATIENCE, what, || (bench.server.value(waiting) == "1").then_some(()));
}

#[test]
fn a_read_only_server_is_left() {
    let bench = Bench::new();
    let mut store = bench.connect();
    hold(&mut store, [1]);
    bench.server.sql("ALTER DATABASE logs SET default_transaction_read_only = on");
    let why = bench.refused(&bench.server.url());
    assert!(why.contains("default_transaction_read_only"), "{why}");
    hold(&mut store, [2]);
    // The running session learns of it, as of a primary that became a standby.
    for sql in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
        bench.server.sql_in("postgres", sql);
    }
    let why = poll(PATIENCE, "the setting to arrive", || {
        let outcome = store.append(&batch([3]), Standing::Held, "kafka is down").remove(0);
        outcome.err().map(|error| bench.down(&error))
    });
    assert!(why.contains("25006") && why.contains("primary"), "{why}");
}

#[test]
fn a_server_without_room_for_a_connection_says_so() {
    let bench = Bench::new();
    let mut only = bench.connect();
    bench.server.sql("ALTER ROLE till CONNECTION LIMIT 1");
    let why = bench.refused(&bench.server.url());
    assert!(why.contains("53300") && why.contains("CONNECTION LIMIT"), "{why}");
    hold(&mut only, [1]);
    drop(only);
    hold(&mut bench.connect_again(), [2]);
}

#[test]
fn a_server_full_of_connections_says_so() {
    // Three are kept for the superuser.
    let bench = Bench::with(Server::builder().setting("max_connections", "5"));
    let (first, _second) = (bench.connect(), bench.connect());
    let why = bench.refused(&bench.server.url());
    assert!(why.contains("53300") && why.contains("max_connections"), "{why}");
    drop(first);
    hold(&mut bench.connect_again(), [1]);
}

#[test]
fn wrong_credentials_and_a_missing_database_are_named() {
    let bench = Bench::new();
    let why = bench.refused(&bench.server.url().replace("s3cret", "wrong"));
    assert!(why.contains("28P01") && why.contains("pg_hba.conf"), "{why}");
    let why = bench.refused(&bench.server.url_of("nowhere"));
    assert!(why.contains("3D000") && why.contains("create the database"), "{why}");
}

#[test]
fn a_table_that_is_dropped_at_run_time_is_missed() {
    let bench = Bench::new();
    let mut store = bench.connect();
    hold(&mut store, [1]);
    bench.server.sql("DROP TABLE raw_logs");
    let why = bench.append_fails(&mut store, DEADLINE, 2..5);
    assert!(why.contains("42P01") && why.contains("search_path"), "{why}");
    let why = bench.refused(&bench.server.url());
    assert!(why.contains("raw_logs is missing"), "{why}");
    bench.server.sql("DROP TABLE dead_letters, logs_ingest_schema");
    let mut store = bench.connect();
    hold(&mut store, 2..5);
    assert_eq!(numbers(&held(&mut store)), [2, 3, 4]);
}

#[test]
fn rights_that_are_taken_away_are_named() {
    let bench = Bench::new();
    let mut store = bench.connect();
    bench.server.sql("ALTER TABLE raw_logs OWNER TO postgres");
    let why = bench.append_fails(&mut store, DEADLINE, 0..3);
    assert!(why.contains("42501") && why.contains("grant"), "{why}");
    bench.server.sql("GRANT SELECT, INSERT ON raw_logs TO till");
    hold(&mut bench.connect(), 0..3);
}

#[test]
fn a_table_that_somebody_locked_is_left_within_the_deadline() {
    let bench = Bench::new();
    let mut store = bench.connect_within(SHORT);
    let mut other = bench.server.session();
    let mut transaction = other.transaction().unwrap();
    transaction.batch_execute("LOCK TABLE raw_logs IN ACCESS EXCLUSIVE MODE").unwrap();
    let why = bench.append_fails(&mut store, SHORT, 0..3);
    assert!(why.contains("55P03") && why.contains("pg_stat_activity"), "{why}");
    transaction.rollback().unwrap();
    hold(&mut bench.connect(), 0..3);
    assert_eq!(bench.count("raw_logs"), 3);
}

#[test]
fn a_slow_statement_is_ended_by_the_server_before_the_owner_leaves() {
    let bench = Bench::new();
    let mut store = bench.connect_within(SHORT);
    bench.server.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'; \
         CREATE TRIGGER slow BEFORE INSERT ON raw_logs FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let why = bench.append_fails(&mut store, SHORT, 0..3);
    assert!(why.contains("57014") && why.contains("POSTGRES_DEADLINE"), "{why}");
    bench.server.sql("DROP TRIGGER slow ON raw_logs");
    hold(&mut store, 0..3);
}

#[test]
fn a_deadlock_is_tried_again_within_the_deadline() {
    // Whose look at the locks comes first once each waits for the other is ended. The daemon's comes long after that, however
    // slow the machine is, and the other's never.
    let bench = Bench::with(Server::builder().setting("deadlock_timeout", "3s"));
    let mut store = bench.connect();
    let mut other = bench.server.session();
    other.batch_execute("SET deadlock_timeout = '1min'").unwrap();
    let insert = |n: u64| {
        format!(
            "INSERT INTO raw_logs (ingest_id, received_at, state, reason, instance, payload) \
             VALUES ('{}', now(), 'held', 'by the other', 'other', '{{\"request_id\":\"o\"}}')",
            Uuid::from_u128(u128::from(n))
        )
    };
    let mut transaction = other.transaction().unwrap();
    transaction.batch_execute(&insert(2)).unwrap();
    let writer = thread::start("deadlocked", move || {
        let outcomes = store.append(&batch([1, 2, 3]), Standing::Held, "kafka is down");
        (store, outcomes)
    })
    .unwrap();
    wait_for_lock(&bench, "the daemon to wait for the row of the other session");
    // Now each waits for the other.
    transaction.batch_execute(&insert(1)).unwrap();
    transaction.commit().unwrap();
    let (mut store, outcomes) = writer.join().unwrap();
    all_ok(&outcomes);
    assert_eq!(numbers(&held(&mut store)), [2, 1, 3]);
    assert!(bench.server.log().contains("deadlock detected"));
}

#[test]
fn a_disk_without_room_stores_what_it_can_and_says_so() {
    const LIMIT: u64 = 17 << 20;
    let bench = Bench::with(Server::builder().file_size_max(LIMIT).setting("full_page_writes", "off"));
    let mut store = bench.connect();
    let noise = bench
        .server
        .value("SELECT string_agg(sha512(n::text::bytea)::text, '') FROM generate_series(1, 2000) n");
    let mut stored = 0;
    let why = loop {
        let batch: Batch = Arc::from(vec![event_with(stored, &noise), event_with(stored + 1, &noise)]);
        let outcomes = store.append(&batch, Standing::Held, "kafka is down");
        match &outcomes[0] {
            Ok(()) => all_ok(&outcomes),
            Err(error) => break bench.down(error),
        }
        stored += 2;
        assert!(stored < 100, "the limit on files is not felt");
    };
    assert!(stored > 10 && why.contains("File too large") && why.contains("disk"), "{stored}: {why}");
    assert_eq!(
        bench.count("raw_logs"),
        usize::try_from(stored).unwrap(),
        "a batch goes in whole or not at all"
    );
}
