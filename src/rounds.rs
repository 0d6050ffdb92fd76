//! What the producer writes next: events of many requests in one round, and a large request in slices, so that
//! others' events go along with it and no round is larger than its bounds.
//!
//! Invariants: the events of one request go in their order; one request at a time is in slices; a request is
//! settled once, when each of its events has an outcome; after the first of them that no store took, the rest
//! is not tried, for its sender has to come back anyway.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, SLICE_BYTES, SLICE_EVENTS};
use crate::queue::{Outcome, Outlet, Settle, Submission, Taken};

/// The producer's end of the queue.
pub struct Rounds {
    outlet: Outlet,
    /// Requests that are too large for one round, oldest first. They still count as waiting in the queue.
    large: VecDeque<Large>,
}

/// A request that is written in slices.
struct Large {
    left: VecDeque<Event>,
    outcomes: Vec<Outcome>,
    settle: Box<dyn Settle>,
}

/// Events to be written now.
pub struct Round {
    /// In the order of their requests.
    pub events: Vec<Event>,
    bytes: usize,
    whole: Vec<(usize, Box<dyn Settle>)>,
    /// How many of them, at the end, are a slice of the first large request.
    slice: usize,
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

impl Round {
    fn new() -> Self {
        Self { events: Vec::new(), bytes: 0, whole: Vec::new(), slice: 0 }
    }

    fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.events.len() < events && self.bytes < bytes
    }
}

impl Rounds {
    /// Rounds of what comes out of `outlet`.
    #[must_use]
    pub fn new(outlet: Outlet) -> Self {
        Self { outlet, large: VecDeque::new() }
    }

    /// Waits up to `wait` for something to write, then takes what is there already, up to a round's bounds. A
    /// lone event goes at once; under load rounds grow by themselves.
    #[must_use]
    pub fn next(&mut self, wait: Duration) -> Next {
        let mut round = Round::new();
        if self.large.is_empty() {
            match self.outlet.take(wait) {
                Taken::Submission(first) => self.admit(first, &mut round),
                Taken::Nothing => return Next::Nothing,
                Taken::Ended => return Next::Ended,
            }
        }
        // With a large request waiting, half the round is for it.
        while match self.large.is_empty() {
            true => round.has_room(BATCH_EVENTS_MAX, BATCH_BYTES_MAX),
            false => round.has_room(SLICE_EVENTS, SLICE_BYTES),
        } {
            let Some(next) = self.outlet.take_now() else { break };
            self.admit(next, &mut round);
        }
        self.slice(&mut round);
        self.outlet.lower(round.events.len(), round.bytes);
        Next::Round(round)
    }

    fn admit(&mut self, submission: Submission, round: &mut Round) {
        let (len, bytes) = (submission.len(), submission.bytes());
        let (mut events, settle) = submission.into_parts();
        if len > 1 && (len > SLICE_EVENTS || bytes > SLICE_BYTES) {
            let left = VecDeque::from(events);
            self.large.push_back(Large { left, outcomes: Vec::with_capacity(len), settle });
        } else {
            round.whole.push((len, settle));
            round.bytes += bytes;
            round.events.append(&mut events);
        }
    }

    /// Fills the round with events of the first large request.
    fn slice(&mut self, round: &mut Round) {
        let Some(large) = self.large.front_mut() else { return };
        while round.slice == 0 || round.has_room(BATCH_EVENTS_MAX, BATCH_BYTES_MAX) {
            let Some(event) = large.left.pop_front() else { break };
            round.bytes += event.size_bytes();
            round.slice += 1;
            round.events.push(event);
        }
    }

