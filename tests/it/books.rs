//! `logs-ingest ledger`: the stores counted row by row, beside a running daemon and without one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::load::{Load, Until, valid_events};
use crate::support::postgres::Server;
use crate::support::proxy::Proxy;

/// The command's exit code and its JSON.
fn ledger(data_dir: &Path, url: &str, settings: &[(&str, &str)]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_logs-ingest"))
        .args(["ledger", "--json", "--url", url])
        .env_clear()
        .env("DATA_DIR", data_dir)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output.status.code().unwrap(), report)
}

/// Counted, noted and the daemon's figure of one line.
fn line(report: &Value, what: &str) -> (Value, Value, Value) {
    let lines = report["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line["what"] == what);
    let line = line.unwrap_or_else(|| panic!("no line {what:?} in {report}"));
    (line["counted"].clone(), line["noted"].clone(), line["daemon"].clone())
}

fn break_spool(data_dir: &Path, sql: &str) {
    let spool = rusqlite::Connection::open(data_dir.join("spool.sqlite3")).unwrap();
    assert_eq!(spool.execute(sql, []).unwrap(), 1);
}

#[test]
fn the_books_agree_until_a_row_is_gone_or_damaged() {
    const EVENTS: usize = 1_500;
    let mut daemon = Daemon::start();
    let report = Load::run(daemon.addr(), 8, Until::Count(EVENTS), valid_events);
    assert_eq!(report.with_status(202), EVENTS);
    let (dir, url) = (daemon.data_dir(), daemon.url());
    let (exit, report) = ledger(&dir, &url, &[]);
    assert_eq!((exit, &report["verdict"]), (0, &"agree".into()), "{report}");
    let all = Value::from(EVENTS);
    assert_eq!(line(&report, "spool: home"), (all.clone(), all.clone(), all.clone()));
    assert_eq!(report["daemon"]["ledger"]["accepted"], all);

    daemon.terminate();
    let (exit, report) = ledger(&dir, &url, &[]);
    assert_eq!((exit, &report["daemon"]), (0, &Value::Null), "{report}");
    assert_eq!(line(&report, "spool: home"), (all.clone(), all.clone(), Value::Null));

    break_spool(&dir, "UPDATE home_rows SET payload = x'7b7d' WHERE seq = 7");
    let (exit, report) = ledger(&dir, &url, &[]);
    assert_eq!((exit, line(&report, "spool: damaged rows").0), (1, 1.into()), "{report}");
    break_spool(&dir, "DELETE FROM home_rows WHERE seq = 7");
    let (exit, report) = ledger(&dir, &url, &[]);
    assert_eq!((exit, &report["verdict"]), (1, &"differ".into()));
    assert_eq!(line(&report, "spool: home"), ((EVENTS - 1).into(), all, Value::Null));

    let (exit, report) = ledger(&dir.join("nowhere"), &url, &[]);
    assert_eq!((exit, &report["verdict"]), (2, &"unknown".into()), "{report}");
}

#[test]
fn rows_in_postgres_are_counted_and_missed() {
    let mut server = Server::start();
    let postgres = server.url();
    let kafka = format!("127.0.0.1:{}", Proxy::reserve());
    let daemon = Daemon::builder().env("KAFKA_BROKERS", &kafka).env("POSTGRES_URL", &postgres).start();
    daemon.wait_until_up("postgres");
    for _ in 0..5 {
        let answer = daemon.client().post_event(events::event().to_string());
        assert_eq!((answer.status, answer.header("X-Stored-In")), (202, Some("postgres")));
    }
    let (dir, url) = (daemon.data_dir(), daemon.url());
    let settings = [("KAFKA_BROKERS", kafka.as_str()), ("POSTGRES_URL", &postgres)];
    let (exit, report) = ledger(&dir, &url, &settings);
    assert_eq!(exit, 0, "{report}");
    assert_eq!(line(&report, "postgres: held for kafka").0, 5);
    const OWN: &str = "postgres: this daemon's since start";
    assert_eq!(line(&report, OWN), (5.into(), Value::Null, 5.into()));
    server.sql("DELETE FROM raw_logs WHERE seq = 2");
    let (exit, report) = ledger(&dir, &url, &settings);
    assert_eq!((exit, line(&report, OWN).0), (1, 4.into()), "{report}");

    server.kill();
    let (exit, report) = ledger(&dir, &url, &settings);
    assert_eq!(exit, 2, "{report}");
    let problem = report["problems"][0].as_str().unwrap();
    assert!(
        problem.contains(&server.port().to_string()) && !problem.contains(server.password()),
        "{problem}"
    );
}
