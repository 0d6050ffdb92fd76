//! What `--help`, `init` and `check-config` say of settings. Unit tests beside `config` compare README and sample
//! file with the declarations.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use logs_ingest::config::definitions;
use serde_json::Value;

use crate::support::TempDir;
use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::kafka::{Broker, Version};
use crate::support::postgres::Server;
use crate::support::proxy::Proxy;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The program, with nothing of the caller's environment.
fn run(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_logs-ingest"))
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(dir)
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_has_every_setting() {
    let home = TempDir::new();
    let help = text(&run(home.path(), &["--help"], &[]).stdout);
    for setting in definitions() {
        assert!(help.contains(&format!("{} ", setting.flag())), "{} in {help}", setting.flag());
        assert!(help.contains(&format!("[env: {}", setting.name)), "{} in {help}", setting.name);
    }
}

#[test]
fn init_writes_once_for_this_user_alone_and_never_over_a_file() {
    use std::os::unix::fs::PermissionsExt;
    let home = TempDir::new();
    let path = home.path().join("logs-ingest.env");
    let shown = run(home.path(), &["init", "-"], &[]);
    assert_eq!((shown.status.code(), text(&shown.stdout)), (Some(0), file("deploy/logs-ingest.env")));
    assert_eq!(run(home.path(), &["init"], &[]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), file("deploy/logs-ingest.env"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    fs::write(&path, "KAFKA_TOPIC=mine\n").unwrap();
    let again = run(home.path(), &["init"], &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("stays as it is"), "{}", text(&again.stderr));
    assert_eq!(fs::read_to_string(&path).unwrap(), "KAFKA_TOPIC=mine\n");

    assert_eq!(run(home.path(), &["init", "--force"], &[]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), file("deploy/logs-ingest.env"));
    let nowhere = run(home.path(), &["init", "no/such/folder/x.env"], &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("no/such/folder/x.env"), "{}", text(&nowhere.stderr));
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["logs-ingest.env"], "nothing else is left behind");
}

/// `check-config --json`: its exit code and report.
fn check(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, Value) {
    let output = run(dir, &[args, &["check-config", "--json"]].concat(), environment);
    let said = text(&output.stdout);
    let report = serde_json::from_str(&said);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {said} {}", text(&output.stderr))))
}

fn setting<'r>(report: &'r Value, name: &str) -> (&'r str, &'r str) {
    let settings = report["settings"].as_array().expect("a list");
    let one = settings.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    (one["value"].as_str().expect("a text"), one["origin"].as_str().expect("a text"))
}

/// Whether something on `subject` was found at `level` that says `part`.
fn found(report: &Value, subject: &str, level: &str, part: &str) -> bool {
    let is = |one: &Value| {
        one["subject"] == subject && one["level"] == level && one["text"].as_str().unwrap().contains(part)
    };
    report["checks"].as_array().expect("a list").iter().any(is)
}

#[test]
fn every_setting_is_shown_with_its_origin_and_no_secret() {
    const SECRET: &str = "hunter2-of-the-shop";
    let home = TempDir::new();
    let url = format!("postgres://till:{SECRET}@127.0.0.1:{}/logs", Proxy::reserve());
    let file = home.path().join("url");
    fs::write(&file, &url).unwrap();
    fs::write(home.path().join("POSTGRES_URL"), &url).unwrap();
    let (file, folder) = (file.display().to_string(), home.path().display().to_string());
    let port = Proxy::reserve().to_string();
    let environment =
        [("KAFKA_TOPIC", "till-logs"), ("WORKERS", " "), ("HOST", "127.0.0.1"), ("PORT", &port)];
    for (more, origin) in [
        (("POSTGRES_URL", &*url), "environment".to_owned()),
        (("POSTGRES_URL_FILE", &*file), format!("file {file}")),
        (("CREDENTIALS_DIRECTORY", &*folder), format!("credential {folder}/POSTGRES_URL")),
    ] {
        let environment = [&environment[..], &[more]].concat();
        let (code, report) = check(home.path(), &["--keep-days", "9"], &environment);
        assert_eq!(code, Some(1), "nothing listens at that address: {report}");
        assert_eq!(report["verdict"], "problem");
        assert_eq!(report["settings"].as_array().unwrap().len(), definitions().len());
        assert_eq!(setting(&report, "KEEP_DAYS"), ("9", "flag"));
        assert_eq!(setting(&report, "KAFKA_TOPIC"), ("till-logs", "environment"));
        assert_eq!(setting(&report, "KAFKA_CLIENT"), ("auto", "default"));
        assert_eq!(setting(&report, "WORKERS").1, "default", "a blank value is the default");
        let (shown, from) = setting(&report, "POSTGRES_URL");
        assert!(shown.contains("/logs") && from == origin, "{shown} {from}");
        assert!(found(&report, "postgres", "problem", "refused"), "{report}");
        let people = run(home.path(), &["check-config"], &environment);
        for said in [report.to_string(), text(&people.stdout), text(&people.stderr)] {
            assert!(!said.contains(SECRET), "{said}");
        }
    }
    assert!(!home.path().join("data").exists(), "nothing is made");
}

#[test]
fn a_setting_that_cannot_be_used_is_78() {
    let home = TempDir::new();
    let output = run(home.path(), &["check-config"], &[("PORT", "many")]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("PORT=\"many\""), "{}", text(&output.stderr));
}

#[test]
fn a_running_daemon_is_found_and_not_disturbed() {
    let mut daemon = Daemon::start();
    let (dir, port) = (daemon.data_dir().display().to_string(), daemon.addr().port().to_string());
    let environment = [("HOST", "127.0.0.1"), ("PORT", &*port), ("DATA_DIR", &*dir)];
    for _ in 0..3 {
        let (code, report) = check(Path::new("/"), &[], &environment);
        assert_eq!((code, &report["verdict"]), (Some(0), &Value::from("ok")), "{report}");
        assert!(found(&report, "port", "ok", "runs: version"), "{report}");
        assert!(found(&report, "spool", "ok", "a running daemon has it"), "{report}");
    }
    assert_eq!(daemon.client().post_event(Body::minimal().text()).status, 202);
    assert!(daemon.terminate().success());

    // A stranger on the port, and a file where the folder should be.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let file = format!("{dir}/spool.sqlite3");
    let (code, report) =
        check(Path::new("/"), &[], &[("HOST", "127.0.0.1"), ("PORT", &*port), ("DATA_DIR", &*file)]);
    assert_eq!(code, Some(1), "{report}");
    assert!(found(&report, "port", "problem", "cannot listen"), "{report}");
    assert!(found(&report, "spool", "problem", "cannot be written"), "{report}");
}

#[test]
fn a_real_broker_and_a_real_server_are_judged() {
    let broker = Broker::builder(Version::V3_9).auto_create(false).start();
    let server = Server::start();
    let home = TempDir::new();
    let (brokers, url) = (broker.address(), server.url());
    let with_unreachable = format!("{brokers},127.0.0.1:{}", Proxy::reserve());
    let port = Proxy::reserve().to_string();
    let look = |brokers: &str, topic: &str| {
        let environment = [
            ("HOST", "127.0.0.1"),
            ("PORT", &*port),
            ("POSTGRES_URL", &*url),
            ("KAFKA_BROKERS", brokers),
            ("KAFKA_TOPIC", topic),
        ];
        check(home.path(), &[], &environment)
    };
    let (code, report) = look(&brokers, "missing");
    assert_eq!(code, Some(0), "{report}");
    assert!(found(&report, "kafka", "warning", "'missing' does not exist"), "{report}");
    assert!(found(&report, "postgres", "ok", "will be made at the first start"), "{report}");
    assert!(!found(&report, "postgres", "problem", ""), "{report}");

    broker.create_topic("plain", 3, &[]);
    let (code, report) = look(&with_unreachable, "plain");
    assert_eq!(code, Some(0), "{report}");
    assert!(found(&report, "kafka", "ok", "partitions: 3"), "{report}");
    assert!(found(&report, "kafka", "ok", "may write"), "{report}");
    assert!(found(&report, "kafka", "warning", "flush.messages=1"), "{report}");
    assert!(found(&report, "kafka", "warning", "the others answer for it"), "{report}");

    broker.create_topic("flushed", 1, &[("flush.messages", "1"), ("max.message.bytes", "10000")]);
    let (_, report) = look(&brokers, "flushed");
    assert!(found(&report, "kafka", "ok", "on that broker's disk"), "{report}");
    assert!(found(&report, "kafka", "warning", "larger events become dead letters"), "{report}");

    // Nothing was made: neither a topic nor a table.
    let (_, report) = look(&brokers, "missing");
    assert!(found(&report, "kafka", "warning", "'missing' does not exist"), "{report}");
    assert_eq!(server.value("SELECT to_regclass('raw_logs') IS NULL"), "t");
}

#[test]
fn a_missing_right_and_an_old_broker_are_named() {
    let home = TempDir::new();
    let port = Proxy::reserve().to_string();
    let look = |brokers: &str| {
        check(home.path(), &[], &[("HOST", "127.0.0.1"), ("PORT", &*port), ("KAFKA_BROKERS", brokers)])
    };
    let guarded = Broker::builder(Version::V3_9).acls().start();
    guarded.create_topic("pos-logs", 1, &[]);
    guarded.make_read_only("pos-logs");
    let (code, report) = look(&guarded.address());
    assert_eq!(code, Some(1), "{report}");
    assert!(found(&report, "kafka", "problem", "grant WRITE"), "{report}");
    drop(guarded);

    let old = Broker::start(Version::V2_8);
    let (code, report) = look(&old.address());
    assert_eq!(code, Some(0), "{report}");
    assert!(found(&report, "kafka", "warning", "classic"), "{report}");
}
