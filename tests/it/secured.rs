//! Kafka behind TLS, passwords, certificates and access lists, on a real broker with its own authority; and what is
//! said where one of them is wrong, that nothing is lost then, and that it goes on once it is fixed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::authority::{Authority, Pair};
use crate::support::daemon::{Builder, Daemon};
use crate::support::events;
use crate::support::kafka::{Broker, Version};
use crate::support::proxy::Proxy;
use crate::support::{TempDir, poll};

const LIMIT: Duration = Duration::from_secs(40);
const PASSWORD: &str = "correct horse";

/// A broker with a listener a protocol. `till` may prove its password in every way.
struct Secured {
    broker: Broker,
    authority: Authority,
    client: Pair,
    sasl_ssl: u16,
    mutual: u16,
}

impl Secured {
    fn start() -> Self {
        let authority = Authority::new();
        let (server, client) = (authority.sign("localhost", 2), authority.sign("till", 2));
        let (sasl_ssl, mutual) = (Proxy::reserve(), Proxy::reserve());
        let (store, trust) = (server.in_one_file(), authority.certificate());
        let (store, trust) = (store.display().to_string(), trust.display().to_string());
        let plain = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_till=\"{PASSWORD}\";"
        );
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let mut builder = Broker::builder(Version::V4_3)
            .listener("SECURE", "SASL_SSL", sasl_ssl)
            .listener("MUTUAL", "SSL", mutual)
            .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
            .property("super.users", "User:ANONYMOUS")
            .property("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
            .property("listener.name.secure.plain.sasl.jaas.config", &plain)
            .property("listener.name.mutual.ssl.client.auth", "required");
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            builder = builder.property(&format!("listener.name.secure.{mechanism}.sasl.jaas.config"), scram);
        }
        for (name, value) in [
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &store),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &trust),
        ] {
            builder = builder.property(name, value);
        }
        let broker = builder.start();
        broker.create_topic("pos-logs", 1, &[]);
        Self { broker, authority, client, sasl_ssl, mutual }
    }

    fn brokers(&self) -> String {
        format!("localhost:{}", self.sasl_ssl)
    }

    /// A daemon that does everything right.
    fn daemon(&self, mechanism: &str) -> Builder {
        self.encrypted()
            .env("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
            .env("KAFKA_SASL_MECHANISM", mechanism)
            .env("KAFKA_SASL_USERNAME", "till")
            .env("KAFKA_SASL_PASSWORD", PASSWORD)
    }

    fn encrypted(&self) -> Builder {
        Daemon::builder()
            .env("KAFKA_BROKERS", self.brokers())
            .env("KAFKA_SECURITY_PROTOCOL", "SSL")
            .env("KAFKA_SSL_CA_LOCATION", self.authority.certificate().display())
    }

    fn mutual(&self) -> Builder {
        self.encrypted()
            .env("KAFKA_BROKERS", format!("localhost:{}", self.mutual))
            .env("KAFKA_SSL_CERTIFICATE_LOCATION", self.client.certificate.display())
            .env("KAFKA_SSL_KEY_LOCATION", self.client.key.display())
    }
}

