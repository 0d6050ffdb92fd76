//! Tables of other releases (F22): older ones are brought up to date whole or not at all, whatever happens
//! meanwhile; of newer ones see `schema`.

use super::*;

/// Held events 1 and 2, home event 3, dead letter 4, as the first release wrote them.
const ROWS: &str = "\
    INSERT INTO raw_logs (ingest_id, received_at, state, reason, instance, request_id, payload) \
    SELECT lpad(n::text, 32, '0')::uuid, now(), CASE n WHEN 3 THEN 'home' ELSE 'held' END, 'kafka is down', 'till-7', \
    'r-' || n, convert_to('{\"request_id\":\"r-' || n || '\",\"message\":\"sold\"}', 'UTF8') FROM generate_series(1, 3) n; \
    INSERT INTO dead_letters (ingest_id, received_at, error, state, reason, instance, request_id, payload) \
    VALUES (lpad('4', 32, '0')::uuid, now(), 'policy', 'held', 'rejected', 'till-7', 'r-4', '{\"request_id\":\"r-4\"}')";

#[test]
fn tables_of_the_first_release_are_brought_up_to_date_with_all_their_rows() {
    let bench = Bench::new();
    let first = include_str!("../../../sql/postgres/001.sql");
    bench.server.sql(&format!("SET ROLE till; {first} {ROWS}"));
    let mut store = bench.connect();
    assert_eq!(numbers(&held(&mut store)), [1, 2]);
    hold(&mut store, [5]);
    assert_eq!(numbers(&held(&mut store)), [1, 2, 5]);
    assert_eq!((bench.count("raw_logs"), bench.count("dead_letters")), (4, 1));
    let counts = store.counts().unwrap();
    assert_eq!((counts.held, counts.dead_letters), (3, 1));
    // As a fresh schema has them: the same columns of the same types, in the same order.
    let columns = "SELECT table_name || ' ' || column_name || ' ' || data_type FROM information_schema.columns \
                   WHERE table_schema = 'public' ORDER BY table_name, ordinal_position";
    let updated = bench.server.sql(columns);
    bench.server.sql("DROP TABLE raw_logs, dead_letters, logs_ingest_schema");
    drop(bench.connect());
    assert_eq!(updated, bench.server.sql(columns));
}

#[test]
fn an_update_that_dies_with_the_server_leaves_nothing_half_made() {
    let mut bench = Bench::new();
    bench.server.sql(
        "CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); END'; \
         CREATE EVENT TRIGGER wait ON ddl_command_end EXECUTE FUNCTION wait()",
    );
    let url = bench.server.url();
    let updating = thread::start("updating", move || connect(&settings(&url, DEADLINE)).err()).unwrap();
    // One statement of the update is done, the others are not.
    let in_the_middle = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    poll(PATIENCE, "the update to be under way", || (bench.server.value(in_the_middle) == "1").then_some(()));
    bench.server.kill();
    assert!(updating.join().unwrap().is_some(), "a killed server answers nobody");
    bench.server.restart();
    assert_eq!(bench.server.value("SELECT to_regclass('logs_ingest_schema') IS NULL"), "t");
    bench.server.sql("DROP EVENT TRIGGER wait");
    hold(&mut bench.connect_again(), [1]);
    assert_eq!(bench.count("raw_logs"), 1);
}

/// What the daemon of 0.1.0 sends: to store an event, and to drain.
const INSERT_0_1_0: &str = "INSERT INTO raw_logs (state, reason, instance, ingest_id, received_at, traceparent, payload, \
     skew_ms) VALUES ('held', 'kafka is down', 'till-1', gen_random_uuid(), now(), NULL, '{}', 0) \
     ON CONFLICT (ingest_id) DO NOTHING";
const LETTER_0_1_0: &str = "INSERT INTO dead_letters (state, reason, instance, ingest_id, received_at, traceparent, \
     payload, skew_ms, error) VALUES ('held', 'rejected', 'till-1', gen_random_uuid(), now(), NULL, '{}', 0, 'policy')";
const DRAIN_0_1_0: &str = "SELECT seq, ingest_id, received_at, traceparent, payload FROM raw_logs \
     WHERE state = 'held' AND forwarded_at IS NULL AND seq > 0 ORDER BY seq LIMIT 10";

/// The old daemon takes classes 22 and 23 for the event's own fault; any other error makes it use its spool.
#[test]
fn a_daemon_of_0_1_0_that_is_still_connected_can_neither_store_nor_drain() {
    let bench = Bench::new();
    for sql in [include_str!("../../../sql/postgres/001.sql"), include_str!("../../../sql/postgres/002.sql")]
    {
        bench.server.sql(&format!("SET ROLE till; {sql}"));
    }
    let mut old = postgres::Client::connect(&bench.server.url(), postgres::NoTls).unwrap();
    let statements = [INSERT_0_1_0, LETTER_0_1_0, DRAIN_0_1_0];
    // Prepared and used before the update, and not.
    let prepared = statements.map(|sql| old.prepare(sql).unwrap());
    for statement in &prepared {
        old.query(statement, &[]).unwrap();
    }
    drop(bench.connect());
    let class = |error: postgres::Error| error.code().expect("the server's own error").code()[..2].to_owned();
    for (statement, sql) in prepared.iter().zip(statements) {
        assert_eq!(class(old.query(statement, &[]).unwrap_err()), "42", "{sql}");
        assert_eq!(class(old.query(sql, &[]).unwrap_err()), "42", "{sql}");
    }
    assert_eq!((bench.count("raw_logs"), bench.count("dead_letters")), (1, 1));
}
