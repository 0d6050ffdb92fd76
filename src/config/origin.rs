//! Where each setting in force comes from, for `check-config`. Secrets are never in it.

use std::fmt;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::{Config, Definition, credential, definitions};
use crate::store::postgres;

/// Who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// An environment variable.
    Environment,
    /// A file that a setting ending in `_FILE` names.
    File(PathBuf),
    /// A credential of systemd's.
    Credential(PathBuf),
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential(path) => write!(f, "credential {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Its environment variable.
    pub name: String,
    /// Its value, for people: a secret's is not shown.
    pub value: String,
    /// Where that comes from.
    pub origin: Origin,
}

/// Every setting, as `matches` and the environment have it and as `config` was made of them.
#[must_use]
pub fn in_force(matches: &ArgMatches, config: &Config) -> Vec<InForce> {
    let all = definitions();
    all.iter()
        .map(|setting| {
            let Definition { name, default, is_secret, .. } = setting;
            let typed = typed_in(matches, setting);
            // As `Config` reads them: what is typed, then a file that is named, then a credential.
            let named = all.iter().find(|one| one.name == format!("{name}_FILE"));
            let file = named.and_then(|twin| typed_in(matches, twin)).map(PathBuf::from);
            let (origin, value) = match (typed, file, credential(name)) {
                (Some(text), ..) => (origin(matches, setting), Some(text)),
                (None, Some(file), _) => (Origin::File(file), None),
                (None, None, Some(path)) => {
                    let shown = path.display().to_string();
                    (Origin::Credential(path), Some(shown))
                }
                (None, None, None) => (Origin::Default, default.clone()),
            };
            let is_set = value.is_some() || origin != Origin::Default;
            let value = match (*is_secret && is_set, value) {
                (true, _) => hidden(name, config),
                (false, Some(value)) => value,
                (false, None) => found_out(name, config),
            };
            InForce { name: name.clone(), value, origin }
        })
        .collect()
}

/// What was typed, unless that is blank or nobody typed it.
fn typed_in(matches: &ArgMatches, setting: &Definition) -> Option<String> {
    if matches.value_source(&setting.id) == Some(ValueSource::DefaultValue) {
        return None;
    }
    let text = matches.get_one::<String>(&setting.id)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn origin(matches: &ArgMatches, setting: &Definition) -> Origin {
    match matches.value_source(&setting.id) {
        Some(ValueSource::CommandLine) => Origin::Flag,
        Some(ValueSource::EnvVariable) => Origin::Environment,
        _ => Origin::Default,
    }
}

/// What may be told of a secret.
fn hidden(name: &str, config: &Config) -> String {
    let url = config.postgres.as_ref().filter(|_| name == "POSTGRES_URL").map(|postgres| &postgres.url);
    match url.map(|url| postgres::describe(url)) {
        Some(Ok(place)) => format!("{place} (password not shown)"),
        _ => "(not shown)".to_owned(),
    }
}

/// The value of a setting that is found out at start.
fn found_out(name: &str, config: &Config) -> String {
    match name {
        "WORKERS" => config.workers.to_string(),
        "INSTANCE" => config.instance.clone(),
        "DATA_DIR" => config.data_dir.display().to_string(),
        "SPOOL_MAX_BYTES" => "what suits the disk".to_owned(),
        _ => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::commands::Cli;

    fn of(line: &[&str]) -> Vec<InForce> {
        let line = ["logs-ingest"].iter().chain(line);
        let matches = Cli::command().try_get_matches_from(line).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap();
        in_force(&matches, &Config::from_raw(&cli.settings).unwrap())
    }

    fn one(all: &[InForce], name: &str) -> (String, String) {
        let found = all.iter().find(|one| one.name == name).unwrap();
        (found.value.clone(), found.origin.to_string())
    }

    #[test]
    fn values_come_with_their_origin_and_secrets_do_not_come() {
        let url = "postgres://till:hunter2@db:5433/logs";
        let all = of(&["--port", "9000", "--kafka-topic", " ", "--workers", "7", "--postgres-url", url]);
        let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(one(&all, "PORT"), pair("9000", "flag"));
        assert_eq!(one(&all, "KAFKA_TOPIC"), pair("pos-logs", "default"));
        assert_eq!(one(&all, "WORKERS"), pair("7", "flag"));
        assert_eq!(one(&all, "KAFKA_BROKERS"), pair("none", "default"));
        let (shown, origin) = one(&all, "POSTGRES_URL");
        assert!(shown.contains("db:5433/logs") && origin == "flag", "{shown} {origin}");
        assert!(!format!("{all:?}").contains("hunter2"), "{all:?}");
        assert_eq!(all.len(), definitions().len());
    }
}
