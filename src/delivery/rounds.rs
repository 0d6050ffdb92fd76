//! What the producer writes next: events of many requests in one round, and a large request in slices, so that
//! others' events go along with it and no round is larger than its bounds.
//!
//! Invariants: the events of one request go in their order; one request's slices come before those of the next;
//! a request is settled once, when each of its events has an outcome; after the first of them that no store
//! took, the rest is not tried, because its sender has to come back anyway.

use std::collections::VecDeque;
use std::time::Duration;

use crate::delivery::queue::{Outcome, Outlet, Settle, Submission, Taken};
use crate::event::Event;
use crate::limits::{BEGIN_AHEAD_EVENTS, ROUND_BYTES_MAX, ROUND_EVENTS_MAX, SLICE_BYTES, SLICE_EVENTS};
use crate::store::Batch;

/// The producer's end of the queue.
pub struct Rounds {
    outlet: Outlet,
    /// Requests that are too large for one round, oldest first. What is left of them still counts as waiting in
    /// the queue.
    large: VecDeque<Large>,
    /// The next round, if it was made already.
    ahead: Option<Round>,
}

/// A request that is written in slices.
struct Large {
    left: VecDeque<Event>,
    /// Events in rounds that are not settled yet.
    under_way: usize,
    outcomes: Vec<Outcome>,
    /// How many events are not tried any more, and their outcome.
    given_up: Option<(usize, Outcome)>,
    settle: Box<dyn Settle>,
}

/// Events to be written together.
pub struct Round {
    /// In the order of their requests.
    pub batch: Batch,
    parts: Parts,
}

/// Whose events a round has, in their order.
#[derive(Default)]
struct Parts {
    whole: Vec<(usize, Box<dyn Settle>)>,
    /// How many of them, at the end, are a slice of a large request.
    slice: usize,
}

/// A round that is being made.
#[derive(Default)]
struct Draft {
    events: Vec<Event>,
    bytes: usize,
    parts: Parts,
}

/// What the producer got when it asked for work.
pub enum Next {
    /// At least one event.
    Round(Round),
    /// Nothing came in time.
    Nothing,
    /// Every inlet is gone and everything is written: the end.
    Ended,
}

impl Draft {
    fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.events.len() < events && self.bytes < bytes
    }
}

impl Rounds {
    /// Rounds of what comes out of `outlet`.
    #[must_use]
    pub fn new(outlet: Outlet) -> Self {
        Self { outlet, large: VecDeque::new(), ahead: None }
    }

    /// Waits up to `wait` for something to write, then takes what is there already, up to a round's bounds. A
    /// lone event goes at once; under load rounds grow by themselves.
    #[must_use]
    pub fn next(&mut self, wait: Duration) -> Next {
        if let Some(round) = self.ahead.take() {
            return Next::Round(round);
        }
        let mut round = Draft::default();
        if self.next_large().is_none() {
            match self.outlet.take(wait) {
                Taken::Submission(first) => self.admit(first, &mut round),
                Taken::Nothing => return Next::Nothing,
                Taken::Ended => return Next::Ended,
            }
        }
        // With a large request waiting, half the round is for it.
        while match self.next_large() {
            None => round.has_room(ROUND_EVENTS_MAX, ROUND_BYTES_MAX),
            Some(_) => round.has_room(SLICE_EVENTS, SLICE_BYTES),
        } {
            let Some(next) = self.outlet.take_now() else { break };
            self.admit(next, &mut round);
        }
        self.slice(&mut round);
        self.outlet.lower(round.events.len(), round.bytes);
        Next::Round(Round { batch: round.events.into(), parts: round.parts })
    }

    /// What comes after the round that is under way, if it is worth being begun with.
    #[must_use]
    pub fn look_ahead(&mut self) -> Option<&Batch> {
        if self.outlet.events() >= BEGIN_AHEAD_EVENTS
            && let Next::Round(round) = self.next(Duration::ZERO)
        {
            self.ahead = Some(round);
        }
        self.ahead.as_ref().map(|round| &round.batch)
    }

    /// The large request whose turn it is.
    fn next_large(&mut self) -> Option<&mut Large> {
        self.large.iter_mut().find(|large| !large.left.is_empty())
    }

    fn admit(&mut self, submission: Submission, round: &mut Draft) {
        let (len, bytes) = (submission.len(), submission.bytes());
        let (mut events, settle) = submission.into_parts();
        if len > 1 && (len > SLICE_EVENTS || bytes > SLICE_BYTES) {
            self.large.push_back(Large {
                left: events.into(),
                under_way: 0,
                outcomes: Vec::with_capacity(len),
                given_up: None,
                settle,
            });
        } else {
            round.parts.whole.push((len, settle));
            round.bytes += bytes;
            round.events.append(&mut events);
        }
    }

    /// Fills the round with events of a large request.
    fn slice(&mut self, round: &mut Draft) {
        let Some(large) = self.next_large() else { return };
        while round.parts.slice == 0 || round.has_room(ROUND_EVENTS_MAX, ROUND_BYTES_MAX) {
            let Some(event) = large.left.pop_front() else { break };
            round.bytes += event.size_bytes();
            round.parts.slice += 1;
            round.events.push(event);
        }
        large.under_way += round.parts.slice;
    }

    /// Settles every request whose events all have an outcome. Rounds are settled in the order in which they were made.
    /// `outcomes`: one per event of the round, in its order. Returns how many more events than those were given up.
    pub fn settle(&mut self, round: Round, outcomes: &[Outcome]) -> usize {
        let Parts { whole, slice } = round.parts;
        let mut rest = outcomes;
        for (len, settle) in whole {
            let (own, others) = rest.split_at(len);
            settle.settle(own);
            rest = others;
        }
        if slice == 0 {
            return 0;
        }
        let large = self.large.front_mut().expect("BUG: a slice of nothing");
        large.under_way -= slice;
        large.outcomes.extend_from_slice(rest);
        let mut given_up = 0;
        if large.given_up.is_none()
            && let Some(refused) = rest.iter().find(|outcome| matches!(outcome, Outcome::Refused(..)))
        {
            given_up = large.left.len();
            self.outlet.lower(given_up, large.left.iter().map(Event::size_bytes).sum());
            large.left.clear();
            large.given_up = Some((given_up, refused.clone()));
        }
        if large.left.is_empty()
            && large.under_way == 0
            && let Some(large) = self.large.pop_front()
        {
            large.settle();
        }
        given_up
    }
}

impl Large {
    fn settle(mut self) {
        if let Some((events, refused)) = self.given_up {
            let all = self.outcomes.len() + events;
            self.outcomes.resize(all, refused);
        }
        self.settle.settle(&self.outcomes);
    }
}

#[cfg(test)]
mod tests;
