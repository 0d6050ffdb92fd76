//! Requests that are refused because they are wrong, not because there is no room: log lines, and the last ones for the
//! status page. Both the door and http report theirs here.
//!
//! Invariant: of a client's own text, only its ids, its method and its path are shown, with card numbers masked.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use log::{Level, log};
use serde::Serialize;
use utoipa::ToSchema;

use crate::event::mask_text;
use crate::host::clock;
use crate::host::throttle::{Suppressed, Throttle};
use crate::limits::{REFUSED_CHARS_SHOWN, REFUSED_KEPT_PER_MINUTE, REFUSED_SHOWN};
use crate::telemetry::logging::Escaped;

/// A request that is refused. What is not known is `-`.
#[derive(Clone, Copy, Debug)]
pub struct RefusedRequest<'a> {
    /// The answer's status.
    pub status: u16,
    /// What is wrong, in words.
    pub why: &'a str,
    /// The request's method.
    pub method: &'a str,
    /// The request's path, without the query.
    pub path: &'a str,
    /// The client's address, or unix.
    pub peer: &'a str,
    /// Its name, by its API key.
    pub client: &'a str,
    /// The client's own name of the request.
    pub x_request_id: &'a str,
    /// The W3C trace context.
    pub traceparent: &'a str,
}

/// A refused request as the status page lists it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Refused)]
pub struct ListedRefusal {
    at: String,
    status: u16,
    /// The client's address, or unix.
    peer: String,
    /// Its name, by its API key, or -.
    client: String,
    /// What is wrong, as in the answer; with a wrong path or method, which.
    reason: String,
}

static LAST: Mutex<VecDeque<ListedRefusal>> = Mutex::new(VecDeque::new());
/// In a flood of refusals, most are not listed, which would cost time.
static KEPT: Mutex<Throttle> = Mutex::new(Throttle::new(REFUSED_KEPT_PER_MINUTE));

/// The last refused requests, newest first.
#[must_use]
pub fn last() -> Vec<ListedRefusal> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

impl RefusedRequest<'_> {
    /// Lists it on the status page.
    pub fn keep(&self) {
        if KEPT.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now()).is_none() {
            return;
        }
        let listed = ListedRefusal {
            at: clock::rfc3339(clock::record_ms()),
            status: self.status,
            peer: self.peer.to_owned(),
            client: self.client.to_owned(),
            reason: self.reason(),
        };
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        last.truncate(REFUSED_SHOWN - 1);
        last.push_front(listed);
    }

    /// Writes a line about it. `suppressed`: the lines that were left out before it.
    pub fn log(&self, suppressed: &Suppressed) {
        let Self { status, method, peer, client, traceparent, .. } = self;
        // A till with an old key, or someone who guesses keys.
        let level = if *status == 401 { Level::Warn } else { Level::Info };
        log!(
            level,
            "a request is refused status={status} method={method} path={} x_request_id={} peer={peer} client={client} traceparent={traceparent} detail={}{suppressed}",
            Escaped(self.path),
            Escaped(self.x_request_id),
            Escaped(self.why)
        );
    }

    /// With a wrong path or method, it says which.
    fn reason(&self) -> String {
        let reason = match self.status {
            404 | 405 => format!("{}: {} {}", self.why, self.method, self.path),
            _ => self.why.to_owned(),
        };
        mask_text(&reason).chars().take(REFUSED_CHARS_SHOWN).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_path_is_shown_and_card_numbers_and_long_texts_are_not() {
        let refusal = |status, path| RefusedRequest {
            status,
            why: "Not Found",
            method: "POST",
            path,
            peer: "unix",
            client: "-",
            x_request_id: "-",
            traceparent: "-",
        };
        assert_eq!(refusal(404, "/logs").reason(), "Not Found: POST /logs");
        assert_eq!(refusal(404, "/4111111111111111").reason(), "Not Found: POST /411111******1111");
        assert_eq!(refusal(413, "/logs").reason(), "Not Found");
        assert_eq!(refusal(405, &"x".repeat(1_000)).reason().len(), REFUSED_CHARS_SHOWN);
    }
}