    /// Tells everyone whose events are all through. `outcomes`: one an event of the round, in its order.
    /// Returns how many more events than those were given up.
    pub fn settle(&mut self, round: Round, outcomes: &[Outcome]) -> usize {
        let mut rest = outcomes;
        for (len, settle) in round.whole {
            let (own, others) = rest.split_at(len);
            settle.settle(own);
            rest = others;
        }
        let Some(mut large) = self.large.pop_front() else { return 0 };
        large.outcomes.extend_from_slice(rest);
        let refused = rest.iter().find_map(|outcome| match outcome {
            Outcome::Refused(why) => Some(Arc::clone(why)),
            Outcome::Stored(_) => None,
        });
        if refused.is_none() && !large.left.is_empty() {
            self.large.push_front(large);
            return 0;
        }
        let given_up = large.left.len();
        self.outlet.lower(given_up, large.left.iter().map(Event::size_bytes).sum());
        let with = refused.map(Outcome::Refused).into_iter();
        large.outcomes.extend(with.cycle().take(given_up));
        large.settle.settle(&large.outcomes);
        given_up
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::event::Arrival;
    use crate::queue::{Gauge, Inlet, StoredIn, bounded};

    /// Who was settled, with how many outcomes stored and refused, in order.
    type Settled = Arc<Mutex<Vec<(char, usize, usize)>>>;

    struct Note(char, Settled);

    impl Settle for Note {
        fn settle(self: Box<Self>, outcomes: &[Outcome]) {
            let stored = outcomes.iter().filter(|outcome| **outcome == STORED).count();
            self.1.lock().unwrap().push((self.0, stored, outcomes.len() - stored));
        }
    }

    const STORED: Outcome = Outcome::Stored(StoredIn::Kafka);

    struct Bench {
        inlet: Inlet,
        rounds: Rounds,
        settled: Settled,
    }

    impl Bench {
        fn new() -> Self {
            let (inlet, outlet) = bounded(100_000, usize::MAX);
            Self { inlet, rounds: Rounds::new(outlet), settled: Settled::default() }
        }

        /// The key of an event is its sender and number.
        fn offer(&self, name: char, events: usize, payload: usize) {
            let event = |n: usize| {
                let arrival = Arrival {
                    ingest_id: Uuid::nil(),
                    received_at_ms: 0,
                    traceparent: None,
                    x_request_id: None,
                };
                Event::restored(arrival, format!("{name}{n}").into(), Bytes::from(vec![b'x'; payload]))
            };
            let note = Box::new(Note(name, Arc::clone(&self.settled)));
            self.inlet.offer(Submission::new((0..events).map(event).collect(), note)).unwrap();
        }

        /// The round's events by sender; all of it is stored but for the first event of `refused`.
        fn turn(&mut self, refused: Option<char>) -> Vec<(char, usize)> {
            let Next::Round(round) = self.rounds.next(Duration::ZERO) else { panic!("a round") };
            let sender = |event: &Event| char::from(event.key()[0]);
            let mut senders: Vec<(char, usize)> = Vec::new();
            for event in &round.events {
                match senders.last_mut() {
                    Some((last, count)) if *last == sender(event) => *count += 1,
                    _ => senders.push((sender(event), 1)),
                }
            }
            let mut outcomes = vec![STORED; round.events.len()];
            if let Some(at) = round.events.iter().position(|event| Some(sender(event)) == refused) {
                outcomes[at] = Outcome::Refused("full".into());
            }
            self.rounds.settle(round, &outcomes);
            senders
        }

        fn settled(&self) -> Vec<(char, usize, usize)> {
            std::mem::take(&mut self.settled.lock().unwrap())
        }

        fn gauge(&self) -> (usize, usize) {
            let gauge: Gauge = self.inlet.gauge();
            (gauge.events(), gauge.bytes())
        }
    }

    #[test]
    fn a_round_keeps_to_its_bounds_and_settles_all_its_requests() {
        let mut bench = Bench::new();
        for name in ['a', 'b', 'c'] {
            bench.offer(name, 900, 10);
        }
        bench.offer('d', 1, BATCH_BYTES_MAX);
        assert_eq!(bench.turn(None), [('a', 900), ('b', 900), ('c', 900)]);
        assert_eq!(bench.settled(), [('a', 900, 0), ('b', 900, 0), ('c', 900, 0)]);
        assert_eq!(bench.gauge().0, 1);
        assert_eq!(bench.turn(None), [('d', 1)]);
        assert_eq!(bench.gauge(), (0, 0));
        assert!(matches!(bench.rounds.next(Duration::ZERO), Next::Nothing));
    }

    #[test]
    fn a_large_request_is_written_in_slices_and_others_go_along() {
        let mut bench = Bench::new();
        bench.offer('L', 5_000, 10);
        bench.offer('M', 1_500, 10);
        bench.offer('a', 1, 10);
        assert_eq!(bench.turn(None), [('a', 1), ('L', 1_999)]);
        assert_eq!(bench.settled(), [('a', 1, 0)]);
        assert_eq!(bench.gauge().0, 4_501);
        for _ in 0..3 {
            bench.offer('b', 600, 10);
        }
        // Two of them fill the half that is for others.
        assert_eq!(bench.turn(None), [('b', 1_200), ('L', 800)]);
        assert_eq!(bench.turn(None), [('b', 600), ('L', 1_400)]);
        assert_eq!(bench.turn(None), [('L', 801)]);
        assert_eq!(bench.settled(), [('b', 600, 0), ('b', 600, 0), ('b', 600, 0), ('L', 5_000, 0)]);
        assert_eq!(bench.turn(None), [('M', 1_500)]);
        assert_eq!((bench.settled(), bench.gauge()), (vec![('M', 1_500, 0)], (0, 0)));
    }

    #[test]
    fn bytes_cut_a_large_request_too() {
        let mut bench = Bench::new();
        bench.offer('L', 7, 1 << 20);
        assert_eq!(bench.turn(None), [('L', 4)]);
        assert_eq!(bench.turn(None), [('L', 3)]);
        assert_eq!((bench.settled(), bench.gauge()), (vec![('L', 7, 0)], (0, 0)));
    }

    #[test]
    fn a_large_request_that_no_store_takes_is_given_up_at_once() {
        let mut bench = Bench::new();
        bench.offer('L', 5_000, 10);
        bench.offer('M', 3_000, 10);
        assert_eq!(bench.turn(None), [('L', 2_000)]);
        assert_eq!(bench.turn(Some('L')), [('L', 2_000)]);
        assert_eq!(bench.settled(), [('L', 3_999, 1_001)]);
        assert_eq!(bench.turn(None), [('M', 2_000)]);
        assert_eq!(bench.turn(None), [('M', 1_000)]);
        assert_eq!((bench.settled(), bench.gauge()), (vec![('M', 3_000, 0)], (0, 0)));
    }

    #[test]
    fn the_end_comes_after_the_last_slice() {
        let mut bench = Bench::new();
        bench.offer('L', 4_000, 10);
        let (inlet, _) = bounded(1, 1);
        drop(std::mem::replace(&mut bench.inlet, inlet));
        assert_eq!((bench.turn(None), bench.turn(None)), (vec![('L', 2_000)], vec![('L', 2_000)]));
        assert!(matches!(bench.rounds.next(Duration::ZERO), Next::Ended));
    }
}
