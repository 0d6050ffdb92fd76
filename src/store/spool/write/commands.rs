//! What callers ask of the writer, and how they are answered.
//!
//! Invariant: a command is answered once, and an answer that comes too late is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use super::letters::Fate;
use crate::event::Event;
use crate::limits::{ROUND_EVENTS_MAX, SPOOL_GROUP_MAX};
use crate::store::{Batch, Standing, StoreError, WriteResult};

/// One result per event of an append, or per id of settled letters; a single one for everything else.
pub(in crate::store::spool) type Results = Vec<WriteResult>;

/// What to do to the tables.
#[derive(Debug)]
pub(in crate::store::spool) enum Work {
    Append {
        batch: Batch,
        standing: Standing,
        reason: Arc<str>,
    },
    /// Dead letters that were never rows here.
    KeepLetters {
        letters: Vec<(Event, Arc<str>)>,
    },
    Release {
        seqs: Vec<i64>,
    },
    /// Held rows that become dead letters.
    DeadLetter {
        seqs: Vec<(i64, Arc<str>)>,
    },
    SettleLetters {
        ids: Vec<String>,
        fate: Fate,
    },
    /// One page to the log, to see whether it can be written.
    Touch,
}

impl Work {
    pub(super) fn results(&self) -> usize {
        match self {
            Self::Append { batch, .. } => batch.len(),
            Self::SettleLetters { ids, .. } => ids.len(),
            _ => 1,
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Append { batch, .. } => batch.len(),
            Self::KeepLetters { letters } => letters.len(),
            Self::Release { seqs } => seqs.len(),
            Self::DeadLetter { seqs } => seqs.len(),
            Self::SettleLetters { ids, .. } => ids.len(),
            Self::Touch => 0,
        }
    }

    /// Events that were committed as held, by these results.
    pub(super) fn held(&self, results: &Results) -> u64 {
        match self {
            Self::Append { standing: Standing::Held, .. } => {
                results.iter().filter(|one| one.is_ok()).count() as u64
            }
            _ => 0,
        }
    }

    /// Whether it frees as much room as it takes, so that it may use the reserve.
    pub(super) fn frees_room(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::DeadLetter { .. } | Self::SettleLetters { .. })
    }
}

/// Whether an answer still counts. Writer and caller both claim it and the first one has it: an event is answered as
/// stored or counted as late, never both and never neither.
#[derive(Clone, Debug, Default)]
pub(in crate::store::spool) struct AnswerClaim(Arc<AtomicBool>);

impl AnswerClaim {
    /// True for the first that asks.
    pub(in crate::store::spool) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

#[derive(Debug)]
pub(in crate::store::spool) enum Command {
    /// Work whose caller stops waiting at the deadline.
    Do { work: Work, deadline: Instant, claim: AnswerClaim, reply: Sender<Results> },
    /// The end, after everything before it.
    Close { reply: Sender<()> },
}

/// Work, and the caller who waits for it.
pub(super) struct SpoolJob {
    pub(super) work: Work,
    pub(super) deadline: Instant,
    claim: AnswerClaim,
    reply: Sender<Results>,
}

impl SpoolJob {
    pub(super) fn refuse(&self, why: &StoreError) {
        let _ = self.answer(vec![Err(why.clone()); self.work.results()]);
    }

    /// Returns how many events are held now although their caller has stopped waiting and reported them as not stored.
    #[must_use]
    pub(super) fn answer(&self, results: Results) -> u64 {
        if !self.claim.take() {
            return self.work.held(&results);
        }
        // A caller who has not claimed the answer waits for it.
        let _ = self.reply.try_send(results);
        0
    }
}

/// The first command and those that wait after it, up to the bounds of one transaction.
pub(super) fn gather(first: Command, inbox: &Receiver<Command>) -> (Vec<SpoolJob>, Option<Sender<()>>) {
    let mut group = Vec::new();
    let mut rows = 0;
    let mut next = Some(first);
    while let Some(command) = next {
        match command {
            Command::Do { work, deadline, claim, reply } => {
                rows += work.rows();
                group.push(SpoolJob { work, deadline, claim, reply });
            }
            Command::Close { reply } => return (group, Some(reply)),
        }
        next = (group.len() < SPOOL_GROUP_MAX && rows < ROUND_EVENTS_MAX)
            .then(|| inbox.try_recv().ok())
            .flatten();
    }
    (group, None)
}
