//! The answers to requests with an `Idempotency-Key`, so that a repeat gets the first answer and stores nothing.
//!
//! In memory only. After a restart, the events' ids still help: they are derived from key and body, so that a store
//! recognises an event that it has already.
//!
//! Invariants: a key is in flight from its claim until its ticket is dropped, and remembered only with an answer that
//! says that events are stored; keys, bytes and time are bounded, and the oldest answer is forgotten first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::limits::{IDEMPOTENCY_BYTES_MAX, IDEMPOTENCY_KEYS_MAX};
use crate::wire::reply::Reply;

/// A SHA-256.
pub type Digest = [u8; 32];

/// The digest of all parts. The length of each part is included, so that no byte can move from one part to the next.
#[must_use]
pub fn digest(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The id of an event that was sent with a key: the only event of the request, or the one at `index` of a batch.
#[must_use]
pub fn derived_id(client: &str, key: &str, body: &Digest, index: Option<usize>) -> Uuid {
    let index = index.map(|index| (index as u64).to_le_bytes());
    let index = index.as_ref().map_or(&[][..], |bytes| &bytes[..]);
    let digest = digest(&[b"ingest_id", client.as_bytes(), key.as_bytes(), body, index]);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes)
}

/// The answers within the window, by client and key.
#[derive(Debug)]
pub struct RememberedAnswers {
    window: Duration,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Digest, Entry>,
    /// Keys with an answer, oldest first.
    answered: VecDeque<(Instant, Digest)>,
    /// The approximate memory of the answers.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    request: Digest,
    /// None: in flight.
    answer: Option<Reply>,
}

/// What is known of a key.
#[derive(Debug)]
pub enum Claim {
    /// Nothing: the request is the first. Its ticket takes the answer.
    First(Ticket),
    /// The same request got this answer.
    Answered(Reply),
    /// The same request is being stored.
    InFlight,
    /// Another request had this key.
    OtherRequest,
}

/// Holds a key while its request is being stored. When it is dropped without an answer, the key is free again.
#[derive(Debug)]
pub struct Ticket {
    memory: Arc<RememberedAnswers>,
    key: Digest,
    is_answered: bool,
}

impl RememberedAnswers {
    /// Remembers answers for this long.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self { window, entries: Mutex::default() }
    }

    /// Claims `key` for `request`, the digest of all that identifies the request.
    #[must_use]
    pub fn claim(self: &Arc<Self>, key: Digest, request: Digest, now: Instant) -> Claim {
        let mut entries = self.lock();
        entries.forget_before(now.checked_sub(self.window));
        match entries.by_key.get(&key) {
            Some(entry) if entry.request != request => Claim::OtherRequest,
            Some(Entry { answer: Some(answer), .. }) => Claim::Answered(answer.clone()),
            Some(Entry { answer: None, .. }) => Claim::InFlight,
            None => {
                entries.by_key.insert(key, Entry { request, answer: None });
                Claim::First(Ticket { memory: Arc::clone(self), key, is_answered: false })
            }
        }
    }

    // A panic under the lock cannot leave half an entry.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn forget_before(&mut self, end: Option<Instant>) {
        let is_over = |(at, _): &(Instant, Digest)| end.is_some_and(|end| *at <= end);
        while self.answered.front().is_some_and(is_over) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.answered.pop_front() else { return };
        let answer = self.by_key.remove(&key).and_then(|entry| entry.answer);
        self.bytes -= answer.as_ref().map_or(0, bytes_of);
    }

    fn remember(&mut self, key: Digest, answer: &Reply, now: Instant) {
        let Some(entry) = self.by_key.get_mut(&key) else { return };
        entry.answer = Some(answer.clone());
        self.bytes += bytes_of(answer);
        self.answered.push_back((now, key));
        while self.answered.len() > IDEMPOTENCY_KEYS_MAX || self.bytes > IDEMPOTENCY_BYTES_MAX {
            self.forget_oldest();
        }
    }
}

/// The approximate memory of an entry with this answer.
fn bytes_of(answer: &Reply) -> usize {
    let headers: usize = answer.headers().iter().map(|(_, value)| value.len() + 64).sum();
    256 + headers + answer.body().len()
}

