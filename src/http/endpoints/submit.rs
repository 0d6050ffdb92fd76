//! From valid events to an answer: the events are offered to the queue as one submission, and the thread that settles
//! it answers the request. The worker does not wait.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use log::{debug, error};
use uuid::Uuid;

use super::{batch, ingest};
use crate::delivery::queue::{NotTaken, Outcome, Settle, Submission};
use crate::event::Event;
use crate::host::throttle::Throttle;
use crate::http::Context;
use crate::http::idempotency::Ticket;
use crate::http::request::Request;
use crate::http::write_reply::write_reply;
use crate::limits::{LOG_REFUSED_PER_MINUTE, RETRY_AFTER_FULL_S, RETRY_AFTER_STOPPING_S};
use crate::store::{Cause, StoredIn};
use crate::telemetry::stats;
use crate::wire::reply::{Reply, retry_after};

/// Valid events on their way to the queue.
pub struct Accepted {
    /// At least one.
    pub(super) events: Vec<Event>,
    /// How they were sent.
    pub(super) sent: Sent,
    /// Holds their Idempotency-Key, if they have one.
    pub(super) ticket: Option<Ticket>,
}

/// How events were sent, and so what the answer says once all are stored.
pub(super) enum Sent {
    /// One event.
    Event,
    /// A batch, in which some items may have been refused already.
    Batch(batch::JudgedBatch),
}

static UNSTORED_LINES: Mutex<Throttle> = Mutex::new(Throttle::new(LOG_REFUSED_PER_MINUTE));

/// Offers the events to the queue, all or none.
pub fn submit(context: &Context, request: Request, accepted: Accepted) {
    let events = accepted.events.len();
    let Accepted { events: own, sent, ticket } = accepted;
    let first = own.first().map(|event| (event.key().clone(), event.ingest_id())).unwrap_or_default();
    let waiting = Waiting { request, sent, first, ticket, received_at: Instant::now() };
    let cards: usize = own.iter().map(|event| event.cards_masked() as usize).sum();
    let stats = &context.stats;
    for event in &own {
        if let (Some(service), Some(skew_ms)) = (event.service(), event.skew_ms()) {
            context.skews.note(&service, skew_ms);
        }
    }
    // Counted before the producer can settle them, and corrected if the queue refuses them.
    stats::add(&stats.accepted, events);
    stats::add(&stats.in_flight, events);
    let submission = Submission::new(own, Box::new(waiting));
    let (submission, refused) = match context.inlet.offer(submission) {
        Ok(()) => {
            context.history.add(events, context.health.uptime().as_secs());
            return stats::add(&stats.cards_masked, cards);
        }
        Err(NotTaken::Full(submission)) => {
            (submission, Outcome::Refused(Cause::Full, "the queue is full".into()))
        }
        Err(NotTaken::Closed(submission)) => {
            (submission, Outcome::Refused(Cause::Stopping, "the daemon is stopping".into()))
        }
    };
    stats::sub(&stats.accepted, events);
    stats::sub(&stats.in_flight, events);
    stats::add(&stats.refused_full, 1);
    let (_, settle) = submission.into_parts();
    settle.settle(&vec![refused; events]);
}

/// A request whose events are in the queue or with the producer.
struct Waiting {
    request: Request,
    sent: Sent,
    /// Key and id of the first event.
    first: (Bytes, Uuid),
    ticket: Option<Ticket>,
    received_at: Instant,
}

