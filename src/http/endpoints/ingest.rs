//! `POST /api/logs/ingest`: one event.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::keyed::RequestKind;
use super::submit::{Accepted, Sent};
use std::sync::Arc;

use super::{Handled, json, keyed, refuse};
use crate::event::{Arrival, Event, Refusal, mask_text};
use crate::host::clock;
use crate::http::Context;
use crate::http::body::RequestBody;
use crate::http::request::Request;
use crate::store::StoredIn;
use crate::wire::reply::Reply;

/// Reads and validates the body.
pub(super) fn handle(context: &Context, request: &mut Request) -> Handled {
    let limit = context.rules.body_bytes_max();
    let read = keyed::key(request).and_then(|key| {
        let body = RequestBody::of(request, limit)?.read_whole()?;
        let event = Event::from_body(&body, arrival(context, request), context.rules)
            .map_err(|refusal| refusal_reply(&refusal))?;
        Ok((key, body, vec![event]))
    });
    let (key, body, events) = match read {
        Ok(read) => read,
        Err(reply) => return refuse(context, request, reply),
    };
    let Some(key) = key else {
        return Handled::Waits(Accepted { events, sent: Sent::Event, ticket: None });
    };
    match key.claim(context, RequestKind::Event, &Sha256::digest(&body).into(), events) {
        Ok((events, ticket)) => Handled::Waits(Accepted { events, sent: Sent::Event, ticket: Some(ticket) }),
        Err(reply) => Handled::Answer(reply),
    }
}

/// What the daemon adds to an event that it receives now.
pub(super) fn arrival(context: &Context, request: &Request) -> Arrival {
    Arrival {
        traceparent: request.traceparent().map(Box::from),
        x_request_id: request.x_request_id().map(|id| mask_text(id).into()),
        client: request.client().map(Arc::from),
        instance: Some(Arc::clone(&context.instance)),
        ..Arrival::new(Uuid::now_v7(), clock::record_ms())
    }
}

/// 422 or 413.
pub(super) fn refusal_reply(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Invalid(_) => Reply::json(422, refusal.detail_json()).because(refusal.to_string()),
        Refusal::TooLarge { limit_bytes } => Reply::too_large("the event", *limit_bytes),
    }
}

/// The contract's answer to a stored event: these four members in this order.
#[derive(Serialize, ToSchema)]
#[schema(as = Accepted)]
pub(super) struct AcceptedBody<'a> {
    /// `accepted`
    status: &'static str,
    /// That of the event, as sent.
    request_id: &'a str,
    /// For people.
    message: &'static str,
    /// Now, in UTC.
    #[schema(format = DateTime)]
    timestamp: String,
}

/// 202: the event is stored.
pub(super) fn accepted(key: &[u8], ingest_id: Uuid, place: StoredIn) -> Reply {
    let body = AcceptedBody {
        status: "accepted",
        request_id: std::str::from_utf8(key).unwrap_or_default(),
        message: "Log ingested and queued for processing",
        timestamp: clock::rfc3339(clock::record_ms()),
    };
    json(202, &body).with("X-Stored-In", place.name()).with("X-Ingest-Id", ingest_id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Rules;

    #[test]
    fn the_answer_has_four_members_and_says_where_the_event_is() {
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
        let rules = Rules { max_event_bytes: 400 << 10, redact_pan: true };
        assert_eq!(rules.body_bytes_max(), 500 << 10);
    }
}
