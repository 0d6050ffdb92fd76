//! What the door counts. One writer, the door's thread; anyone reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;
use utoipa::ToSchema;

/// The statuses that the door answers by itself.
const REFUSALS: [u16; 10] = [400, 401, 404, 405, 408, 413, 417, 431, 500, 503];

/// The door's figures at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct DoorFigures {
    /// When the loop last turned, in milliseconds since its start: at least once a second.
    pub heartbeat_ms: u64,
    /// When the inner server last answered, in milliseconds since the door's start: it is pinged each few seconds.
    pub answered_ms: u64,
    /// Client connections now.
    pub connections: u64,
    /// Client connections accepted since start.
    pub accepted: u64,
    /// Idle connections closed to make room.
    pub evicted: u64,
    /// Failed accepts: mostly for want of descriptors.
    pub accept_errors: u64,
    /// TLS handshakes that were completed.
    pub tls_handshakes: u64,
    /// TLS handshakes that failed, or took too long.
    pub tls_failures: u64,
    /// When the TLS certificate ends, in seconds since 1970; 0 without TLS.
    pub tls_certificate_ends_s: u64,
    /// Connections refused because their address had all that it may have.
    pub refused_by_address: u64,
    /// Requests whose head was whole.
    pub requests: u64,
    /// Requests that the inner server has now.
    pub in_flight: u64,
    /// Requests that wait for a free connection to the inner server now.
    pub waiting: u64,
    /// Bytes of bodies and answers in memory now.
    pub memory_bytes: u64,
    /// Connections to the inner server now, the unproven one included.
    pub upstream_open: u64,
    /// Connections to the inner server that broke since start, or on which an answer did not come in time.
    pub upstream_lost: u64,
    /// How often a new inner server was asked for.
    pub rebuilds: u64,
    /// Answers that the door made itself, by status.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub refused: BTreeMap<u16, u64>,
}

/// The same, being counted.
#[derive(Debug, Default)]
pub(super) struct DoorCounters {
    pub(super) heartbeat_ms: AtomicU64,
    pub(super) answered_ms: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) accept_errors: AtomicU64,
    pub(super) tls_handshakes: AtomicU64,
    pub(super) tls_failures: AtomicU64,
    pub(super) tls_certificate_ends_s: AtomicU64,
    pub(super) refused_by_address: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) memory_bytes: AtomicU64,
    pub(super) upstream_open: AtomicU64,
    pub(super) upstream_lost: AtomicU64,
    pub(super) rebuilds: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
}

impl DoorCounters {
    pub(super) fn refuse(&self, status: u16) {
        if let Some(nth) = REFUSALS.iter().position(|&known| known == status) {
            add(&self.refused[nth]);
        }
    }

    pub(super) fn read(&self) -> DoorFigures {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        DoorFigures {
            heartbeat_ms: get(&self.heartbeat_ms),
            answered_ms: get(&self.answered_ms),
            connections: get(&self.connections),
            accepted: get(&self.accepted),
            evicted: get(&self.evicted),
            accept_errors: get(&self.accept_errors),
            tls_handshakes: get(&self.tls_handshakes),
            tls_failures: get(&self.tls_failures),
            tls_certificate_ends_s: get(&self.tls_certificate_ends_s),
            refused_by_address: get(&self.refused_by_address),
            requests: get(&self.requests),
            in_flight: get(&self.in_flight),
            waiting: get(&self.waiting),
            memory_bytes: get(&self.memory_bytes),
            upstream_open: get(&self.upstream_open),
            upstream_lost: get(&self.upstream_lost),
            rebuilds: get(&self.rebuilds),
            refused: REFUSALS
                .iter()
                .zip(&self.refused)
                .map(|(&status, count)| (status, get(count)))
                .collect(),
        }
    }
}

/// One more.
pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// This many now.
pub(super) fn set(counter: &AtomicU64, value: usize) {
    counter.store(value as u64, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_status() {
        let counters = DoorCounters::default();
        for status in [404, 503, 404, 299] {
            counters.refuse(status);
        }
        let refused = counters.read().refused;
        assert_eq!(
            refused.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(),
            [(404, 2), (503, 1)]
        );
    }
}
