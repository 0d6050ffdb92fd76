//! What ends the daemon at once: bad settings, a port or a folder that is unavailable. The exit code
//! says what kind of problem it is; the text says what to change.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use logs_ingest::host::exit::Exit;

use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::proxy::Proxy;

const USAGE: Option<i32> = Some(64);
const UNAVAILABLE: Option<i32> = Some(69);
const BAD_SETTING: Option<i32> = Some(78);
const LIMIT: Duration = Duration::from_secs(15);

/// Variable, value, and ways to say what is legal, one of which must be there.
const BAD: &[(&str, &str, &[&str])] = &[
    ("PORT", "70000", &["65535"]),
    ("PORT", "http", &["65535"]),
    ("PORT", "-1", &["65535"]),
    ("WORKERS", "0", &["1"]),
    ("WORKERS", "many", &["1"]),
    ("QUEUE_EVENTS", "0", &["1"]),
    ("QUEUE_EVENTS", "1.5", &["1"]),
    ("QUEUE_BYTES", "lots", &["KiB", "MiB"]),
    ("MAX_CONNECTIONS", "0", &["1"]),
    ("MAX_CONNECTIONS", "all", &["1"]),
    ("UPSTREAM_CONNECTIONS", "0", &["from 5"]),
    ("HEAD_TIMEOUT", "soon", &["ms", "10s", "10 s"]),
    ("HEAD_TIMEOUT", "0", &["from 100ms"]),
    ("BODY_TIMEOUT", "-5s", &["ms", "15s", "15 s"]),
    ("IDLE_TIMEOUT", "5 parsecs", &["ms", "75s", "75 s"]),
    ("KAFKA_DEADLINE", "0s", &["ms", "1s", "1 s"]),
    ("KAFKA_DEADLINE", "never", &["ms", "3s", "3 s"]),
    ("SHUTDOWN_TIMEOUT", "later", &["ms", "10s", "10 s"]),
    ("MAX_EVENT_BYTES", "100", &["1 KiB", "1KiB", "1024"]),
    ("MAX_EVENT_BYTES", "17MiB", &["16 MiB", "16MiB", "16777216"]),
    ("MAX_EVENT_BYTES", "big", &["KiB", "MiB"]),
    ("MAX_EVENT_BYTES", "400 kilos", &["KiB", "MiB"]),
    ("SPOOL_MAX_BYTES", "everything", &["KiB", "MiB", "GiB"]),
    ("SPOOL_MAX_BYTES", "1", &["KiB", "MiB", "GiB"]),
    ("SPOOL_MAX_BYTES", "99999999999GiB", &["KiB", "MiB", "GiB"]),
    ("KEEP_DAYS", "a month", &["1"]),
    ("RECOVERY_RATE", "fast", &["1"]),
    ("LOG_LEVEL", "loud", &["info"]),
    ("PROTECT_STATUS", "maybe", &["on or off"]),
    ("KAFKA_CLIENT", "fancy", &["modern"]),
    ("KAFKA_TOPIC", "no such name!", &["letters"]),
    ("KAFKA_BROKERS", "till-broker:kafka", &["host:port", "HOST:PORT"]),
    ("KAFKA_BROKERS", "till-broker:70000", &["host:port", "HOST:PORT"]),
    ("KAFKA_BROKERS", "10.0.0.1:9092;10.0.0.2:9092", &["host:port", "HOST:PORT"]),
    ("KAFKA_BROKERS", "http://till-broker:9092", &["host:port", "HOST:PORT"]),
];

