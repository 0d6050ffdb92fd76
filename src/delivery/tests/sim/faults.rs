//! The faults that are known, and whether the product still has them.
//!
//! A fault that stands must be found by the simulator: each has a test. Whoever cures it makes its line say `cured`:
//! then its test asks for the opposite, and the general run forgives it no more.

/// A known fault, by its number where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A wiped broker gives out the same producer id again, and takes new events for repeats.
    F26,
    /// A start without `KAFKA_BROKERS` changes what held rows are for, and nothing says that they wait.
    F27,
    /// Rows do not say for which topic, cluster or server they are.
    F28,
    /// The drain's lock is kept by a daemon that has no use for it.
    F29,
    /// Ages are measured by two clocks.
    F30,
    /// A record's old time has the broker remove it at once.
    F31,
    /// What a daemon sends while its clock is wrong is dated by it: removed at once, or refused and overtaken. The rest
    /// of F31 and F32.
    WrongClock,
    /// A record's time to come has the broker refuse it for as long.
    F32,
    /// Files that were removed are written on.
    F33,
    /// One source's trouble stops all of them.
    F34,
    /// What cannot be read counts as nothing.
    F35,
    /// What a store holds that is configured no more is forgotten.
    F36,
    /// A fault of the table is taken for one of each row.
    F37,
    /// Rows that a trigger drops count as stored.
    F38,
    /// Across two stores a key does not keep its order.
    F40,
    /// Rows are removed for room by a late reading.
    F42,
    /// Sessions that stand by starve those that write.
    F43,
    /// Compaction removes all but the last event of a key.
    F52,
    /// One daemon's age limit is applied to another's rows.
    F54,
    /// Dead letters wait, and all is said to be well.
    QuietLetters,
    /// What an idle daemon says of a store is as old as its last write there.
    Stale,
}

/// Whether the product has a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    fault: Fault,
    pub(super) stands: bool,
}

const fn stands(fault: Fault) -> Known {
    Known { fault, stands: true }
}

const fn cured(fault: Fault) -> Known {
    Known { fault, stands: false }
}

const KNOWN: &[Known] = &[
    cured(Fault::F26),
    stands(Fault::F27),
    stands(Fault::F28),
    stands(Fault::F29),
    stands(Fault::F30),
    cured(Fault::F31),
    cured(Fault::F32),
    stands(Fault::WrongClock),
    stands(Fault::F33),
    stands(Fault::F34),
    stands(Fault::F35),
    stands(Fault::F36),
    stands(Fault::F37),
    stands(Fault::F38),
    stands(Fault::F40),
    stands(Fault::F42),
    stands(Fault::F43),
    stands(Fault::F52),
    stands(Fault::F54),
    stands(Fault::QuietLetters),
    stands(Fault::Stale),
];

impl Fault {
    pub(super) fn known(self) -> Known {
        *KNOWN.iter().find(|known| known.fault == self).expect("every fault has its line")
    }
}