/// Where the event went.
fn post(daemon: &Daemon) -> String {
    let answer = daemon.client().post_event(events::event().to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.header("X-Stored-In").expect("a place").to_owned()
}

/// It is up, and events go there.
fn reaches_kafka(daemon: &Daemon) {
    daemon.wait_until_up("kafka");
    assert_eq!(post(daemon), "kafka");
}

fn error_in(health: &Value) -> &str {
    health["kafka"]["error"].as_str().unwrap_or_default()
}

/// What is wrong is said in `/health` and in the log, and the event is safe meanwhile.
fn is_told(daemon: &Daemon, what: &str) {
    let health = daemon.wait_for("/health", LIMIT, |health| health["kafka"]["state"] == "down");
    assert!(error_in(&health).contains(what), "wanted {what:?}, got {:?}", error_in(&health));
    assert_eq!(post(daemon), "spool");
    assert!(daemon.logged(what), "the log does not say {what:?}");
    assert!(!daemon.log_text().contains(PASSWORD));
}

#[test]
fn every_way_in_works_and_each_wrong_one_is_told_and_can_be_put_right() {
    let secured = Secured::start();
    passwords(&secured);
    certificates(&secured);
    ports(&secured);
    check_config(&secured);
}

fn passwords(secured: &Secured) {
    // No right yet.
    let daemon = secured.daemon("PLAIN").start();
    let health = daemon.wait_for("/health", LIMIT, |health| health["kafka"]["state"] == "down");
    let error = error_in(&health);
    assert!(error.contains("grant") && error.contains("pos-logs"), "{error}");
    assert_eq!(post(&daemon), "spool");
    secured.broker.allow_writing("pos-logs", "User:till");
    daemon.wait_for("/stats", LIMIT, |stats| stats["ledger"]["sent_to_kafka"] == 1);
    reaches_kafka(&daemon);

    let mut wrong = secured.daemon("SCRAM-SHA-512").start();
    is_told(&wrong, "KAFKA_SASL_PASSWORD");
    // Fixed where it is wrong: no restart.
    secured.broker.set_scram("till", PASSWORD);
    wrong.wait_for("/stats", LIMIT, |stats| stats["ledger"]["sent_to_kafka"] == 1);
    reaches_kafka(&wrong);
    assert!(wrong.terminate().success());
    reaches_kafka(&secured.daemon("SCRAM-SHA-256").start());
    is_told(&secured.daemon("PLAIN").env("KAFKA_SASL_USERNAME", "nobody").start(), "KAFKA_SASL_USERNAME");
}

fn certificates(secured: &Secured) {
    secured.broker.allow_writing("pos-logs", "User:CN=till");
    reaches_kafka(&secured.mutual().start());
    let without =
        secured.mutual().env("KAFKA_SSL_CERTIFICATE_LOCATION", "").env("KAFKA_SSL_KEY_LOCATION", "").start();
    is_told(&without, "KAFKA_SSL_CERTIFICATE_LOCATION");
    let stranger = Authority::new();
    let own = stranger.sign("till", 2);
    let unknown = secured
        .mutual()
        .env("KAFKA_SSL_CERTIFICATE_LOCATION", own.certificate.display())
        .env("KAFKA_SSL_KEY_LOCATION", own.key.display())
        .start();
    is_told(&unknown, "the broker does not accept this daemon's certificate");

    // Another authority, until its file is the right one.
    let folder = TempDir::new();
    let trusted = folder.path().join("ca.pem");
    fs::copy(stranger.certificate(), &trusted).expect("a writable folder");
    let daemon = secured.daemon("PLAIN").env("KAFKA_SSL_CA_LOCATION", trusted.display()).start();
    is_told(&daemon, "KAFKA_SSL_CA_LOCATION");
    fs::copy(secured.authority.certificate(), &trusted).expect("a writable folder");
    daemon.wait_for("/stats", LIMIT, |stats| stats["ledger"]["sent_to_kafka"] == 1);
    reaches_kafka(&daemon);

    let address = format!("127.0.0.1:{}", secured.sasl_ssl);
    is_told(&secured.daemon("PLAIN").env("KAFKA_BROKERS", address).start(), "is for another name");
    let expired = Expired::start(&secured.authority);
    let brokers = format!("localhost:{}", expired.port);
    let daemon = secured.daemon("PLAIN").env("KAFKA_BROKERS", brokers).start();
    // That server takes one connection after the other: an attempt may find it busy with the look before it.
    daemon.wait_for("/health", LIMIT, |health| error_in(health).contains("has expired"));
    assert_eq!(post(&daemon), "spool");
}

/// A TLS server whose certificate has ended.
struct Expired {
    server: Child,
    port: u16,
}

impl Expired {
    fn start(authority: &Authority) -> Self {
        let (pair, port) = (authority.sign("localhost", 0), Proxy::reserve());
        let server = Command::new("openssl")
            .args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"])
            .arg(&pair.certificate)
            .arg("-key")
            .arg(&pair.key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        let server = Self { server, port };
        poll(LIMIT, "openssl to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        server
    }
}

impl Drop for Expired {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Each protocol on the other's port.
fn ports(secured: &Secured) {
    let in_clear = Daemon::builder().env("KAFKA_BROKERS", secured.brokers()).start();
    is_told(&in_clear, "KAFKA_SECURITY_PROTOCOL");
    let encrypted = secured.daemon("PLAIN").env("KAFKA_BROKERS", secured.broker.address()).start();
    is_told(&encrypted, "KAFKA_SECURITY_PROTOCOL");
}

fn check_config(secured: &Secured) {
    let home = TempDir::new();
    let check = |password: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_logs-ingest"))
            .arg("check-config")
            .env("DATA_DIR", home.path())
            .env("HOST", "127.0.0.1")
            .env("PORT", Proxy::reserve().to_string())
            .env("KAFKA_BROKERS", secured.brokers())
            .env("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")
            .env("KAFKA_SASL_MECHANISM", "scram-sha-512")
            .env("KAFKA_SASL_USERNAME", "till")
            // A busy machine takes seconds for one handshake.
            .env("KAFKA_DEADLINE", "20s")
            .env("SHUTDOWN_TIMEOUT", "60s")
            .env("KAFKA_SASL_PASSWORD_FILE", password)
            .env("KAFKA_SSL_CA_LOCATION", secured.authority.certificate())
            .output()
            .expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let file = home.path().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).expect("a writable folder");
    let (code, said) = check(&file);
    assert!(code == Some(0) && said.contains("(not shown)") && !said.contains(PASSWORD), "{said}");
    fs::write(&file, "wrong\n").expect("a writable folder");
    let (code, said) = check(&file);
    assert!(code == Some(1) && said.contains("the user name or the password is wrong"), "{said}");
}

#[test]
fn settings_that_contradict_each_other_are_78() {
    for (settings, part) in [
        (&[("KAFKA_SECURITY_PROTOCOL", "TLS")][..], "use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
        (&[("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_CLIENT", "classic")], "neither TLS nor SASL"),
        (&[("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")], "KAFKA_SASL_USERNAME"),
        (&[("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"), ("KAFKA_SASL_USERNAME", "till")], "KAFKA_SASL_PASSWORD"),
        (&[("KAFKA_SASL_USERNAME", "till")], "it needs KAFKA_SECURITY_PROTOCOL"),
        (&[("KAFKA_SASL_PASSWORD", PASSWORD)], "it needs KAFKA_SECURITY_PROTOCOL"),
        (&[("KAFKA_SSL_CA_LOCATION", "/ca.pem")], "it needs KAFKA_SECURITY_PROTOCOL=SSL"),
        (
            &[("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_SSL_KEY_LOCATION", "/key.pem")],
            "KAFKA_SSL_CERTIFICATE_LOCATION",
        ),
        (
            &[
                ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
                ("KAFKA_SASL_USERNAME", "till"),
                ("KAFKA_SASL_PASSWORD_FILE", "/nowhere"),
            ],
            "KAFKA_SASL_PASSWORD_FILE",
        ),
    ] {
        let mut builder = Daemon::builder();
        for (name, value) in settings {
            builder = builder.env(name, value);
        }
        let (code, said) = builder.run_to_exit(LIMIT);
        assert!(code == Some(78) && said.contains(part) && !said.contains(PASSWORD), "{settings:?}: {said}");
    }
    let in_arguments = Daemon::builder()
        .env("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
        .env("KAFKA_SASL_USERNAME", "till")
        .arg(&format!("--kafka-sasl-password={PASSWORD}"));
    let (code, said) = in_arguments.run_to_exit(LIMIT);
    assert!(
        code == Some(78) && said.contains("KAFKA_SASL_PASSWORD_FILE") && !said.contains(PASSWORD),
        "{said}"
    );
}