#[test]
fn a_bad_setting_is_78_and_named_with_its_value_and_what_is_legal() {
    let mut wrong = Vec::new();
    for (name, value, legal) in BAD {
        let (code, said) = Daemon::builder().env(name, value).run_to_exit(LIMIT);
        let named = said.contains(name) && said.contains(value);
        let helpful = legal.iter().any(|text| said.contains(text));
        let tidy = !said.contains("panicked") && !said.contains("listening on");
        if code != BAD_SETTING || !named || !helpful || !tidy {
            wrong
                .push(format!("{name}={value}: exit code {code:?}, none of {legal:?}, or worse, in: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_value_of_a_choice_is_taken() {
    for (name, values) in [
        ("LOG_LEVEL", &["error", "warn", "info", "debug"][..]),
        ("KAFKA_CLIENT", &["auto", "modern", "classic"]),
        ("MAX_EVENT_BYTES", &["1KiB", "409600", "16MiB"]),
        ("HEAD_TIMEOUT", &["10", "500ms", "10s", "1m"]),
        ("IDLE_TIMEOUT", &["75", "1h"]),
    ] {
        for value in values {
            let (daemon, port) = (Daemon::builder().env(name, value), Proxy::reserve());
            // LOG_LEVEL=error says no address: the port is known beforehand.
            let mut daemon = if *value == "error" || *value == "warn" {
                daemon.env("PORT", port).start_at(SocketAddr::from(([127, 0, 0, 1], port)))
            } else {
                daemon.start()
            };
            assert_eq!(daemon.get("/readyz").status, 200, "{name}={value}");
            assert!(daemon.terminate().success(), "{name}={value}");
        }
    }
}

#[test]
fn bad_usage_is_64() {
    for args in [&["--no-such-flag"][..], &["no-such-command"], &["serve", "surplus"]] {
        let builder = args.iter().fold(Daemon::builder(), |builder, arg| builder.arg(arg));
        let (code, said) = builder.run_to_exit(LIMIT);
        assert_eq!(code, USAGE, "{args:?}: {said}");
        assert!(said.contains(args[args.len() - 1]), "{args:?} is not named: {said}");
    }
}

#[test]
fn help_and_version_are_0() {
    for arg in ["--help", "--version"] {
        let (code, said) = Daemon::builder().arg(arg).run_to_exit(LIMIT);
        assert_eq!(code, Some(0), "{arg}: {said}");
    }
}

#[test]
fn every_exit_code_stands_in_the_help_and_in_the_readme() {
    let help =
        Command::new(env!("CARGO_BIN_EXE_logs-ingest")).arg("--help").output().expect("the program runs");
    let readme = include_str!("../../README.md");
    for text in [std::str::from_utf8(&help.stdout).expect("UTF-8"), readme] {
        let on_one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(on_one_line.contains(&Exit::all()), "{}\nis not in\n{text}", Exit::all());
    }
}

#[test]
fn a_port_in_use_is_69_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("a bound socket has an address").port();
    let (code, said) = Daemon::builder().env("PORT", port).run_to_exit(LIMIT);
    assert_eq!(code, UNAVAILABLE, "{said}");
    assert!(said.contains(&format!("127.0.0.1:{port}")), "the address is not named: {said}");
}

#[test]
fn an_address_that_this_machine_lacks_is_69_and_named() {
    // From a range that is kept for documentation.
    let (code, said) = Daemon::builder().env("HOST", "192.0.2.1").run_to_exit(LIMIT);
    assert_eq!(code, UNAVAILABLE, "{said}");
    assert!(said.contains("192.0.2.1"), "the address is not named: {said}");
}

#[test]
fn a_second_daemon_on_the_same_folder_is_69_and_the_first_goes_on() {
    let mut first = Daemon::start();
    let dir = first.data_dir();
    let (code, said) = Daemon::builder().data_dir(&dir).run_to_exit(LIMIT);
    assert_eq!(code, UNAVAILABLE, "{said}");
    assert!(said.contains(&dir.display().to_string()), "the folder is not named: {said}");
    assert!(said.contains(&first.pid().to_string()), "the holder is not named: {said}");
    assert_eq!(first.client().post_event(Body::minimal().text()).status, 202);

    // A lock is not left behind, not even by a killed daemon.
    first.kill9();
    let mut second = Daemon::builder().data_dir(&dir).start();
    assert_eq!(second.client().post_event(Body::minimal().text()).status, 202);
    assert!(second.terminate().success());
}

#[test]
fn a_folder_that_cannot_be_made_is_69_and_named() {
    let home = crate::support::TempDir::new();
    let file = home.path().join("a-file");
    std::fs::write(&file, "in the way").expect("a writable folder");
    let dir = file.join("data");
    let (code, said) = Daemon::builder().data_dir(&dir).run_to_exit(LIMIT);
    assert_eq!(code, UNAVAILABLE, "{said}");
    assert!(said.contains(&dir.display().to_string()), "the folder is not named: {said}");
}

#[test]
fn a_stop_is_0_and_a_killed_daemon_starts_again_with_everything() {
    let port = Proxy::reserve();
    let mut daemon = Daemon::builder().env("PORT", port).start();
    assert_eq!(daemon.client().post_event(Body::minimal().text()).status, 202);
    daemon.kill9();
    daemon.restart_on_same_port();
    assert_eq!(daemon.addr().port(), port);
    let ledger = crate::support::ledger::Ledger::of(&daemon);
    // What is at home was not held: the ledger is about this run.
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(daemon.terminate().code(), Some(0));
}

#[test]
fn a_frozen_daemon_answers_when_it_is_thawed() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    daemon.freeze();
    client.send("GET", "/livez", &[], b"").expect("the kernel takes it");
    assert!(!client.readable_within(Duration::from_millis(200)), "a frozen daemon says nothing");
    daemon.thaw();
    assert_eq!(client.read_response().expect("an answer").status, 200);
}
