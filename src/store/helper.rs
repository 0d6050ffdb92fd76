//! A blocking client that has no time limits, on a thread of its own.
//!
//! The owner hands a job over and waits for the answer with a limit; when that passes, the thread is left behind in the
//! call that hangs, and ends by itself when that call returns.
//!
//! Invariants: the owner never waits longer than its limit; no helper is started while as many hang as [`LeftBehind`]
//! allows (owners ask first, so those at work by then may still add to them); an idle helper is joined when its owner
//! drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::host::thread;
use crate::store::{Cause, StoreError};

/// How many helpers of one kind hang, and how many may.
#[derive(Debug)]
pub(in crate::store) struct LeftBehind {
    now: AtomicUsize,
    max: usize,
}

impl LeftBehind {
    pub(in crate::store) const fn new(max: usize) -> Self {
        Self { now: AtomicUsize::new(0), max }
    }

    pub(in crate::store) fn is_full(&self) -> bool {
        self.now.load(Ordering::Acquire) >= self.max
    }
}

const OWNED: u8 = 0;
const LEFT: u8 = 1;
const ENDED: u8 = 2;

/// One helper's part in the count: the second of owner and thread takes it off.
struct LeftBehindCount {
    state: AtomicU8,
    left: &'static LeftBehind,
}

