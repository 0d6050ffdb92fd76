//! Requests that are refused for what they contain: counted, and told to the log a few times a minute.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use log::info;
use serde::Serialize;
use serde_json::Value;
use tiny_http::Request;
use utoipa::ToSchema;

use super::{Handled, client, header, traceparent};
use crate::clock;
use crate::event::mask_text;
use crate::http::Context;
use crate::http::reply::Reply;
use crate::limits::{LOG_REFUSED_PER_MINUTE, REFUSED_CHARS_SHOWN, REFUSED_KEPT_PER_MINUTE, REFUSED_SHOWN};
use crate::logging::{Escaped, Throttle};
use crate::stats;

static LINES: Mutex<Throttle> = Mutex::new(Throttle::new(LOG_REFUSED_PER_MINUTE));

/// The answer, once it is counted and logged.
pub(super) fn handled(context: &Context, request: &Request, reply: Reply) -> Handled {
    stats::add(&context.stats.refused_invalid, 1);
    note(request, reply.status(), &String::from_utf8_lossy(reply.body()));
    Handled::Answer(reply)
}

/// A request that was refused, as the status page tells of it. No text that a client sent but its name is in it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Refused {
    at: String,
    status: u16,
    /// Its address, or unix.
    peer: String,
    /// By its API key, or -.
    client: String,
    /// What is wrong, as the client was told.
    reason: String,
}

static LAST: Mutex<VecDeque<Refused>> = Mutex::new(VecDeque::new());
/// A flood of refusals must not pay for being remembered.
static KEPT: Mutex<Throttle> = Mutex::new(Throttle::new(REFUSED_KEPT_PER_MINUTE));

/// The last of them, newest first.
pub(super) fn last() -> Vec<Refused> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

fn keep(request: &Request, status: u16, why: &str) {
    if KEPT.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now()).is_none() {
        return;
    }
    let reason = mask_text(&plain(why)).chars().take(REFUSED_CHARS_SHOWN).collect();
    let peer = header(request, "X-Door-Peer").unwrap_or("-").to_owned();
    let at = clock::rfc3339(clock::record_ms());
    let refused = Refused { at, status, peer, client: client(request).to_owned(), reason };
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.truncate(REFUSED_SHOWN - 1);
    last.push_front(refused);
}

/// An answer's body for people: `body.level: Input should be ...; body.env: Field required`.
fn plain(why: &str) -> String {
    let Ok(answer) = serde_json::from_str::<Value>(why) else { return why.to_owned() };
    let word = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
    let item = |item: &Value| {
        let place: Vec<String> = item["loc"].as_array().into_iter().flatten().map(word).collect();
        format!("{}: {}", place.join("."), word(&item["msg"]))
    };
    match &answer["detail"] {
        Value::Array(items) => items.iter().map(item).collect::<Vec<_>>().join("; "),
        detail => word(detail),
    }
}

/// Remembers what is refused, and writes a line about it, if there still is room for one in this minute.
pub(super) fn note(request: &Request, status: u16, why: &str) {
    keep(request, status, why);
    let Some(hidden) = LINES.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now()) else {
        return;
    };
    let id = header(request, "X-Request-ID").unwrap_or("-");
    let peer = header(request, "X-Door-Peer").unwrap_or("-");
    let client = client(request);
    let parent = traceparent(request).unwrap_or("-");
    info!(
        "a request is refused status={status} x_request_id={} peer={peer} client={client} traceparent={parent} hidden_before={hidden} detail={}",
        Escaped(id),
        Escaped(why)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_in_words() {
        for (why, told) in [
            (
                r#"{"detail":[{"loc":["body","env"],"msg":"Field required","type":"missing"},{"loc":["body",3],"msg":"JSON decode error"}]}"#,
                "body.env: Field required; body.3: JSON decode error",
            ),
            (r#"{"detail":"too large"}"#, "too large"),
            (
                "2 of 3 items, the first is 0: body.env: missing",
                "2 of 3 items, the first is 0: body.env: missing",
            ),
        ] {
            assert_eq!(plain(why), told);
        }
    }
}