impl Settle for Waiting {
    fn settle(self: Box<Self>, outcomes: &[Outcome]) {
        let request = &self.request;
        let refused = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Refused(cause, why) => Some((*cause, why)),
            Outcome::Stored(_) => None,
        });
        let reply = match (refused, &self.sent, outcomes) {
            (Some((cause, why)), ..) => not_stored(cause, why, outcomes, request),
            (None, Sent::Event, [Outcome::Stored(place)]) => {
                let (key, ingest_id) = &self.first;
                let took = self.received_at.elapsed().as_secs_f64() * 1e3;
                debug!("an event is stored in={} ingest_id={ingest_id} {request} ms={took:.1}", place.name());
                ingest::accepted(key, *ingest_id, *place)
            }
            (None, Sent::Batch(batch), [_, ..]) => {
                let took = self.received_at.elapsed().as_secs_f64() * 1e3;
                let places = places(outcomes);
                debug!("a batch is stored in={places:?} events={} {request} ms={took:.1}", outcomes.len());
                batch.stored(outcomes.len(), places)
            }
            _ => {
                error!("BUG: a request has {} outcomes", outcomes.len());
                Reply::internal()
            }
        };
        // Before the answer, because a repeat may follow it at once. A refusal leaves the key free.
        if let Some(ticket) = self.ticket.filter(|_| refused.is_none()) {
            ticket.answered(&reply, Instant::now());
        }
        write_reply(self.request, &reply);
    }
}

/// The value of `X-Stored-In`: where the events are, each store once.
fn places(outcomes: &[Outcome]) -> String {
    let all = [StoredIn::Kafka, StoredIn::Postgres, StoredIn::Spool, StoredIn::DeadLetter];
    let used = all.into_iter().filter(|place| outcomes.contains(&Outcome::Stored(*place)));
    used.map(StoredIn::name).collect::<Vec<_>>().join(", ")
}

fn not_stored(cause: Cause, why: &Arc<str>, outcomes: &[Outcome], request: &dyn fmt::Display) -> Reply {
    let (stored, all) =
        (outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Stored(_))).count(), outcomes.len());
    log_unstored(why, all - stored, request);
    let after = if cause == Cause::Stopping { RETRY_AFTER_STOPPING_S } else { RETRY_AFTER_FULL_S };
    let text = match (stored, all) {
        (_, 1) => "the event is not stored: send it again".to_owned(),
        (0, _) => "the events are not stored: send them again".to_owned(),
        _ => {
            format!("{stored} of {all} events are stored, the others are not: send all of them again")
        }
    };
    Reply::unavailable(text, retry_after(after))
}

fn log_unstored(why: &Arc<str>, events: usize, request: &dyn fmt::Display) {
    let pass = UNSTORED_LINES.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now());
    if let Some(suppressed) = pass {
        log::warn!(
            "events are not stored, the client must send them again events={events} cause={why:?} {request}{suppressed}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_listed_once_in_the_order_of_preference() {
        let stored =
            |places: &[StoredIn]| places.iter().map(|&place| Outcome::Stored(place)).collect::<Vec<_>>();
        for (outcomes, text) in [
            (&[StoredIn::Kafka, StoredIn::Kafka][..], "kafka"),
            (
                &[StoredIn::DeadLetter, StoredIn::Spool, StoredIn::Kafka, StoredIn::Spool],
                "kafka, spool, dead-letter",
            ),
            (&[StoredIn::Postgres], "postgres"),
        ] {
            assert_eq!(places(&stored(outcomes)), text);
        }
    }

    #[test]
    fn what_is_not_stored_is_503_and_says_how_much_is() {
        let why: Arc<str> = "the spool is full".into();
        let (stored, refused) =
            (Outcome::Stored(StoredIn::Kafka), Outcome::Refused(Cause::Full, Arc::clone(&why)));
        for (outcomes, part) in [
            (vec![refused.clone()], "the event is not stored"),
            (vec![refused.clone(), refused.clone()], "the events are not stored"),
            (vec![stored, refused.clone(), refused], "1 of 3 events are stored"),
        ] {
            let reply = not_stored(Cause::Full, &why, &outcomes, &"-");
            let body = std::str::from_utf8(reply.body()).unwrap();
            assert!(reply.status() == 503 && body.contains(part), "{body}");
            assert_eq!(reply.headers()[0].0, "Retry-After");
        }
    }
}
