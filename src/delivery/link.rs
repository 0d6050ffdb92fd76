//! Connecting off the data path: a prober thread makes clients for one owner, who takes a fresh one
//! when it has thrown the last away.
//!
//! Invariants: a client made for an earlier wish is never handed out (each wish has a generation);
//! attempts are spaced by a backoff with a cap; at most one client waits to be taken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::delivery::failover::doubled;
use crate::host::thread;
use crate::limits::{CONNECT_BACKOFF_FIRST, CONNECT_BACKOFF_MOST};
use crate::store::StoreError;

/// The owner's side of a prober thread.
pub struct Link<T> {
    wishes: Option<Sender<u64>>,
    ready: Receiver<(u64, T)>,
    newest: Arc<AtomicU64>,
    failed_once: Arc<AtomicBool>,
    prober: JoinHandle<()>,
}

/// What a prober does: makes a client, and tells how each attempt ended.
pub trait Connect: Send {
    /// What it makes.
    type Client: Send + 'static;
    /// One attempt, bounded in time.
    ///
    /// Errors: why there is no client.
    fn connect(&mut self) -> Result<Self::Client, StoreError>;
    /// Told after each attempt.
    fn ended(&mut self, result: Result<&Self::Client, &StoreError>);
}

impl<T: Send + 'static> Link<T> {
    /// Starts the prober `name` and wishes for a first client.
    ///
    /// Errors: no thread to be had.
    pub fn start(name: &str, connector: impl Connect<Client = T> + 'static) -> io::Result<Self> {
        let (wishes, inbox) = crossbeam_channel::bounded(4);
        let (made, ready) = crossbeam_channel::bounded(1);
        let newest = Arc::new(AtomicU64::new(0));
        let failed_once = Arc::new(AtomicBool::new(false));
        let prober =
            Prober { connector, inbox, made, newest: newest.clone(), failed_once: failed_once.clone() };
        // Essential: without it no store is ever connected again.
        let prober = thread::essential(name, move || prober.run())?;
        let mut link = Self { wishes: Some(wishes), ready, newest, failed_once, prober };
        link.renew();
        Ok(link)
    }

    /// Wishes for a fresh client; whatever was being made is out of date.
    pub fn renew(&mut self) {
        let generation = self.newest.fetch_add(1, Ordering::AcqRel) + 1;
        while self.ready.try_recv().is_ok() {}
        if let Some(wishes) = &self.wishes {
            // A full inbox means that the prober has wishes to read, and it takes the newest.
            let _ = wishes.try_send(generation);
        }
    }

    /// The fresh client, if there is one by now.
    pub fn take(&mut self) -> Option<T> {
        self.take_until(Instant::now())
    }

    /// The fresh client, waiting for it until `until` or the first failed attempt.
    pub fn take_until(&mut self, until: Instant) -> Option<T> {
        const LOOK: Duration = Duration::from_millis(20);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.ready.recv_timeout(left.min(LOOK)) {
                Ok((generation, client)) if generation == self.newest.load(Ordering::Acquire) => {
                    return Some(client);
                }
                Ok(_) => {}
                Err(_) if left.is_zero() || self.has_failed() => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Whether any attempt has failed yet.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed_once.load(Ordering::Acquire)
    }

    /// Ends the prober; it may finish the attempt it is in. False: it did not end in time.
    #[must_use]
    pub fn close(mut self, within: Duration) -> bool {
        self.newest.fetch_add(1, Ordering::AcqRel);
        self.wishes = None;
        // A prober that waits with a client for a taker sees that there is none.
        drop(self.ready);
        thread::join_within(self.prober, within).is_some()
    }
}

struct Prober<C: Connect> {
    connector: C,
    inbox: Receiver<u64>,
    made: Sender<(u64, C::Client)>,
    newest: Arc<AtomicU64>,
    failed_once: Arc<AtomicBool>,
}

impl<C: Connect> Prober<C> {
    fn run(mut self) {
        let mut served = 0;
        while let Ok(wish) = self.inbox.recv() {
            if wish <= served {
                continue;
            }
            match self.serve() {
                Some(generation) => served = generation,
                None => return,
            }
        }
    }

    /// Makes a client for the newest wish and tells which that was. None: the owner is gone.
    fn serve(&mut self) -> Option<u64> {
        let mut failures = 0;
        loop {
            let generation = self.newest.load(Ordering::Acquire);
            let result = self.connector.connect();
            self.connector.ended(result.as_ref());
            let outdated = generation != self.newest.load(Ordering::Acquire);
            let pause = match result {
                Ok(_) if outdated => Duration::ZERO,
                Ok(client) => {
                    self.made.send((generation, client)).ok()?;
                    return Some(generation);
                }
                Err(_) => doubled(CONNECT_BACKOFF_FIRST, failures, CONNECT_BACKOFF_MOST),
            };
            self.failed_once.store(true, Ordering::Release);
            failures += 1;
            if let Err(RecvTimeoutError::Disconnected) = self.inbox.recv_timeout(pause) {
                return None;
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

    #[test]
    fn the_first_wish_is_uttered_at_once_and_failures_are_retried() {
        let (mut link, log) = link(vec![down(), down()]);
        assert_eq!((log.recv(), log.recv(), log.recv()), (Ok(false), Ok(false), Ok(true)));
        assert_eq!(link.take_until(Instant::now() + SOON), Some(103));
        assert!(link.has_failed());
        assert!(link.close(SOON));
    }

    #[test]
    fn a_wait_ends_with_the_first_failed_attempt() {
        let (mut link, _log) = link(vec![down(), down(), down(), down(), down(), down()]);
        assert_eq!(link.take_until(Instant::now() + 60 * SOON), None);
        assert!(link.close(SOON));
    }

    #[test]
    fn a_client_made_for_an_earlier_wish_is_never_handed_out() {
        let (mut link, log) = link(vec![]);
        assert_eq!(log.recv(), Ok(true));
        link.renew();
        let second = link.take_until(Instant::now() + SOON);
        assert!(second.is_some_and(|client| client > 101), "{second:?}");
        link.renew();
        let third = link.take_until(Instant::now() + SOON);
        assert!(third > second, "{third:?}");
        assert!(link.close(SOON));
    }
}
