//! `/metrics`: Prometheus's own tool accepts it, its values are right, the documentation and the alert rules have the same
//! metrics, and the rules fire when they should.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::TempDir;
use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::http::INGEST;
use crate::support::proxy::Proxy;

const LIMIT: Duration = Duration::from_secs(15);
const KEY: &str = "a-key-for-the-metrics";

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The output of Prometheus's own tool, which must succeed.
fn promtool(args: &[&str], input: &str) -> String {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there (Debian: apt-get install prometheus)");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "promtool {args:?}: {said}");
    said
}

/// A daemon that has every kind of metric: a key's name, and both remote stores.
fn full_daemon(home: &TempDir) -> Daemon {
    let keys: PathBuf = home.path().join("keys");
    fs::write(&keys, format!("till-7 {KEY}\n")).expect("a writable folder");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).expect("an own file");
    Daemon::builder()
        .env("API_KEYS_FILE", keys.display())
        .env("KAFKA_BROKERS", format!("127.0.0.1:{}", Proxy::reserve()))
        .env("POSTGRES_URL", format!("postgres://till@127.0.0.1:{}/logs", Proxy::reserve()))
        .start()
}

fn page(daemon: &Daemon) -> String {
    let answer = daemon.get("/metrics");
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("text/plain; version=0.0.4")));
    answer.text().to_owned()
}

/// Each sample by its name and labels.
fn samples(page: &str) -> BTreeMap<&str, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

fn families(page: &str) -> BTreeSet<&str> {
    page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

/// The names of metrics in a text, without the suffixes of histograms.
fn named_in(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_name(c));
    let bare = |word| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| str::strip_suffix(word, end)).unwrap_or(word)
    };
    let ours = |word: &&str| word.starts_with("logs_ingest_") || word.starts_with("process_");
    words.filter(ours).map(bare).collect()
}

#[test]
fn promtool_accepts_the_page() {
    let home = TempDir::new();
    let daemon = full_daemon(&home);
    assert_eq!(daemon.client().post(INGEST, &[("X-API-Key", KEY)], Body::minimal().text()).status, 202);
    let said = promtool(&["check", "metrics"], &page(&daemon));
    assert!(said.trim().is_empty(), "{said}");
    // It reports a page that is wrong.
    let wrong = std::panic::catch_unwind(|| promtool(&["check", "metrics"], "# TYPE a counter\na 1\n"));
    assert!(wrong.is_err());
}

#[test]
fn the_page_shows_what_happened() {
    let home = TempDir::new();
    let daemon = full_daemon(&home);
    let mut client = daemon.client();
    let key = [("X-API-Key", KEY)];
    for _ in 0..3 {
        assert_eq!(client.post(INGEST, &key, Body::minimal().text()).status, 202);
    }
    assert_eq!(client.post(INGEST, &key, "{").status, 422);
    assert_eq!(client.post_event("{}").status, 401);
    assert_eq!(client.get("/nowhere").status, 404);
    daemon.wait_for("/health", LIMIT, |health| {
        health["spool"]["held"] == 3
            && health["kafka"]["state"] == "down"
            && health["postgres"]["state"] == "down"
    });
    let page = page(&daemon);
    let samples = samples(&page);
    for (name, value) in [
        ("logs_ingest_events_stored_total{store=\"spool_held\"}", 3.0),
        ("logs_ingest_events_stored_total{store=\"kafka\"}", 0.0),
        ("logs_ingest_refused_total{reason=\"invalid\"}", 1.0),
        ("logs_ingest_refused_total{reason=\"api_key\"}", 1.0),
        ("logs_ingest_refused_total{reason=\"path\"}", 1.0),
        ("logs_ingest_client_requests_total{client=\"till-7\"}", 4.0),
        ("logs_ingest_store_up{store=\"kafka\"}", 0.0),
        ("logs_ingest_route{store=\"kafka\"}", 0.0),
        ("logs_ingest_route{store=\"spool\"}", 1.0),
        ("logs_ingest_backlog_events", 3.0),
        ("logs_ingest_spool_writable", 1.0),
        ("logs_ingest_queue_events", 0.0),
        ("logs_ingest_queue_max_events", 50_000.0),
        ("logs_ingest_max_connections", 1_024.0),
        ("logs_ingest_batch_events_sum", 3.0),
        // The request for the page is not an ingest request, nor is one that was refused because of its head.
        ("logs_ingest_request_duration_seconds_count", 4.0),
        ("logs_ingest_kafka_ack_duration_seconds_count", 0.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in\n{page}");
    }
    let rounds = samples["logs_ingest_batch_events_count"];
    assert_eq!(samples["logs_ingest_spool_commit_duration_seconds_count"], rounds, "{page}");
    assert!(samples["logs_ingest_backlog_oldest_age_seconds"] < 60.0, "{page}");
    assert!(samples["logs_ingest_request_duration_seconds_sum"] > 0.0, "{page}");
    let resident = samples["process_resident_memory_bytes"] / 1024.0;
    let by_the_system = daemon.rss_kib() as f64;
    assert!((resident / by_the_system - 1.0).abs() < 0.5, "{resident} KiB, but {by_the_system} KiB");
    assert!(samples["process_cpu_seconds_total"] > 0.0 && samples["process_open_fds"] > 10.0, "{page}");
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let home = TempDir::new();
    let daemon = full_daemon(&home);
    assert_eq!(daemon.client().post(INGEST, &[("X-API-Key", KEY)], Body::minimal().text()).status, 202);
    let page = page(&daemon);
    let docs = file("docs/metrics.md");
    assert_eq!(named_in(&docs), families(&page), "docs/metrics.md and the page have different metrics");
    // The values of labels, except those that the administrator chooses.
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        for label in ["store", "reason", "result", "answer"] {
            let Some((_, rest)) = line.split_once(&format!("{label}=\"")) else { continue };
            let value = rest.split('"').next().unwrap();
            assert!(docs.contains(&format!("`{value}`")), "docs/metrics.md lacks {line}");
        }
    }
    let alerts = file("deploy/prometheus-alerts.yml");
    let unknown: Vec<_> = named_in(&alerts).difference(&families(&page)).copied().collect();
    assert!(unknown.is_empty(), "the alerts use unknown metrics: {unknown:?}");
    let tried = file("tests/prometheus/alerts.yml");
    let unknown: Vec<_> = named_in(&tried).difference(&families(&page)).copied().collect();
    assert!(unknown.is_empty(), "the tests of the alerts use unknown metrics: {unknown:?}");
}

#[test]
fn the_alerts_fire_in_an_outage_and_not_on_a_quiet_day() {
    let said = promtool(&["check", "rules", "deploy/prometheus-alerts.yml"], "");
    assert!(said.contains("SUCCESS"), "{said}");
    let said = promtool(&["test", "rules", "tests/prometheus/alerts.yml"], "");
    assert!(said.contains("SUCCESS"), "{said}");
}
