//! The health of the connections: they are opened one at a time, proven by a first answer, kept alive by pings, and
//! retired when the server behind them is in doubt.
//!
//! The kept ones and a few for ingest are opened at start, the others when requests wait for one, and closed again when
//! they are not needed: each costs a thread in the inner server. That is fast enough: a burst of 64 new clients was
//! answered within 5 to 17 ms by an unoptimised build on two busy cores and left 15 to 18 connections open, one of 500
//! within 32 ms and with 37.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UnixStream;

use super::Inside;
use super::upstream::{Doing, Upstream, wait};
use crate::door::tokens::Owner;
use crate::limits::{DOOR_INGEST_CONNECTIONS_MIN, DOOR_KEPT_CONNECTIONS, DOOR_RESERVED_DESCRIPTORS};
use crate::wire::routes::Lane;

/// A proof that takes longer is worth a look at whether there still is anyone to give it.
const PROOF_USUAL: Duration = Duration::from_millis(250);

impl Inside {
    /// Opens the next connection that is needed, if none is being opened. `ingest_waits`: requests of that lane wait
    /// for one.
    pub(in crate::door) fn tend(&mut self, ingest_waits: bool) {
        if self.opening.is_some() || !self.open_backoff.is_over(self.now) {
            return;
        }
        let Some(lane) = self.needed_lane(ingest_waits) else { return };
        if !self.reserve.spend() {
            self.open_backoff.grow(self.now);
            return;
        }
        if let Err(error) = self.open(lane) {
            self.reserve.restore();
            self.open_backoff.grow(self.now);
            let gone = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
            if gone {
                let path = self.server.path.display();
                self.ask_for_rebuild(&format!("nobody listens on {path}: {error}"));
            }
        }
    }

    fn needed_lane(&self, ingest_waits: bool) -> Option<Lane> {
        if self.open_kept < DOOR_KEPT_CONNECTIONS {
            Some(Lane::Kept)
        } else if self.open_ingest < ingest_floor(self.ingest_max)
            || (ingest_waits && self.open_ingest < self.ingest_max)
        {
            Some(Lane::Ingest)
        } else {
            None
        }
    }

    fn open(&mut self, lane: Lane) -> io::Result<()> {
        let identity = FileIdentity::of(&self.server.path);
        let stream = UnixStream::connect(&self.server.path)?;
        if self.identity != identity {
            self.identity = identity;
            self.retire_all();
        }
        let number = self.upstreams.insert(Upstream::new(stream, lane, self.generation));
        *self.open_count(lane) += 1;
        self.opening = Some(number);
        self.waits.set(number, wait::PING, self.now);
        if let Some(upstream) = self.upstreams.get_mut(number) {
            let token = Owner::Inside(number).token();
            self.registry.register(&mut upstream.stream, token, Interest::READABLE)?;
        }
        self.push(number);
        Ok(())
    }

    /// The connection that was being opened has its first answer.
    pub(super) fn note_proof(&mut self) {
        self.opening = None;
        self.open_backoff.reset();
        self.reserve.restore();
        if std::mem::take(&mut self.is_in_doubt) {
            log::info!("the inner server answers again");
        }
    }

    pub(super) fn on_timeout(&mut self, number: usize, kind: usize) {
        let Some(upstream) = self.upstreams.get_mut(number) else {
            self.waits.clear(number);
            return;
        };
        let (lane, doing) = (upstream.lane, upstream.doing);
        let is_current = upstream.generation == self.generation;
        let is_silent = self.last_answer < self.waits.since(number);
        match kind {
            wait::FREE_INGEST if self.open_ingest > ingest_floor(self.ingest_max) => self.remove(number),
            wait::FREE_INGEST => self.waits.set(number, wait::FREE_INGEST, self.now),
            wait::FREE_KEPT => {
                upstream.doing = Doing::Pinging;
                upstream.parcel.ping();
                self.waits.set(number, wait::PING, self.now);
                self.push(number);
            }
            _ => {
                self.lose(number, "no answer in time");
                match doing {
                    // Given up before, with all of its generation.
                    _ if !is_current => {}
                    Doing::Proving => self.ask_for_rebuild("a new connection was not answered"),
                    Doing::Pinging if is_silent => {
                        self.ask_for_rebuild("a ping was not answered, nor anything else");
                    }
                    // Storage may be slow; a kept connection never waits for it. Any of the others may lead to a
                    // server that is gone, too: new ones must prove themselves, or else a new server is asked for.
                    _ if lane == Lane::Kept => self.retire_all(),
                    _ => {}
                }
            }
        }
    }

