//! The commands beside the daemon: the real binary on real stores.

mod dead_letters;
mod replay;
mod send;
mod spool;
mod status;
mod validate;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::events;

/// A command that was run to its end.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("commands speak UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Its one line of JSON.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// One JSON value a line.
    fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// The binary with nothing of the caller's environment but what `settings` say.
fn command(settings: &[(&str, &str)], args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logs-ingest"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TZ", "UTC");
    command.envs(settings.iter().copied()).args(args).stdin(Stdio::null());
    command
}

fn run(settings: &[(&str, &str)], args: &[&str]) -> Ran {
    Ran::of(command(settings, args).output().expect("the binary starts"))
}

/// On the spool in `dir`, whoever has it.
fn run_on(dir: &Path, args: &[&str]) -> Ran {
    run(&[("DATA_DIR", dir.to_str().expect("UTF-8"))], args)
}

/// Sends events to the daemon, each changed as wanted; their request ids.
fn post(daemon: &Daemon, count: usize, change: impl Fn(usize, &mut Value)) -> Vec<String> {
    let mut client = daemon.client();
    let mut send = |n| {
        let mut event = events::event();
        change(n, &mut event);
        assert_eq!(client.post_event(event.to_string()).status, 202);
        event["request_id"].as_str().expect("a string").to_owned()
    };
    (0..count).map(&mut send).collect()
}

/// Every command in the guide, as the shell would run it, but asked for its help: a flag that is not there fails.
#[test]
fn every_command_in_the_operations_guide_is_understood() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let guide = std::fs::read_to_string(guide).expect("the guide is there");
    let lines = guide.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line));
    let commands: Vec<&str> =
        lines.filter(|line| line.starts_with("logs-ingest ") && !line.contains("DEGRADED")).collect();
    assert!(commands.len() > 10, "{commands:?}");
    let folder = Path::new(env!("CARGO_BIN_EXE_logs-ingest")).parent().expect("a folder");
    let shell = |line: &str| {
        let line = line.split("  #").next().unwrap_or(line);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{line} --help")).env("PATH", folder).stdin(Stdio::null());
        Ran::of(command.output().expect("sh starts"))
    };
    for line in commands {
        let help = shell(line).ok();
        assert!(help.out.contains("Usage: logs-ingest "), "{line}: {help:?}");
    }
    assert_eq!(shell("logs-ingest spool export --no-such-flag").code, Some(64));
}

/// What a command's arguments say of it is its help, exit codes and all.
#[test]
fn help_says_what_a_command_does_and_how_it_ends() {
    for (args, said) in [
        (&["status"][..], "Exit code: 0 all is well"),
        (&["ledger"], "Exit code: 0"),
        (&["events"], "Reads DATA_DIR/spool.sqlite3"),
        (&["spool"], "Check every row's checksum"),
        (&["spool", "verify"], "Exit code 0: all is sound"),
        (&["spool", "export"], "A line is {\"seq\":..,"),
        (&["dead-letters"], "Safe beside a running"),
        (&["dead-letters", "retry"], "Exit code 0: all of them wait again"),
        (&["send"], "Exit code 0: all is stored"),
        (&["validate"], "Exit code 0: every event would be taken"),
        (&["replay"], "Exit code 0: every wanted event was acknowledged"),
    ] {
        let help = run(&[], &[args, &["--help"]].concat()).ok().out;
        let on_one_line = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(on_one_line.contains(said), "{args:?}: {help}");
    }
}
