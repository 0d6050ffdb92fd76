//! `POST /api/logs/ingest`: one event. The worker validates and offers it to the queue; the request
//! travels along and is answered when the event is safe.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use log::{debug, error, info};
use serde::Serialize;
use tiny_http::Request;
use uuid::Uuid;

use super::{Handled, client, header};
use crate::clock;
use crate::event::{Arrival, Event, Refusal};
use crate::http::Context;
use crate::http::answer::answer;
use crate::http::reply::{Reply, retry_after};
use crate::limits::{LOG_REFUSED_PER_MINUTE, RETRY_AFTER_FULL_S, RETRY_AFTER_STOPPING_S, TRACEPARENT_MAX};
use crate::logging::{Escaped, Throttle};
use crate::queue::{NotTaken, Outcome, Settle, StoredIn, Submission};
use crate::stats;

/// A valid event on its way to the queue.
pub struct Accepted {
    event: Event,
}

static REFUSED_LINES: Mutex<Throttle> = Mutex::new(Throttle::new(LOG_REFUSED_PER_MINUTE));
static UNSTORED_LINES: Mutex<Throttle> = Mutex::new(Throttle::new(LOG_REFUSED_PER_MINUTE));

/// Reads and validates the body.
pub fn handle(context: &Context, request: &mut Request) -> Handled {
    if let Some(reply) = unsupported_encoding(request) {
        return Handled::Answer(reply);
    }
    let body = match read_body(request, context.rules.max_event_bytes) {
        Ok(body) => body,
        Err(reply) => return Handled::Answer(reply),
    };
    let arrival = Arrival {
        ingest_id: Uuid::now_v7(),
        received_at_ms: clock::record_ms(),
        traceparent: header(request, "traceparent")
            .filter(|text| text.len() <= TRACEPARENT_MAX)
            .map(Box::from),
    };
    match Event::from_body(&body, arrival, context.rules) {
        Ok(event) => Handled::Waits(Accepted { event }),
        Err(refusal) => {
            stats::add(&context.stats.refused_invalid, 1);
            let reply = refuse(&refusal);
            log_refusal(request, &reply);
            Handled::Answer(reply)
        }
    }
}

/// Offers the event to the queue; whoever settles it answers the request.
pub fn submit(context: &Context, request: Request, accepted: Accepted) {
    let waiting = Waiting {
        ingest_id: accepted.event.ingest_id(),
        key: accepted.event.key().clone(),
        received_at: Instant::now(),
        request,
    };
    // Counted before the producer can settle it; taken back when the queue refuses it.
    stats::add(&context.stats.accepted, 1);
    stats::add(&context.stats.in_flight, 1);
    let submission = Submission::new(vec![accepted.event], Box::new(waiting));
    let (submission, why) = match context.inlet.offer(submission) {
        Ok(()) => return,
        Err(NotTaken::Full(submission)) => (submission, "the queue is full"),
        Err(NotTaken::Closed(submission)) => (submission, "the daemon is stopping"),
    };
    stats::sub(&context.stats.accepted, 1);
    stats::sub(&context.stats.in_flight, 1);
    stats::add(&context.stats.refused_full, 1);
    let (_, settle) = submission.into_parts();
    settle.settle(&[Outcome::Refused(why.into())]);
}

fn unsupported_encoding(request: &Request) -> Option<Reply> {
    let encoding = header(request, "Content-Encoding")?;
    let plain = encoding.is_empty() || encoding.eq_ignore_ascii_case("identity");
    (!plain).then(|| Reply::unsupported_encoding("identity"))
}

/// A body may be a quarter longer than the event in it, for white space and escapes.
#[must_use]
pub fn body_bytes_max(max_event_bytes: usize) -> usize {
    max_event_bytes + max_event_bytes / 4
}

/// The door has the whole body already and sends it at once, within the same limit.
fn read_body(request: &mut Request, max_event_bytes: usize) -> Result<Vec<u8>, Reply> {
    let most = body_bytes_max(max_event_bytes);
    let declared = request.body_length().unwrap_or(0);
    if declared > most {
        return Err(Reply::too_large("the body", most));
    }
    let mut body = vec![0; declared];
    request.as_reader().read_exact(&mut body).map_err(|error| {
        error!("BUG: the door did not send the body that it declared cause={:?}", error.to_string());
        Reply::internal()
    })?;
    Ok(body)
}

