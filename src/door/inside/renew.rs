//! The pool's health: upstream connections are opened one at a time, proven by a first answer, kept
//! alive by pings, and retired when the server behind them is in doubt.
//!
//! The kept ones and a few for ingest are opened at start, the others when requests wait for one,
//! and closed again when they are not needed: each costs a thread in the inner server. That is fast
//! enough: a burst of 64 new clients was answered within 5 to 17 ms by an unoptimised build on two
//! busy cores and left 15 to 18 connections open, one of 500 within 32 ms and with 37.

use std::io;
use std::time::Duration;

use mio::Interest;
use mio::net::UnixStream;

use super::upstream::{Job, Upstream, wait};
use crate::door::client::wait as client_wait;
use crate::door::event_loop::{EventLoop, Source};
use crate::door::figures;
use crate::door::ingest_floor;
use crate::door::render::PING;
use crate::limits::DOOR_KEPT_CONNECTIONS;
use crate::wire::routes::Lane;

/// A proof that takes longer is worth a look at whether there still is anyone to give it.
const PROOF_USUAL: Duration = Duration::from_millis(250);

impl EventLoop {
    /// Opens the next connection that is wanted, if none is being opened.
    pub(in crate::door) fn open_upstreams(&mut self) {
        if self.pool.opening.is_some() || !self.pool.open_backoff.is_over(self.now) {
            return;
        }
        let Some(lane) = self.wanted_lane() else { return };
        if !self.pool.reserve.fill() {
            self.is_tight = true;
            self.pool.open_backoff.grow(self.now);
            return;
        }
        self.pool.reserve.release();
        if let Err(error) = self.open(lane) {
            self.is_tight = !self.pool.reserve.fill();
            self.pool.open_backoff.grow(self.now);
            let gone = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
            if gone {
                self.ask_for_rebuild(&format!("nobody listens on {}: {error}", self.pool.path.display()));
            }
        }
    }

    fn wanted_lane(&self) -> Option<Lane> {
        let pool = &self.pool;
        let waiting = self.waits.len(client_wait::QUEUED_INGEST) > 0;
        if pool.open_kept < DOOR_KEPT_CONNECTIONS {
            Some(Lane::Kept)
        } else if pool.open_ingest < ingest_floor(pool.ingest_max)
            || (waiting && pool.open_ingest < pool.ingest_max)
        {
            Some(Lane::Ingest)
        } else {
            None
        }
    }

    fn open(&mut self, lane: Lane) -> io::Result<()> {
        let identity = self.pool.identity_now();
        let stream = UnixStream::connect(&self.pool.path)?;
        if self.pool.identity != identity {
            self.pool.identity = identity;
            self.retire_connections();
        }
        let slot = self.pool.connections.insert(Upstream::new(stream, lane, self.pool.generation));
        *self.pool.open_count(lane) += 1;
        self.pool.opening = Some(slot);
        self.pool.waits.set(slot, wait::PING, self.now);
        if let Some(upstream) = self.pool.connections.get_mut(slot) {
            self.poll.registry().register(
                &mut upstream.stream,
                Source::Upstream(slot).token(),
                Interest::READABLE,
            )?;
        }
        self.push(slot);
        Ok(())
    }

    pub(in crate::door) fn on_upstream_timeout(&mut self, slot: usize, kind: usize) {
        let Some(upstream) = self.pool.connections.get_mut(slot) else {
            self.pool.waits.clear(slot);
            return;
        };
        let (lane, job) = (upstream.lane, upstream.job);
        let is_current = upstream.generation == self.pool.generation;
        let is_silent = self.pool.last_answer < self.pool.waits.since(slot);
        match kind {
            wait::FREE_INGEST if self.pool.open_ingest > ingest_floor(self.pool.ingest_max) => {
                self.remove(slot)
            }
            wait::FREE_INGEST => self.pool.waits.set(slot, wait::FREE_INGEST, self.now),
            wait::FREE_KEPT => {
                upstream.job = Job::Pinging;
                upstream.head.extend_from_slice(PING);
                self.pool.waits.set(slot, wait::PING, self.now);
                self.push(slot);
            }
            _ => {
                self.lose(slot, "no answer in time");
                match job {
                    // Given up before, with all of its generation.
                    _ if !is_current => {}
                    Job::Proving => self.ask_for_rebuild("a new connection was not answered"),
                    Job::Pinging if is_silent => {
                        self.ask_for_rebuild("a ping was not answered, nor anything else")
                    }
                    // Storage may be slow; a kept connection never waits for it.
                    _ if lane == Lane::Kept => self.distrust(),
                    _ => {}
                }
            }
        }
    }

    /// One connection was not answered: any of them may lead to a server that is gone. New ones must
    /// prove themselves; if they can't, a new server is asked for.
    fn distrust(&mut self) {
        self.retire_connections();
        self.open_upstreams();
    }

    /// Those that are open serve what they have and are not asked again.
    fn retire_connections(&mut self) {
        self.pool.generation += 1;
        for slot in self.pool.connections.numbers() {
            if self.pool.connections.get(slot).is_some_and(|upstream| upstream.job == Job::Free) {
                self.remove(slot);
            }
        }
    }

    /// A connection that waits for proof waits in vain when the server behind it was replaced.
    pub(in crate::door) fn check_opening(&mut self) {
        let Some(slot) = self.pool.opening else { return };
        let waits_long =
            self.pool.waits.since(slot).is_some_and(|since| self.now.duration_since(since) >= PROOF_USUAL);
        if waits_long && self.pool.identity != self.pool.identity_now() {
            self.lose(slot, "the server was replaced");
        }
    }

    fn ask_for_rebuild(&mut self, why: &str) {
        if !self.pool.rebuild_backoff.is_over(self.now) {
            return;
        }
        self.pool.rebuild_backoff.grow(self.now);
        self.pool.is_in_doubt = true;
        if self.rebuild.try_send(()).is_ok() {
            figures::add(&self.shared.counters.rebuilds);
        }
        if let Some(suppressed) = self.throttles.rebuild.pass(self.now) {
            log::warn!("the HTTP server inside does not answer ({why}): asking for a new one{suppressed}");
        }
        self.distrust();
    }
}
