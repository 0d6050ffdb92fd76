//! The one place that drives asynchronous code: a runtime without threads of its own, moved by
//! whoever owns it, and only while it waits in here.

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::store::{Cause, StoreError};

use super::Settings;
use super::errors::Place;

/// A current-thread runtime whose drop never waits: name look-ups that hang stay behind.
pub(super) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    pub(super) fn start(at: &Place) -> Result<Self, StoreError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("kafka-resolve")
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(|error| at.unavailable(Cause::Busy, &format!("cannot start the client: {error}")))
    }

    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.as_ref().expect("BUG: taken before the drop").block_on(future)
    }

    /// The brokers, the first to accept a TCP connection leading. All are tried at once, so that a
    /// dead one costs nothing while another lives.
    pub(super) fn reachable_first(&self, settings: &Settings, at: &Place) -> Result<Vec<String>, StoreError> {
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
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How long one try of anything may take, so that a dead connection costs a retry and not the
/// whole deadline.
pub(super) fn attempt_timeout(deadline: Duration) -> Duration {
    deadline / 3
}
