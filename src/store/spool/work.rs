//! What callers ask of the writer, and how it is done in one transaction.
//!
//! Invariant: the outcomes of a transaction leave this room only after its commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::keep;
use super::letters::{self, Fate};
use super::row::{self, Label};
use super::write::{self, Counts, Tally};
use crate::event::Event;
use crate::limits::{ROUND_EVENTS_MAX, SPOOL_GROUP_MAX};
use crate::store::{Batch, Cause, Standing, StoreError, WriteResult};

/// One outcome an event of an append; a single one for everything else.
pub(super) type Outcomes = Vec<WriteResult>;

/// What to do to the tables.
#[derive(Debug)]
pub(super) enum Work {
    Append {
        batch: Batch,
        standing: Standing,
        reason: Arc<str>,
    },
    DeadLetter {
        letters: Vec<(Event, Arc<str>)>,
    },
    Release {
        seqs: Vec<i64>,
    },
    Bury {
        seqs: Vec<(i64, Arc<str>)>,
    },
    SettleLetters {
        ids: Vec<String>,
        fate: Fate,
    },
    /// Nothing but a page to the log: whether it can be written.
    Touch,
}

impl Work {
    pub(super) fn outcomes(&self) -> usize {
        match self {
            Self::Append { batch, .. } => batch.len(),
            Self::SettleLetters { ids, .. } => ids.len(),
            _ => 1,
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Append { batch, .. } => batch.len(),
            Self::DeadLetter { letters } => letters.len(),
            Self::Release { seqs } => seqs.len(),
            Self::Bury { seqs } => seqs.len(),
            Self::SettleLetters { ids, .. } => ids.len(),
            Self::Touch => 0,
        }
    }

    /// Events that were committed as held, by these outcomes.
    pub(super) fn held(&self, outcomes: &Outcomes) -> u64 {
        match self {
            Self::Append { standing: Standing::Held, .. } => {
                outcomes.iter().filter(|one| one.is_ok()).count() as u64
            }
            _ => 0,
        }
    }

    /// Whether it takes no more room than it gives, so that it may use the reserve.
    pub(super) fn frees_room(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Bury { .. } | Self::SettleLetters { .. })
    }
}

/// Whether an answer still counts. Writer and caller both claim it, the first one has it: an event is answered
/// as stored, or counted as committed late, never both and never neither.
#[derive(Clone, Debug, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// True for the first who asks.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

#[derive(Debug)]
pub(super) enum Command {
    /// Work whose caller stops waiting at the deadline.
    Do { work: Work, deadline: Instant, claim: Claim, reply: Sender<Outcomes> },
    /// The end, after everything before it.
    Close { reply: Sender<()> },
}

/// Work, and the caller who waits for it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) deadline: Instant,
    claim: Claim,
    reply: Sender<Outcomes>,
}

impl Job {
    pub(super) fn refuse(&self, why: &StoreError) {
        let _ = self.answer(vec![Err(why.clone()); self.work.outcomes()]);
    }

    /// Returns how many events are held by now although their caller has stopped waiting, and has told its
    /// client so.
    #[must_use]
    pub(super) fn answer(&self, outcomes: Outcomes) -> u64 {
        if !self.claim.take() {
            return self.work.held(&outcomes);
        }
        // Whoever has not claimed the answer waits for it.
        let _ = self.reply.try_send(outcomes);
        0
    }
}

/// What a committed transaction has done.
pub(super) struct Done {
    pub(super) outcomes: Vec<Outcomes>,
    pub(super) tally: Tally,
    pub(super) counts: Counts,
    pub(super) used: u64,
    pub(super) last_seq: i64,
    pub(super) oldest_held_ms: Option<i64>,
    pub(super) refused_bytes: Option<u64>,
}

