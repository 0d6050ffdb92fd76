//! `check-config`: every setting in force and where it comes from, whether what it names works, and what
//! will happen in which outage.
//!
//! Invariant: nothing is written, created or locked that a daemon could notice, but for a port that is tried
//! where no daemon answers.

mod finding;
mod outages;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};

use serde::Serialize;

use self::finding::{Finding, Findings, Level};
use self::outages::{Outage, outages};
use super::daemon::{Daemon, DaemonArgs};
use super::output::{Output, visible};
use crate::config::{Config, InForce, RawSettings, in_force};
use crate::door::Certificates;
use crate::host::exit::Exit;
use crate::store::{kafka, postgres, spool};
use crate::wire::keys::KeyRing;

/// Explain every setting in force and try what it names.
///
/// Shows where each setting comes from (secrets are not shown), tries Kafka with its topic and rights, Postgres,
/// the spool, the port, the certificate and the API keys, and says what will happen in which outage. Changes
/// nothing, and may run beside the daemon. Exit code: 0 it works, perhaps with warnings; 1 something does not
/// work; 78 a setting can't be used.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    daemon: DaemonArgs,

    /// One JSON object: {"verdict":"ok"|"warning"|"problem","settings":[..],"checks":[..],"outages":[..]}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    verdict: Level,
    settings: Vec<Setting>,
    checks: Vec<Finding>,
    outages: Vec<Outage>,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    value: String,
    origin: String,
}

impl From<InForce> for Setting {
    fn from(InForce { name, value, origin }: InForce) -> Self {
        Self { name, value, origin: origin.to_string() }
    }
}

/// Runs the command, to standard output.
///
/// # Errors
/// A text for people: standard output can't be written.
pub fn run(args: &CheckArgs, config: &Config, settings: &RawSettings) -> Result<Exit, String> {
    let report = look(args, config, settings)?;
    if args.json {
        let mut out = Output::stdout();
        out.line(serde_json::to_string(&report).unwrap_or_default())?;
        out.flush()?;
    } else {
        print(&report)?;
    }
    Ok(if report.verdict == Level::Problem { Exit::Failed } else { Exit::Ok })
}

fn look(args: &CheckArgs, config: &Config, settings: &RawSettings) -> Result<Report, String> {
    let in_force = in_force(settings, config).map_err(|error| error.to_string())?;
    let room = spool::inspect(&config.data_dir(), config.spool_max_bytes());
    let mut checks = port(args, config, settings, room.in_use);
    checks.extend(entrance(config));
    checks.extend(kafka_findings(config));
    checks.extend(postgres_findings(config));
    checks.extend(finding::spool(&room));
    let verdict = checks.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let outages = outages(config, room.max_bytes);
    Ok(Report { verdict, settings: in_force.into_iter().map(Setting::from).collect(), checks, outages })
}

/// The port: a daemon's already, or to be had. `in_use`: a daemon has the spool.
fn port(args: &CheckArgs, config: &Config, settings: &RawSettings, in_use: bool) -> Vec<Finding> {
    let mut findings = Findings::on("port");
    let answer = Daemon::new(&args.daemon, settings).and_then(|daemon| {
        let answer = daemon.get("/health").map_err(|error| error.to_string())?;
        Ok((daemon.url().to_owned(), answer.json))
    });
    let address = SocketAddr::new(config.listen.host, config.listen.port);
    match answer {
        Ok((url, health)) if health["service"] == "logs-ingest" => {
            let said = |key: &str| health[key].as_str().unwrap_or("?").to_owned();
            let (version, status) = (said("version"), said("status"));
            findings.add(Level::Ok, format!("the daemon at {url} runs: version {version}, {status}"));
        }
        Ok((url, _)) => findings.add(Level::Problem, format!("what answers at {url} is no logs-ingest")),
        Err(_) => match TcpListener::bind(address) {
            Ok(_) => findings.add(Level::Ok, format!("{address} is free, no daemon answers there")),
            Err(error) if error.kind() == ErrorKind::AddrInUse && in_use => {
                let text =
                    format!("{address} is in use, as is the spool: by a running daemon, which was not asked");
                findings.add(Level::Ok, text);
            }
            Err(error) => {
                let text = format!("can't listen on {address}: {error}; set HOST and PORT");
                findings.add(Level::Problem, text);
            }
        },
    }
    findings.into_all()
}

