//! One remote store on the live path: whether to use it now, its client, and what is reported of it.
//!
//! The producer asks its routes in order of preference; what none keeps goes to the spool.
//!
//! Invariant: nothing here waits but the store's own write, which has a deadline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{info, warn};

use crate::delivery::failover::{Advice, Edge, Switch};
use crate::delivery::link::Link;
use crate::event::Event;
use crate::host::clock::Clock;
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
    /// `vitals` says that live events go here. Only the route knows when they do.
    is_reported_up: bool,
    lines: Throttle,
    clock: Arc<dyn Clock>,
}

impl Route {
    /// A route over `link` that is used once its first connection is made, which may take `first_wait`.
    #[must_use]
    pub fn new(
        place: StoredIn,
        first_wait: Duration,
        link: Link<Connected>,
        vitals: Arc<Vitals>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            place,
            switch: Switch::new(clock.now(), first_wait),
            link,
            client: None,
            vitals,
            proofs_seen: 0,
            is_reported_up: false,
            lines: Throttle::new(LOG_EDGES_PER_MINUTE),
            clock,
        }
    }

    /// The store, as answers and logs name it.
    #[must_use]
    pub fn place(&self) -> StoredIn {
        self.place
    }

    /// What to do with the batch in hand. `backlog`: events are held that recovery tries this store with, so that
    /// live ones need not.
    pub fn advise(&mut self, backlog: bool) -> Advice {
        self.look(backlog);
        self.switch.advise(self.clock.now(), self.client.is_some(), backlog)
    }

    /// Takes what the prober and recovery have achieved, and reports when live events go here.
    fn look(&mut self, backlog: bool) {
        if self.client.is_none() {
            self.client = self.link.take().map(|connected| connected.store);
            self.is_reported_up = false;
        }
        let (now, ready) = (self.clock.now(), self.client.is_some());
        if !ready && self.link.has_failed() {
            self.switch.not_connected(now);
        }
        let proofs = self.vitals.proofs.load(Ordering::Acquire);
        if proofs != self.proofs_seen {
            self.proofs_seen = proofs;
            self.switch.proved();
        }
        if self.switch.is_usable(now, ready, backlog) {
            self.report_up();
        }
    }

    /// Once per change: each report takes the lock of the vitals.
    fn report_up(&mut self) {
        if !std::mem::replace(&mut self.is_reported_up, true) {
            self.vitals.usable();
        }
    }

    /// Whether live events go here.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_reported_up
    }

    /// Waits until its client may be there, but no longer than `most`.
    pub fn wait(&self, most: Duration) {
        self.link.wait(most);
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
        if self.advise(false) != Advice::Use {
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

    /// Nothing to write: gives an idle client its tick, and looks for what has changed.
    pub fn tick(&mut self, backlog: bool) {
        let ticked = self.client.as_mut().map_or(Ok(()), |client| client.tick());
        if let Err(error) = ticked {
            self.failed(error.text());
        }
        self.look(backlog);
    }

    /// Gives the link back, to be closed.
    #[must_use]
    pub fn into_link(self) -> Link<Connected> {
        self.link
    }

    fn succeeded(&mut self) {
        let now = self.clock.now();
        if let Some(Edge::Back(after)) = self.switch.succeeded(now) {
            let name = self.place.name();
            if let Some(suppressed) = self.lines.pass(now) {
                let after = after.as_secs_f64();
                info!("{name} is back: events go there again after_s={after:.1}{suppressed}");
            }
            stats::add(&self.vitals.back, 1);
        }
        self.report_up();
    }

    fn failed(&mut self, why: &str) {
        self.vitals.failed(why);
        self.is_reported_up = false;
        // Whatever went wrong, a fresh connection is the only one to trust.
        self.client = None;
        self.link.renew();
        self.proofs_seen = self.vitals.proofs.load(Ordering::Acquire);
        let now = self.clock.now();
        if let Some(Edge::Lost) = self.switch.failed(now) {
            let name = self.place.name();
            if let Some(suppressed) = self.lines.pass(now) {
                warn!(
                    "{name} is lost: events go to the next store until it is back cause={why:?}{suppressed}"
                );
            }
            stats::add(&self.vitals.lost, 1);
        }
    }
}
