//! Real Kafka brokers: one KRaft node each, in a folder of its own, and readers of what they hold.
//!
//! Jars come from `scripts/kafka fetch`. A broker's guardian (a shell that waits for the end of its
//! standard input) ends it and removes its folder even when the test process is killed.

mod cluster;
mod guarded;
mod read;

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use krafka::Kafka;
use krafka::admin::{
    AclBinding, AclPatternType, ClientQuotaAlteration, ClientQuotaEntity, ScramCredentialUpsertion,
};
use krafka::auth::ScramMechanism;
use krafka::error::KrafkaError;
use rustix::process::Signal;

pub(crate) use cluster::Cluster;
use guarded::Guarded;
pub(crate) use read::{Record, read_all, read_by_java};

use super::ports;

/// A broker has this long to answer after its start, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(90);

/// Of a broker that was killed: the session of its former life has to end before it may come back, and that is what the
/// tests wait for. A first life keeps Kafka's own 9 s, so that no freeze of a test's or of a busy machine's ends it.
const SHORT_SESSION: &str = "broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n";

/// Which Apache Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// KRaft as a preview, without idempotent producers: the modern client refuses it.
    V2_8,
    /// Takes either client.
    V3_9,
    /// No longer takes the classic client.
    V4_3,
}

impl Version {
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::V2_8 => "2.8.2",
            Self::V3_9 => "3.9.2",
            Self::V4_3 => "4.3.1",
        }
    }

    /// The folder of its jars and what else makes it start, fetched when missing.
    fn home(self) -> PathBuf {
        super::is_more_than_the_spool("a broker");
        static FETCHED: [OnceLock<()>; 3] = [const { OnceLock::new() }; 3];
        FETCHED[self as usize].get_or_init(|| drop(script(&["fetch", self.number()])));
        let home = std::env::var_os("LOGS_INGEST_KAFKA_HOME")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kafka"), PathBuf::from);
        home.join(self.number())
    }
}

