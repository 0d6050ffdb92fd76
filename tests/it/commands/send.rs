//! `send`: nothing is lost between a file and the daemon, and nothing is stored twice.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::support::proxy::Proxy;
use crate::support::stores::rows;
use crate::support::tls::Certificate;
use crate::support::{TempDir, poll};

const LIMIT: Duration = Duration::from_secs(30);
const PLAIN: [&str; 4] = ["--service", "till", "--env", "shop"];

/// `send` with lines to come, in a folder of its own.
fn sending(folder: &TempDir, args: &[&str]) -> Child {
    let mut command = command(&[], &[&["send"], &PLAIN[..], args].concat());
    command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary starts")
}

fn write_lines(child: &mut Child, numbers: std::ops::Range<usize>) {
    let lines: String = numbers.map(|n| format!("line {n}\n")).collect();
    child.stdin.as_mut().expect("open").write_all(lines.as_bytes()).expect("it reads");
}

fn ended(mut child: Child) -> Ran {
    drop(child.stdin.take());
    Ran::of(child.wait_with_output().expect("it ends"))
}

/// The messages of stored events; each event's request_id is its own.
fn messages(daemon: &Daemon) -> BTreeSet<String> {
    let rows = rows(&daemon.data_dir(), "raw_logs");
    let ids: BTreeSet<_> = rows.iter().map(|row| &row.request_id).collect();
    assert_eq!(ids.len(), rows.len(), "an event is stored twice");
    rows.iter()
        .map(|row| serde_json::from_slice::<Value>(&row.payload).expect("JSON")["message"].to_string())
        .collect()
}

#[test]
fn a_daemon_killed_in_the_middle_gets_every_line_once() {
    let (certificate, folder) = (Certificate::make(), TempDir::new());
    let keys = folder.path().join("keys");
    fs::write(&keys, "till 0123456789abcdef\n").expect("a file");
    let key = folder.path().join("key");
    fs::write(&key, "0123456789abcdef\n").expect("a file");
    for file in [&keys, &key] {
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
    }
    let mut daemon =
        certificate.daemon().env("API_KEYS_FILE", keys.display()).env("PORT", Proxy::reserve()).start();
    let url = format!("https://localhost:{}", daemon.addr().port());
    let ca = certificate.certificate();
    let named = ["--ca-file", ca.to_str().expect("UTF-8"), "--api-key-file", key.to_str().expect("UTF-8")];
    let mut child =
        sending(&folder, &[&["--url", &url, "--batch-events", "100", "--json"], &named[..]].concat());
    write_lines(&mut child, 0..950);
    poll(LIMIT, "the first lines to be stored", || {
        (rows(&daemon.data_dir(), "raw_logs").len() == 950).then_some(())
    });
    daemon.kill9();
    write_lines(&mut child, 950..2_000);
    daemon.restart_on_same_port();
    let ran = ended(child);
    assert_eq!((ran.code, ran.json()["stored"].as_u64()), (Some(0), Some(2_000)), "{ran:?}");
    assert_eq!(messages(&daemon).len(), 2_000);
    assert!(!ran.err.contains("0123456789abcdef"), "{ran:?}");

    // With the wrong key nothing is sent, and it says which option names the right one.
    fs::write(&key, "fedcba9876543210\n").expect("a file");
    let mut child =
        sending(&folder, &[&["--url", &url, "--rejected", "wrong-key.ndjson"], &named[..]].concat());
    write_lines(&mut child, 0..1);
    let ran = ended(child);
    assert!(ran.code == Some(1) && ran.err.contains("--api-key-file"), "{ran:?}");
    assert!(fs::read_to_string(folder.path().join("wrong-key.ndjson")).expect("the line").contains("line 0"));
}