/// Who gets in, and how.
fn entrance(config: &Config) -> Vec<Finding> {
    let mut tls = Findings::on("tls");
    let is_loopback = config.listen.host.is_loopback();
    match config.listen.tls.files() {
        Some(files) => match Certificates::read(files) {
            Ok(certificates) => tls.add(Level::Ok, certificates.describe()),
            Err(why) => tls.add(Level::Problem, why),
        },
        None if is_loopback => tls.add(Level::Ok, "not set; the port is for this machine alone"),
        None => tls.add(Level::Warning, "TLS_CERT is not set: what tills send can be read on the network"),
    }
    let mut keys = Findings::on("keys");
    match &config.keys.api_keys_file {
        Some(path) => match KeyRing::open(path) {
            Ok(ring) => keys.add(Level::Ok, ring.contents()),
            Err(why) => keys.add(Level::Problem, why.to_string()),
        },
        None if is_loopback => keys.add(Level::Ok, "not set; the port is for this machine alone"),
        None => keys
            .add(Level::Warning, "API_KEYS_FILE is not set: everyone who reaches the port may send events"),
    }
    tls.into_all().into_iter().chain(keys.into_all()).collect()
}

fn kafka_findings(config: &Config) -> Vec<Finding> {
    let Some(settings) = config.kafka() else {
        let mut findings = Findings::on("kafka");
        findings.add(Level::Ok, "not configured");
        return findings.into_all();
    };
    match kafka::inspect(&settings) {
        Ok(found) if settings.client == kafka::ClientChoice::Classic => {
            let mut findings = Findings::on("kafka");
            findings.add(
                Level::Warning,
                "KAFKA_CLIENT=classic: the broker is there; topic, rights and replicas can't be asked with it, and \
                 records have no headers",
            );
            found.unreachable.iter().for_each(|why| findings.add(Level::Warning, why.clone()));
            findings.into_all()
        }
        Ok(found) => finding::kafka(&found, &settings.topic, config.rules.max_event_bytes),
        Err(error) => {
            let mut findings = Findings::on("kafka");
            findings.add(Level::Problem, error.to_string());
            findings.into_all()
        }
    }
}

fn postgres_findings(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::on("postgres");
    let Some(settings) = config.postgres() else {
        findings.add(Level::Ok, "not configured");
        return findings.into_all();
    };
    match postgres::inspect(&settings) {
        Ok(found) => finding::postgres(&found, is_local(&settings.url)),
        Err(error) => {
            findings.add(Level::Problem, error.to_string());
            findings.into_all()
        }
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

fn print(report: &Report) -> Result<(), String> {
    let mut out = Output::stdout();
    out.line("Settings in force")?;
    for Setting { name, value, origin } in &report.settings {
        out.line(format!("  {name:<28} {}  ({})", visible(value), visible(origin)))?;
    }
    out.line("\nWhat they name")?;
    for Finding { subject, level, text } in &report.checks {
        let level = match level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        out.line(format!("  {level:<8} {subject:<9} {}", visible(text)))?;
    }
    out.line("\nWhat happens when")?;
    for Outage { when, then } in &report.outages {
        out.line(format!("  {when}: {then}"))?;
    }
    out.line(match report.verdict {
        Level::Ok => "\nEverything works.",
        Level::Warning => "\nIt works; see the warnings.",
        Level::Problem => "\nSomething does not work: see the problems.",
    })?;
    out.flush().map(|_| ())
}
