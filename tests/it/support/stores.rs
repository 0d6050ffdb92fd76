//! Where every event really is: the topic, the spools and the tables of Postgres, read past the daemon.
//!
//! The invariant of every fault test is [`Found::assert_safe`].

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::kafka::{Broker, Record};
use super::load::Report;
use super::postgres::Server;

pub(crate) const TOPIC: &str = "pos-logs";

/// A row of the spool.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) seq: i64,
    pub(crate) ingest_id: String,
    pub(crate) request_id: String,
    pub(crate) state: String,
    pub(crate) payload: Vec<u8>,
}

/// The rows of `raw_logs` or `dead_letters`, by sequence. The same SQLite as the daemon's, read-only.
pub(crate) fn rows(data_dir: &Path, table: &str) -> Vec<Row> {
    let file = data_dir.join("spool.sqlite3");
    let spool = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    spool.busy_timeout(std::time::Duration::from_secs(10)).expect("a timeout can be set");
    let sql = format!("SELECT seq, ingest_id, request_id, state, payload FROM {table} ORDER BY seq");
    let mut query = spool.prepare(&sql).expect("the table is there");
    let rows = query.query_map([], |row| {
        Ok(Row {
            seq: row.get(0)?,
            ingest_id: row.get(1)?,
            request_id: row.get(2)?,
            state: row.get(3)?,
            payload: row.get(4)?,
        })
    });
    rows.expect("the rows can be read").map(|row| row.expect("a row can be read")).collect()
}

/// Everything that is stored, by `ingest_id`.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// `request_id` by `ingest_id`, wherever the event is.
    pub(crate) events: HashMap<String, String>,
    pub(crate) in_kafka: HashMap<String, usize>,
    pub(crate) held: HashSet<String>,
    pub(crate) home: HashSet<String>,
    pub(crate) dead: HashSet<String>,
}

impl Found {
    /// Looks into the topic, if there is a broker, and into the spool.
    pub(crate) fn look(broker: Option<&Broker>, data_dir: &Path) -> Self {
        let records = broker.map(|broker| broker.read_all(TOPIC)).unwrap_or_default();
        Self::in_topic(records).and_spool(data_dir)
    }

    /// What a topic holds.
    pub(crate) fn in_topic(records: Vec<Record>) -> Self {
        let mut found = Self::default();
        for record in records {
            let id = record.header("ingest_id").expect("every record has its id");
            let key = String::from_utf8(record.key.expect("every record has a key")).expect("UTF-8");
            found.note(&id, &key);
            *found.in_kafka.entry(id).or_default() += 1;
        }
        found
    }

    /// ... and a spool.
    pub(crate) fn and_spool(mut self, data_dir: &Path) -> Self {
        for row in rows(data_dir, "raw_logs") {
            self.note(&row.ingest_id, &row.request_id);
            let place = if row.state == "held" { &mut self.held } else { &mut self.home };
            place.insert(row.ingest_id);
        }
        for row in rows(data_dir, "dead_letters") {
            self.note(&row.ingest_id, &row.request_id);
            self.dead.insert(row.ingest_id);
        }
        self
    }

    /// ... and Postgres. What it counts as forwarded must be in the topic.
    pub(crate) fn and_postgres(mut self, server: &Server) -> Self {
        let table = |table: &str, state: &str| {
            let key = "convert_from(payload, 'UTF8')::json ->> 'request_id'";
            server.sql(&format!("SELECT ingest_id, {state}, {key} FROM {table}"))
        };
        for row in table("raw_logs", "CASE WHEN forwarded_at IS NULL THEN state ELSE 'forwarded' END") {
            let id = &row[0];
            match row[1].as_str() {
                "forwarded" => {
                    assert!(
                        self.in_kafka.contains_key(id),
                        "{id} is marked as forwarded and is not in Kafka"
                    );
                    continue;
                }
                "held" => self.held.insert(id.clone()),
                _ => self.home.insert(id.clone()),
            };
            self.note(id, &row[2]);
        }
        for row in table("dead_letters", "state") {
            self.note(&row[0], &row[2]);
            self.dead.insert(row[0].clone());
        }
        self
    }

    fn note(&mut self, ingest_id: &str, request_id: &str) {
        let known = self.events.insert(ingest_id.to_owned(), request_id.to_owned());
        assert!(known.is_none_or(|known| known == request_id), "{ingest_id} names two events");
    }

    /// Each event answered 202 is stored under the same id, and nothing is stored that was not sent.
    pub(crate) fn assert_safe(&self, report: &Report) {
        let mut sent: HashSet<&str> = report.unanswered.iter().map(String::as_str).collect();
        for answer in &report.answers {
            sent.insert(&answer.request_id);
        }
        let mut lost = Vec::new();
        for answer in report.accepted() {
            let id = answer.ingest_id.as_ref().expect("a 202 names the event's id");
            if self.events.get(id) != Some(&answer.request_id) {
                lost.push((id.clone(), answer.request_id.clone(), answer.stored_in.clone()));
            }
        }
        assert!(
            lost.is_empty(),
            "{} acknowledged events are lost: {:?}",
            lost.len(),
            &lost[..lost.len().min(5)]
        );
        let strange: Vec<_> = self.events.values().filter(|id| !sent.contains(id.as_str())).take(5).collect();
        assert!(strange.is_empty(), "stored, but never sent: {strange:?}");
    }
}
