//! Finds the events that a store refuses among their neighbours in a batch.
//!
//! A broker judges whole wire batches, a database whole transactions: one bad event takes its neighbours down
//! with it. So a refused group is written again in pieces, until the bad event is alone. Pure: the write is a closure.
//!
//! Invariants: an event ends `Rejected` only when it was refused alone, or when another that was refused alone implies
//! it; every try makes the group smaller, so there are at most two tries per event; no try starts once `in_time` is
//! false. Order holds among the events of one try: those of a refused group come later.

use std::sync::Arc;

use crate::store::{Cause, Refusal, StoreError, WriteResult};

/// Writes the events of `groups` (indices below `count`, in order) by `attempt`, which gives one result per index; a
/// refused group is cut into `pieces`. Events that were not tried alone in time, or not tried at all after an
/// `Unavailable`, are `Unavailable`. `implies(refusal, one, other)`: `one` was refused alone, and so `other` would be
/// too and need not be tried.
pub(in crate::store) fn write(
    count: usize,
    groups: Vec<Vec<usize>>,
    pieces: usize,
    mut in_time: impl FnMut() -> bool,
    implies: impl Fn(Refusal, usize, usize) -> bool,
    mut attempt: impl FnMut(&[usize]) -> Vec<WriteResult>,
) -> Vec<WriteResult> {
    let untried =
        StoreError::unavailable(Cause::OutOfTime, "the deadline passed before this event could be tried");
    let mut results: Vec<WriteResult> = vec![Err(untried); count];
    let mut stack: Vec<Vec<usize>> = groups;
    stack.reverse();
    let mut example: Option<(usize, Refusal, Arc<str>)> = None;
    while let Some(mut group) = stack.pop() {
        if let Some((one, refusal, text)) = &example {
            group.retain(|other| {
                let is_known = implies(*refusal, *one, *other);
                if is_known {
                    results[*other] = Err(StoreError::Rejected(*refusal, Arc::clone(text)));
                }
                !is_known
            });
        }
        if group.is_empty() {
            continue;
        }
        if !in_time() {
            break;
        }
        let answers = attempt(&group);
        assert_eq!(answers.len(), group.len(), "BUG: one result per event");
        let mut refused: Vec<(usize, Refusal, Arc<str>)> = Vec::new();
        let mut down = None;
        for (&index, answer) in group.iter().zip(answers) {
            match &answer {
                Ok(()) => {}
                Err(StoreError::Rejected(refusal, text)) => refused.push((index, *refusal, Arc::clone(text))),
                Err(error @ StoreError::Unavailable(..)) => down = Some(error.clone()),
            }
            results[index] = answer;
        }
        // Every event of a refused wire batch is reported, so a single one was alone on the wire.
        if let [(one, refusal, text)] = &refused[..]
            && implies(*refusal, *one, *one)
        {
            example = Some((*one, *refusal, Arc::clone(text)));
        }
        if refused.len() > 1 {
            let text =
                format!("{} (refused in a group, and there was no time to find the one event)", refused[0].2);
            let unfound = StoreError::unavailable(Cause::OutOfTime, text);
            for (index, ..) in &refused {
                results[*index] = Err(unfound.clone());
            }
            let piece = refused.len().div_ceil(pieces.max(2));
            let pieces = refused.chunks(piece).rev();
            stack.extend(pieces.map(|piece| piece.iter().map(|(index, ..)| *index).collect()));
        }
        if let Some(error) = down {
            for index in stack.into_iter().flatten() {
                results[index] = Err(error.clone());
            }
            break;
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: fn(Refusal, usize, usize) -> bool = |_, _, _| false;

    fn refused() -> WriteResult {
        Err(StoreError::rejected(Refusal::TooLarge, "too large"))
    }

    fn down() -> WriteResult {
        Err(StoreError::unavailable(Cause::Unreachable, "gone"))
    }

    /// A broker that refuses a wire batch whole when one of its events is bad; `event % partitions`
    /// is the wire batch of an event.
    fn broker(bad: &[usize], partitions: usize, group: &[usize]) -> Vec<WriteResult> {
        let dirty = |event: &usize| {
            group.iter().any(|other| other % partitions == event % partitions && bad.contains(other))
        };
        group.iter().map(|event| if dirty(event) { refused() } else { Ok(()) }).collect()
    }

    proptest! {
        #[test]
        fn only_the_bad_are_rejected_and_each_event_is_stored_once(
            count in 1_usize..300, partitions in 1_usize..5, pieces in 2_usize..10, bad in proptest::collection::vec(0_usize..300, 0..6),
        ) {
            let mut stored = vec![0; count];
            let mut tries = 0;
            let results = write(count, vec![(0..count).collect()], pieces, || true, NOTHING, |group| {
                tries += 1;
                let answers = broker(&bad, partitions, group);
                for (&event, answer) in group.iter().zip(&answers) {
                    stored[event] += usize::from(answer.is_ok());
                }
                answers
            });
            for (event, result) in results.iter().enumerate() {
                let is_bad = bad.contains(&event);
                prop_assert_eq!(result.clone(), if is_bad { refused() } else { Ok(()) });
                prop_assert_eq!(stored[event], usize::from(!is_bad));
            }
            prop_assert!(tries <= 2 * count);
        }
    }

    #[test]
    fn one_bad_in_500_costs_some_18_tries() {
        let mut tries = 0;
        let results = write(
            500,
            vec![(0..500).collect()],
            2,
            || true,
            NOTHING,
            |group| {
                tries += 1;
                broker(&[321], 1, group)
            },
        );
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
        assert!(tries <= 20, "{tries}");
    }

    #[test]
    fn what_one_refusal_implies_need_not_be_tried() {
        // Every third of 600 is too large, each by another size; what is larger than one that was refused is too.
        let size = |event: usize| if event.is_multiple_of(3) { 1_000 + event * 7 % 601 } else { 10 };
        let bad: Vec<usize> = (0..600).filter(|event| size(*event) >= 1_000).collect();
        let implies = |refusal: Refusal, one: usize, other: usize| {
            refusal == Refusal::TooLarge && size(other) >= size(one)
        };
        let mut tries = 0;
        let results = write(
            600,
            vec![(0..600).collect()],
            8,
            || true,
            implies,
            |group| {
                tries += 1;
                broker(&bad, 1, group)
            },
        );
        for (event, result) in results.iter().enumerate() {
            assert_eq!(*result, if bad.contains(&event) { refused() } else { Ok(()) }, "{event}");
        }
        assert!(tries <= 60, "{tries}");
    }

    #[test]
    fn out_of_time_the_rest_is_unavailable_and_nothing_rejected() {
        let mut left = 3;
        let in_time = || {
            left -= 1;
            left >= 0
        };
        let results = write(64, vec![(0..64).collect()], 2, in_time, NOTHING, |group| broker(&[0], 1, group));
        assert!(!results.iter().any(|result| matches!(result, Err(StoreError::Rejected(..)))));
        assert!(results.iter().any(|result| matches!(result, Err(StoreError::Unavailable(..)))));
    }

    #[test]
    fn a_lost_broker_ends_the_tries() {
        let mut tries = 0;
        let results = write(
            4,
            vec![vec![0, 1], vec![2, 3]],
            2,
            || true,
            NOTHING,
            |group| {
                tries += 1;
                group.iter().map(|_| down()).collect()
            },
        );
        assert_eq!(tries, 1);
        assert_eq!(results, vec![down(); 4]);
    }
}
