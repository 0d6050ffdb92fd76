//! A server's processes, and a shell that ends them when the test process is gone, however it went.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A server's first process and the shell that sees to its end.
pub(super) struct Guarded {
    guardian: Child,
    server: Pid,
}

impl Guarded {
    /// Makes the cluster where that was not done yet, starts the server, tells its process id. It refuses to
    /// run as root: then it is its package's own user's.
    /// A word on the guardian's input: kill the server, keep the folder. End of input: stop it, remove the folder.
    const SCRIPT: &str = r#"
        trap '' INT TERM
        folder=$1 programs=$2 port=$3 limit=$4; shift 4
        cd "$folder"
        exec 3>>"$folder/postgres.log"
        as=()
        if [ "$(id -u)" = 0 ]; then
            as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
            chown -R postgres "$folder"
        fi
        [ -e data ] || ${as[@]+"${as[@]}"} "$programs/initdb" -D data -U postgres -E UTF8 --no-locale --no-sync \
            --auth-local=trust --auth-host=scram-sha-256 </dev/null >&3 2>&3
        ulimit -S -f "$limit"
        ${as[@]+"${as[@]}"} "$programs/postgres" -D "$folder/data" -p "$port" -c listen_addresses=127.0.0.1 \
            -c "unix_socket_directories=$folder" -c dynamic_shared_memory_type=mmap "$@" </dev/null >&3 2>&3 &
        server=$!
        ulimit -S -f unlimited
        echo $server
        if read -r word; then
            kill -STOP $server
            kill -KILL $(cat /proc/$server/task/$server/children 2>/dev/null) $server 2>/dev/null
            wait $server 2>/dev/null
        else
            kill -CONT $(cat /proc/$server/task/$server/children 2>/dev/null) $server 2>/dev/null
            kill -QUIT $server 2>/dev/null
            wait $server 2>/dev/null
            rm -rf "$folder"
        fi
    "#;

    pub(super) fn start(
        programs: &Path,
        folder: &Path,
        port: u16,
        file_size_max: Option<u64>,
        settings: &[(String, String)],
    ) -> Self {
        // The shell counts in KiB.
        let limit = file_size_max.map_or_else(|| "unlimited".to_owned(), |bytes| (bytes / 1024).to_string());
        let mut guardian = Command::new("bash")
            .args(["-c", Self::SCRIPT, "postgres-guardian"])
            .args([folder, programs])
            .args([port.to_string(), limit])
            .args(settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(guardian.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let server = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        Self { guardian, server }
    }

    /// The first process leads: stopped, it starts no more.
    pub(super) fn signal_all(&self, signal: Signal) {
        kill_process(self.server, signal).unwrap();
        let first = self.server.as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        for child in children.split_whitespace() {
            // It may have ended by now.
            let _ = kill_process(Pid::from_raw(child.parse().unwrap()).unwrap(), signal);
        }
    }

    /// Asks for a stop in good order, without its clients.
    pub(super) fn stop(&self) {
        kill_process(self.server, Signal::INT).unwrap();
    }

    pub(super) fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server.as_raw_nonzero()));
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