    /// Those that are open serve what they have and are not asked again.
    fn retire_all(&mut self) {
        self.generation += 1;
        for number in self.upstreams.numbers() {
            if self.upstreams.get(number).is_some_and(|upstream| upstream.doing == Doing::Nothing) {
                self.remove(number);
            }
        }
    }

    /// A connection that waits for proof waits in vain when the server behind it was replaced.
    pub(super) fn check_opening(&mut self) {
        let Some(number) = self.opening else { return };
        let waits_long =
            self.waits.since(number).is_some_and(|since| self.now.duration_since(since) >= PROOF_USUAL);
        if waits_long && self.identity != FileIdentity::of(&self.server.path) {
            self.lose(number, "the server was replaced");
        }
    }

    fn ask_for_rebuild(&mut self, why: &str) {
        if !self.rebuild_backoff.is_over(self.now) {
            return;
        }
        self.rebuild_backoff.grow(self.now);
        self.is_in_doubt = true;
        self.rebuilds += usize::from(self.server.rebuild.try_send(()).is_ok());
        if let Some(suppressed) = self.rebuild_lines.pass(self.now) {
            log::warn!("the inner server does not answer ({why}): asking for a new one{suppressed}");
        }
        self.retire_all();
    }
}

/// Ingest connections opened at start.
pub(super) fn ingest_floor(ingest_max: usize) -> usize {
    DOOR_INGEST_CONNECTIONS_MIN.min(ingest_max)
}

/// Which file a path names: its number, and when it was made, because numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity(u64, i64, i64);

impl FileIdentity {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self(metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
    }
}

/// Tries that grow apart.
#[derive(Debug)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    step: Duration,
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, step: least, until: None }
    }

    /// Not before then.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// A try was made and did not help.
    pub(super) fn grow(&mut self, now: Instant) {
        self.until = now.checked_add(self.step);
        self.step = (self.step * 2).min(self.most);
    }

    pub(super) fn reset(&mut self) {
        self.step = self.least;
        self.until = None;
    }
}

/// Descriptors held back. The inner server stops listening for good when its accept finds none, so a connection is
/// opened only into room that is known to be there.
#[derive(Debug, Default)]
pub(super) struct DescriptorReserve {
    files: Vec<File>,
    /// The process has been out of descriptors and not yet got the reserve back.
    is_tight: bool,
}

impl DescriptorReserve {
    pub(super) fn is_tight(&self) -> bool {
        self.is_tight
    }

    pub(super) fn note_shortage(&mut self) {
        self.is_tight = true;
    }

    /// Makes the room. `false`: the reserve is not whole, and the process has no descriptors left to make it so.
    fn spend(&mut self) -> bool {
        let is_whole = self.fill();
        if is_whole {
            self.files.clear();
        } else {
            self.is_tight = true;
        }
        is_whole
    }

    /// Takes the room back.
    pub(super) fn restore(&mut self) {
        self.is_tight = !self.fill();
    }

    fn fill(&mut self) -> bool {
        while self.files.len() < DOOR_RESERVED_DESCRIPTORS {
            match File::open("/dev/null") {
                Ok(file) => self.files.push(file),
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_most() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(25));
        assert!(backoff.is_over(now));
        for step in [10, 20, 25, 25] {
            backoff.grow(now);
            assert_eq!(backoff.until(), Some(now + ms(step)));
            assert!(!backoff.is_over(now) && backoff.is_over(now + ms(step)));
        }
        backoff.reset();
        assert!(backoff.is_over(now));
    }
}
