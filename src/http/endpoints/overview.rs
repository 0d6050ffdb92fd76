//! `GET /status.json`: the content of the status page, with one sentence for the shop's manager.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::host::clock;
use crate::http::Context;
use crate::limits::HISTORY_SLOT_S;
use crate::store::StoredIn;
use crate::telemetry::health::{self, RemoteState, Vitals};
use crate::telemetry::refused::{self, ListedRefusal};
use crate::wire::reply::Reply;

/// The content of the status page.
#[derive(Serialize, ToSchema)]
#[schema(as = Overview)]
pub(super) struct OverviewBody {
    /// `safe`; `waiting`: safe, but not in Kafka yet; `refusing`: new events cannot be stored.
    #[schema(value_type = String)]
    level: Level,
    /// The state in a few words.
    headline: &'static str,
    /// The state in a sentence.
    detail: String,
    version: &'static str,
    now: String,
    uptime_s: u64,
    /// Where events go now: kafka, postgres or spool.
    route: &'static str,
    kafka: StorePart,
    postgres: StorePart,
    /// Events per second now.
    rate: f64,
    /// Events in each ten seconds of the last hour, oldest first.
    history: Vec<u64>,
    /// The length of one entry of `history`.
    history_slot_s: u64,
    /// Events that wait for Kafka.
    backlog: u64,
    /// How long the oldest of them has waited.
    backlog_oldest_s: Option<i64>,
    /// When all of them will be in Kafka, at `RECOVERY_RATE`. Null: unknown, or Kafka is down.
    backlog_gone_in_s: Option<u64>,
    dead_letters: u64,
    spool_bytes: u64,
    spool_max_bytes: u64,
    spool_full_in_hours: Option<f64>,
    disk_free_bytes: u64,
    connections: u64,
    /// The last requests that were refused because they are wrong, not because there was no room; newest first.
    refused: Vec<ListedRefusal>,
}

/// How well events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Safe,
    Waiting,
    Refusing,
}

/// One of the remote stores.
#[derive(Serialize, ToSchema)]
#[schema(as = Store)]
struct StorePart {
    /// off, connecting, up or down.
    state: RemoteState,
    since: String,
    error: Option<String>,
}

impl StorePart {
    fn of(vitals: &Vitals) -> Self {
        let health = vitals.health();
        Self { state: health.state, since: health.since, error: health.error }
    }

    fn is(&self, state: RemoteState) -> bool {
        self.state == state
    }
}

/// What the sentence depends on.
struct Facts<'a> {
    kafka: &'a StorePart,
    postgres: &'a StorePart,
    /// The spool takes events.
    has_room: bool,
    backlog: u64,
    gone_in_s: Option<u64>,
}

impl Facts<'_> {
    fn next_store(&self) -> StoredIn {
        health::next_store(self.kafka.state, self.postgres.state)
    }

    /// Level, headline and detail.
    fn summary(&self) -> (Level, &'static str, String) {
        const SAFE: &str = "Every event is safe";
        let waits = match self.backlog {
            0 => String::new(),
            1 => " 1 event waits.".to_owned(),
            backlog => format!(" {backlog} events wait."),
        };
        let store = self.next_store();
        if store == StoredIn::Spool && !self.has_room {
            let detail = format!("There is no room. Tills must send them again later.{waits}");
            return (Level::Refusing, "New events cannot be stored", detail);
        }
        let place = match store {
            StoredIn::Kafka => "in Kafka",
            StoredIn::Postgres => "in PostgreSQL",
            StoredIn::Spool | StoredIn::DeadLetter => "on this machine's own disk",
        };
        if self.kafka.is(RemoteState::Down) {
            let then = match self.backlog {
                1 => "It goes to Kafka by itself when Kafka is up again.",
                _ => "They go to Kafka by themselves when Kafka is up again.",
            };
            let detail = format!("Kafka is down, so events are kept {place}.{waits} {then}");
            return (Level::Waiting, SAFE, detail);
        }
        if self.kafka.is(RemoteState::Off) && self.postgres.is(RemoteState::Down) {
            let detail = format!("PostgreSQL is down, so events are kept {place}.{waits}");
            return (Level::Waiting, SAFE, detail);
        }
        if self.kafka.is(RemoteState::Up) && self.backlog > 0 {
            let when = match self.gone_in_s {
                Some(s) if s >= 90 => format!(" in about {} minutes", s.div_ceil(60)),
                Some(s) => format!(" in about {} seconds", s.max(1)),
                None => String::new(),
            };
            let events = if self.backlog == 1 { "event" } else { "events" };
            let detail = format!(
                "Events that waited are on their way to Kafka: {} {events}, done{when}.",
                self.backlog
            );
            return (Level::Safe, SAFE, detail);
        }
        (Level::Safe, SAFE, format!("Events are kept {place}.{waits}"))
    }
}

