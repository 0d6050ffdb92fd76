//! Rounds by sender and number of events.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::delivery::queue::{Gauge, Inlet, bounded};
use crate::event::Arrival;
use crate::store::{Cause, StoredIn};

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
            let arrival = Arrival::new(Uuid::nil(), 0);
            Event::restored(arrival, format!("{name}{n}").into(), Bytes::from(vec![b'x'; payload]))
        };
        let note = Box::new(Note(name, Arc::clone(&self.settled)));
        self.inlet.offer(Submission::new((0..events).map(event).collect(), note)).unwrap();
    }

    fn next(&mut self) -> Round {
        let Next::Round(round) = self.rounds.next(Duration::ZERO) else { panic!("a round") };
        round
    }

    /// With two large requests, L and M, and two rounds under way.
    fn under_way(l: usize, m: usize) -> (Self, Round, Round) {
        let mut bench = Self::new();
        bench.offer('L', l, 10);
        bench.offer('M', m, 10);
        let (first, second) = (bench.next(), bench.next());
        (bench, first, second)
    }

    /// All of it is stored but for the first event of `refused`. How many more were given up.
    fn settle(&mut self, round: Round, refused: Option<char>) -> usize {
        let mut outcomes = vec![STORED; round.batch.len()];
        if let Some(at) = round.batch.iter().position(|event| Some(sender(event)) == refused) {
            outcomes[at] = Outcome::Refused(Cause::Full, "full".into());
        }
        self.rounds.settle(round, &outcomes)
    }

    /// The round's events by sender; all of it is stored but for the first event of `refused`.
    fn turn(&mut self, refused: Option<char>) -> Vec<(char, usize)> {
        let round = self.next();
        let senders = senders(&round);
        self.settle(round, refused);
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

fn sender(event: &Event) -> char {
    char::from(event.key()[0])
}

fn senders(round: &Round) -> Vec<(char, usize)> {
    let mut senders: Vec<(char, usize)> = Vec::new();
    for event in &*round.batch {
        match senders.last_mut() {
            Some((last, count)) if *last == sender(event) => *count += 1,
            _ => senders.push((sender(event), 1)),
        }
    }
    senders
}

#[test]
fn a_round_keeps_to_its_bounds_and_settles_all_its_requests() {
    let mut bench = Bench::new();
    for name in ['a', 'b', 'c'] {
        bench.offer(name, 900, 10);
    }
    bench.offer('d', 1, ROUND_BYTES_MAX);
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
fn a_round_ahead_is_worth_it_or_none() {
    let mut bench = Bench::new();
    bench.offer('a', BEGIN_AHEAD_EVENTS - 1, 10);
    assert!(bench.rounds.look_ahead().is_none());
    bench.offer('b', 1, 10);
    assert_eq!(bench.rounds.look_ahead().unwrap().len(), BEGIN_AHEAD_EVENTS);
    bench.offer('c', 1, 10);
    assert_eq!(bench.turn(None), [('a', BEGIN_AHEAD_EVENTS - 1), ('b', 1)]);
    assert_eq!(bench.turn(None), [('c', 1)]);
    // What is left of a large request waits as well.
    bench.offer('L', 2_500, 10);
    let first = bench.next();
    assert_eq!(senders(&first), [('L', 2_000)]);
    assert_eq!(bench.rounds.look_ahead().unwrap().len(), 500);
    bench.settle(first, None);
    assert!(bench.rounds.look_ahead().is_some());
    assert_eq!(bench.turn(None), [('L', 500)]);
    assert!(bench.rounds.look_ahead().is_none());
}

#[test]
fn slices_of_large_requests_may_be_in_two_rounds_under_way() {
    let (mut bench, first, second) = Bench::under_way(3_000, 2_500);
    assert_eq!((senders(&first), senders(&second)), (vec![('L', 2_000)], vec![('L', 1_000)]));
    assert_eq!(bench.settle(first, None), 0);
    assert_eq!(bench.settled(), []);
    let third = bench.next();
    assert_eq!(senders(&third), [('M', 2_000)]);
    bench.settle(second, None);
    assert_eq!(bench.settled(), [('L', 3_000, 0)]);
    bench.settle(third, None);
    assert_eq!(bench.turn(None), [('M', 500)]);
    assert_eq!((bench.settled(), bench.gauge()), (vec![('M', 2_500, 0)], (0, 0)));
}

#[test]
fn what_is_under_way_of_a_large_request_that_is_given_up_is_still_settled() {
    let (mut bench, first, second) = Bench::under_way(5_000, 1_500);
    assert_eq!(bench.settle(first, Some('L')), 1_000);
    assert_eq!((bench.settled(), bench.gauge().0), (vec![], 1_500));
    let third = bench.next();
    assert_eq!(senders(&third), [('M', 1_500)]);
    assert_eq!(bench.settle(second, Some('L')), 0);
    assert_eq!(bench.settled(), [('L', 3_998, 1_002)]);
    bench.settle(third, None);
    assert_eq!((bench.settled(), bench.gauge()), (vec![('M', 1_500, 0)], (0, 0)));
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
