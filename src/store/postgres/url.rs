//! `POSTGRES_URL`: read once, without the parameters that the client library does not know.
//!
//! Invariant: no error and no description made here holds the password, nor a part of the URL that may be one.

use std::path::PathBuf;
use std::time::Duration;

use postgres::Config;
use postgres::config::{Host, SslMode};

use crate::limits::{POSTGRES_KEEPALIVE_IDLE, POSTGRES_KEEPALIVE_INTERVAL, POSTGRES_KEEPALIVE_RETRIES};

/// Parameters that the client library gets as they are.
const PASSED_ON: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// What the server's certificate must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any certificate: the connection is encrypted, the other end not verified.
    Anyone,
    /// One that a trusted CA signed; with `name`, for the host that the URL names.
    Authority { roots: Roots, name: bool },
}

/// Where the trusted CAs are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    System,
    File(PathBuf),
}

/// What a URL says.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) trust: Trust,
    /// "host:port/database", of every host.
    pub(super) address: String,
}

impl Target {
    /// Reads `url`; `deadline` limits what the URL does not.
    ///
    /// Errors: what is wrong, and what is legal.
    pub(super) fn parse(url: &str, deadline: Duration) -> Result<Self, String> {
        let (plain, parameters) = split(url)?;
        let mut config: Config = plain.parse().map_err(|error| because(&error))?;
        check(&config)?;
        let (mode, trust) = tls(&parameters)?;
        config.ssl_mode(mode);
        if config.get_application_name().is_none() {
            config.application_name("logs-ingest");
        }
        let is_set = |name: &str| parameters.iter().any(|(key, _)| key == name);
        if !is_set("keepalives_idle") {
            config.keepalives_idle(POSTGRES_KEEPALIVE_IDLE);
        }
        if !is_set("keepalives_interval") {
            config.keepalives_interval(POSTGRES_KEEPALIVE_INTERVAL);
        }
        if !is_set("keepalives_retries") {
            config.keepalives_retries(POSTGRES_KEEPALIVE_RETRIES);
        }
        // Each host gets its share, so that a dead one leaves time for the next.
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1);
        let share = deadline / u32::try_from(hosts).unwrap_or(u32::MAX);
        let asked = config.get_connect_timeout().copied().unwrap_or(share);
        config.connect_timeout(asked.min(share));
        let address = address(&config);
        Ok(Self { config, trust, address })
    }

    /// "host:port/database as user".
    pub(super) fn description(&self) -> String {
        let user = self.config.get_user().unwrap_or("the system's user");
        format!("{} as {user}", self.address)
    }
}

type Parameters = Vec<(String, String)>;

/// The URL without what the client library does not know, and all parameters.
fn split(url: &str) -> Result<(String, Parameters), String> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest = rest.ok_or("it must start with postgres:// or postgresql://")?;
    let (user, tail) = rest.split_once('@').map_or((None, rest), |(user, tail)| (Some(user), tail));
    if user.is_some_and(|user| user.split(':').next().is_some_and(|name| name.contains(['/', '?']))) {
        return Err("an '@' stands after the host: write it as %40".to_owned());
    }
    let (before, query) = tail.split_once('?').unwrap_or((tail, ""));
    if before.contains('@') {
        return Err("user and password hold more than one '@': write it as %40 there".to_owned());
    }
    let has_password = query.split('&').any(|pair| pair.starts_with("password="));
    let mut parameters = Vec::new();
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("a parameter after the '?' has no '='")?;
        match key {
            "sslmode" | "sslrootcert" => {}
            _ if PASSED_ON.contains(&key) => kept.push(pair),
            // It may be the rest of a password with an '&' in it.
            _ if has_password => return Err("a parameter after the '?' is not known".to_owned()),
            _ => {
                return Err(format!(
                    "the parameter '{key}' is not known: legal are sslmode, sslrootcert, {}",
                    PASSED_ON.join(", ")
                ));
            }
        }
        parameters.push((key.to_owned(), percent_decoded(value)?));
    }
    let plain = url[..url.len() - query.len()].trim_end_matches('?');
    let question = if kept.is_empty() { "" } else { "?" };
    Ok((format!("{plain}{question}{}", kept.join("&")), parameters))
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let wrong = || "a parameter after the '?' has a bad %-sequence".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| str::from_utf8(digits).ok()).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