fn refuse(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Invalid(_) => Reply::json(422, refusal.detail_json()),
        Refusal::TooLarge { limit_bytes } => Reply::too_large("the event", *limit_bytes),
    }
}

fn log_refusal(request: &Request, reply: &Reply) {
    let Some(hidden) = REFUSED_LINES.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now())
    else {
        return;
    };
    let id = header(request, "X-Request-ID").unwrap_or("-");
    let peer = header(request, "X-Door-Peer").unwrap_or("-");
    let client = client(request);
    let why = String::from_utf8_lossy(reply.body());
    let status = reply.status();
    info!(
        "a request is refused status={status} x_request_id={} peer={peer} client={client} hidden_before={hidden} detail={}",
        Escaped(id),
        Escaped(&why)
    );
}

/// A request whose event is on its way.
struct Waiting {
    request: Request,
    key: bytes::Bytes,
    ingest_id: Uuid,
    received_at: Instant,
}

impl Settle for Waiting {
    fn settle(self: Box<Self>, outcomes: &[Outcome]) {
        let id = header(&self.request, "X-Request-ID").unwrap_or("-");
        let reply = match outcomes {
            [Outcome::Stored(place)] => {
                let took = self.received_at.elapsed().as_secs_f64() * 1e3;
                debug!(
                    "an event is stored in={} ingest_id={} x_request_id={} client={} ms={took:.1}",
                    place.name(),
                    self.ingest_id,
                    Escaped(id),
                    client(&self.request)
                );
                accepted(&self.key, self.ingest_id, *place)
            }
            [Outcome::Refused(why)] => {
                log_unstored(why, id, client(&self.request));
                let after = if &**why == "the daemon is stopping" {
                    RETRY_AFTER_STOPPING_S
                } else {
                    RETRY_AFTER_FULL_S
                };
                Reply::unavailable("the event could not be stored now: send it again", retry_after(after))
            }
            _ => {
                error!("BUG: one event has {} outcomes", outcomes.len());
                Reply::internal()
            }
        };
        answer(self.request, &reply);
    }
}

fn log_unstored(why: &Arc<str>, id: &str, client: &str) {
    let pass = UNSTORED_LINES.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now());
    if let Some(hidden) = pass {
        log::warn!(
            "an event is not stored, the client is told to come back cause={why:?} x_request_id={} client={client} hidden_before={hidden}",
            Escaped(id)
        );
    }
}

/// The contract's answer to a stored event: these four keys, in this order.
#[derive(Serialize)]
struct AcceptedBody<'a> {
    status: &'static str,
    request_id: &'a str,
    message: &'static str,
    timestamp: String,
}

fn accepted(key: &[u8], ingest_id: Uuid, place: StoredIn) -> Reply {
    let body = AcceptedBody {
        status: "accepted",
        request_id: std::str::from_utf8(key).unwrap_or_default(),
        message: "Log ingested and queued for processing",
        timestamp: clock::rfc3339(clock::record_ms()),
    };
    match serde_json::to_vec(&body) {
        Ok(body) => Reply::json(202, body)
            .with("X-Stored-In", place.name())
            .with("X-Ingest-Id", ingest_id.to_string()),
        Err(_) => Reply::internal(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_four_keys_and_says_where_the_event_is() {
        let reply = accepted("till \"7\"\n".as_bytes(), Uuid::nil(), StoredIn::DeadLetter);
        let body = std::str::from_utf8(reply.body()).unwrap();
        let (head, time) = body.split_once(r#","timestamp":""#).unwrap();
        let start = r#"{"status":"accepted","request_id":"till \"7\"\n""#;
        assert_eq!(head, format!(r#"{start},"message":"Log ingested and queued for processing""#));
        assert_eq!((time.len(), &time[23..]), (26, "Z\"}"));
        assert_eq!(reply.headers()[0], ("X-Stored-In", "dead-letter".into()));
    }

    #[test]
    fn a_body_may_be_a_quarter_longer_than_its_event() {
        assert_eq!(body_bytes_max(400 << 10), 500 << 10);
    }
}
