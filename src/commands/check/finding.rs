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

/// Findings, each on the subject that was named last.
#[derive(Default)]
pub(super) struct Findings {
    subject: &'static str,
    pub(super) all: Vec<Finding>,
}

impl Findings {
    /// The next ones are on this.
    pub(super) fn on(&mut self, subject: &'static str) {
        self.subject = subject;
    }

    pub(super) fn ok(&mut self, text: impl Into<String>) {
        self.add(Level::Ok, text.into());
    }

    pub(super) fn warning(&mut self, text: impl Into<String>) {
        self.add(Level::Warning, text.into());
    }

    pub(super) fn problem(&mut self, text: impl Into<String>) {
        self.add(Level::Problem, text.into());
    }

    fn add(&mut self, level: Level, text: String) {
        self.all.push(Finding { subject: self.subject, level, text });
    }

    /// A broker that answered.
    pub(super) fn kafka(&mut self, found: &kafka::Inspection, topic: &str, max_event_bytes: usize) {
        for broker in &found.unreachable {
            self.warning(format!("{broker}; the others answer for it"));
        }
        if let Some(lacking) = &found.lacking {
            return self.warning(format!(
                "the broker lacks what the modern client needs ({lacking}): the classic client is used; its records \
                 have no headers, ingest_id does not reach Kafka"
            ));
        }
        let Some(facts) = &found.topic else {
            return self.warning(format!(
                "topic '{topic}' does not exist: the broker makes it for the first event if \
                 auto.create.topics.enable is on; until it exists, events go to the next store"
            ));
        };
        let (leaderless, partitions) = (facts.leaderless, facts.partitions);
        match leaderless {
            0 => self.ok(format!("topic '{topic}' exists, partitions: {partitions}")),
            _ => self.problem(format!(
                "{leaderless} of {partitions} partitions of topic '{topic}' have no leader: look at the brokers"
            )),
        }
        match facts.may_write {
            Some(false) => {
                self.problem(format!("not allowed to write to topic '{topic}': grant WRITE on it"))
            }
            Some(true) => self.ok(format!("this client may write to topic '{topic}'")),
            None => {}
        }
        if let Some(why) = &facts.settings_hidden {
            self.warning(format!("cannot read the settings of topic '{topic}': {why}"));
        }
        self.copies(facts, topic);
        let needed = max_event_bytes + KAFKA_WIRE_RECORD_EXTRA_BYTES;
        if let Some(most) = number(facts, "max.message.bytes").filter(|most| *most < needed) {
            self.warning(format!(
                "topic '{topic}' takes {most} bytes (max.message.bytes), MAX_EVENT_BYTES is {max_event_bytes}: \
                 larger events become dead letters"
            ));
        }
    }

    /// What an acknowledgement is worth.
    fn copies(&mut self, facts: &kafka::Topic, topic: &str) {
        let is_flushed = number(facts, "flush.messages") == Some(1);
        match (facts.replicas, number(facts, "min.insync.replicas")) {
            (0 | 1, _) if is_flushed => {
                self.ok("one replica, but flush.messages=1: an acknowledged event is on that broker's disk");
            }
            (0 | 1, _) => self.warning(format!(
                "topic '{topic}' has one replica: an acknowledgement means the page cache of one machine, and a \
                 power cut there can lose what it acknowledged; set the topic's flush.messages=1 (kafka-configs.sh \
                 --alter --entity-type topics --entity-name {topic} --add-config flush.messages=1), or more replicas"
            )),
            (replicas, Some(1)) => self.warning(format!(
                "topic '{topic}' has {replicas} replicas, but min.insync.replicas=1: while the others lag behind, an \
                 acknowledgement means one machine; set it to 2"
            )),
            (replicas, Some(least)) if facts.in_sync < least => self.problem(format!(
                "topic '{topic}' has {} of {replicas} replicas in sync and needs {least}: writes are refused now",
                facts.in_sync
            )),
            (replicas, _) => self.ok(format!("each event is kept by {replicas} brokers")),
        }
    }

    /// A server that answered.
    pub(super) fn postgres(&mut self, found: &postgres::Inspection, is_local: bool) {
        self.ok(format!("PostgreSQL {} answers", found.server));
        if found.read_only {
            self.problem(
                "the server takes no writes (transaction_read_only is on): name the primary, or look at \
                 default_transaction_read_only",
            );
        }
        if !found.fsync {
            self.warning(
                "the server runs with fsync=off: what it commits does not survive a power cut; set fsync=on",
            );
        }
        if !found.encrypted && !is_local {
            self.warning(
                "the connection is not encrypted: set sslmode=verify-full in POSTGRES_URL, or at least require",
            );
        }
        let (tables, known) = (found.tables, found.tables_known);
        let may_create = found.may_create == Some(true);
        match tables {
            0 if may_create => self.ok("the tables will be made at the first start"),
            0 => self.problem(
                "the tables do not exist, and the role may not make them: GRANT CREATE ON SCHEMA to it, or apply \
                 sql/postgres/*.sql yourself",
            ),
            _ if tables > known => self.problem(format!(
                "its tables have version {tables}, this program knows {known}: upgrade this program"
            )),
            _ if tables < known && !may_create => self.problem(format!(
                "its tables have version {tables}, this program needs {known}, and the role may not change them: \
                 apply sql/postgres/*.sql yourself"
            )),
            _ if tables < known => self.ok(format!(
                "its tables will be brought from version {tables} to {known} at the first start"
            )),
            _ => self.ok(format!("its tables have version {tables}, as this program")),
        }
        if !found.lacks.is_empty() {
            self.problem(format!("the role lacks {}: grant them", found.lacks.join(", ")));
        }
        if found.encoding != "UTF8" {
            self.warning(format!(
                "the database's encoding is {}: text columns may show '?', payload is exact",
                found.encoding
            ));
        }
    }

    /// A spool, seen from outside.
    pub(super) fn spool(&mut self, found: &spool::Inspection) {
        let folder = found.folder.display();
        match (found.writable, found.exists) {
            (false, _) => self.problem(format!(
                "{folder} cannot be written by this user: change its owner, or set DATA_DIR"
            )),
            (true, false) => self.ok(format!("its folder will be made below {folder}")),
            (true, true) => self.ok(format!("{folder} can be written")),
        }
        if found.in_use {
            self.ok("a running daemon has it: a second one on the same folder would not start");
        }
        let (may_hold, free) = (size(found.max_bytes), size(found.free_bytes));
        match found.free_bytes < found.max_bytes {
            true => self.warning(format!(
                "it may hold {may_hold}, but its disk has {free} left: make room, or lower SPOOL_MAX_BYTES; with a \
                 full disk events are answered 503"
            )),
            false => self.ok(format!("it may hold {may_hold}, its disk has {free} left")),
        }
    }
}

/// A number among a topic's settings.
fn number(facts: &kafka::Topic, name: &str) -> Option<usize> {
    facts.settings.get(name).and_then(|value| value.parse().ok())
}