impl Ticket {
    /// The events are stored, and this is the answer, which a repeat gets again.
    pub fn answered(mut self, answer: &Reply, now: Instant) {
        self.is_answered = true;
        self.memory.lock().remember(self.key, answer, now);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_answered {
            self.memory.lock().by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(600);

    fn memory() -> Arc<RememberedAnswers> {
        Arc::new(RememberedAnswers::new(WINDOW))
    }

    fn key(n: usize) -> Digest {
        digest(&[&n.to_le_bytes()])
    }

    fn first(memory: &Arc<RememberedAnswers>, n: usize, now: Instant) -> Ticket {
        match memory.claim(key(n), key(0), now) {
            Claim::First(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn answer(bytes: usize) -> Reply {
        Reply::json(202, vec![b'x'; bytes])
    }

    #[test]
    fn a_repeat_waits_for_the_first_and_then_gets_its_answer() {
        let (memory, now) = (memory(), Instant::now());
        let ticket = first(&memory, 1, now);
        assert!(matches!(memory.claim(key(1), key(0), now), Claim::InFlight));
        assert!(matches!(memory.claim(key(1), key(9), now), Claim::OtherRequest));
        ticket.answered(&answer(3), now);
        assert!(matches!(memory.claim(key(1), key(0), now), Claim::Answered(reply) if reply == answer(3)));
        assert!(matches!(memory.claim(key(1), key(9), now), Claim::OtherRequest));
    }

    #[test]
    fn a_refusal_leaves_the_key_free() {
        let (memory, now) = (memory(), Instant::now());
        drop(first(&memory, 1, now));
        assert!(matches!(memory.claim(key(1), key(9), now), Claim::First(_)));
        assert!(memory.lock().by_key.is_empty());
    }

    #[test]
    fn an_answer_is_forgotten_after_the_window() {
        let (memory, now) = (memory(), Instant::now());
        first(&memory, 1, now).answered(&answer(3), now);
        let in_flight = first(&memory, 2, now);
        let late = now + WINDOW - Duration::from_millis(1);
        assert!(matches!(memory.claim(key(1), key(0), late), Claim::Answered(_)));
        assert!(matches!(memory.claim(key(1), key(0), now + WINDOW), Claim::First(_)));
        assert!(matches!(memory.claim(key(2), key(0), now + 9 * WINDOW), Claim::InFlight));
        drop(in_flight);
        let entries = memory.lock();
        assert_eq!((entries.by_key.len(), entries.answered.len(), entries.bytes), (0, 0, 0));
    }

    #[test]
    fn keys_and_bytes_are_bounded_and_the_oldest_go_first() {
        for (count, bytes) in [(IDEMPOTENCY_KEYS_MAX, 10), (3, IDEMPOTENCY_BYTES_MAX / 3 - 1_024)] {
            let (memory, now) = (memory(), Instant::now());
            for n in 1..=count + 2 {
                first(&memory, n, now).answered(&answer(bytes), now);
            }
            for forgotten in [1, 2] {
                assert!(matches!(memory.claim(key(forgotten), key(0), now), Claim::First(_)), "{bytes}");
            }
            for known in [3, count + 2] {
                assert!(matches!(memory.claim(key(known), key(0), now), Claim::Answered(_)), "{bytes}");
            }
            assert!(memory.lock().bytes <= IDEMPOTENCY_BYTES_MAX);
        }
    }

    #[test]
    fn an_id_is_the_same_for_the_same_request_and_no_other() {
        let body = digest(&[b"body"]);
        let id = derived_id("till", "k", &body, None);
        assert_eq!(id, derived_id("till", "k", &body, None));
        assert_eq!(id.get_version_num(), 8);
        // Never change it: stores recognise events by it.
        assert_eq!(id.to_string(), "11b93d30-bdb3-8e31-b253-f078f37e02fb");
        let others = [
            derived_id("", "tillk", &body, None),
            derived_id("til", "lk", &body, None),
            derived_id("till", "k", &digest(&[b"bod", b"y"]), None),
            derived_id("till", "k", &body, Some(0)),
            derived_id("till", "k", &body, Some(1)),
        ];
        let all: std::collections::HashSet<Uuid> = others.into_iter().chain([id]).collect();
        assert_eq!(all.len(), 6);
    }
}