pub(super) fn reply(context: &Context) -> Reply {
    let (kafka, postgres) = (StorePart::of(&context.health.kafka), StorePart::of(&context.health.postgres));
    let (figures, now, uptime) = (context.spool.figures(), clock::record_ms(), context.health.uptime());
    let in_postgres = context.health.postgres_rows.last().map(|(_, rows)| rows);
    let backlog = figures.held + in_postgres.as_ref().map_or(0, |rows| rows.held);
    let oldest = [figures.oldest_held_ms, in_postgres.and_then(|rows| rows.oldest_held_ms)]
        .into_iter()
        .flatten()
        .min();
    let drains = kafka.is(RemoteState::Up) && context.recovery_rate > 0;
    let facts = Facts {
        kafka: &kafka,
        postgres: &postgres,
        has_room: figures.writable && !figures.full,
        backlog,
        gone_in_s: drains.then(|| backlog.div_ceil(u64::from(context.recovery_rate.max(1)))),
    };
    let (level, headline, detail) = facts.summary();
    let body = OverviewBody {
        level,
        headline,
        detail,
        version: env!("CARGO_PKG_VERSION"),
        now: clock::rfc3339(now),
        uptime_s: uptime.as_secs(),
        route: facts.next_store().name(),
        backlog_gone_in_s: facts.gone_in_s,
        rate: context.history.rate(uptime.as_secs()),
        history: context.history.counts(uptime.as_secs()),
        history_slot_s: HISTORY_SLOT_S,
        backlog,
        backlog_oldest_s: oldest.map(|at| (now - at).max(0) / 1_000),
        dead_letters: figures.dead_letters,
        spool_bytes: figures.bytes,
        spool_max_bytes: figures.max_bytes,
        spool_full_in_hours: figures.full_in.map(hours),
        disk_free_bytes: figures.disk_free,
        connections: context.door.figures().connections,
        refused: refused::last(),
        kafka,
        postgres,
    };
    json(200, &body).with("Cache-Control", "no-store")
}

fn hours(left: Duration) -> f64 {
    (left.as_secs_f64() / 360.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(state: RemoteState) -> StorePart {
        StorePart { state, since: String::new(), error: None }
    }

    #[test]
    fn the_sentence_says_what_a_manager_needs_to_know() {
        use RemoteState::{Connecting, Down, Off, Up};
        for (kafka, postgres, has_room, backlog, gone_in_s, level, detail) in [
            (Up, Off, true, 0, None, Level::Safe, "Events are kept in Kafka."),
            (Off, Off, true, 0, None, Level::Safe, "Events are kept on this machine's own disk."),
            (Off, Up, true, 0, None, Level::Safe, "Events are kept in PostgreSQL."),
            (Connecting, Off, true, 0, None, Level::Safe, "Events are kept on this machine's own disk."),
            (
                Down,
                Up,
                true,
                7,
                None,
                Level::Waiting,
                "Kafka is down, so events are kept in PostgreSQL. 7 events wait. They go to Kafka by themselves when Kafka is up again.",
            ),
            (
                Down,
                Off,
                true,
                1,
                None,
                Level::Waiting,
                "Kafka is down, so events are kept on this machine's own disk. 1 event waits. It goes to Kafka by itself when Kafka is up again.",
            ),
            (
                Off,
                Down,
                true,
                0,
                None,
                Level::Waiting,
                "PostgreSQL is down, so events are kept on this machine's own disk.",
            ),
            (
                Up,
                Off,
                true,
                4_000,
                Some(2),
                Level::Safe,
                "Events that waited are on their way to Kafka: 4000 events, done in about 2 seconds.",
            ),
            (
                Up,
                Off,
                true,
                400_000,
                Some(200),
                Level::Safe,
                "Events that waited are on their way to Kafka: 400000 events, done in about 4 minutes.",
            ),
            (
                Down,
                Down,
                false,
                9,
                None,
                Level::Refusing,
                "There is no room. Tills must send them again later. 9 events wait.",
            ),
            (
                Down,
                Up,
                false,
                0,
                None,
                Level::Waiting,
                "Kafka is down, so events are kept in PostgreSQL. They go to Kafka by themselves when Kafka is up again.",
            ),
        ] {
            let (kafka, postgres) = (store(kafka), store(postgres));
            let facts = Facts { kafka: &kafka, postgres: &postgres, has_room, backlog, gone_in_s };
            let summary = facts.summary();
            assert_eq!((summary.0, &*summary.2), (level, detail));
            assert_eq!(summary.1 == "Every event is safe", level != Level::Refusing);
        }
    }
}
