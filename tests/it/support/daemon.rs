//! The real daemon as a child process, with settings, signals, its log and its figures from `/proc`.
//!
//! Invariants: it gets the settings of the test and nothing of the caller's environment; it has a
//! data folder of its own; it never outlives its handle.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::http::{Client, Response};
use super::log::Log;
use super::{TempDir, poll};

/// From start to `listening on`, on a busy box and with a spool to open.
const START_LIMIT: Duration = Duration::from_secs(20);
/// A broker that was killed acknowledges again after some 12 s, three times that on a busy machine.
const UP_LIMIT: Duration = Duration::from_secs(60);
/// From SIGTERM to the end: above the default `SHUTDOWN_TIMEOUT`.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Settings for a daemon that is not started yet.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    settings: BTreeMap<String, String>,
    args: Vec<String>,
    home: Option<Arc<TempDir>>,
    program: PathBuf,
}

impl Builder {
    /// Another program than the one that was just built.
    pub(crate) fn program(mut self, path: PathBuf) -> Self {
        self.program = path;
        self
    }

    /// One setting, as environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    pub(crate) fn data_dir(self, dir: &Path) -> Self {
        self.env("DATA_DIR", dir.display())
    }

    fn command(&mut self) -> Command {
        if !self.settings.contains_key("DATA_DIR") {
            let home = Arc::new(TempDir::new());
            self.settings.insert("DATA_DIR".to_owned(), home.path().display().to_string());
            self.home = Some(home);
        }
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.settings);
        for kept in ["PATH", "LD_LIBRARY_PATH", "TZ", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn spawn(&mut self) -> (Child, Log) {
        let mut child = self.command().spawn().expect("the daemon's binary starts");
        let log = Log::read(child.stderr.take().expect("stderr is piped"));
        (child, log)
    }

    /// With so much time for Kafka that a busy machine is not taken for a broker that is down.
    pub(crate) fn patient(self) -> Self {
        self.env("KAFKA_DEADLINE", "20s").env("SHUTDOWN_TIMEOUT", "60s")
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) fn start(self) -> Daemon {
        // Before the wait, so that a daemon that never listens is ended too.
        let mut daemon = self.launch();
        daemon.wait_until_listening();
        daemon
    }

    /// Starts the daemon and waits for nothing: it has to do before it listens.
    pub(crate) fn launch(mut self) -> Daemon {
        let (child, log) = self.spawn();
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        Daemon { builder: self, child: Some(child), log, addr: unknown }
    }

    /// Starts a daemon that may not say where it listens (`LOG_LEVEL=error`), and waits until it does.
    pub(crate) fn start_at(mut self, addr: SocketAddr) -> Daemon {
        let (child, log) = self.spawn();
        let daemon = Daemon { builder: self, child: Some(child), log, addr };
        poll(START_LIMIT, "the daemon to listen", || Client::try_connect(addr).ok());
        daemon
    }

    /// Runs a daemon that is expected to end by itself; its exit code and everything it said.
    pub(crate) fn run_to_exit(mut self, limit: Duration) -> (Option<i32>, String) {
        let (mut child, log) = self.spawn();
        let status = end_within(&mut child, &log, limit);
        if status.is_none() {
            let killed = child.kill().and_then(|()| child.wait());
            panic!("still running after {limit:?} ({killed:?}); it said:\n{}", log.text());
        }
        (status.and_then(|status| status.code()), log.text())
    }
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    builder: Builder,
    child: Option<Child>,
    log: Log,
    addr: SocketAddr,
}

impl Daemon {
    pub(crate) fn builder() -> Builder {
        let builder = Builder {
            settings: BTreeMap::new(),
            args: Vec::new(),
            home: None,
            program: env!("CARGO_BIN_EXE_logs-ingest").into(),
        };
        builder.env("HOST", "127.0.0.1").env("PORT", "0")
    }

    /// With the default settings: no Kafka, so that the spool is the events' home.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    fn wait_until_listening(&mut self) {
        let found = self.log.wait_for(START_LIMIT, |line| {
            let (_, rest) = line.split_once("listening on ")?;
            let rest = rest.trim_start_matches("http://");
            let addr = rest.split(|c: char| !c.is_ascii_hexdigit() && !"[]:.".contains(c)).next()?;
            addr.trim_end_matches('.').parse().ok()
        });
        self.addr =
            found.unwrap_or_else(|| panic!("the daemon does not listen; it said:\n{}", self.log.text()));
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        PathBuf::from(&self.builder.settings["DATA_DIR"])
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon was ended by the test").id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    // The log.