impl LeftBehindCount {
    fn leave(&self) {
        self.left.now.fetch_add(1, Ordering::AcqRel);
        if self.state.compare_exchange(OWNED, LEFT, Ordering::AcqRel, Ordering::Acquire).is_err() {
            self.left.now.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Dropped when the thread ends, by a panic too.
struct EndCounter(Arc<LeftBehindCount>);

impl Drop for EndCounter {
    fn drop(&mut self) {
        if self.0.state.swap(ENDED, Ordering::AcqRel) == LEFT {
            self.0.left.now.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Gone {
    /// The time passed; the thread is left behind.
    OutOfTime,
    /// The client panicked, and its thread ended with it.
    Panicked,
    /// It was given up before.
    GivenUp,
}

/// The owner's side.
pub(in crate::store) struct Helper<J, A> {
    inbox: Option<Sender<J>>,
    outbox: Receiver<A>,
    thread: Option<JoinHandle<()>>,
    count: Arc<LeftBehindCount>,
}

impl<J: Send + 'static, A: Send + 'static> Helper<J, A> {
    /// Starts the thread, on which `build` makes the worker and some information for the owner. The inner error is
    /// `build`'s own.
    pub(in crate::store) fn start<W: FnMut(J) -> A, I: Send + 'static>(
        name: &str,
        left: &'static LeftBehind,
        limit: Duration,
        build: impl FnOnce() -> Result<(W, I), StoreError> + Send + 'static,
    ) -> Result<Result<(Self, I), StoreError>, Gone> {
        let (inbox, jobs) = bounded::<J>(1);
        let (answers, outbox) = bounded::<A>(1);
        let (ready, built) = bounded(1);
        let count = Arc::new(LeftBehindCount { state: AtomicU8::new(OWNED), left });
        let counter = EndCounter(Arc::clone(&count));
        let body = move || {
            let _counts_at_its_end = counter;
            let mut work = match build() {
                Ok((work, info)) => {
                    // The owner may have gone: then there is no job either.
                    let _ = ready.send(Ok(info));
                    work
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            for job in &jobs {
                if answers.send(work(job)).is_err() {
                    return;
                }
            }
        };
        let thread = match thread::start(name, body) {
            Ok(thread) => thread,
            Err(error) => {
                let why = format!("cannot start thread {name}: {error}: look at the limit on tasks");
                return Ok(Err(StoreError::unavailable(Cause::Busy, why)));
            }
        };
        let mut helper = Self { inbox: Some(inbox), outbox, thread: Some(thread), count };
        match built.recv_timeout(limit) {
            Ok(Ok(info)) => Ok(Ok((helper, info))),
            Ok(Err(error)) => Ok(Err(error)),
            Err(error) => Err(helper.lose(error)),
        }
    }

    /// Hands `job` over and waits for its answer until `until`. After an error every later call is
    /// [`Gone::GivenUp`] at once.
    pub(in crate::store) fn call(&mut self, job: J, until: Instant) -> Result<A, Gone> {
        let inbox = self.inbox.as_ref().ok_or(Gone::GivenUp)?;
        if inbox.try_send(job).is_err() {
            return Err(self.lose(RecvTimeoutError::Disconnected));
        }
        self.outbox.recv_deadline(until).map_err(|error| self.lose(error))
    }

    fn lose(&mut self, error: RecvTimeoutError) -> Gone {
        self.inbox = None;
        match error {
            RecvTimeoutError::Timeout => {
                self.count.leave();
                self.thread = None;
                Gone::OutOfTime
            }
            RecvTimeoutError::Disconnected => Gone::Panicked,
        }
    }
}

impl<J, A> Drop for Helper<J, A> {
    fn drop(&mut self) {
        self.inbox = None;
        if let Some(thread) = self.thread.take() {
            // It is idle or has ended: a busy one was left behind. A panic of its client is logged already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + LONG;
        while !holds() {
            assert!(Instant::now() < end, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn answers_come_back_in_order() {
        static LEFT: LeftBehind = LeftBehind::new(1);
        let build = || Ok((|job: u32| job * 2, "info"));
        let (mut helper, info) = Helper::start("t-answers", &LEFT, LONG, build).unwrap().unwrap();
        assert_eq!(info, "info");
        for job in 0..100 {
            assert_eq!(helper.call(job, Instant::now() + LONG), Ok(job * 2));
        }
    }

    #[test]
    fn a_stuck_helper_is_left_behind_counted_and_comes_back() {
        static LEFT: LeftBehind = LeftBehind::new(1);
        let (release, stuck) = bounded::<()>(0);
        let build = move || {
            Ok((
                move |(): ()| {
                    let _ = stuck.recv();
                },
                (),
            ))
        };
        let (mut helper, ()) = Helper::start("t-stuck", &LEFT, LONG, build).unwrap().unwrap();
        let started = Instant::now();
        assert_eq!(helper.call((), started + SOON), Err(Gone::OutOfTime));
        assert!(LEFT.is_full());
        assert_eq!(helper.call((), started + LONG), Err(Gone::GivenUp), "at once");
        drop(helper);
        assert!(started.elapsed() < LONG, "neither the call nor the drop waited for the thread");
        drop(release);
        wait_until("the thread takes itself off the count", || !LEFT.is_full());
    }

    #[test]
    fn a_build_that_hangs_is_left_behind() {
        static LEFT: LeftBehind = LeftBehind::new(1);
        let (release, stuck) = bounded::<()>(0);
        let build = move || {
            let _ = stuck.recv();
            Ok((|(): ()| (), ()))
        };
        assert_eq!(Helper::start("t-hangs", &LEFT, SOON, build).err(), Some(Gone::OutOfTime));
        assert!(LEFT.is_full());
        drop(release);
        wait_until("the thread takes itself off the count", || !LEFT.is_full());
    }

    #[test]
    fn a_panic_is_an_end_and_is_not_counted() {
        static LEFT: LeftBehind = LeftBehind::new(1);
        let build = || Ok((|(): ()| panic!("a client's bug, on purpose"), ()));
        let (mut helper, ()) = Helper::<(), ()>::start("t-panics", &LEFT, LONG, build).unwrap().unwrap();
        assert_eq!(helper.call((), Instant::now() + LONG), Err(Gone::Panicked));
        assert_eq!(helper.call((), Instant::now() + LONG), Err(Gone::GivenUp));
        drop(helper);
        assert!(!LEFT.is_full());
    }
}
