//! Requests with an `Idempotency-Key`: reading the key, claiming it, and deriving the ids of events from it.

use std::time::Instant;

use super::ingest;
use crate::event::{Detail, Event, Loc, Refusal};
use crate::http::Context;
use crate::http::idempotency::{Claim, Digest, Ticket, derived_id, digest};
use crate::http::request::Request;
use crate::limits::{IDEMPOTENCY_KEY_CHARS_MAX, RETRY_AFTER_IN_FLIGHT_S};
use crate::telemetry::stats;
use crate::wire::reply::{Reply, retry_after};

/// What the same body is sent as: the answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// One event.
    Event,
    /// Many events, each judged by itself.
    Batch,
    /// Many events, all or none.
    Atomic,
}

/// A key, and the name of the client whose key it is.
pub(super) struct IdempotencyKey {
    client: String,
    key: String,
}

/// The request's key, if it has one.
///
/// # Errors
/// 422 for a key that cannot be used.
pub(super) fn key(request: &Request) -> Result<Option<IdempotencyKey>, Reply> {
    let Some(key) = request.idempotency_key() else { return Ok(None) };
    // The door forwards a key that is not printable, or was sent twice, without a value.
    if !(1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) {
        return Err(wrong("Idempotency-Key should be one value of 1 to 255 printable ASCII characters"));
    }
    let client = request.client().unwrap_or_default();
    Ok(Some(IdempotencyKey { client: client.to_owned(), key: key.to_owned() }))
}

fn wrong(msg: &'static str) -> Reply {
    let detail = Detail { loc: Loc::Outside("header", "idempotency-key"), msg, kind: "value_error" };
    ingest::refusal_reply(&Refusal::Invalid(vec![detail]))
}

impl IdempotencyKey {
    /// Claims the key for a request of this kind and body, and gives its events the ids that a repeat gives them again.
    ///
    /// # Errors
    /// The reply to send instead: the first answer again, 409 or 422.
    pub(super) fn claim(
        &self,
        context: &Context,
        kind: RequestKind,
        body: &Digest,
        events: Vec<Event>,
    ) -> Result<(Vec<Event>, Ticket), Reply> {
        let ticket = self.ticket(context, kind, body)?;
        let id =
            |index| derived_id(&self.client, &self.key, body, (kind != RequestKind::Event).then_some(index));
        let events = events.into_iter().enumerate().map(|(index, event)| event.identified(id(index)));
        Ok((events.collect(), ticket))
    }

    fn ticket(&self, context: &Context, kind: RequestKind, body: &Digest) -> Result<Ticket, Reply> {
        let key = digest(&[self.client.as_bytes(), self.key.as_bytes()]);
        let request = digest(&[&[kind as u8], body]);
        match context.idempotency.claim(key, request, Instant::now()) {
            Claim::First(ticket) => Ok(ticket),
            Claim::Answered(reply) => {
                stats::add(&context.stats.repeats_answered, 1);
                Err(reply.with("Idempotent-Replayed", "true"))
            }
            Claim::InFlight => {
                stats::add(&context.stats.repeats_in_flight, 1);
                Err(Reply::in_flight(retry_after(RETRY_AFTER_IN_FLIGHT_S)))
            }
            Claim::OtherRequest => {
                stats::add(&context.stats.refused_invalid, 1);
                Err(wrong("Idempotency-Key was used for another request"))
            }
        }
    }
}
