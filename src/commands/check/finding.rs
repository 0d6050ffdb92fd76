//! What `check-config` finds, and what that means to the administrator: facts in, sentences out. Pure.

use serde::Serialize;

use crate::commands::output::size;
use crate::limits::KAFKA_WIRE_RECORD_EXTRA_BYTES;
use crate::store::{kafka, postgres, spool};

/// How bad it is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// It works.
    Ok,
    /// It works, but an outage may cost more than it has to.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) subject: &'static str,
    pub(super) level: Level,
    pub(super) text: String,
}

/// Findings on one subject.
pub(super) struct Findings {
    subject: &'static str,
    all: Vec<Finding>,
}

impl Findings {
    pub(super) fn on(subject: &'static str) -> Self {
        Self { subject, all: Vec::new() }
    }

    pub(super) fn add(&mut self, level: Level, text: impl Into<String>) {
        self.all.push(Finding { subject: self.subject, level, text: text.into() });
    }

    pub(super) fn into_all(self) -> Vec<Finding> {
        self.all
    }
}

/// A broker that answered.
pub(super) fn kafka(found: &kafka::Inspection, topic: &str, max_event_bytes: usize) -> Vec<Finding> {
    let mut findings = Findings::on("kafka");
    for broker in &found.unreachable {
        findings.add(Level::Warning, format!("{broker}; the others answer for it"));
    }
    if let Some(lacking) = &found.lacking {
        findings.add(
            Level::Warning,
            format!(
                "the broker lacks what the modern client needs ({lacking}): the classic one is used; its records \
                 have no headers, ingest_id does not reach Kafka"
            ),
        );
        return findings.into_all();
    }
    let Some(facts) = &found.topic else {
        findings.add(
            Level::Warning,
            format!(
                "topic '{topic}' does not exist: the broker makes it for the first event where \
                 auto.create.topics.enable is on; until it exists, events go to the next store"
            ),
        );
        return findings.into_all();
    };
    if facts.leaderless > 0 {
        let (leaderless, all) = (facts.leaderless, facts.partitions);
        findings.add(
            Level::Problem,
            format!(
                "{leaderless} of {all} partitions of topic '{topic}' have no leader: look at the brokers"
            ),
        );
    } else {
        let partitions = facts.partitions;
        findings.add(Level::Ok, format!("topic '{topic}' is there, partitions: {partitions}"));
    }
    match facts.may_write {
        Some(false) => {
            findings
                .add(Level::Problem, format!("not allowed to write to topic '{topic}': grant WRITE on it"));
        }
        Some(true) => findings.add(Level::Ok, format!("this client may write to topic '{topic}'")),
        None => {}
    }
    if let Some(why) = &facts.settings_hidden {
        findings.add(Level::Warning, format!("the settings of topic '{topic}' can't be read: {why}"));
    }
    copies(&mut findings, facts, topic);
    let number = |name: &str| facts.settings.get(name).and_then(|value| value.parse::<u64>().ok());
    let needed = (max_event_bytes + KAFKA_WIRE_RECORD_EXTRA_BYTES) as u64;
    if let Some(most) = number("max.message.bytes").filter(|most| *most < needed) {
        findings.add(
            Level::Warning,
            format!(
                "topic '{topic}' takes {most} bytes (max.message.bytes), MAX_EVENT_BYTES is {max_event_bytes}: \
                 larger events become dead letters"
            ),
        );
    }
    findings.into_all()
}

/// What an acknowledgement is worth.
fn copies(findings: &mut Findings, facts: &kafka::Topic, topic: &str) {
    let number = |name: &str| facts.settings.get(name).and_then(|value| value.parse::<usize>().ok());
    let least = number("min.insync.replicas");
    match (facts.replicas, least) {
        (0 | 1, _) if number("flush.messages") == Some(1) => findings.add(
            Level::Ok,
            "one replica, but flush.messages=1: an acknowledged event is on that broker's disk",
        ),
        (0 | 1, _) => findings.add(
            Level::Warning,
            format!(
                "topic '{topic}' has one replica: an acknowledgement means the page cache of one machine, and a \
                 power cut there can lose what it acknowledged; set the topic's flush.messages=1 (kafka-configs.sh \
                 --alter --entity-type topics --entity-name {topic} --add-config flush.messages=1), or more replicas"
            ),
        ),
        (replicas, Some(1)) => findings.add(
            Level::Warning,
            format!(
                "topic '{topic}' has {replicas} replicas, but min.insync.replicas=1: with the others behind, an \
                 acknowledgement means one machine; set it to 2"
            ),
        ),
        (replicas, Some(least)) if facts.in_sync < least => findings.add(
            Level::Problem,
            format!(
                "topic '{topic}' has {} of {replicas} replicas in sync and needs {least}: writes are refused now",
                facts.in_sync
            ),
        ),
        (replicas, _) => findings.add(Level::Ok, format!("each event is kept by {replicas} brokers")),
    }
}

