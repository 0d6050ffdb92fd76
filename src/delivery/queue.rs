//! The bounded channel between workers and producer. One item is a whole request, so a request is
//! taken whole or refused whole; full means refused at once, nobody waits.
//!
//! Invariant: events and bytes inside never exceed the two caps (but for a single request that is
//! alone in the queue).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError};

use crate::event::Event;
use crate::limits::QUEUE_REQUESTS_MAX;
use crate::setting::{count, size};
use crate::store::{Cause, StoreError, StoredIn};

/// How much may wait.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Queue")]
#[group(skip)]
pub struct Options {
    /// Events that may wait to be stored. A request for which there is no room is answered 503
    #[arg(long, env, default_value = "50000", value_name = "COUNT", value_parser = count(1..=1_000_000_usize))]
    pub queue_events: usize,
    /// Bytes of events that may wait to be stored. A request for which there is no room is answered 503
    #[arg(long, env, default_value = "64MiB", value_name = "SIZE", value_parser = size(64 << 10..=8 << 30))]
    pub queue_bytes: usize,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is safe.
    Stored(StoredIn),
    /// No store took it; the client must send it again. The text is for the log.
    Refused(Cause, Arc<str>),
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.cause(), Arc::clone(error.text()))
    }
}

/// Takes the outcomes to whoever waits for them.
pub trait Settle: Send {
    /// Called once, with one outcome per event, in the submission's order.
    fn settle(self: Box<Self>, outcomes: &[Outcome]);
}

/// One request's events on their way to the producer.
pub struct Submission {
    events: Vec<Event>,
    bytes: usize,
    settle: Box<dyn Settle>,
}

impl Submission {
    /// Events that are stored together or each for itself, and who waits for them.
    #[must_use]
    pub fn new(events: Vec<Event>, settle: Box<dyn Settle>) -> Self {
        let bytes = events.iter().map(Event::size_bytes).sum();
        Self { events, bytes, settle }
    }

    /// How many events it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What its events take in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its events and who waits for them.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Event>, Box<dyn Settle>) {
        (self.events, self.settle)
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

/// Why a submission was not taken. It comes back, to be answered.
#[derive(Debug)]
pub enum NotTaken {
    /// No room for it now.
    Full(Submission),
    /// The daemon is stopping.
    Closed(Submission),
}

#[derive(Default)]
struct Fill {
    events: AtomicUsize,
    bytes: AtomicUsize,
    closed: AtomicBool,
}

/// What is in the queue now, for people.
#[derive(Clone)]
pub struct Gauge(Arc<Fill>);

impl Gauge {
    /// Events waiting.
    #[must_use]
    pub fn events(&self) -> usize {
        self.0.events.load(Ordering::Relaxed)
    }

    /// Bytes waiting.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

/// The workers' end.
#[derive(Clone)]
pub struct Inlet {
    sender: Sender<Submission>,
    fill: Arc<Fill>,
    events_max: usize,
    bytes_max: usize,
}

/// The producer's end.
pub struct Outlet {
    receiver: Receiver<Submission>,
    fill: Arc<Fill>,
}

/// A queue for at most this many events and bytes, and for [`QUEUE_REQUESTS_MAX`] requests: the channel takes its
/// memory at the start.
#[must_use]
pub fn bounded(events_max: usize, bytes_max: usize) -> (Inlet, Outlet) {
    let (sender, receiver) = crossbeam_channel::bounded(events_max.min(QUEUE_REQUESTS_MAX));
    let fill = Arc::new(Fill::default());
    (Inlet { sender, fill: Arc::clone(&fill), events_max, bytes_max }, Outlet { receiver, fill })
}

impl Inlet {
    /// Events that may wait.
    #[must_use]
    pub fn events_max(&self) -> usize {
        self.events_max
    }

    /// Bytes that may wait.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Puts a submission in, or gives it back at once.
    ///
    /// Errors: no room, or closed.
    pub fn offer(&self, submission: Submission) -> Result<(), NotTaken> {
        if self.fill.closed.load(Ordering::Acquire) {
            return Err(NotTaken::Closed(submission));
        }
        let (events, bytes) = (submission.len(), submission.bytes());
        let events_before = self.fill.events.fetch_add(events, Ordering::Relaxed);
        let bytes_before = self.fill.bytes.fetch_add(bytes, Ordering::Relaxed);
        let over = events_before + events > self.events_max || bytes_before + bytes > self.bytes_max;
        if over && events_before > 0 {
            self.fill.lower(events, bytes);
            return Err(NotTaken::Full(submission));
        }
        self.sender.try_send(submission).map_err(|refused| {
            self.fill.lower(events, bytes);
            match refused {
                TrySendError::Full(submission) => NotTaken::Full(submission),
                TrySendError::Disconnected(submission) => NotTaken::Closed(submission),
            }
        })
    }