/// Runs `scripts/kafka` and gives its standard output; its complaint is the panic.
fn script(arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka");
    let output = Command::new(&path).args(arguments).stdin(Stdio::null()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/kafka {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// How a broker is set up.
pub(crate) struct Builder {
    version: Version,
    properties: Vec<(String, String)>,
    /// Beside the one in clear: name, protocol, port.
    listeners: Vec<(&'static str, &'static str, u16)>,
}

impl Builder {
    /// One more listener, reached as `localhost`.
    pub(crate) fn listener(mut self, name: &'static str, protocol: &'static str, port: u16) -> Self {
        self.listeners.push((name, protocol, port));
        self
    }

    /// `auto.create.topics.enable`, on by default.
    pub(crate) fn auto_create(self, on: bool) -> Self {
        self.property("auto.create.topics.enable", &on.to_string())
    }

    /// `num.partitions` of topics created on demand, 1 by default.
    pub(crate) fn partitions(self, count: u32) -> Self {
        self.property("num.partitions", &count.to_string())
    }

    /// Judges by access lists; what has none is open to everybody.
    pub(crate) fn acls(self) -> Self {
        self.property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
            .property("allow.everyone.if.no.acl.found", "true")
    }

    /// Any line of `server.properties`; a later one wins.
    pub(crate) fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the broker and waits until it answers.
    pub(crate) fn start(self) -> Broker {
        let mut broker = self.absent();
        broker.launch();
        broker.wait_until_it_answers();
        broker
    }

    /// A broker that never ran; `restart` starts it.
    pub(crate) fn absent(self) -> Broker {
        let port = free_ports();
        Broker::create(self.version, port, 1, |folder| self.server_properties(port, folder))
    }

    fn server_properties(&self, port: u16, folder: &Path) -> String {
        let controller = port + 1;
        let (mut protocols, mut listeners, mut advertised) = (String::new(), String::new(), String::new());
        for (name, protocol, port) in &self.listeners {
            write!(protocols, ",{name}:{protocol}").unwrap();
            write!(listeners, ",{name}://127.0.0.1:{port}").unwrap();
            write!(advertised, ",{name}://localhost:{port}").unwrap();
        }
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertised}\n\
             log.dirs={}/data\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            folder.display()
        );
        for (name, value) in &self.properties {
            writeln!(text, "{name}={value}").unwrap();
        }
        text
    }
}

fn java(home: &Path) -> Command {
    let mut command = Command::new("java");
    // Quick to start rather than quick: several of them share few cores.
    command.args(["-Xms64m", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]);
    let made = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let mut archives = made.filter(|path| path.extension().is_some_and(|extension| extension == "jsa"));
    // Empty where this Java can make none.
    if let Some(archive) = archives.find(|path| fs::metadata(path).is_ok_and(|file| file.len() > 0)) {
        command.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
    }
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn").arg("-cp").arg(home.join("libs/*"));
    command
}

/// A data folder as Kafka's own tool formats it, for the node `id`: no two of a cluster have the same id of a folder.
fn format(home: &Path, data: &Path, id: u16) {
    fs::create_dir(data).unwrap();
    for file in fs::read_dir(home.join("formatted")).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&file, data.join(file.file_name().unwrap())).unwrap();
    }
    let properties = data.join("meta.properties");
    let text = fs::read_to_string(&properties).unwrap();
    let letter = char::from(b'a' + u8::try_from(id).unwrap());
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={id}\n"),
        Some(("directory.id", uuid)) => format!("directory.id={letter}{}\n", &uuid[1..]),
        _ => format!("{line}\n"),
    });
    fs::write(&properties, lines.collect::<String>()).unwrap();
}

/// A pair of neighbouring ports below 32768, where no client's own port comes from.
fn free_ports() -> u16 {
    ports::claim(20_000..30_000, 2)
}

/// A running broker. Dropped, it is killed and its folder removed.
pub(crate) struct Broker {
    port: u16,
    folder: PathBuf,
    /// Where the jars are.
    home: PathBuf,
    guarded: Option<Guarded>,
}

impl Broker {
    pub(crate) fn builder(version: Version) -> Builder {
        Builder { version, properties: Vec::new(), listeners: Vec::new() }
    }

    pub(crate) fn start(version: Version) -> Self {
        Self::builder(version).start()
    }

    /// With its folder and nothing running.
    fn create(version: Version, port: u16, id: u16, properties: impl Fn(&Path) -> String) -> Self {
        let home = version.home();
        let folder = super::folder_of_a_server("kafka", port);
        fs::write(folder.join("server.properties"), properties(&folder)).unwrap();
        format(&home, &folder.join("data"), id);
        Self { port, folder, home, guarded: None }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// As a power cut takes it: SIGKILL. The folder stays.
    pub(crate) fn kill(&mut self) {
        if let Some(guarded) = self.guarded.take() {
            guarded.end(true);
        }
    }

    /// The same broker again, after `kill`. It answers metadata when this returns; it acknowledges
    /// only when the session of its former life has run out.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let file = self.folder.join("server.properties");
        let properties = fs::read_to_string(&file).unwrap();
        if !properties.ends_with(SHORT_SESSION) {
            fs::write(&file, properties + SHORT_SESSION).unwrap();
        }
        self.launch();
        self.wait_until_it_answers();
    }

    /// Its disk is replaced: the same address, and a cluster without topics, records, and knowledge of producers.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        let data = self.folder.join("data");
        fs::remove_dir_all(&data).unwrap();
        format(&self.home, &data, 1);
        self.launch();
        self.wait_until_it_answers();
    }

    fn launch(&mut self) {
        self.guarded = Some(Guarded::start(&self.home, &self.folder));
    }

    /// Stops the process in its tracks: connections stay, nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        self.guarded.as_ref().expect("the broker was killed").signal(signal);
    }

    fn wait_until_it_answers(&self) {
        let end = Instant::now() + START_LIMIT;
        loop {
            let answers = answers(&self.address());
            let gone = self.guarded.as_ref().is_none_or(Guarded::has_ended);
            assert!(!gone && Instant::now() < end, "no broker on port {}: {}", self.port, self.log());
            if answers {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the broker has to say.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default()
    }

    /// Creates a topic with settings of its own.
    pub(crate) fn create_topic(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) {
        self.create_replicated_topic(topic, partitions, 1, config);
    }

    fn create_replicated_topic(&self, topic: &str, partitions: i32, replicas: i16, config: &[(&str, &str)]) {
        block_on(async {
            let kafka = client(&self.address()).await.unwrap();
            let mut new = krafka::admin::NewTopic::new(topic, partitions, replicas).unwrap();
            for (name, value) in config {
                new = new.with_config(*name, *value);
            }
            let results = kafka.admin().create_topics(vec![new], Default::default()).await.unwrap();
            for (topic, result) in results {
                result.unwrap_or_else(|error| panic!("{topic}: {error}"));
            }
        });
    }

    pub(crate) fn delete_topic(&self, topic: &str) {
        block_on(async {
            let kafka = client(&self.address()).await.unwrap();
            for (topic, result) in kafka.admin().delete_topics([topic], Default::default()).await.unwrap() {
                result.unwrap_or_else(|error| panic!("{topic}: {error}"));
            }
        });
    }

    /// A quota for producers of this client id, in bytes a second; or none any more.
    pub(crate) fn limit_producers(&self, client_id: &str, bytes_per_s: Option<u32>) {
        block_on(async {
            let kafka = client(&self.address()).await.unwrap();
            let whom = ClientQuotaEntity::from_iter([("client-id", Some(client_id))]);
            let limit = ("producer_byte_rate".to_owned(), bytes_per_s.map(f64::from));
            let change = vec![ClientQuotaAlteration::new(whom, vec![limit])];
            for (whom, result) in kafka.admin().alter_client_quotas(change, Default::default()).await.unwrap()
            {
                result.unwrap_or_else(|error| panic!("{whom:?}: {error}"));
            }
        });
    }

    /// Lets everybody see `topic` and nobody write to it. Needs a broker with `acls`.
    pub(crate) fn make_read_only(&self, topic: &str) {
        block_on(async {
            let kafka = client(&self.address()).await.unwrap();
            // This krafka numbers pattern types one below Kafka: what it calls prefixed is Kafka's literal.
            let read =
                AclBinding::allow_read_topic(topic, "User:*").with_pattern_type(AclPatternType::Prefixed);
            for (_, result) in kafka.admin().create_acls(vec![read], Default::default()).await.unwrap() {
                result.unwrap_or_else(|error| panic!("{error}: {}", self.log()));
            }
        });
    }

    /// Lets `principal` write to `topic`. Needs a broker with an authorizer.
    pub(crate) fn allow_writing(&self, topic: &str, principal: &str) {
        block_on(async {
            let kafka = client(&self.address()).await.unwrap();
            // As above: what this krafka calls prefixed is Kafka's literal.
            let write =
                AclBinding::allow_write_topic(topic, principal).with_pattern_type(AclPatternType::Prefixed);
            for (_, result) in kafka.admin().create_acls(vec![write], Default::default()).await.unwrap() {
                result.unwrap_or_else(|error| panic!("{error}: {}", self.log()));
            }
        });
    }

    /// Gives a user a password for SCRAM, of both lengths.
    pub(crate) fn set_scram(&self, user: &str, password: &str) {
        const ITERATIONS: i32 = 4_096;
        let salt = b"salt of a test";
        let upsertion = |mechanism, digest: &str, length: usize| ScramCredentialUpsertion {
            name: user.to_owned(),
            mechanism,
            iterations: ITERATIONS,
            salt: salt.to_vec().into(),
            salted_password: pbkdf2(digest, length, password, salt, ITERATIONS).into(),
        };
        let both = vec![
            upsertion(ScramMechanism::Sha256, "SHA256", 32),
            upsertion(ScramMechanism::Sha512, "SHA512", 64),
        ];
        block_on(async {
            let kafka = client(&self.address()).await.unwrap();
            let admin = kafka.admin();
            for one in both {
                let results = admin.alter_user_scram_credentials(vec![], vec![one], Default::default());
                for (user, result) in results.await.unwrap() {
                    result.unwrap_or_else(|error| panic!("{user}: {error}: {}", self.log()));
                }
            }
        });
    }

    /// Writes these values to the first partition of `topic` one after the other, as an idempotent producer does: like
    /// every Java client, by default.
    pub(crate) fn write_as_another(&self, topic: &str, values: &[String]) {
        block_on(async {
            let kafka = client(&self.address()).await.unwrap();
            let producer = kafka.producer().idempotent(true).build().await.unwrap();
            for value in values {
                let record = krafka::Record::new(topic, value.clone()).partition(0);
                let _ = producer.send(record).await.unwrap();
            }
        });
    }

    /// Everything in `topic`, by partition and offset.
    pub(crate) fn read_all(&self, topic: &str) -> Vec<Record> {
        read_all(&self.address(), topic)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.guarded.take() {
            Some(guarded) => guarded.end(false),
            None => drop(fs::remove_dir_all(&self.folder)),
        }
    }
}

/// What a SCRAM password is kept as, by openssl.
fn pbkdf2(digest: &str, length: usize, password: &str, salt: &[u8], iterations: i32) -> Vec<u8> {
    let hex: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    let output = Command::new("openssl")
        .args(["kdf", "-binary", "-keylen", &length.to_string()])
        .args(["-kdfopt", &format!("digest:{digest}"), "-kdfopt", &format!("pass:{password}")])
        .args(["-kdfopt", &format!("hexsalt:{hex}"), "-kdfopt", &format!("iter:{iterations}"), "PBKDF2"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn client(bootstrap: &str) -> Result<Kafka, KrafkaError> {
    let limit = Duration::from_secs(5);
    Kafka::builder(bootstrap).connect_timeout(limit).request_timeout(limit).connect().await
}

fn answers(bootstrap: &str) -> bool {
    if TcpStream::connect(bootstrap).is_err() {
        return false;
    }
    block_on(async {
        let Ok(kafka) = client(bootstrap).await else { return false };
        let Ok(consumer) = kafka.consumer_without_group().metrics_push(false).build().await else {
            return false;
        };
        consumer.fetch_metadata(None).await.is_ok_and(|known| !known.brokers.is_empty())
    })
}