#[test]
fn what_is_refused_is_in_a_file_and_taken_when_it_is_right() {
    let (daemon, folder) = (Daemon::start(), TempDir::new());
    let send = |args: &[&str]| {
        let url = daemon.url();
        let mut command = command(&[], &[&["send", "--url", &url], args].concat());
        Ran::of(command.current_dir(folder.path()).output().expect("the binary starts"))
    };
    let (good, mut without) = (events::event(), events::event());
    without.as_object_mut().expect("an object").remove("level");
    let text = format!("{good}\nno json\n\n{without}\r\n\u{feff}{}", events::event());
    let gzip = folder.path().join("events.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(&gzip).expect("a file"), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish().map(drop)).expect("written");

    let ran = send(&["--rejected", "wrong.ndjson", "events.gz"]);
    assert!(
        ran.code == Some(1) && ran.out.contains("events stored, ") && ran.out.contains("wrong.ndjson"),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("events.gz:2: it is not a JSON object")
            && ran.err.contains("events.gz:4: body.level"),
        "{ran:?}"
    );
    let again = send(&["--rejected", "wrong.ndjson", "events.gz"]);
    assert!(again.err.contains("wrong.ndjson exists already"), "{again:?}");
    let stored = daemon.health()["spool"]["home"].as_u64().expect("a number");
    let left =
        fs::read_to_string(folder.path().join("wrong.ndjson")).expect("the file").lines().count() as u64;
    let ran = send(&[&PLAIN[..], &["--level", "info", "--action", "sale", "wrong.ndjson"]].concat());
    assert_eq!((ran.code, stored + left), (Some(0), 4), "{ran:?}");
    assert_eq!(daemon.health()["spool"]["home"], 4);
}

/// A daemon with smaller limits than the sender thinks.
#[test]
fn a_batch_that_is_too_large_is_sent_in_parts() {
    let (daemon, folder) = (
        Daemon::builder().env("MAX_BATCH_EVENTS", 30).env("MAX_EVENT_BYTES", "1KiB").start(),
        TempDir::new(),
    );
    let mut child = sending(&folder, &["--url", &daemon.url(), "--rejected", "large"]);
    write_lines(&mut child, 0..200);
    child
        .stdin
        .as_mut()
        .expect("open")
        .write_all(&[b"x".repeat(2_000), b"\n".to_vec()].concat())
        .expect("it reads");
    let ran = ended(child);
    assert!(ran.code == Some(1) && ran.out.starts_with("200 events stored, 1 refused: see large"), "{ran:?}");
    assert!(
        ran.err.contains("standard input:201: body: the event is larger than the limit of 1024 bytes"),
        "{ran:?}"
    );
    assert_eq!(messages(&daemon).len(), 200);
}

#[test]
fn what_nobody_takes_is_kept_and_sent_later() {
    let (mut daemon, folder) = (Daemon::builder().env("PORT", Proxy::reserve()).start(), TempDir::new());
    daemon.terminate();
    let url = daemon.url();
    let mut away = sending(&folder, &["--url", &url, "--give-up-after", "1s", "--rejected", "away"]);
    write_lines(&mut away, 0..600);
    let mut stopped = sending(&folder, &["--url", &url, "--rejected", "stopped"]);
    write_lines(&mut stopped, 600..610);
    let mut said = String::new();
    BufReader::new(stopped.stderr.as_mut().expect("piped"))
        .read_line(&mut said)
        .expect("it says that it waits");
    kill_process(Pid::from_child(&stopped), Signal::INT).expect("it runs");
    for (ran, lines) in [(ended(away), "600"), (ended(stopped), "10")] {
        assert!(
            ran.code == Some(1) && ran.out.starts_with(&format!("0 events stored, {lines} not sent: see ")),
            "{ran:?}"
        );
    }
    assert!(said.contains("trying again for 600s"), "{said}");
    daemon.restart_on_same_port();
    let send = |args: &[&str]| {
        let mut command = command(&[], &[&["send", "--url", &url], args].concat());
        Ran::of(command.current_dir(folder.path()).output().expect("the binary starts"))
    };
    assert_eq!(send(&["away", "stopped"]).code, Some(0));
    assert_eq!(messages(&daemon).len(), 610);
    // Files are where they were: nothing needs to be kept of them.
    daemon.terminate();
    let ran = send(&["--give-up-after", "0", "away"]);
    assert!(
        ran.code == Some(1) && ran.err.contains("nothing was sent") && !ran.out.contains("see"),
        "{ran:?}"
    );
}

#[test]
fn an_interruption_ends_it_whatever_it_reads() {
    const LINES: usize = 1_000_000;
    let (daemon, folder) = (Daemon::start(), TempDir::new());
    let url = daemon.url();
    // Nobody writes, and the first byte is still to come.
    let mut silent = sending(&folder, &["--url", &url, "--rejected", "silent"]);
    let open = silent.stdin.take();
    let caught = format!("/proc/{}/status", silent.id());
    poll(LIMIT, "signals to be caught", || {
        let status = fs::read_to_string(&caught).expect("it runs");
        status
            .lines()
            .any(|line| line.starts_with("SigCgt:") && !line.ends_with("0000000000000000"))
            .then_some(())
    });
    poll(LIMIT, "its reader to wait", || {
        let threads = fs::read_dir(format!("/proc/{}/task", silent.id())).expect("it runs");
        threads
            .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok())
            .any(|name| name.trim() == "reader")
            .then_some(())
    });
    kill_process(Pid::from_child(&silent), Signal::INT).expect("it runs");
    let ran = Ran::of(silent.wait_with_output().expect("it ends"));
    assert!(ran.code == Some(1) && ran.err.contains("interrupted"), "{ran:?}");
    drop(open);

    // A file that would take long to read: what is not sent stays where it is.
    let lines: String = (0..LINES).map(|n| format!("line {n}\n")).collect();
    fs::write(folder.path().join("lines"), lines).expect("a file");
    let long = sending(&folder, &["--url", &url, "--rejected", "long", "--json", "lines"]);
    poll(LIMIT, "the first lines to be stored", || (daemon.health()["spool"]["home"] != 0).then_some(()));
    kill_process(Pid::from_child(&long), Signal::INT).expect("it runs");
    let ran = ended(long);
    let report = ran.json();
    let [stored, not_sent] =
        ["stored", "not_sent"].map(|name| report[name].as_u64().expect("a number") as usize);
    let kept = fs::read_to_string(folder.path().join("long")).expect("the file").lines().count();
    assert!(ran.code == Some(1) && ran.err.contains("read up to lines:"), "{ran:?}");
    assert!(kept == not_sent && stored + kept < LINES / 2, "{report}");
    assert_eq!(messages(&daemon).len(), stored);
    let up_to =
        ran.err.rsplit("read up to lines:").next().expect("told").split(';').next().expect("a number");
    assert_eq!(up_to.parse(), Ok(stored + kept), "{ran:?}");
}
