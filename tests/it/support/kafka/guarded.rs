//! A broker's process, and a shell that ends it when the test process is gone, however it went.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::java;

/// A broker's process and the shell that sees to its end.
pub(super) struct Guarded {
    guardian: Child,
    broker: Pid,
}

impl Guarded {
    /// Starts the broker, tells its process id.
    /// A word on the guardian's input: end the broker, keep the folder. End of input: remove it too.
    const SCRIPT: &str = r#"
        trap '' INT TERM
        folder=$1; shift
        exec 3>>"$folder/broker.log"
        "$@" kafka.Kafka "$folder/server.properties" </dev/null >&3 2>&3 &
        echo $!
        if read -r word; then keep=yes; else keep=; fi
        kill -9 $! 2>/dev/null
        wait $! 2>/dev/null
        [ -n "$keep" ] || rm -rf "$folder"
    "#;

    pub(super) fn start(home: &Path, folder: &Path) -> Self {
        let java = java(home);
        let mut guardian = std::process::Command::new("bash")
            .args(["-c", Self::SCRIPT, "kafka-guardian"])
            .arg(folder)
            .arg(java.get_program())
            .args(java.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(guardian.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let broker = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        Self { guardian, broker }
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(self.broker, signal).unwrap();
    }

    pub(super) fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.broker.as_raw_nonzero()));
        stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
    }

    pub(super) fn end(mut self, keep_folder: bool) {
        let mut input = self.guardian.stdin.take().unwrap();
        if keep_folder {
            input.write_all(b"keep\n").unwrap();
        }
        drop(input);
        self.guardian.wait().unwrap();
    }
}
