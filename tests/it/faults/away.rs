//! Kafka is away, and Postgres fails in every way that a server can (F9): events are in the spool within the
//! deadline, and Postgres is used again when it works.

use std::time::Instant;

use super::*;
use crate::support::load::{Load, Until, valid_events};
use crate::support::proxy::Mode;

const DEADLINE: Duration = Duration::from_secs(1);
/// How long a store that has failed often of late is left alone, and the try itself.
const FOUND_AGAIN: Duration = Duration::from_secs(4 + 1);

/// A daemon whose broker refuses connections, and whose Postgres is reached through a proxy.
struct Site {
    server: Server,
    proxy: Proxy,
    daemon: Daemon,
    sent: Report,
}

impl Site {
    fn new(server: Server) -> Self {
        let proxy = Proxy::start(([127, 0, 0, 1], server.port()).into());
        let builder = daemon_of(&format!("127.0.0.1:{}", Proxy::reserve()), None)
            .env("POSTGRES_URL", url_through(&proxy, &server))
            .env("POSTGRES_DEADLINE", "1s");
        let daemon = builder.start();
        state_is(&daemon, "kafka", "down");
        state_is(&daemon, "postgres", "up");
        let mut site = Self { server, proxy, daemon, sent: Report::default() };
        assert_eq!(site.post(), "postgres");
        site
    }

    fn post(&mut self) -> String {
        post(&self.daemon, &mut self.sent)
    }

    /// With the fault in place: the first event waits for the deadline at most, later ones hardly at all.
    fn is_left(&mut self, what: &str) {
        // A setting takes a moment to be seen.
        poll(PATIENCE, what, || {
            let began = Instant::now();
            let place = self.post();
            assert!(began.elapsed() < DEADLINE + MARGIN, "{what}: {:?}", began.elapsed());
            (place == "spool").then_some(())
        });
        let load = Load::run(self.daemon.addr(), 4, Until::Count(60), valid_events);
        assert_eq!(load.with_status(202), 60, "{what}");
        assert!(load.percentile(0.5) < Duration::from_millis(300), "{what}: {:?}", load.percentile(0.5));
        assert!(load.percentile(1.0) < DEADLINE + MARGIN, "{what}: {:?}", load.percentile(1.0));
        self.sent.add(load);
        assert_eq!(self.daemon.get("/readyz").status, 200, "{what}: the spool takes events");
    }

    /// With the fault gone.
    fn is_taken_back(&mut self, what: &str) {
        let began = Instant::now();
        until_stored_in(&self.daemon, &mut self.sent, "postgres");
        assert!(began.elapsed() < FOUND_AGAIN + MARGIN, "{what}: {:?}", began.elapsed());
    }

    fn assert_nothing_lost(&self) {
        Found::default()
            .and_spool(&self.daemon.data_dir())
            .and_postgres(&self.server)
            .assert_safe(&self.sent);
        assert_balanced(&self.daemon);
        assert!(!self.daemon.logged(self.server.password()), "no password in the log");
    }
}

#[test]
fn a_server_that_can_not_be_reached_is_left_and_taken_back() {
    let mut site = Site::new(Server::start());
    site.server.kill();
    site.is_left("killed");
    site.server.restart();
    site.is_taken_back("killed");
    site.server.freeze();
    site.is_left("frozen");
    site.server.thaw();
    site.is_taken_back("frozen");
    for mode in [Mode::Blackhole, Mode::HangAfterRequest, Mode::CutAnswers] {
        site.proxy.set(mode);
        site.is_left(&format!("{mode:?}"));
        site.proxy.set(Mode::Pass);
        site.proxy.cut();
        site.is_taken_back(&format!("{mode:?}"));
    }
    site.assert_nothing_lost();
}

#[test]
fn a_server_that_answers_and_says_no_is_left_and_taken_back() {
    let mut site = Site::new(Server::start());
    let reload = "SELECT pg_reload_conf()";
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'till'";
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'";
    let each = "CREATE TRIGGER slow BEFORE INSERT ON raw_logs FOR EACH ROW EXECUTE FUNCTION slow()";
    for (what, fault, mended) in [
        (
            "read-only",
            ["ALTER SYSTEM SET default_transaction_read_only = on", reload],
            ["ALTER SYSTEM RESET default_transaction_read_only", reload],
        ),
        (
            "table dropped",
            ["ALTER TABLE raw_logs RENAME TO away", "SELECT 1"],
            ["ALTER TABLE away RENAME TO raw_logs", "SELECT 1"],
        ),
        (
            "out of connections",
            ["ALTER ROLE till CONNECTION LIMIT 0", end],
            ["ALTER ROLE till CONNECTION LIMIT -1", "SELECT 1"],
        ),
        ("slow", [slow, each], ["DROP TRIGGER slow ON raw_logs", "DROP FUNCTION slow()"]),
        (
            "no right to write",
            ["ALTER TABLE raw_logs OWNER TO postgres", "SELECT 1"],
            ["ALTER TABLE raw_logs OWNER TO till", "SELECT 1"],
        ),
    ] {
        fault.iter().for_each(|sql| drop(site.server.sql(sql)));
        site.is_left(what);
        mended.iter().for_each(|sql| drop(site.server.sql(sql)));
        site.is_taken_back(what);
    }
    site.assert_nothing_lost();
}

#[test]
fn a_table_that_others_lock_is_left_and_taken_back() {
    let mut site = Site::new(Server::start());
    let mut other = site.server.session();
    let mut transaction = other.transaction().unwrap();
    transaction.batch_execute("LOCK TABLE raw_logs IN ACCESS EXCLUSIVE MODE").unwrap();
    site.is_left("locked");
    transaction.rollback().unwrap();
    site.is_taken_back("locked");
    site.assert_nothing_lost();
}

#[test]
fn a_server_whose_disk_is_full_is_left_and_taken_back() {
    let server = Server::builder().file_size_max(17 << 20).setting("full_page_writes", "off").start();
    let mut site = Site::new(server);
    let noise: String =
        (0..60_000_u64).map(|n| char::from(b'a' + (n.pow(3) % 1_000_003 % 26) as u8)).collect();
    let event = move |_: usize| {
        let mut event = events::event();
        event["stack"] = noise.clone().into();
        (event["request_id"].as_str().unwrap().to_owned(), event.to_string().into_bytes())
    };
    let load = Load::start(site.daemon.addr(), 4, Until::Stopped, event);
    let spooled = |stats: &serde_json::Value| stats["counters"]["stored_held"].as_u64() > Some(0);
    site.daemon.wait_for("/stats", PATIENCE, spooled);
    let report = load.stop();
    assert_eq!(report.with_status(202), report.answers.len());
    site.sent.add(report);
    let health = site.daemon.health();
    assert!(health["postgres"]["error"].as_str().is_some_and(|why| why.contains("disk")), "{health}");
    assert_eq!(site.daemon.get("/readyz").status, 200, "the spool takes events");
    site.assert_nothing_lost();
    // Room again: an administrator removes what is not needed.
    site.server.sql("DELETE FROM raw_logs");
    site.server.sql("VACUUM FULL raw_logs");
    site.is_taken_back("full");
    assert_balanced(&site.daemon);
}
