//! One remote store on the live path: whether to use it now, its client, and what people are told.
//!
//! The producer asks its routes in order of preference; what none keeps goes to the spool.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use log::{info, warn};

use crate::delivery::failover::{Advice, Edge, Switch};
use crate::delivery::link::Link;
use crate::event::Event;
use crate::host::clock;
use crate::host::throttle::Throttle;
use crate::limits::LOG_EDGES_PER_MINUTE;
use crate::store::{Batch, Cause, Connected, Store, StoreError, StoredIn, WriteResult};
use crate::telemetry::health::Vitals;
use crate::telemetry::stats;

/// A store behind the network.
pub struct Route {
    place: StoredIn,
    switch: Switch,
    link: Link<Connected>,
    client: Option<Box<dyn Store>>,
    vitals: Arc<Vitals>,
    proofs_seen: u64,
    lines: Throttle,
}

impl Route {
    /// A route over `link` that is used once its first connection is made.
    #[must_use]
    pub fn new(place: StoredIn, switch: Switch, link: Link<Connected>, vitals: Arc<Vitals>) -> Self {
        Self {
            place,
            switch,
            link,
            client: None,
            vitals,
            proofs_seen: 0,
            lines: Throttle::new(LOG_EDGES_PER_MINUTE),
        }
    }

    /// Where its events are, as the client is told.
    #[must_use]
    pub fn place(&self) -> StoredIn {
        self.place
    }

    /// Whether the batch in hand should be written here. `backlog`: events are held that recovery
    /// tries this store with, so that live ones need not.
    pub fn is_open(&mut self, backlog: bool) -> bool {
        self.fetch();
        let proofs = self.vitals.proofs.load(Ordering::Acquire);
        if proofs != self.proofs_seen {
            self.proofs_seen = proofs;
            self.switch.proved();
        }
        match self.switch.advise(clock::now(), self.client.is_some(), backlog) {
            Advice::Use => true,
            Advice::Skip => false,
            Advice::Wait(until) => {
                self.client = self.link.take_until(until).map(|connected| connected.store);
                if self.client.is_none() {
                    self.switch.not_connected(clock::now());
                }
                self.client.is_some()
            }
        }
    }

    /// Whether a batch may be begun here while another is under way: Kafka's client has several on their way, and
    /// only a store that works is given any.
    #[must_use]
    pub fn takes_ahead(&self) -> bool {
        self.place == StoredIn::Kafka && self.switch.is_up() && self.client.is_some()
    }

    /// Begins with a batch that will be written after those begun before.
    pub fn begin(&mut self, batch: &Batch) {
        if let Some(client) = &mut self.client {
            client.begin(batch);
        }
    }

    /// Writes the batch and draws the conclusions for later ones.
    pub fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        let results = self.client.as_mut().map(|client| client.write(batch)).unwrap_or_default();
        assert_eq!(results.len(), batch.len(), "BUG: a store gave another number of outcomes than events");
        let lost = results.iter().find_map(|result| match result {
            Err(StoreError::Unavailable(_, why)) => Some(Arc::clone(why)),
            _ => None,
        });
        match lost {
            Some(why) => self.failed(&why),
            None => self.succeeded(),
        }
        results
    }

    /// Keeps dead letters here, if this store has a place for them and works.
    ///
    /// # Errors
    /// None of them is kept.
    pub fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        if !self.is_open(false) {
            let text = format!("{} is down", self.place.name());
            return Err(StoreError::unavailable(Cause::Unreachable, text));
        }
        let client = self.client.as_mut().expect("BUG: a route is open without a client");
        let kept = client.keep_letters(letters);
        match &kept {
            Err(StoreError::Unavailable(_, why)) => self.failed(why),
            Ok(()) | Err(StoreError::Rejected(..)) => self.succeeded(),
        }
        kept
    }

    /// Nothing to write: fetches a client that is ready, and lets an idle one breathe.
    pub fn tick(&mut self) {
        match &mut self.client {
            Some(client) => {
                if let Err(error) = client.tick() {
                    self.failed(error.text());
                }
            }
            None => self.fetch(),
        }
    }

    /// Gives the link back, to be closed.
    #[must_use]
    pub fn into_link(self) -> Link<Connected> {
        self.link
    }

    fn fetch(&mut self) {
        if self.client.is_none() {
            self.client = self.link.take().map(|connected| connected.store);
        }
    }

    /// Waits for a client, for tests that count turns and not time.
    #[cfg(test)]
    pub(crate) fn connect(&mut self) {
        while self.client.is_none() {
            std::thread::yield_now();
            self.fetch();
        }
    }

    fn succeeded(&mut self) {
        if let Some(Edge::Back(after)) = self.switch.succeeded(clock::now()) {
            let name = self.place.name();
            if let Some(suppressed) = self.lines.pass(clock::now()) {
                let after = after.as_secs_f64();
                info!("{name} is back: events go there again after_s={after:.1}{suppressed}");
            }
            stats::add(&self.vitals.back, 1);
        }
        self.vitals.acknowledged();
    }

    fn failed(&mut self, why: &str) {
        self.vitals.failed(why);
        // Whatever went wrong, a fresh connection is the only one to trust.
        self.client = None;
        self.link.renew();
        self.proofs_seen = self.vitals.proofs.load(Ordering::Acquire);
        if let Some(Edge::Lost) = self.switch.failed(clock::now()) {
            let name = self.place.name();
            if let Some(suppressed) = self.lines.pass(clock::now()) {
                warn!(
                    "{name} is lost: events go to the next store until it is back cause={why:?}{suppressed}"
                );
            }
            stats::add(&self.vitals.lost, 1);
        }
    }
}