/// The library's message, which names options but never values.
fn because(error: &postgres::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn check(config: &Config) -> Result<(), String> {
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    let ports = config.get_ports().len();
    if hosts == 0 {
        return Err("it names no host".to_owned());
    }
    if ports > 1 && ports != hosts {
        return Err(format!("it names {hosts} hosts and {ports} ports: name one port, or one per host"));
    }
    Ok(())
}

fn tls(parameters: &Parameters) -> Result<(SslMode, Trust), String> {
    let last =
        |name: &str| parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let roots = || match last("sslrootcert") {
        None | Some("system") => Roots::System,
        Some(path) => Roots::File(PathBuf::from(path)),
    };
    let signed = |name| Trust::Authority { roots: roots(), name };
    Ok(match last("sslmode").unwrap_or("prefer") {
        "disable" => (SslMode::Disable, Trust::Anyone),
        "allow" | "prefer" => (SslMode::Prefer, Trust::Anyone),
        // As in libpq: who names a CA means it.
        "require" if last("sslrootcert").is_some() => (SslMode::Require, signed(false)),
        "require" => (SslMode::Require, Trust::Anyone),
        "verify-ca" => (SslMode::Require, signed(false)),
        "verify-full" => (SslMode::Require, signed(true)),
        _ => {
            return Err(
                "sslmode must be disable, allow, prefer, require, verify-ca or verify-full".to_owned()
            );
        }
    })
}

fn address(config: &Config) -> String {
    let port = |index: usize| {
        config.get_ports().get(index).or_else(|| config.get_ports().first()).copied().unwrap_or(5432)
    };
    let one = |(index, host): (usize, String)| format!("{host}:{}", port(index));
    let hosts: Vec<String> = if config.get_hosts().is_empty() {
        config.get_hostaddrs().iter().map(ToString::to_string).enumerate().map(one).collect()
    } else {
        config.get_hosts().iter().map(host_text).enumerate().map(one).collect()
    };
    let database = config.get_dbname().or_else(|| config.get_user()).unwrap_or("the system's user");
    format!("{}/{database}", hosts.join(","))
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(3);

    fn parse(url: &str) -> Target {
        Target::parse(url, DEADLINE).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn a_description_names_everything_but_the_password() {
        for (url, said) in [
            ("postgres://till:s3cret@db.shop/logs", "db.shop:5432/logs as till"),
            ("postgresql://till:s3c%40ret@[::1]:5433/logs", "[::1]:5433/logs as till"),
            ("postgres://till@a:1,b:2/logs?password=s3cret", "a:1,b:2/logs as till"),
            ("postgres://till@%2Frun%2Fpostgresql/logs", "/run/postgresql:5432/logs as till"),
            ("postgres://till:s3c:ret/@db.shop", "db.shop:5432/till as till"),
            ("postgres://db.shop/logs", "db.shop:5432/logs as the system's user"),
        ] {
            assert_eq!(parse(url).description(), said, "{url}");
        }
    }

    #[test]
    fn a_bad_url_is_reported_without_its_password() {
        for (url, part) in [
            ("mysql://u:s3cret@h/d", "postgres://"),
            ("host=h password=s3cret", "postgres://"),
            ("postgres://u:s3cret@", "no host"),
            ("postgres:///logs?user=u&password=s3cret", "no host"),
            ("postgres://u:p@s3cret@h/d", "%40"),
            ("postgres://h/d?password=a@s3cret", "%40"),
            ("postgres://u@h/d?password=a&s3cret=1", "not known"),
            ("postgres://u:s3cret@h/d?sslcert=x", "'sslcert'"),
            ("postgres://u:s3cret@h/d?sslmode=full", "verify-full"),
            ("postgres://u:s3cret@h:http/d", "port"),
            ("postgres://u:s3cret@h/d?connect_timeout=soon", "connect_timeout"),
            ("postgres://u:s3cret@h/d?sslrootcert=%2", "%-sequence"),
            ("postgres://u:s3cret@h/d?application_name", "'='"),
            ("postgres://u:s3cret@a,b,c/d?port=1,2", "port"),
        ] {
            let error = Target::parse(url, DEADLINE).map(|target| target.address).unwrap_err();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("s3cret"), "{url}: {error}");
        }
    }

    #[test]
    fn tls_follows_the_rules_of_libpq() {
        let file = |name| Trust::Authority { roots: Roots::File("/etc/ca.pem".into()), name };
        let system = |name| Trust::Authority { roots: Roots::System, name };
        for (query, mode, trust) in [
            ("", SslMode::Prefer, Trust::Anyone),
            ("?sslmode=disable", SslMode::Disable, Trust::Anyone),
            ("?sslmode=allow", SslMode::Prefer, Trust::Anyone),
            ("?sslmode=prefer&connect_timeout=1", SslMode::Prefer, Trust::Anyone),
            ("?connect_timeout=1&sslmode=require", SslMode::Require, Trust::Anyone),
            ("?sslmode=require&sslrootcert=/etc/ca.pem", SslMode::Require, file(false)),
            ("?sslmode=verify-ca", SslMode::Require, system(false)),
            ("?sslrootcert=%2Fetc%2Fca.pem&sslmode=verify-full", SslMode::Require, file(true)),
            ("?sslrootcert=system&sslmode=verify-full", SslMode::Require, system(true)),
        ] {
            let target = parse(&format!("postgres://u@h/d{query}"));
            assert_eq!((target.config.get_ssl_mode(), target.trust), (mode, trust), "{query}");
        }
    }

    #[test]
    fn what_the_url_leaves_open_is_bounded() {
        let target = parse("postgres://u@a,b,c/d");
        assert_eq!(target.config.get_connect_timeout(), Some(&Duration::from_secs(1)));
        assert_eq!(target.config.get_keepalives_idle(), POSTGRES_KEEPALIVE_IDLE);
        assert_eq!(target.config.get_keepalives_retries(), Some(POSTGRES_KEEPALIVE_RETRIES));
        assert_eq!(target.config.get_application_name(), Some("logs-ingest"));
        let target = parse("postgres://u@h/d?connect_timeout=60&keepalives_idle=90&application_name=x");
        assert_eq!(target.config.get_connect_timeout(), Some(&DEADLINE));
        assert_eq!(target.config.get_keepalives_idle(), Duration::from_secs(90));
        assert_eq!(target.config.get_application_name(), Some("x"));
    }
}