/// A server that answered.
pub(super) fn postgres(found: &postgres::Inspection, is_local: bool) -> Vec<Finding> {
    let mut findings = Findings::on("postgres");
    findings.add(Level::Ok, format!("PostgreSQL {} answers", found.server));
    if found.read_only {
        findings.add(
            Level::Problem,
            "the server takes no writes (transaction_read_only is on): name the primary, or look at \
             default_transaction_read_only",
        );
    }
    if !found.fsync {
        findings.add(
            Level::Warning,
            "the server runs with fsync=off: what it has committed does not survive a power cut; set fsync=on",
        );
    }
    if !found.encrypted && !is_local {
        findings.add(
            Level::Warning,
            "the connection is not encrypted: set sslmode=verify-full in POSTGRES_URL, or require at the least",
        );
    }
    let (tables, known) = (found.tables, found.tables_known);
    let may_create = found.may_create == Some(true);
    match tables {
        0 if may_create => findings.add(Level::Ok, "the tables will be made at the first start"),
        0 => findings.add(
            Level::Problem,
            "the tables are not there, and the role may not make them: GRANT CREATE ON SCHEMA to it, or apply \
             sql/postgres/*.sql yourself",
        ),
        _ if tables > known => findings.add(
            Level::Problem,
            format!("its tables have version {tables}, this program knows {known}: upgrade this program"),
        ),
        _ if tables < known && !may_create => findings.add(
            Level::Problem,
            format!(
                "its tables have version {tables}, this program needs {known}, and the role may not change them: \
                 apply sql/postgres/*.sql yourself"
            ),
        ),
        _ if tables < known => findings.add(
            Level::Ok,
            format!("its tables will be brought from version {tables} to {known} at the first start"),
        ),
        _ => findings.add(Level::Ok, format!("its tables have version {tables}, as this program")),
    }
    if !found.lacks.is_empty() {
        findings.add(Level::Problem, format!("the role lacks {}: grant them", found.lacks.join(", ")));
    }
    if found.encoding != "UTF8" {
        findings.add(
            Level::Warning,
            format!(
                "the database's encoding is {}: text columns may show '?', payload is exact",
                found.encoding
            ),
        );
    }
    findings.into_all()
}

/// A spool, seen from outside.
pub(super) fn spool(found: &spool::Inspection) -> Vec<Finding> {
    let mut findings = Findings::on("spool");
    let folder = found.folder.display();
    match (found.writable, found.exists) {
        (false, _) => findings.add(
            Level::Problem,
            format!("{folder} can't be written by this user: change its owner, or set DATA_DIR"),
        ),
        (true, false) => findings.add(Level::Ok, format!("its folder will be made below {folder}")),
        (true, true) => findings.add(Level::Ok, format!("{folder} can be written")),
    }
    if found.in_use {
        findings.add(Level::Ok, "a running daemon has it: a second one on the same folder would not start");
    }
    let (may_hold, free) = (size(found.max_bytes), size(found.free_bytes));
    if found.free_bytes < found.max_bytes {
        findings.add(
            Level::Warning,
            format!(
                "it may hold {may_hold}, but its disk has {free} left: make room, or lower SPOOL_MAX_BYTES; with a \
                 full disk events are answered 503"
            ),
        );
    } else {
        findings.add(Level::Ok, format!("it may hold {may_hold}, its disk has {free} left"));
    }
    findings.into_all()
}

#[cfg(test)]
#[path = "finding_tests.rs"]
mod tests;
