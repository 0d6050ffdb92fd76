//! The one place that drives asynchronous code: a runtime without threads of its own, moved by
//! its owner, and only while the owner waits in here. So a task that panics does so on the owner's thread.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::host::crash;
use crate::store::{Cause, StoreError};

use super::Settings;
use super::errors::Cluster;

/// A current-thread runtime whose drop never waits: name lookups that hang are left behind.
pub(super) struct Runtime {
    inner: Option<tokio::runtime::Runtime>,
    has_panicked: Cell<bool>,
}

impl Runtime {
    pub(super) fn start(at: &Cluster) -> Result<Self, StoreError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("kafka-resolve")
            .build()
            .map(|runtime| Self { inner: Some(runtime), has_panicked: Cell::new(false) })
            .map_err(|error| at.unavailable(Cause::Busy, &format!("cannot start the client: {error}")))
    }

    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let before = crash::panics_here();
        let inner = self.inner.as_ref().expect("BUG: taken before the drop");
        #[cfg(test)]
        tests::provoke(inner);
        let output = inner.block_on(future);
        if crash::panics_here() != before {
            self.has_panicked.set(true);
        }
        output
    }

    /// Whether a task of the client has panicked, which tokio catches: the rest of the client may hang, or go on without
    /// that task.
    pub(super) fn has_panicked(&self) -> bool {
        self.has_panicked.get()
    }

    /// The brokers, the first to accept a TCP connection leading. All are tried at once, so that a
    /// dead one costs nothing while another lives.
    pub(super) fn reachable_first(
        &self,
        settings: &Settings,
        at: &Cluster,
    ) -> Result<Vec<String>, StoreError> {
        let limit = attempt_timeout(settings.deadline);
        let winner = self.block_on(async {
            let mut tries = JoinSet::new();
            for (index, broker) in settings.brokers.iter().cloned().enumerate() {
                tries.spawn(async move {
                    match tokio::time::timeout(limit, TcpStream::connect(broker.as_str())).await {
                        Ok(Ok(_)) => Ok(index),
                        Ok(Err(error)) => Err(format!("{broker}: {error}")),
                        Err(_) => Err(format!("{broker}: no answer in {limit:?}")),
                    }
                });
            }
            let mut errors = Vec::new();
            while let Some(tried) = tries.join_next().await {
                match tried {
                    Ok(Ok(index)) => return Ok(index),
                    Ok(Err(error)) => errors.push(error),
                    Err(error) => errors.push(error.to_string()),
                }
            }
            Err(errors.join("; "))
        });
        let mut brokers = settings.brokers.clone();
        let index = winner.map_err(|errors| {
            let why =
                format!("cannot connect ({errors}): check KAFKA_BROKERS, the broker and the network between");
            at.unavailable(Cause::Unreachable, &why)
        })?;
        brokers.swap(0, index);
        Ok(brokers)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.inner.take() {
            runtime.shutdown_background();
        }
    }
}

/// How long one try of anything may take, so that a dead connection costs a retry and not the
/// whole deadline.
pub(super) fn attempt_timeout(deadline: Duration) -> Duration {
    deadline / 3
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    /// Where a client panics in the next call on this thread.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::store::kafka) enum Provoked {
        InTask,
        InCall,
    }

    thread_local! {
        pub(in crate::store::kafka) static PROVOKED: Cell<Option<Provoked>> = const { Cell::new(None) };
    }

    pub(super) fn provoke(inner: &tokio::runtime::Runtime) {
        match PROVOKED.take() {
            Some(Provoked::InTask) => drop(inner.spawn(async { panic!("a task's bug, on purpose") })),
            Some(Provoked::InCall) => panic!("a call's bug, on purpose"),
            None => {}
        }
    }
}
