//! A panic in a client library costs the client and nothing else: not the thread that called it, which the daemon
//! cannot do without, and no event.
//!
//! The panic itself is logged by the hook in `host::crash`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::errors::Cluster;
use crate::event::Event;
use crate::store::{Batch, Store, StoreError, WriteResult};

/// The result of a call; a panic in it is `Unavailable`. What it worked on must not be used again.
pub(super) fn call<T>(at: &Cluster, body: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err(at.panicked()))
}

/// A store that is thrown away as soon as a call of it panics.
pub(super) struct Contained {
    /// None: it has panicked.
    store: Option<Box<dyn Store>>,
    at: Cluster,
}

impl Contained {
    pub(super) fn new(store: Box<dyn Store>, at: Cluster) -> Self {
        Self { store: Some(store), at }
    }

    fn call<T>(&mut self, body: impl FnOnce(&mut dyn Store) -> T) -> Result<T, StoreError> {
        let Some(store) = &mut self.store else { return Err(self.at.panicked()) };
        let result = call(&self.at, || Ok(body(&mut **store)));
        if result.is_err() {
            self.discard();
        }
        result
    }

    /// What is left of a client may panic once more when it is dropped.
    fn discard(&mut self) {
        let store = self.store.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(store)));
    }
}

impl Store for Contained {
    fn begin(&mut self, batch: &Batch) {
        // The write that follows says what is wrong.
        let _ = self.call(|store| store.begin(batch));
    }

    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        self.call(|store| store.write(batch)).unwrap_or_else(|error| vec![Err(error); batch.len()])
    }

    fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        self.call(|store| store.keep_letters(letters))?
    }

    fn tick(&mut self) -> WriteResult {
        self.call(|store| store.tick())?
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        self.discard();
    }
}

#[cfg(test)]
mod tests;