/// The first command and what waits behind it, up to what one transaction should have.
pub(super) fn gather(first: Command, inbox: &Receiver<Command>) -> (Vec<Job>, Option<Sender<()>>) {
    let mut group = Vec::new();
    let mut rows = 0;
    let mut next = Some(first);
    while let Some(command) = next {
        match command {
            Command::Do { work, deadline, claim, reply } => {
                rows += work.rows();
                group.push(Job { work, deadline, claim, reply });
            }
            Command::Close { reply } => return (group, Some(reply)),
        }
        next = (group.len() < SPOOL_GROUP_MAX && rows < ROUND_EVENTS_MAX)
            .then(|| inbox.try_recv().ok())
            .flatten();
    }
    (group, None)
}

pub(super) fn attempt(
    db: &Connection,
    works: &[&Work],
    row_by_row: bool,
    instance: &str,
    max_bytes: u64,
    counts: Counts,
) -> rusqlite::Result<Done> {
    let mut outcomes = Vec::with_capacity(works.len());
    let mut refused_bytes = None;
    let mut done = finish(db, counts, |tx, tally| {
        for work in works {
            outcomes.push(apply(tx, work, row_by_row, instance, max_bytes, tally, &mut refused_bytes)?);
        }
        Ok(())
    })?;
    done.outcomes = outcomes;
    done.refused_bytes = refused_bytes;
    Ok(done)
}

/// Runs `body` in a transaction, notes the counts beside its rows, commits, and reads how things stand.
pub(super) fn finish(
    db: &Connection,
    before: Counts,
    body: impl FnOnce(&Connection, &mut Tally) -> rusqlite::Result<()>,
) -> rusqlite::Result<Done> {
    let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let mut tally = Tally::default();
    body(&tx, &mut tally)?;
    let counts = tally.added_to(before);
    write::note_counts(&tx, before, counts)?;
    let used = keep::used_bytes(&tx)?;
    let oldest_held_ms = if counts.held > 0 { write::oldest_held(&tx)? } else { None };
    let last_seq = write::last_seq(&tx)?;
    tx.commit()?;
    Ok(Done { outcomes: Vec::new(), tally, counts, used, last_seq, oldest_held_ms, refused_bytes: None })
}

fn apply(
    tx: &Connection,
    work: &Work,
    row_by_row: bool,
    instance: &str,
    max_bytes: u64,
    tally: &mut Tally,
    refused_bytes: &mut Option<u64>,
) -> rusqlite::Result<Outcomes> {
    match work {
        Work::Append { batch, standing, reason } => {
            let fitting = keep::make_room(tx, batch.iter(), max_bytes, tally)?;
            let (fitting, refused) = batch.split_at(fitting);
            let label = Label { seq: None, standing: *standing, reason, instance };
            let mut outcomes = if row_by_row {
                write::append_row_by_row(tx, fitting, &label, tally)?
            } else {
                write::append(tx, fitting, &label, tally)?;
                vec![Ok(()); fitting.len()]
            };
            if let Some(first) = refused.first() {
                *refused_bytes = Some(row::row_bytes(first));
                let full = full(keep::used_bytes(tx)?, max_bytes);
                outcomes.resize(batch.len(), Err(full));
            }
            Ok(outcomes)
        }
        Work::DeadLetter { letters } => {
            let fitting = keep::make_room(tx, letters.iter().map(|(event, _)| event), max_bytes, tally)?;
            if fitting < letters.len() {
                return Ok(vec![Err(full(keep::used_bytes(tx)?, max_bytes))]);
            }
            write::dead_letter(tx, letters, instance, tally).map(|()| vec![Ok(())])
        }
        Work::Release { seqs } => write::release(tx, seqs, tally).map(|()| vec![Ok(())]),
        Work::SettleLetters { ids, fate } => letters::settle(tx, ids, *fate, tally),
        Work::Touch => write::touch(tx).map(|()| vec![Ok(())]),
        Work::Bury { seqs } => write::bury(tx, seqs, tally).map(|()| vec![Ok(())]),
    }
}

fn full(used: u64, max_bytes: u64) -> StoreError {
    let text = format!(
        "the spool is full ({used} of {max_bytes} bytes hold events that wait for Kafka): bring Kafka back, raise \
         SPOOL_MAX_BYTES, or free the disk"
    );
    StoreError::unavailable(Cause::Full, text)
}
