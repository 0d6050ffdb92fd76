//! Storing events.
//!
//! A statement outside a transaction block is a transaction of its own, and the client returns its result only when the
//! server has committed: one round trip per batch.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use postgres::Error;

use super::errors::Fault;
use super::rows::{INSERT_DEAD_LETTERS, INSERT_LOGS, Rows, Shared};
use super::session::Session;
use crate::event::Event;
use crate::limits::{POSTGRES_CONFLICT_PAUSE, POSTGRES_CONFLICT_RETRIES};
use crate::store::{Refusal, Standing, WriteResult, isolate};

/// A refused group is cut into so many pieces: a refusal costs the server little, a commit costs it an fsync.
const PIECES: usize = 2;

/// One result per event, in order.
pub(super) fn append(
    session: &mut Session,
    events: &[Event],
    standing: Standing,
    reason: &str,
    until: Instant,
) -> Vec<WriteResult> {
    let all = (0..events.len()).collect();
    let in_time = || Instant::now() < until;
    let implies = |_: Refusal, _, _| false;
    isolate::write(events.len(), vec![all], PIECES, in_time, implies, |group| {
        let result = match retried(until, || insert(session, events, group, standing, reason, until)) {
            Ok(()) => Ok(()),
            Err(error) if Fault::of(&error) == Fault::Row => Err(session.at.rejected(&error)),
            Err(error) => Err(session.at.failed("store events", &error)),
        };
        vec![result; group.len()]
    })
}

/// All events of `group`, or none.
fn insert(
    session: &mut Session,
    events: &[Event],
    group: &[usize],
    standing: Standing,
    reason: &str,
    until: Instant,
) -> Result<(), Error> {
    let (instance, destination) = (Arc::clone(&session.instance), session.destination.clone());
    let rows = Rows::of(group.iter().map(|&index| &events[index]), &instance, session.charset);
    let shared = Shared::new(standing, reason, destination.as_ref(), session.charset);
    session.changed(INSERT_LOGS, until, &rows.parameters(&shared)).map(drop)
}

/// All letters, or none.
pub(super) fn keep_letters(
    session: &mut Session,
    letters: &[(Event, Arc<str>)],
    until: Instant,
) -> WriteResult {
    let (instance, charset) = (Arc::clone(&session.instance), session.charset);
    let destination = session.destination.clone();
    let rows = Rows::of(letters.iter().map(|(event, _)| event), &instance, charset);
    let errors: Vec<_> = letters.iter().map(|(_, error)| charset.shown((&**error).into())).collect();
    let shared = Shared::new(Standing::Held, "rejected", destination.as_ref(), charset);
    let mut parameters = rows.parameters(&shared);
    parameters.push(&errors);
    match retried(until, || session.changed(INSERT_DEAD_LETTERS, until, &parameters)) {
        Ok(_) => Ok(()),
        Err(error) if Fault::of(&error) == Fault::Row => Err(session.at.rejected(&error)),
        Err(error) => Err(session.at.failed("store dead letters", &error)),
    }
}

/// Tries again a few times when another session was in the way and there is time. The pause lets that session finish:
/// without it, this one would take the same locks before the other wakes up, and both would wait again.
pub(super) fn retried<T>(until: Instant, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut pause = POSTGRES_CONFLICT_PAUSE;
    for _ in 0..POSTGRES_CONFLICT_RETRIES {
        match attempt() {
            Err(error) if Fault::of(&error) == Fault::Conflict && Instant::now() + pause < until => {}
            result => return result,
        }
        thread::sleep(pause);
        pause *= 2;
    }
    attempt()
}
