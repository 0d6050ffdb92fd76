//! The tables' versions, rights, and what is said when tables are not as they should be.

use super::*;

const VERSIONS: &str = "SELECT version FROM logs_ingest_schema ORDER BY version";

/// The files that make the tables, oldest first: one a version.
fn versions() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/postgres");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// What the tables note when all of them were applied.
fn all_noted() -> Vec<Vec<String>> {
    (1..=versions().len()).map(|version| vec![version.to_string()]).collect()
}

#[test]
fn the_first_connection_makes_the_tables_and_says_so_once() {
    let bench = Bench::new();
    let notes = connected(&bench.server.url()).notes;
    assert_eq!(notes, [format!("the tables were brought from version 0 to {}", versions().len())]);
    assert_eq!(connected(&bench.server.url()).notes, [""; 0]);
    assert_eq!(bench.server.sql(VERSIONS), all_noted());
}

#[test]
fn a_url_that_cannot_be_read_is_told_by_its_setting() {
    let error = connect(&settings("mysql://till:s3cret-4711@localhost:1/x", DEADLINE)).err().unwrap();
    assert_eq!(error.to_string(), "POSTGRES_URL: it must start with postgres:// or postgresql://");
}

#[test]
fn many_daemons_that_start_at_once_make_the_tables_once() {
    let bench = Bench::new();
    let made: Vec<usize> = std::thread::scope(|scope| {
        let url = bench.server.url();
        let start = |_| {
            let url = url.clone();
            scope.spawn(move || connected(&url).notes.len())
        };
        let threads: Vec<_> = (0..8).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.iter().sum::<usize>(), 1, "{made:?}");
    assert_eq!(bench.server.sql(VERSIONS), all_noted());
}

#[test]
fn tables_of_a_newer_program_are_left_alone() {
    let bench = Bench::new();
    drop(bench.connect());
    let newer = versions().len() + 1;
    bench.server.sql(&format!("INSERT INTO logs_ingest_schema (version) VALUES ({newer})"));
    let why = bench.refused(&bench.server.url());
    assert!(why.contains(&format!("version {newer}")) && why.contains("upgrade"), "{why}");
    bench.server.sql(&format!("DELETE FROM logs_ingest_schema WHERE version = {newer}"));
    hold(&mut bench.connect(), [1]);
}

#[test]
fn a_note_without_a_version_counts_as_none_and_strange_tables_are_not_touched() {
    let bench = Bench::new();
    bench.server.sql("CREATE TABLE raw_logs (theirs text)");
    let why = bench.refused(&bench.server.url());
    assert!(why.contains("42P07") && why.contains("search_path"), "{why}");
    assert_eq!(bench.server.value("SELECT to_regclass('logs_ingest_schema') IS NULL"), "t", "all or nothing");
}

#[test]
fn the_search_path_is_respected() {
    let bench = Bench::new();
    bench.server.sql("CREATE SCHEMA shop AUTHORIZATION till; ALTER ROLE till SET search_path = shop");
    hold(&mut bench.connect(), [1, 2]);
    assert_eq!(bench.count("shop.raw_logs"), 2);
    bench.server.sql("ALTER ROLE till SET search_path = nowhere");
    let why = bench.refused(&bench.server.url());
    assert!(why.contains("3F000") && why.contains("search_path"), "{why}");
}

#[test]
fn a_role_with_rights_on_the_tables_alone_is_enough() {
    let bench = Bench::new();
    bench.server.sql(&format!("CREATE ROLE clerk LOGIN PASSWORD '{}'", bench.server.password()));
    let url = bench.server.url_as("clerk");
    let why = bench.refused(&url);
    assert!(why.contains("42501") && why.contains("sql/postgres/"), "{why}");

    // As an administrator does it by hand.
    versions().iter().for_each(|file| drop(bench.server.sql(file)));
    let why = bench.refused(&url);
    assert!(why.contains("42501") && why.contains("grant"), "{why}");
    bench.server.sql(
        "GRANT SELECT ON logs_ingest_schema TO clerk; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON raw_logs, dead_letters TO clerk",
    );
    let Connected { mut store, notes } = connected(&url);
    assert_eq!(notes, [""; 0]);
    hold(&mut store, 0..5);
    let rows = held(&mut store);
    assert!(store.take_drain_lock().unwrap());
    store.forwarded(&[rows[0].0]).unwrap();
    store.dead_letter(&[(rows[1].0, because("too large"))]).unwrap();
    assert_eq!(store.sweep(Duration::ZERO, Duration::ZERO, 10).unwrap(), 1);
    let counts = store.counts().unwrap();
    assert_eq!((counts.held, counts.dead_letters), (3, 1));
}

#[test]
fn what_an_administrator_must_know_is_noted() {
    let bench = Bench::with(Server::builder().setting("fsync", "off"));
    let notes = connected(&bench.server.url()).notes;
    assert!(notes.iter().any(|note| note.contains("fsync=off")), "{notes:?}");
}

#[test]
fn commits_wait_for_the_disk_and_never_for_less_than_they_are_told_to() {
    let bench = Bench::with(Server::builder().setting("synchronous_commit", "off"));
    let recorded = "CREATE TABLE seen (setting text); GRANT ALL ON seen TO till; \
                    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS \
                    'BEGIN INSERT INTO seen VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END'; \
                    CREATE TRIGGER see AFTER INSERT ON raw_logs EXECUTE FUNCTION see()";
    let mut store = bench.connect();
    bench.server.sql(recorded);
    hold(&mut store, [1]);
    bench.server.sql("ALTER ROLE till SET synchronous_commit = 'remote_apply'");
    hold(&mut bench.connect(), [2]);
    assert_eq!(bench.server.sql("SELECT setting FROM seen").concat(), ["on", "remote_apply"]);
}
