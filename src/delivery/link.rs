//! Connecting off the data path: a prober makes clients for one owner, who takes a fresh one after it has given up
//! the last.
//!
//! Invariants: a client made for an earlier request is never handed out (each request has a generation); attempts
//! are spaced by a backoff with a cap; at most one client waits to be taken; only a thread's `run` waits, so that a
//! test can step both sides by a clock of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender};

use crate::delivery::failover::doubled;
use crate::host::thread;
use crate::limits::{CONNECT_BACKOFF_FIRST, CONNECT_BACKOFF_MOST};
use crate::store::StoreError;

/// The owner's side.
pub struct Link<T> {
    /// Wakes the prober. `newest` says what is requested.
    requests: Sender<()>,
    ready: Receiver<(u64, T)>,
    newest: Arc<AtomicU64>,
    has_failed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a prober does: makes a client, and reports how each attempt ended.
pub trait Connect: Send {
    /// What it makes.
    type Client: Send + 'static;

    /// One attempt, bounded in time.
    ///
    /// # Errors
    /// Why there is no client.
    fn connect(&mut self) -> Result<Self::Client, StoreError>;

    /// Called after each attempt.
    fn ended(&mut self, result: Result<&Self::Client, &StoreError>);
}

impl<T: Send + 'static> Link<T> {
    /// Starts a thread `name` that connects, and requests a first client.
    ///
    /// # Errors
    /// No thread is available.
    pub fn start(name: &str, connector: impl Connect<Client = T> + 'static) -> io::Result<Self> {
        let (mut link, prober) = pair(connector);
        // Essential: without it the store is never connected again.
        link.thread = Some(thread::essential(name, move || prober.run())?);
        Ok(link)
    }

    /// Requests a fresh client; whatever is being made is out of date.
    pub fn renew(&mut self) {
        self.newest.fetch_add(1, Ordering::AcqRel);
        while self.ready.try_recv().is_ok() {}
        // A full inbox means that the prober has yet to look, and it looks for the newest.
        let _ = self.requests.try_send(());
    }

    /// The fresh client, if there is one by now.
    pub fn take(&mut self) -> Option<T> {
        let newest = self.newest.load(Ordering::Acquire);
        std::iter::from_fn(|| self.ready.try_recv().ok())
            .find_map(|(generation, client)| (generation == newest).then_some(client))
    }

    /// Waits until a client is there to be taken, but no longer than `most`.
    pub fn wait(&self, most: Duration) {
        let mut select = Select::new();
        select.recv(&self.ready);
        let _ = select.ready_timeout(most);
    }

    /// Whether any attempt has failed yet.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Ends the prober's thread, which may finish the attempt that it is in. False: it did not end in time.
    #[must_use]
    pub fn close(self, within: Duration) -> bool {
        let Self { requests, ready, newest, has_failed: _, thread } = self;
        newest.fetch_add(1, Ordering::AcqRel);
        // A prober that waits for a request, or for room for a client, sees that there is no owner.
        drop((requests, ready));
        thread.is_none_or(|thread| thread::join_within(thread, within).is_some())
    }
}

/// An owner's side with a first request, and the prober that serves it.
pub(in crate::delivery) fn pair<C: Connect>(connector: C) -> (Link<C::Client>, Prober<C>) {
    let (requests, inbox) = crossbeam_channel::bounded(1);
    let (made, ready) = crossbeam_channel::bounded(1);
    let newest = Arc::new(AtomicU64::new(0));
    let has_failed = Arc::new(AtomicBool::new(false));
    let prober = Prober {
        connector,
        inbox,
        made,
        newest: Arc::clone(&newest),
        served: 0,
        failures: 0,
        has_failed: Arc::clone(&has_failed),
    };
    let mut link = Link { requests, ready, newest, has_failed, thread: None };
    link.renew();
    (link, prober)
}

/// The side that connects.
pub(in crate::delivery) struct Prober<C: Connect> {
    connector: C,
    inbox: Receiver<()>,
    made: Sender<(u64, C::Client)>,
    newest: Arc<AtomicU64>,
    served: u64,
    /// Attempts in a row that failed.
    failures: u32,
    has_failed: Arc<AtomicBool>,
}

impl<C: Connect> Prober<C> {
    fn run(mut self) {
        let mut pause = None;
        loop {
            let woken = match pause {
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(pause) => self.inbox.recv_timeout(pause),
            };
            if woken == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            pause = self.step();
        }
    }

