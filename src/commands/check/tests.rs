//! What each fact is taken for.

use super::finding::{Finding, Findings, Level};
use crate::store::{kafka, postgres, spool};

fn levels(findings: &[Finding]) -> Vec<(Level, &str)> {
    findings.iter().map(|finding| (finding.level, &*finding.text)).collect()
}

/// The worst finding, which has `part` in it.
fn worst(find: impl FnOnce(&mut Findings), level: Level, part: &str) {
    let mut findings = Findings::default();
    find(&mut findings);
    let findings = &findings.all;
    assert_eq!(findings.iter().map(|one| one.level).max(), Some(level), "{:?}", levels(findings));
    let named = findings.iter().any(|one| one.level == level && one.text.contains(part));
    assert!(named, "{part:?} is not in {:?}", levels(findings));
}

fn topic(replicas: usize, settings: &[(&str, &str)]) -> kafka::Topic {
    kafka::Topic {
        partitions: 3,
        replicas,
        in_sync: replicas,
        may_write: Some(true),
        settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..kafka::Topic::default()
    }
}

#[test]
fn what_an_acknowledgement_is_worth_is_said() {
    let large = ("max.message.bytes", "1048588");
    for (topic, level, part) in [
        (topic(1, &[large]), Level::Warning, "page cache of one machine"),
        (topic(1, &[large]), Level::Warning, "flush.messages=1"),
        (topic(1, &[large, ("flush.messages", "1")]), Level::Ok, "on that broker's disk"),
        (topic(1, &[large, ("flush.messages", "9223372036854775807")]), Level::Warning, "one replica"),
        (topic(3, &[large, ("min.insync.replicas", "1")]), Level::Warning, "min.insync.replicas=1"),
        (topic(3, &[large, ("min.insync.replicas", "2")]), Level::Ok, "kept by 3 brokers"),
        (
            kafka::Topic { in_sync: 1, ..topic(3, &[large, ("min.insync.replicas", "2")]) },
            Level::Problem,
            "1 of 3 replicas in sync and needs 2",
        ),
        (kafka::Topic { leaderless: 1, ..topic(3, &[]) }, Level::Problem, "1 of 3 partitions"),
        (kafka::Topic { may_write: Some(false), ..topic(3, &[]) }, Level::Problem, "grant WRITE"),
        (
            kafka::Topic { settings_hidden: Some("no".into()), ..topic(3, &[]) },
            Level::Warning,
            "settings of topic 'pos-logs': no",
        ),
        (topic(3, &[("max.message.bytes", "10000")]), Level::Warning, "become dead letters"),
    ] {
        let found = kafka::Inspection { topic: Some(topic), ..kafka::Inspection::default() };
        worst(|all| all.kafka(&found, "pos-logs", 400 << 10), level, part);
    }
    worst(
        |all| all.kafka(&kafka::Inspection::default(), "pos-logs", 1_024),
        Level::Warning,
        "'pos-logs' does not exist",
    );
    let old = kafka::Inspection { lacking: Some("InitProducerId".into()), ..kafka::Inspection::default() };
    worst(|all| all.kafka(&old, "pos-logs", 1_024), Level::Warning, "classic");
    let one_away = kafka::Inspection {
        unreachable: vec!["b:9092 refuses".into()],
        topic: Some(topic(3, &[])),
        ..kafka::Inspection::default()
    };
    worst(|all| all.kafka(&one_away, "pos-logs", 1_024), Level::Warning, "b:9092 refuses; the others");
}

#[test]
fn what_a_server_lacks_is_said() {
    let good = || postgres::Inspection {
        server: "15.1".into(),
        fsync: true,
        encoding: "UTF8".into(),
        encrypted: true,
        tables: 2,
        tables_known: 2,
        may_create: Some(true),
        ..postgres::Inspection::default()
    };
    for (found, level, part) in [
        (good(), Level::Ok, "version 2"),
        (postgres::Inspection { tables: 0, ..good() }, Level::Ok, "will be made"),
        (postgres::Inspection { tables: 1, ..good() }, Level::Ok, "from version 1 to 2"),
        (postgres::Inspection { tables: 3, ..good() }, Level::Problem, "upgrade this program"),
        (
            postgres::Inspection { tables: 0, may_create: Some(false), ..good() },
            Level::Problem,
            "GRANT CREATE",
        ),
        (postgres::Inspection { tables: 0, may_create: None, ..good() }, Level::Problem, "GRANT CREATE"),
        (postgres::Inspection { tables: 1, may_create: None, ..good() }, Level::Problem, "may not change"),
        (postgres::Inspection { read_only: true, ..good() }, Level::Problem, "takes no writes"),
        (
            postgres::Inspection { lacks: vec!["INSERT on raw_logs".into()], ..good() },
            Level::Problem,
            "INSERT",
        ),
        (postgres::Inspection { fsync: false, ..good() }, Level::Warning, "fsync=off"),
        (postgres::Inspection { encrypted: false, ..good() }, Level::Warning, "not encrypted"),
        (postgres::Inspection { encoding: "SQL_ASCII".into(), ..good() }, Level::Warning, "SQL_ASCII"),
    ] {
        worst(|all| all.postgres(&found, false), level, part);
    }
    worst(
        |all| all.postgres(&postgres::Inspection { encrypted: false, ..good() }, true),
        Level::Ok,
        "answers",
    );
}

#[test]
fn what_a_spool_lacks_is_said() {
    let good = || spool::Inspection {
        folder: "/var/lib/x".into(),
        exists: true,
        writable: true,
        in_use: false,
        free_bytes: 2 << 30,
        max_bytes: 1 << 30,
    };
    worst(|all| all.spool(&good()), Level::Ok, "1.0 GiB");
    worst(|all| all.spool(&spool::Inspection { exists: false, ..good() }), Level::Ok, "will be made below");
    worst(|all| all.spool(&spool::Inspection { writable: false, ..good() }), Level::Problem, "/var/lib/x");
    worst(
        |all| all.spool(&spool::Inspection { free_bytes: 1 << 20, ..good() }),
        Level::Warning,
        "1.0 MiB left",
    );
    worst(
        |all| all.spool(&spool::Inspection { in_use: true, ..good() }),
        Level::Ok,
        "a running daemon has it",
    );
}
