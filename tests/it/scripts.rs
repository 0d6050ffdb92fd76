//! What the README has people type, and the scripts that come with the daemon.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::daemon::Daemon;
use crate::support::events;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> Output {
    command.current_dir(root()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `logs-ingest events` beside the running daemon.
fn show_events(daemon: &Daemon, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logs-ingest"));
    let output = run(command.arg("events").arg("--data-dir").arg(daemon.data_dir()).args(args));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_readmes_first_curl_is_stored_and_its_next_line_shows_the_event() {
    let daemon = Daemon::start();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let curl = readme.lines().find(|line| line.starts_with("curl -i ")).expect("the README has a first curl");
    let here = curl.replace("http://127.0.0.1:8000", &daemon.url());
    assert_ne!(curl, here);
    let answer = text(&run(Command::new("sh").arg("-c").arg(&here)).stdout);
    assert!(
        answer.starts_with("HTTP/1.1 202 Accepted\r\n") && answer.contains("X-Stored-In: spool"),
        "{answer}"
    );
    let next = readme.lines().skip_while(|line| *line != curl).nth(1).unwrap();
    assert_eq!(next, "./scripts/run events --last 5");
    let shown = show_events(&daemon, &["--last", "5"]);
    assert!(shown.contains("r-1") && shown.contains("Sale completed"), "{shown}");
}

#[test]
fn events_are_found_by_what_an_administrator_knows() {
    let daemon = Daemon::start();
    let mut ids = Vec::new();
    for level in ["info", "error", "info"] {
        let mut event = events::event();
        event["level"] = level.into();
        ids.push(event["request_id"].as_str().unwrap().to_owned());
        assert_eq!(daemon.client().post_event(event.to_string()).status, 202);
    }
    let errors = show_events(&daemon, &["--level", "error"]);
    assert!(errors.contains(&ids[1]) && !errors.contains(&ids[0]), "{errors}");
    let one = show_events(&daemon, &["--request-id", &ids[2], "--json"]);
    let line: serde_json::Value = serde_json::from_str(one.trim_end()).expect("one line of JSON");
    assert_eq!(line["event"]["request_id"], ids[2]);
    assert_eq!(line["state"], "home");
}

#[test]
fn a_spool_that_is_not_there_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logs-ingest"));
    let output = run(command.args(["events", "--data-dir", "/nowhere/at/all"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nowhere/at/all"), "{}", text(&output.stderr));
}

#[test]
fn the_validator_of_running_instances_finds_nothing_wrong() {
    let daemon = Daemon::start();
    let mut command = Command::new("python3");
    let output = run(command.arg("scripts/validate_logs_ingest.py").arg(daemon.url()));
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.trim_end().ends_with(" passed, 0 failed"), "{said}");
}

#[test]
fn the_curl_examples_work_as_they_stand() {
    let mut daemon = Daemon::start();
    let folder = crate::support::TempDir::new();
    let file = folder.path().join("events.ndjson");
    let lines: Vec<String> = (0..3).map(|_| events::event().to_string()).collect();
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    let file = file.display().to_string();
    let example = |name: &str, args: &[&str]| {
        let mut command = Command::new("sh");
        run(command.arg(format!("scripts/examples/{name}")).args(args).env("LOGS_INGEST_URL", daemon.url()))
    };
    for (name, args) in [
        ("one.sh", &[][..]),
        ("file.sh", &[file.as_str()]),
        ("batch.sh", &[file.as_str()]),
        ("retry.sh", &[]),
        ("health.sh", &[]),
    ] {
        let output = example(name, args);
        assert!(output.status.success(), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
    }
    assert_eq!(daemon.health()["spool"]["home"], 8);
    // What is refused is named, by the batch too.
    std::fs::write(&file, format!("{}\n{{}}\n", events::event())).unwrap();
    let output = example("batch.sh", &[file.as_str()]);
    assert!(
        output.status.code() == Some(1) && text(&output.stdout).contains(r#""rejected":1"#),
        "{output:?}"
    );
    let url = daemon.url();
    daemon.terminate();
    let output = run(Command::new("sh").arg("scripts/examples/health.sh").env("LOGS_INGEST_URL", url));
    assert_eq!(output.status.code(), Some(69), "{}", text(&output.stderr));
}

#[test]
fn the_functions_for_scripts_send_any_text_as_it_is() {
    let daemon = Daemon::start();
    let message = "50 % \"off\"\\ for caf\u{e9}s\tand\n'more' $HOME";
    let shell = ". scripts/examples/log_event.sh; log_event warn price.cut \"$MESSAGE\"";
    let shells = ["dash", "bash"].map(|name| {
        let mut command = Command::new(name);
        command.arg("-c").arg(shell);
        command
    });
    let mut python = Command::new("python3");
    python.arg("scripts/examples/log_event.py").arg(message);
    for mut command in shells.into_iter().chain([python]) {
        let output = run(command.env("LOGS_INGEST_URL", daemon.url()).env("MESSAGE", message));
        assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    }
    let shown = show_events(&daemon, &["--json"]);
    let stored: Vec<serde_json::Value> =
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(stored.len(), 3);
    assert!(stored.iter().all(|line| line["event"]["message"] == message), "{shown}");
    // A daemon that refuses or does not run is not a success.
    let refused = run(Command::new("dash")
        .args(["-c", ". scripts/examples/log_event.sh; log_event loud a b"])
        .env("LOGS_INGEST_URL", daemon.url()));
    assert_eq!(refused.status.code(), Some(22), "{}", text(&refused.stderr));
}