    pub(crate) fn logged(&self, text: &str) -> bool {
        self.log.text().contains(text)
    }

    pub(crate) fn log_text(&self) -> String {
        self.log.text()
    }

    /// The first line with `text`, now or within `limit`.
    pub(crate) fn wait_for_log(&self, text: &str, limit: Duration) -> String {
        let found = self.log.wait_for(limit, |line| line.contains(text).then(|| line.to_owned()));
        found
            .unwrap_or_else(|| panic!("not logged within {limit:?}: {text:?}; it said:\n{}", self.log.text()))
    }

    // Signals.

    pub(crate) fn signal(&self, signal: Signal) {
        let pid =
            Pid::from_raw(i32::try_from(self.pid()).expect("a pid fits i32")).expect("a pid is above 0");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {pid:?}: {error}"));
    }

    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        poll(STOP_LIMIT, "the daemon to be frozen", || (self.state() == 'T').then_some(()));
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_exit(STOP_LIMIT)
    }

    /// The status of a daemon that is expected to end by itself.
    pub(crate) fn wait_for_exit(&mut self, limit: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("the daemon was ended by the test");
        let status = end_within(child, &self.log, limit);
        let status =
            status.unwrap_or_else(|| panic!("no end within {limit:?}; it said:\n{}", self.log.text()));
        self.child = None;
        status
    }

    /// SIGKILL, as the power switch would.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("the daemon was ended by the test");
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
    }

    /// Ends it if it runs, and starts it again with the same settings and data.
    pub(crate) fn restart(&mut self) {
        if self.child.is_some() {
            self.terminate();
        }
        let (child, log) = self.builder.spawn();
        (self.child, self.log) = (Some(child), log);
        self.wait_until_listening();
    }

    /// The same, on the port that clients know. Where it matters, start on one of `Proxy::reserve`: a
    /// port that the system chose may be taken by an outgoing connection in between.
    pub(crate) fn restart_on_same_port(&mut self) {
        let port = self.addr.port().to_string();
        self.builder.settings.insert("PORT".to_owned(), port);
        self.restart();
    }

    // What it says of itself.

    pub(crate) fn health(&self) -> Value {
        self.json("/health")
    }

    pub(crate) fn stats(&self) -> Value {
        self.json("/stats")
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json()
    }

    /// Asks `path` until its JSON is as wanted.
    pub(crate) fn wait_for(&self, path: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        poll(limit, &format!("{path} to be as wanted"), || {
            last = self.json(path);
            wanted(&last).then(|| last.clone())
        })
    }

    /// Waits until events go to this store, or would. Before that they may go to the next one.
    pub(crate) fn wait_until_up(&self, store: &str) {
        self.wait_for("/health", UP_LIMIT, |health| health[store]["state"] == "up");
    }

    // What the system says of it.

    pub(crate) fn rss_kib(&self) -> u64 {
        self.status_figure("VmRSS:")
    }

    /// The highest it ever was.
    pub(crate) fn peak_rss_kib(&self) -> u64 {
        self.status_figure("VmHWM:")
    }

    pub(crate) fn threads(&self) -> u64 {
        self.status_figure("Threads:")
    }

    pub(crate) fn fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a running daemon has descriptors").count()
    }

    fn state(&self) -> char {
        self.status_line("State:").chars().next().expect("a state has a letter")
    }

    fn status_figure(&self, name: &str) -> u64 {
        let line = self.status_line(name);
        line.split_whitespace().next().and_then(|figure| figure.parse().ok()).expect("a figure in /proc")
    }

    fn status_line(&self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in /proc")).trim().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if let Some(child) = &mut self.child
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            eprintln!("cannot end the daemon with pid {}: {error}", child.id());
        }
        if failed {
            eprintln!("the daemon on {} said:\n{}", self.addr, self.log.text());
        }
    }
}

/// The end of its log is the end of the process, or just before it.
fn end_within(child: &mut Child, log: &Log, limit: Duration) -> Option<ExitStatus> {
    if !log.wait_for_end(limit) {
        return None;
    }
    let what = "the process to end after it closed its stderr";
    Some(poll(limit, what, || child.try_wait().expect("a child can be waited for")))
}