    /// From now on nothing goes in; what is inside comes out.
    pub fn close(&self) {
        self.fill.closed.store(true, Ordering::Release);
    }

    /// How full the queue is.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.fill))
    }
}

impl Fill {
    fn lower(&self, events: usize, bytes: usize) {
        self.events.fetch_sub(events, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What came out of the queue.
#[derive(Debug)]
pub enum Taken {
    /// The oldest submission. It counts as waiting until [`Outlet::lower`] is called for its events.
    Submission(Submission),
    /// Nothing came in time.
    Nothing,
    /// Every inlet is gone and the queue is empty: the end.
    Ended,
}

impl Outlet {
    /// Events waiting: those in the queue, and those taken for which [`Outlet::lower`] was not called.
    #[must_use]
    pub fn events(&self) -> usize {
        self.fill.events.load(Ordering::Relaxed)
    }

    /// Waits up to `wait` for a submission.
    #[must_use]
    pub fn take(&self, wait: Duration) -> Taken {
        let taken = match wait.is_zero() {
            // The other one yields some dozen times before it gives up.
            true => self.receiver.try_recv().map_err(|error| error == TryRecvError::Disconnected),
            false => {
                self.receiver.recv_timeout(wait).map_err(|error| error == RecvTimeoutError::Disconnected)
            }
        };
        match taken {
            Ok(submission) => Taken::Submission(submission),
            Err(false) => Taken::Nothing,
            Err(true) => Taken::Ended,
        }
    }

    /// A submission that is there already.
    #[must_use]
    pub fn take_now(&self) -> Option<Submission> {
        self.receiver.try_recv().ok()
    }

    /// This much of what was taken waits no longer: it is being written, or given up.
    pub fn lower(&self, events: usize, bytes: usize) {
        self.fill.lower(events, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Arrival;
    use bytes::Bytes;

    struct Nobody;

    impl Settle for Nobody {
        fn settle(self: Box<Self>, _: &[Outcome]) {}
    }

    fn submission(events: usize, payload: usize) -> Submission {
        let arrival = Arrival::new(uuid::Uuid::nil(), 0);
        let event = Event::restored(arrival, Bytes::new(), Bytes::from(vec![b'x'; payload]));
        Submission::new(vec![event; events], Box::new(Nobody))
    }

    #[test]
    fn events_and_bytes_are_both_bounded() {
        let (inlet, _outlet) = bounded(3, 10_000);
        inlet.offer(submission(2, 10)).unwrap();
        assert!(matches!(inlet.offer(submission(2, 10)), Err(NotTaken::Full(_))));
        inlet.offer(submission(1, 10)).unwrap();
        let (inlet, _outlet) = bounded(100, 2_000);
        inlet.offer(submission(1, 1_500)).unwrap();
        assert!(matches!(inlet.offer(submission(1, 1_500)), Err(NotTaken::Full(_))));
        assert_eq!(inlet.gauge().events(), 1);
    }

    #[test]
    fn a_refused_submission_leaves_no_trace_and_a_taken_one_frees_its_room() {
        let (inlet, outlet) = bounded(2, 10_000);
        inlet.offer(submission(2, 10)).unwrap();
        assert!(inlet.offer(submission(1, 10)).is_err());
        let taken = outlet.take_now().unwrap();
        assert!(inlet.offer(submission(1, 10)).is_err());
        outlet.lower(taken.len(), taken.bytes());
        assert_eq!((inlet.gauge().events(), inlet.gauge().bytes()), (0, 0));
        inlet.offer(submission(2, 10)).unwrap();
    }

    #[test]
    fn a_request_larger_than_the_queue_goes_alone() {
        let (inlet, outlet) = bounded(2, 1_000);
        inlet.offer(submission(5, 900)).unwrap();
        assert!(matches!(inlet.offer(submission(1, 1)), Err(NotTaken::Full(_))));
        assert_eq!(outlet.take_now().unwrap().len(), 5);
    }

    #[test]
    fn closing_refuses_and_drains() {
        let (inlet, outlet) = bounded(10, 10_000);
        inlet.offer(submission(1, 10)).unwrap();
        inlet.close();
        assert!(matches!(inlet.offer(submission(1, 10)), Err(NotTaken::Closed(_))));
        drop(inlet);
        assert!(matches!(outlet.take(Duration::ZERO), Taken::Submission(_)));
        assert!(matches!(outlet.take(Duration::ZERO), Taken::Ended));
    }
}
