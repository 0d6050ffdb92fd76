//! A [`Process`] in the [`World`](super::world::World) of one broker and one server, as the reference sees it.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;

pub(super) use super::process::{Options, SOON};

use super::process::{Process, event};
use super::reference::{Places, Unsettled, key_of};
use super::world::{Mood, Network, id, look};
use crate::delivery::recovery::{Recovery, Step};
use crate::host::clock::Clock;
use crate::store::StoredIn;
use crate::store::spool::Reader;

/// Steps of recovery without a change, after which there will be none.
const STILL: usize = 8;
/// As many for a broker whose answers are lost.
const STEPS_SILENT: usize = 12;
/// Enough for everything that a sequence can leave behind.
const STEPS_MAX: usize = 2_000;

/// See the module.
pub(super) struct Daemon {
    process: Process,
    network: Network,
    reader: Reader,
}

impl Deref for Daemon {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Daemon {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Daemon {
    pub(super) fn start(folder: &Path, network: &Network, options: &Options) -> Self {
        let process = Process::start(folder, Arc::new(network.clone()), options).expect("the spool opens");
        let reader = process.spool.reader().expect("the spool is there");
        Self { process, network: network.clone(), reader }
    }

    pub(super) fn recovery(&mut self) -> &mut Recovery {
        self.process.recovery.as_mut().expect("a store is configured")
    }

    /// Every event's outcome.
    pub(super) fn post(&mut self, batch: &[u128]) -> Vec<Option<StoredIn>> {
        let received_at_ms = self.network.clock.record_ms();
        let answers = Arc::default();
        self.process.post(
            batch.iter().map(|id| event(*id, u64::from(key_of(*id)), received_at_ms)).collect(),
            &answers,
        );
        std::mem::take(&mut *answers.lock().unwrap())
    }

    /// Steps of recovery until nothing is held, or nothing moves any more. No time passes.
    pub(super) fn drain(&mut self) {
        let mut still = 0;
        let mut seen = self.places();
        let mut steps = 0;
        // After a failure it may pass over what it holds row by row.
        while still < STILL + 2 * (seen.postgres.len() + seen.spool.len()) {
            steps += 1;
            if look(&self.network.world).kafka == Mood::Silent && steps > STEPS_SILENT {
                // What it takes without an answer is sent for ever.
                return;
            }
            assert!(steps < STEPS_MAX, "no end of it");
            self.connect();
            if let Step::Empty = self.recovery().step() {
                {
                    let now = self.now();
                    self.recovery().passes.finish(now)
                };
                return;
            }
            let now = self.places();
            still = if now == seen { still + 1 } else { 0 };
            seen = now;
        }
    }

    /// Held rows of the spool: sequence and event.
    pub(super) fn spooled(&mut self) -> Vec<(i64, u128)> {
        let rows = self.reader.held_after(0, 100_000, 1 << 30).unwrap();
        rows.into_iter().map(|row| (row.seq, id(&row.event.unwrap()))).collect()
    }

    pub(super) fn places(&mut self) -> Places {
        let spool = self.spooled().into_iter().map(|row| row.1).collect();
        let world = look(&self.network.world);
        Places {
            topic: world.topic.clone(),
            postgres: world.held.values().map(id).collect(),
            spool,
            dead: world.dead.len() + self.spool.figures().dead_letters as usize,
        }
    }

    /// Rows that could not leave their stores yet.
    pub(super) fn unsettled(&mut self) -> Unsettled {
        let spooled = self.spooled();
        let seqs = |backlog: usize| {
            let leaving = self.process.recovery.as_ref().and_then(|recovery| recovery.leaving.as_ref());
            let acked = leaving.into_iter().flat_map(move |rows| rows.acked[backlog].iter().copied());
            acked.chain(leaving.into_iter().flat_map(move |rows| rows.dead[backlog].iter().map(|row| row.0)))
        };
        Unsettled {
            in_spool: seqs(0).map(|seq| spooled.iter().find(|row| row.0 == seq).unwrap().1).collect(),
            in_postgres: seqs(1).map(|seq| id(&look(&self.network.world).held[&seq])).collect(),
        }
    }

    pub(super) fn end(self) {
        self.process.end();
    }
}
