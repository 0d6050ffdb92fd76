//! `check-config`: every setting in force and where it comes from, whether what it names works, and what
//! will happen in which outage.
//!
//! Invariant: nothing is written, created or locked that a daemon could notice, but for a port that is tried
//! where no daemon answers.

mod finding;
mod outages;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};

use serde::Serialize;

use self::finding::{Finding, Findings, Level};
use self::outages::{Outage, outages};
use super::daemon::{Daemon, DaemonArgs};
use super::output::visible;
use super::report::Report;
use crate::config::{Config, InForce, RawSettings, in_force};
use crate::door::Certificates;
use crate::host::exit::Exit;
use crate::store::{kafka, postgres, spool};
use crate::wire::keys::KeyRing;

/// Explain every setting in force and try what it names.
///
/// Shows where each setting comes from (secrets are not shown), tries Kafka with its topic and rights, PostgreSQL,
/// the spool, the port, the certificate and the API keys, and says what will happen in which outage. Changes
/// nothing, and may run beside the daemon. Exit code: 0 it works, perhaps with warnings; 1 something does not
/// work; 78 a setting cannot be used.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    daemon: DaemonArgs,

    /// One JSON object: {"verdict":"ok"|"warning"|"problem","settings":[..],"checks":[..],"outages":[..]}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct CheckReport {
    verdict: Level,
    settings: Vec<InForce>,
    checks: Vec<Finding>,
    outages: Vec<Outage>,
}

pub(super) fn run(args: &CheckArgs, config: &Config, raw: &RawSettings) -> Result<Exit, String> {
    let room = spool::inspect(&config.data_dir(), config.spool_max_bytes());
    let mut findings = Findings::default();
    findings.on("port");
    port(&mut findings, args, config, raw, room.in_use);
    entrance(&mut findings, config);
    findings.on("kafka");
    try_kafka(&mut findings, config);
    findings.on("postgres");
    try_postgres(&mut findings, config);
    findings.on("spool");
    findings.spool(&room);
    let report = CheckReport {
        verdict: findings.all.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok),
        settings: in_force(raw, config)?,
        checks: findings.all,
        outages: outages(config, room.max_bytes),
    };
    report.print(args.json)
}

/// The port: a daemon has it, or it is free. `in_use`: a daemon has the spool.
fn port(findings: &mut Findings, args: &CheckArgs, config: &Config, raw: &RawSettings, in_use: bool) {
    let answer = Daemon::new(&args.daemon, raw).and_then(|daemon| {
        let answer = daemon.get("/health")?;
        Ok((daemon.url().to_owned(), answer.json))
    });
    let address = SocketAddr::new(config.listen.host, config.listen.port);
    match answer {
        Ok((url, health)) if health["service"] == "logs-ingest" => {
            let said = |key: &str| health[key].as_str().unwrap_or("?").to_owned();
            let (version, status) = (said("version"), said("status"));
            findings.ok(format!("the daemon at {url} runs: version {version}, {status}"));
        }
        Ok((url, _)) => findings.problem(format!("what answers at {url} is not logs-ingest")),
        Err(_) => match TcpListener::bind(address) {
            Ok(_) => findings.ok(format!("{address} is free, no daemon answers there")),
            Err(error) if error.kind() == ErrorKind::AddrInUse && in_use => findings.ok(format!(
                "{address} is in use, as is the spool: by a running daemon, which was not asked"
            )),
            Err(error) => {
                findings.problem(format!("cannot listen on {address}: {error}; set HOST and PORT"));
            }
        },
    }
}

/// Who gets in, and how.
fn entrance(findings: &mut Findings, config: &Config) {
    let is_loopback = config.listen.host.is_loopback();
    findings.on("tls");
    match config.listen.tls.files().map(Certificates::read) {
        Some(Ok(certificates)) => findings.ok(certificates.describe()),
        Some(Err(why)) => findings.problem(why),
        None if is_loopback => findings.ok("not set; only this machine reaches the port"),
        None => findings.warning("TLS_CERT is not set: what tills send can be read on the network"),
    }
    findings.on("keys");
    match config.keys.api_keys_file.as_deref().map(KeyRing::open) {
        Some(Ok(ring)) => findings.ok(ring.contents()),
        Some(Err(why)) => findings.problem(why.to_string()),
        None if is_loopback => findings.ok("not set; only this machine reaches the port"),
        None => findings.warning("API_KEYS_FILE is not set: everyone who reaches the port may send events"),
    }
}

fn try_kafka(findings: &mut Findings, config: &Config) {
    let Some(settings) = config.kafka() else { return findings.ok("not configured") };
    match kafka::inspect(&settings) {
        Ok(found) if settings.client == kafka::ClientChoice::Classic => {
            findings.warning(
                "KAFKA_CLIENT=classic: the broker answers; this client cannot ask for topic, rights and replicas, and \
                 its records have no headers",
            );
            found.unreachable.into_iter().for_each(|why| findings.warning(why));
        }
        Ok(found) => findings.kafka(&found, &settings.topic, config.rules.max_event_bytes),
        Err(error) => findings.problem(error.to_string()),
    }
}

fn try_postgres(findings: &mut Findings, config: &Config) {
    let Some(settings) = config.postgres() else { return findings.ok("not configured") };
    match postgres::inspect(&settings) {
        Ok(found) => findings.postgres(&found, is_local(&settings.url)),
        Err(error) => findings.problem(error.to_string()),
    }
}

/// Whether the server is on this machine, where nobody listens in between.
fn is_local(url: &str) -> bool {
    let place = postgres::describe(url).unwrap_or_default();
    let host = place.split(['/', ' ']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost"
        || host.is_empty()
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Report for CheckReport {
    fn exit(&self) -> Exit {
        if self.verdict == Level::Problem { Exit::Failed } else { Exit::Ok }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec!["Settings in force".to_owned()];
        lines.extend(self.settings.iter().map(|InForce { name, value, origin }| {
            format!("  {name:<30} {}  ({})", visible(value), visible(origin))
        }));
        lines.push("\nWhat they name".to_owned());
        lines.extend(self.checks.iter().map(|Finding { subject, level, text }| {
            let level = match level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Problem => "PROBLEM",
            };
            format!("  {level:<8} {subject:<9} {}", visible(text))
        }));
        lines.push("\nWhat happens when".to_owned());
        lines.extend(self.outages.iter().map(|Outage { when, then }| format!("  {when}: {then}")));
        let verdict = match self.verdict {
            Level::Ok => "\nEverything works.",
            Level::Warning => "\nIt works; see the warnings.",
            Level::Problem => "\nSomething does not work: see the problems.",
        };
        lines.push(verdict.to_owned());
        lines
    }
}
