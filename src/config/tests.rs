//! The settings as they are declared, typed, documented and shown.

use std::collections::BTreeMap;

use clap::{Args, Command, FromArgMatches};

use super::*;

fn typed(line: &[&str]) -> RawSettings {
    let command = RawSettings::augment_args(Command::new("logs-ingest").no_binary_name(true));
    RawSettings::from_arg_matches(&command.try_get_matches_from(line).unwrap()).unwrap()
}

fn refusal(line: &[&str]) -> String {
    Config::from_raw(&typed(line)).unwrap_err().to_string()
}

#[test]
fn every_setting_has_a_variable_a_flag_a_group_help_and_a_default_that_is_legal() {
    let declared = Config::augment_args(Command::new("settings"));
    let all = definitions();
    let flags: Vec<_> =
        declared.get_arguments().map(|arg| format!("--{}", arg.get_long().unwrap())).collect();
    let same: Vec<_> = all.iter().map(Definition::flag).collect();
    assert_eq!(flags, same, "a setting lacks one of them, or its flag is not its variable's name");
    let names: Vec<&str> = all.iter().map(|one| &*one.name).collect();
    for one in &all {
        assert!(!one.help.ends_with('.') && one.help.len() > 20, "{}: {:?}", one.name, one.help);
        assert!(
            !one.is_secret || names.contains(&&*format!("{}_FILE", one.name)),
            "{} has no twin",
            one.name
        );
    }
    // One without a default is required, and lacks here.
    Config::from_raw(&RawSettings::default()).unwrap();

    let helps = all.iter().map(|one| &*one.help);
    let refusals = include_str!("relations.rs").split('"').skip(1).step_by(2);
    for text in helps.chain(refusals) {
        let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        for word in words.filter(|word| word.contains('_') && !word.starts_with(['_'])) {
            let of_kafka = ["SASL_PLAINTEXT", "SASL_SSL"];
            assert!(names.contains(&word) || of_kafka.contains(&word), "no setting is called {word}: {text}");
        }
    }
}

#[test]
fn the_readmes_table_has_every_setting_and_its_default() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, after) = readme.split_once("\n## Settings\n").expect("a chapter of settings");
    let chapter = after.split("\n## ").next().unwrap();
    let mut rows = BTreeMap::new();
    for row in chapter.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (names, rest) = row.split_once(" | ").unwrap();
        let default = rest.split(" | ").next().unwrap();
        // A row may be about two that belong together.
        rows.extend(names.trim_end_matches('`').split("`, `").map(|name| (name, default)));
    }
    for Definition { name, default, .. } in definitions() {
        let shown = rows.remove(&*name).unwrap_or_else(|| panic!("{name} is not in the README's table"));
        match default {
            Some(default) => assert_eq!(shown, format!("`{default}`"), "{name} in the README's table"),
            None => assert!(!shown.starts_with('`') || shown.contains(" or "), "{name}: {shown}"),
        }
    }
    assert!(rows.is_empty(), "in the README's table, but no settings: {rows:?}");
}

#[test]
fn a_value_that_cannot_be_used_is_named_as_typed_with_what_is_legal() {
    for (line, want) in [
        (&["--port", "many"][..], "PORT=\"many\" cannot be used: use a whole number from 0 to 65535"),
        (&["--head-timeout", "0"], "HEAD_TIMEOUT=\"0\" cannot be used: use a duration from 100ms to 3600s"),
        (&["--log-level=loud"], "LOG_LEVEL=\"loud\" cannot be used: use error, warn, info, debug or trace"),
        (
            &["--queue-bytes=64KiB"],
            "QUEUE_BYTES=\"64KiB\" cannot be used: it must hold two events of MAX_EVENT",
        ),
        (&["--spool-max-bytes=1MiB"], "SPOOL_MAX_BYTES=\"1MiB\" cannot be used: it must hold eight"),
        (&["--protect-status", "on"], "PROTECT_STATUS=\"on\" cannot be used: there are no keys"),
        (&["--tls-cert", "c.pem"], "TLS_KEY=\"\" cannot be used: TLS_CERT needs"),
        (&["--kafka-ssl-ca-location", "ca"], "KAFKA_SSL_CA_LOCATION=\"ca\" cannot be used: it needs"),
        (&["--kafka-client=Classic", "--kafka-security-protocol=ssl"], "KAFKA_CLIENT=\"Classic\" cannot"),
        (&["--kafka-security-protocol=SASL_SSL"], "KAFKA_SASL_USERNAME=\"\" cannot be used: SASL needs"),
        (
            &["--shutdown-timeout=3s", "--kafka-brokers=a"],
            "SHUTDOWN_TIMEOUT=\"3s\" cannot be used: it must be at least KAFKA_DEADLINE and POSTGRES_DEADLINE \
             together and 1 s more (4 s)",
        ),
        (&["--postgres-url-file", "/none"], "POSTGRES_URL_FILE=\"/none\" cannot be used: the file /none"),
        (&["--postgres-url", "hunter2"], "POSTGRES_URL=\"(not shown)\" cannot be used"),
        (
            &["--postgres-url", "postgres://till:hunter2@db/logs"],
            "POSTGRES_URL=\"(not shown)\" cannot be used",
        ),
        (&["--kafka-sasl-password", "hunter2"], "KAFKA_SASL_PASSWORD=\"(not shown)\" cannot be used"),
    ] {
        let said = refusal(line);
        assert!(said.starts_with(want) && !said.contains("hunter2"), "{said:?} instead of {want:?}");
    }
}

#[test]
fn a_bad_value_is_an_error_only_for_who_needs_the_setting() {
    let raw = typed(&["--queue-bytes", "lots", "--port", "80", "--data-dir", "x"]);
    assert_eq!((local_url(&raw).unwrap(), data_dir(&raw)), ("http://127.0.0.1:80".into(), "x".into()));
    assert!(Config::from_raw(&raw).is_err());
}

#[test]
fn values_come_with_their_origin_and_secrets_do_not_come() {
    let file = std::env::temp_dir().join(format!("logs-ingest-url-{}", std::process::id()));
    std::fs::write(&file, "postgres://till:hunter2@db:5433/logs\n").unwrap();
    let named = file.display().to_string();
    let line = ["--port", "9000", "--kafka-topic", " ", "--workers", "7", "--postgres-url-file", &named];
    let raw = typed(&line);
    let config = Config::from_raw(&raw).unwrap();
    let all = in_force(&raw, &config).unwrap();
    std::fs::remove_file(&file).unwrap();
    let one = |name: &str| {
        let found = all.iter().find(|one| one.name == name).unwrap();
        (found.value.clone(), found.origin.to_string())
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(one("PORT"), pair("9000", "flag"));
    assert_eq!(one("KAFKA_TOPIC"), pair("pos-logs", "default"));
    assert_eq!(one("WORKERS"), pair("7", "flag"));
    assert_eq!(one("KAFKA_BROKERS"), pair("none", "default"));
    for found in ["INSTANCE", "DATA_DIR", "SPOOL_MAX_BYTES"] {
        assert_ne!(one(found).0, "none", "{found}");
    }
    let (shown, origin) = one("POSTGRES_URL");
    assert!(shown.contains("db:5433/logs") && origin == format!("file {named}"), "{shown} {origin}");
    assert!(!format!("{raw:?} {config:?} {all:?}").contains("hunter2"), "{all:?}");
    assert_eq!(all.len(), definitions().len());
}
