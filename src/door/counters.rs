//! What the door counts. One writer, the door's thread; anyone reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::telemetry::counters::{add, counters};

/// The statuses that the door answers by itself, and what is wrong then, in the words of the metrics.
pub const REFUSALS: [(u16, &str); 10] = [
    (400, "framing"),
    (401, "api_key"),
    (404, "path"),
    (405, "method"),
    (408, "slow"),
    (413, "body_too_large"),
    (417, "expectation"),
    (431, "head_too_large"),
    (500, "no_answer"),
    (503, "no_room"),
];

counters! {
    /// The door's counters.
    pub(super) DoorCounters,
    /// The door's counters at one moment.
    DoorFigures,
    /// When the loop last turned, in milliseconds since its start: at least once per second.
    heartbeat_ms,
    /// When the inner server last answered, in milliseconds since the door's start: it is pinged every few seconds.
    answered_ms,
    /// Client connections now.
    connections,
    /// Client connections accepted since start.
    accepted,
    /// Idle connections closed to make room.
    evicted,
    /// Accepts that failed, mostly because no descriptor was free.
    accept_errors,
    /// TLS handshakes that were completed.
    tls_handshakes,
    /// TLS handshakes that failed, or took too long.
    tls_failures,
    /// When the TLS certificate ends, in seconds since 1970; 0 without TLS.
    tls_certificate_ends_s,
    /// Connections refused because their address had all that it may have.
    refused_by_address,
    /// Requests whose head was whole.
    requests,
    /// Requests that the inner server has now.
    in_flight,
    /// Requests that wait for a free connection to the inner server now.
    waiting,
    /// Bytes of bodies and answers in memory now.
    memory_bytes,
    /// Connections to the inner server now, the unproven one included.
    upstream_open,
    /// Connections to the inner server that broke, or on which an answer did not come in time.
    upstream_lost,
    /// How often a new inner server was asked for.
    rebuilds;
    /// Answers that the door made itself, by status.
    refused: RefusedByStatus => #[schema(value_type = BTreeMap<String, u64>)] BTreeMap<u16, u64>
}

/// Counts answers by status.
#[derive(Debug, Default)]
pub(super) struct RefusedByStatus([AtomicU64; REFUSALS.len()]);

impl RefusedByStatus {
    /// One more.
    pub(super) fn add(&self, status: u16) {
        let nth = REFUSALS.iter().position(|&(known, _)| known == status);
        debug_assert!(nth.is_some(), "BUG: the door answers {status}, which has no counter");
        nth.into_iter().for_each(|nth| add(&self.0[nth], 1));
    }

    fn read(&self) -> BTreeMap<u16, u64> {
        REFUSALS.iter().zip(&self.0).map(|(&(status, _), count)| (status, count.load(Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_status() {
        let counters = DoorCounters::default();
        for status in [404, 503, 404] {
            counters.refused.add(status);
        }
        let refused = counters.snapshot().refused;
        assert_eq!(refused.len(), REFUSALS.len());
        assert_eq!(
            refused.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(),
            [(404, 2), (503, 1)]
        );
    }
}
