//! The reference: in plain rules, where each event must be after each operation.
//!
//! What it leaves open, because only chance decides it (how far a drain came before it was interrupted, how often
//! a silent broker was asked), is checked for safety by [`Model::adopt`] and taken over as it was found.

use std::collections::BTreeSet;

use super::world::Mood;
use crate::store::StoredIn;

pub(super) const KEYS: u64 = 3;

pub(super) fn key_of(id: u128) -> u8 {
    (id % u128::from(KEYS)) as u8
}

/// Kafka will not have it as it is.
pub(super) fn is_poison(id: u128) -> bool {
    id % 11 == 7
}

/// Postgres will not have it as it is.
pub(super) fn is_odd(id: u128) -> bool {
    id % 13 == 5
}

/// Where everything is. Copies count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) topic: Vec<u128>,
    pub(super) postgres: BTreeSet<u128>,
    pub(super) spool: BTreeSet<u128>,
    pub(super) dead: usize,
}

/// Rows that are to leave their stores, and could not yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsettled {
    pub(super) in_spool: BTreeSet<u128>,
    pub(super) in_postgres: BTreeSet<u128>,
}

/// What the live path thinks of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Used,
    Left { resting: bool, proven: bool },
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) kafka: Mood,
    pub(super) postgres: Mood,
    pub(super) spool_is_open: bool,
    pub(super) places: Places,
    pub(super) unsettled: Unsettled,
    to_kafka: Path,
    to_postgres: Path,
    /// Recovery had an answer from Kafka that the live path has not heard of.
    pub(super) proof: bool,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            kafka: Mood::Works,
            postgres: Mood::Works,
            spool_is_open: true,
            places: Places::default(),
            unsettled: Unsettled::default(),
            to_kafka: Path::Used,
            to_postgres: Path::Used,
            proof: false,
        }
    }

    /// A new process knows nothing.
    pub(super) fn restart(&mut self) {
        let places = std::mem::take(&mut self.places);
        *self = Self { kafka: self.kafka, postgres: self.postgres, places, ..Self::new() };
    }

    /// More time than any store is left alone for.
    pub(super) fn rest(&mut self) {
        for path in [&mut self.to_kafka, &mut self.to_postgres] {
            if let Path::Left { resting, .. } = path {
                *resting = false;
            }
        }
    }

    /// Where each event of a batch goes; `None`: it is refused.
    pub(super) fn post(&mut self, batch: &[u128]) -> Vec<Option<StoredIn>> {
        if std::mem::take(&mut self.proof)
            && let Path::Left { proven, .. } = &mut self.to_kafka
        {
            *proven = true;
        }
        let mut outcomes = vec![None; batch.len()];
        let mut left: Vec<usize> = (0..batch.len()).collect();
        if is_open(self.to_kafka, self.spool_is_open && !self.places.spool.is_empty()) {
            self.to_kafka = after(batch.iter().all(|id| self.answers(*id)));
            left.retain(|at| !self.offer_to_kafka(batch[*at], &mut outcomes[*at]));
            let refused = |at: &usize| is_poison(batch[*at]) && self.answers(batch[*at]);
            let letters: Vec<usize> = (0..batch.len()).filter(refused).collect();
            if !letters.is_empty() && self.keeps_letters(letters.iter().map(|at| batch[*at])) {
                letters.into_iter().for_each(|at| outcomes[at] = Some(StoredIn::DeadLetter));
            }
        }
        if !left.is_empty() && is_open(self.to_postgres, false) {
            let answers = |at: &usize| match self.postgres {
                Mood::Works => true,
                Mood::Silent => is_odd(batch[*at]),
                _ => false,
            };
            self.to_postgres = after(left.iter().all(answers));
            left.retain(|at| !self.offer_to_postgres(batch[*at], &mut outcomes[*at]));
        }
        if self.spool_is_open {
            for at in left {
                outcomes[at] = Some(StoredIn::Spool);
                self.places.spool.insert(batch[at]);
            }
        }
        outcomes
    }

    fn answers(&self, id: u128) -> bool {
        self.kafka == Mood::Works || matches!(self.kafka, Mood::Without(key) if key != key_of(id))
    }

    /// True when Kafka had a word on it.
    fn offer_to_kafka(&mut self, id: u128, outcome: &mut Option<StoredIn>) -> bool {
        let answers = self.answers(id);
        if !is_poison(id) {
            if answers || self.kafka == Mood::Silent {
                self.places.topic.push(id);
            }
            *outcome = answers.then_some(StoredIn::Kafka);
        }
        answers
    }

    /// What Kafka refuses goes to the spool, or else to Postgres, all or none.
    fn keeps_letters(&mut self, letters: impl Iterator<Item = u128> + Clone) -> bool {
        if self.spool_is_open {
            self.places.dead += letters.count();
            return true;
        }
        if !is_open(self.to_postgres, false) {
            return false;
        }
        let odd = letters.clone().any(is_odd);
        if !self.postgres.is_down() && !odd {
            self.places.dead += letters.count();
        }
        self.to_postgres = after(self.postgres == Mood::Works || (self.postgres == Mood::Silent && odd));
        self.postgres == Mood::Works && !odd
    }

    /// True when Postgres has it and says so.
    fn offer_to_postgres(&mut self, id: u128, outcome: &mut Option<StoredIn>) -> bool {
        if !self.postgres.is_down() && !is_odd(id) {
            self.places.postgres.insert(id);
            *outcome = (self.postgres == Mood::Works).then_some(StoredIn::Postgres);
        }
        outcome.is_some()
    }

    /// Recovery works until nothing moves any more. False: how far it comes is not for this model to say.
    pub(super) fn drain(&mut self) -> bool {
        if !self.release() {
            return true;
        }
        let mut rows: Vec<u128> = self.places.spool.iter().copied().collect();
        if self.postgres == Mood::Works {
            rows.extend(&self.places.postgres);
        }
        self.proof |= rows.iter().any(|id| self.answers(*id));
        if self.kafka == Mood::Silent || !(self.spool_is_open || self.places.spool.is_empty()) {
            return rows.is_empty();
        }
        rows.retain(|id| self.answers(*id));
        for id in rows {
            if is_poison(id) {
                self.places.dead += 1;
            } else {
                self.places.topic.push(id);
            }
        }
        let (kafka, postgres) = (self.kafka, self.postgres);
        let stays = |id: &u128| kafka.is_down() || kafka == Mood::Without(key_of(*id));
        self.places.spool.retain(stays);
        self.places.postgres.retain(|id| stays(id) || postgres != Mood::Works);
        true
    }

    /// What is to leave its store does, where the store works. False: some could not.
    fn release(&mut self) -> bool {
        if self.spool_is_open {
            settle(&mut self.unsettled.in_spool, &mut self.places.spool, &mut self.places.dead);
        }
        if self.postgres == Mood::Works {
            settle(&mut self.unsettled.in_postgres, &mut self.places.postgres, &mut self.places.dead);
        }
        self.unsettled.in_spool.is_empty() && self.unsettled.in_postgres.is_empty()
    }

    /// Takes what was found for the truth after an interruption, if it is safe: nothing is gone, nothing
    /// came from nowhere. `new`: events under way, which may be anywhere or nowhere.
    pub(super) fn adopt(&mut self, found: Places, unsettled: Unsettled, new: &[u128]) {
        let all = |places: &Places| -> BTreeSet<u128> {
            places.topic.iter().chain(&places.postgres).chain(&places.spool).copied().collect()
        };
        let (before, now) = (all(&self.places), all(&found));
        let gone: Vec<&u128> = before.difference(&now).filter(|id| !is_poison(**id)).collect();
        assert!(gone.is_empty(), "lost: {gone:?}");
        let poison = |places: &Places| {
            places.postgres.iter().chain(&places.spool).filter(|id| is_poison(**id)).count() + places.dead
        };
        let new_poison = new.iter().filter(|id| is_poison(**id)).count();
        let (dead, most) = (poison(&found), poison(&self.places) + new_poison);
        assert!((poison(&self.places)..=most).contains(&dead), "{found:?} after {:?}", self.places);
        let strange: Vec<&u128> = now.difference(&before).filter(|id| !new.contains(id)).collect();
        assert!(strange.is_empty(), "from nowhere: {strange:?}");
        let copies = |topic: &[u128], id: u128| topic.iter().filter(|at| **at == id).count();
        let shrunk =
            self.places.topic.iter().find(|id| copies(&found.topic, **id) < copies(&self.places.topic, **id));
        assert_eq!(shrunk, None, "a topic only grows");
        (self.places, self.unsettled) = (found, unsettled);
    }
}

fn is_open(path: Path, backlog: bool) -> bool {
    match path {
        Path::Used => true,
        Path::Left { resting, proven } => !resting && (!backlog || proven),
    }
}

/// A write that left events behind for the store's own sake is the last one for a while.
fn after(worked: bool) -> Path {
    if worked { Path::Used } else { Path::Left { resting: true, proven: false } }
}

fn settle(unsettled: &mut BTreeSet<u128>, rows: &mut BTreeSet<u128>, dead: &mut usize) {
    for id in std::mem::take(unsettled) {
        rows.remove(&id);
        *dead += usize::from(is_poison(id));
    }
}