    /// One attempt, if a client is requested and not made yet. Returns the pause before the next one. None: there is
    /// nothing to do before the next request.
    pub(in crate::delivery) fn step(&mut self) -> Option<Duration> {
        let generation = self.newest.load(Ordering::Acquire);
        if generation == self.served {
            return None;
        }
        let result = self.connector.connect();
        self.connector.ended(result.as_ref());
        match result {
            Ok(_) if generation != self.newest.load(Ordering::Acquire) => Some(Duration::ZERO),
            Ok(client) => {
                self.served = generation;
                self.failures = 0;
                // Without an owner there is nothing left to do: the inbox says so as well.
                let _ = self.made.send((generation, client));
                None
            }
            Err(_) => {
                self.has_failed.store(true, Ordering::Release);
                let pause = doubled(CONNECT_BACKOFF_FIRST, self.failures, CONNECT_BACKOFF_MOST);
                self.failures = self.failures.saturating_add(1);
                Some(pause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Cause;
    use std::collections::VecDeque;

    const SOON: Duration = Duration::from_secs(10);

    /// Plays a script of results, then makes clients numbered from 100.
    struct Script {
        results: VecDeque<Result<u32, StoreError>>,
        made: u32,
        ended: Sender<bool>,
    }

    impl Connect for Script {
        type Client = u32;

        fn connect(&mut self) -> Result<u32, StoreError> {
            self.made += 1;
            self.results.pop_front().unwrap_or(Ok(100 + self.made))
        }

        fn ended(&mut self, result: Result<&u32, &StoreError>) {
            let _ = self.ended.send(result.is_ok());
        }
    }

    fn down() -> Result<u32, StoreError> {
        Err(StoreError::unavailable(Cause::Unreachable, "down"))
    }

    fn link(results: Vec<Result<u32, StoreError>>) -> (Link<u32>, Receiver<bool>) {
        let (ended, log) = crossbeam_channel::bounded(100);
        (Link::start("probe", Script { results: results.into(), made: 0, ended }).unwrap(), log)
    }

    /// The next client, waited for.
    fn taken(link: &mut Link<u32>) -> Option<u32> {
        // One that is out of date may be there first.
        (0..3).find_map(|_| {
            link.wait(SOON);
            link.take()
        })
    }

    #[test]
    fn the_first_client_is_requested_at_once_and_failures_are_retried() {
        let (mut link, log) = link(vec![down(), down()]);
        assert_eq!((log.recv(), log.recv(), log.recv()), (Ok(false), Ok(false), Ok(true)));
        assert_eq!(taken(&mut link), Some(103));
        assert!(link.has_failed());
        assert!(link.close(SOON));
    }

    #[test]
    fn a_client_made_for_an_earlier_request_is_never_handed_out() {
        let (mut link, log) = link(vec![]);
        assert_eq!(log.recv(), Ok(true));
        link.renew();
        let second = taken(&mut link);
        assert!(second.is_some_and(|client| client > 101), "{second:?}");
        link.renew();
        let third = taken(&mut link);
        assert!(third > second, "{third:?}");
        assert!(link.close(SOON));
    }

    #[test]
    fn a_prober_pauses_longer_after_each_failure_and_rests_once_it_has_served() {
        let (ended, _log) = crossbeam_channel::bounded(100);
        let results = [down(), down(), down(), down(), down(), Ok(1), down(), Ok(2)].into();
        let (mut link, mut prober) = pair(Script { results, made: 0, ended });
        let ms = |ms| Some(Duration::from_millis(ms));
        let pauses: Vec<_> = (0..7).map(|_| prober.step()).collect();
        assert_eq!(pauses, [ms(250), ms(500), ms(1_000), ms(2_000), ms(2_000), None, None]);
        assert_eq!((link.take(), link.take()), (Some(1), None));
        link.renew();
        assert_eq!((prober.step(), prober.step()), (ms(250), None));
        assert_eq!(link.take(), Some(2));
    }

    #[test]
    fn a_wait_is_bounded() {
        let (ended, _log) = crossbeam_channel::bounded(100);
        let (mut link, _prober) = pair(Script { results: VecDeque::new(), made: 0, ended });
        link.wait(Duration::from_millis(5));
        assert_eq!(link.take(), None);
    }
}
