//! Real PostgreSQL servers: one throw-away cluster each, in a folder of its own.
//!
//! Programs come from `scripts/postgres ensure`. A server's guardian (a shell that waits for the end of its
//! standard input) ends it and removes its folder even when the test process is killed.

mod certificates;
mod guarded;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use rustix::fs::FlockOperation;
use rustix::process::Signal;

use guarded::Guarded;

use super::ports;

/// A server has this long to answer after its start, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The ordinary role that the daemon connects as, and its database.
const ROLE: &str = "till";
const PASSWORD: &str = "s3cret-4711";
const DATABASE: &str = "logs";

/// How a server is set up.
#[derive(Default)]
pub(crate) struct Builder {
    settings: Vec<(String, String)>,
    file_size_max: Option<u64>,
    tls: bool,
}

impl Builder {
    /// A line of `postgresql.conf`; a later one wins.
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// No file may grow beyond so many bytes, as on a full disk. The log of transactions needs 16 MiB.
    pub(crate) fn file_size_max(mut self, bytes: u64) -> Self {
        self.file_size_max = Some(bytes);
        self
    }

    /// Speaks TLS, with a certificate for `localhost` by the authority in [`Server::authority`].
    pub(crate) fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts the server, with the role and its database, and waits until it answers.
    pub(crate) fn start(self) -> Server {
        let template = template();
        let mut server = self.prepare();
        copy(template, &server.folder.join("data"));
        server.restart();
        server
    }

    /// A server that does not run yet, without a cluster.
    fn prepare(mut self) -> Server {
        let port = ports::claim(12_000..19_000, 1);
        let folder = super::folder_of_a_server("pg", port);
        if self.tls {
            let own = certificates::make(&folder);
            for (name, value) in
                [("ssl", "on"), ("ssl_cert_file", &own.certificate), ("ssl_key_file", &own.key)]
            {
                self.settings.push((name.to_owned(), value.to_owned()));
            }
        }
        Server {
            port,
            folder,
            programs: programs(),
            settings: self.settings,
            file_size_max: self.file_size_max,
            guarded: None,
        }
    }
}

/// A cluster with the role and its database, as it is after a proper stop. Each server begins with a copy: to make one takes
/// longer than most tests. It stays below `target/tmp`.
fn template() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let version = Command::new(programs().join("postgres")).arg("--version").output().unwrap().stdout;
        let told = crc32fast::hash(format!("{version:?}{ROLE}{PASSWORD}{DATABASE}").as_bytes());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{told:08x}"));
        let lock = fs::File::create(path.with_extension("lock")).unwrap();
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
        if !path.exists() {
            let mut server = Builder::default().prepare();
            server.restart();
            server.sql_in("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"));
            server.sql_in("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {ROLE}"));
            let guarded = server.guarded.take().unwrap();
            guarded.stop();
            super::poll(START_LIMIT, "the server to stop", || guarded.has_ended().then_some(()));
            guarded.end(true);
            // Whole or not at all.
            let half = path.with_extension("half");
            drop(fs::remove_dir_all(&half));
            copy(&server.folder.join("data"), &half);
            fs::rename(&half, &path).unwrap();
        }
        path
    })
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-r", "--preserve=mode"]).args([from, to]).status().unwrap();
    assert!(copied.success(), "cannot copy {} to {}", from.display(), to.display());
}

/// The folder of `initdb` and `postgres`, installed when missing.
fn programs() -> PathBuf {
    super::is_more_than_the_spool("PostgreSQL");
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
        let output = Command::new(script).arg("ensure").stdin(Stdio::null()).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/postgres ensure: {complaint}");
        String::from_utf8(output.stdout).unwrap().trim().into()
    };
    FOUND.get_or_init(find).clone()
}

/// A running server. Dropped, it is stopped and its folder removed.
pub(crate) struct Server {
    port: u16,
    folder: PathBuf,
    programs: PathBuf,
    settings: Vec<(String, String)>,
    file_size_max: Option<u64>,
    guarded: Option<Guarded>,
}

impl Server {
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    /// For `POSTGRES_URL`: an ordinary role that owns its database, nothing more.
    pub(crate) fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The same role in another database.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://{ROLE}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Another role, whose password is the same.
    pub(crate) fn url_as(&self, role: &str) -> String {
        format!("postgres://{role}:{PASSWORD}@localhost:{}/{DATABASE}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What no text may show.
    pub(crate) fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The certificate of the authority that signed the server's, and of one that did not.
    pub(crate) fn authority(&self) -> PathBuf {
        certificates::authority(&self.folder)
    }

    pub(crate) fn stranger(&self) -> PathBuf {
        certificates::stranger(&self.folder)
    }

    /// Runs statements in the daemon's database as the superuser. Rows as text, of all statements; NULL is
    /// an empty text.
    pub(crate) fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        self.sql_in(DATABASE, sql)
    }

    /// The same in another database.
    pub(crate) fn sql_in(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        let mut client = self.superuser(database).unwrap();
        let messages = client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|index| row.get(index).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        });
        rows.collect()
    }

    /// The one value that `sql` gives.
    pub(crate) fn value(&self, sql: &str) -> String {
        let mut rows = self.sql(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.remove(0).remove(0)
    }

    /// A session of its own in the daemon's database, which is let in even when no other is.
    pub(crate) fn session(&self) -> Client {
        self.superuser(DATABASE).unwrap()
    }

    fn superuser(&self, database: &str) -> Result<Client, postgres::Error> {
        let mut config = Config::new();
        config.host_path(&self.folder).port(self.port).user("postgres").dbname(database);
        config.connect_timeout(Duration::from_secs(5)).connect(NoTls)
    }

    /// As a power cut takes it: SIGKILL to all of its processes. The folder stays.
    pub(crate) fn kill(&mut self) {
        if let Some(guarded) = self.guarded.take() {
            guarded.end(true);
        }
    }

    /// The same server again, after `kill`; it answers when this returns.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.guarded =
            Some(Guarded::start(&self.programs, &self.folder, self.port, self.file_size_max, &self.settings));
        super::poll(START_LIMIT, "the server to answer", || {
            assert!(!self.guarded.as_ref().is_none_or(Guarded::has_ended), "no server: {}", self.log());
            self.superuser("postgres").ok()
        });
    }

    /// Stops all of its processes in their tracks: connections stay, nothing answers.
    pub(crate) fn freeze(&self) {
        self.guarded.as_ref().expect("the server was killed").signal_all(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.guarded.as_ref().expect("the server was killed").signal_all(Signal::CONT);
    }

    /// What the server has to say.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("postgres.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.guarded.take() {
            Some(guarded) => guarded.end(false),
            None => drop(fs::remove_dir_all(&self.folder)),
        }
    }
}
