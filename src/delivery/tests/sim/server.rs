//! Postgres as memory: a bounded number of sessions, locks, refused logins, a clock of its own, tables that an
//! administrator alters, triggers that drop rows, statistics that lag.
//!
//! A [`PostgresClient`] stands for `store::postgres::Postgres` and the server's answers to its statements: which rows an
//! insert leaves out, and what a sweep takes, is as in `rows::INSERT_LOGS` and `keep::SWEEP`. What an SQLSTATE means
//! is the product's own table.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::book::{Book, Broken, Destination, number};
use super::faults::Fault;
use super::outside::Way;
use crate::delivery::recovery::postgres_backlog::Tables;
use crate::event::Event;
use crate::limits::POSTGRES_COUNT_MAX;
use crate::store::postgres::{Fault as Blame, RowCounts};
use crate::store::{Batch, Cause, HeldRow, Refusal, Standing, Store, StoreError, WriteResult};

/// What the server does with a connection and its statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Works,
    /// Nobody can connect, and every session is ended.
    Unreachable,
    /// The password was changed. Sessions go on.
    RefusesLogin,
    /// A standby: it answers that it takes no writes.
    TakesNoWrites,
    /// It does what it is asked, and its answers are lost.
    Silent,
}

/// How long its statistics lag behind.
const STATISTICS_LAG_MS: i64 = 1_000;
/// What a row counts for, as `keep::EXCESS` has it.
pub(super) const ROW_BYTES: u64 = 560;
/// Age by which a removal is early, beyond what the server's upkeep may be off by.
const EARLY_MS: i64 = 120_000;
/// A clock that is off by more than this was set.
const CLOCK_SET_MS: i64 = 60_000;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Events are written.
    Live,
    /// The backlog is drained by it, or it stands by.
    Backlog,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    id: u64,
    shop: usize,
}

#[derive(Clone, Debug)]
struct Row {
    event: Event,
    standing: Standing,
    /// By the server's clock.
    forwarded_ms: Option<i64>,
    /// By the right time.
    stored_ms: i64,
}

/// Times of rows, and their numbers.
type Dated = Vec<(i64, i64)>;

/// What answers at one `POSTGRES_URL`.
#[derive(Default)]
pub(super) struct Server {
    mood: Mood,
    /// How far its clock is ahead.
    pub(super) ahead_ms: i64,
    pub(super) sessions_max: usize,
    /// Somebody has added a column, NOT NULL and without a default.
    pub(super) has_strange_column: bool,
    /// A trigger drops new rows.
    pub(super) drops_rows: bool,
    sessions: Vec<Session>,
    /// The session that has the drain's lock.
    drainer: Option<u64>,
    next_session: u64,
    rows: BTreeMap<i64, Row>,
    known: HashMap<u64, i64>,
    pub(super) dead: BTreeSet<u64>,
    next_seq: i64,
    /// `n_live_tup`, and when it was brought up to date.
    reported: (i64, u64),
    /// Since when it has refused this shop's live connections for want of sessions.
    pub(super) refused_since_ms: HashMap<usize, i64>,
}

impl Server {
    pub(super) fn new(sessions_max: usize) -> Self {
        Self { sessions_max, ..Self::default() }
    }

    pub(super) fn set_mood(&mut self, mood: Mood) {
        self.mood = mood;
        if mood == Mood::Unreachable {
            self.sessions.clear();
            self.drainer = None;
        }
    }

    pub(super) fn mood(&self) -> Mood {
        self.mood
    }

    /// The shop whose session has the drain's lock.
    pub(super) fn drainer(&self) -> Option<usize> {
        let id = self.drainer?;
        self.sessions.iter().find(|session| session.id == id).map(|session| session.shop)
    }

    /// Whether it takes no more connections.
    pub(super) fn is_full(&self) -> bool {
        self.sessions.len() >= self.sessions_max
    }

    pub(super) fn describe(&self, number: u64) -> String {
        let (mood, holds, drainer) = (self.mood, self.holds(number), self.drainer());
        format!("{mood:?}, holds it: {holds}, drained by {drainer:?}, {} sessions", self.sessions.len())
    }

    /// Whether it holds this event for Kafka.
    pub(super) fn holds(&self, number: u64) -> bool {
        let row = self.known.get(&number).and_then(|seq| self.rows.get(seq));
        row.is_some_and(|row| row.standing == Standing::Held && row.forwarded_ms.is_none())
    }

    /// What it holds for Kafka.
    pub(super) fn held(&self) -> impl Iterator<Item = u64> {
        let waits = |row: &&Row| row.standing == Standing::Held && row.forwarded_ms.is_none();
        self.rows.values().filter(waits).map(|row| number(&row.event))
    }

    fn ends(&mut self, session: u64) {
        self.sessions.retain(|one| one.id != session);
        self.drainer = self.drainer.filter(|id| *id != session);
    }

    /// The SQLSTATE that an insert of this event gets.
    fn refusal(&self, is_odd: bool) -> Option<&'static str> {
        match self.mood {
            Mood::TakesNoWrites => Some("25006"),
            _ if self.has_strange_column => Some("23502"),
            _ if is_odd => Some("22P05"),
            _ => None,
        }
    }

    fn remove(&mut self, seqs: &[i64]) -> Vec<Row> {
        let removed: Vec<Row> = seqs.iter().filter_map(|seq| self.rows.remove(seq)).collect();
        for row in &removed {
            self.known.remove(&number(&row.event));
        }
        removed
    }

    /// Rows that Kafka has, and those at home.
    fn removable(&self) -> (Dated, Dated) {
        let mut forwarded: Dated =
            self.rows.iter().filter_map(|(seq, row)| Some((row.forwarded_ms?, *seq))).collect();
        let at_home = |row: &Row| row.standing == Standing::Home;
        let home = self.rows.iter().filter(|(_, row)| at_home(row));
        let mut home: Dated = home.map(|(seq, row)| (row.event.received_at_ms(), *seq)).collect();
        forwarded.sort_unstable();
        home.sort_unstable();
        (forwarded, home)
    }
}

/// See the module.
pub(super) struct PostgresClient {
    way: Way,
    server: usize,
    standing: Standing,
    is_recovery: bool,
    session: u64,
}

fn unavailable(cause: Cause) -> StoreError {
    StoreError::unavailable(cause, format!("postgres: {cause:?}"))
}

impl PostgresClient {
    pub(super) fn connect(
        way: &Way,
        at: usize,
        standing: Standing,
        role: Role,
        is_recovery: bool,
    ) -> Result<Self, StoreError> {
        let mut guard = way.look();
        let outside = &mut *guard;
        let now_ms = outside.time.true_ms();
        let server = &mut outside.servers[at];
        match server.mood {
            Mood::Unreachable => return Err(unavailable(Cause::Unreachable)),
            Mood::RefusesLogin | Mood::TakesNoWrites => return Err(unavailable(Cause::Refused)),
            // Only the prober waits for that, on a thread of its own.
            Mood::Silent => return Err(unavailable(Cause::OutOfTime)),
            Mood::Works => {}
        }
        if server.is_full() {
            if role == Role::Live {
                server.refused_since_ms.entry(way.shop).or_insert(now_ms);
            }
            return Err(unavailable(Cause::Busy));
        }
        if role == Role::Live {
            server.refused_since_ms.remove(&way.shop);
        }
        server.next_session += 1;
        let session = server.next_session;
        server.sessions.push(Session { id: session, shop: way.shop });
        Ok(Self { way: way.clone(), server: at, standing, is_recovery, session })
    }

    /// One statement. Its answer may be lost, though it was done.
    fn call<T>(
        &mut self,
        is_write: bool,
        work: impl FnOnce(&mut Server, &mut Book, i64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.way.point();
        let result = {
            let mut guard = self.way.look();
            let outside = &mut *guard;
            let now_ms = outside.time.true_ms();
            let server = &mut outside.servers[self.server];
            if !server.sessions.iter().any(|session| session.id == self.session) {
                return Err(unavailable(Cause::Unreachable));
            }
            match server.mood {
                Mood::TakesNoWrites if is_write => Err(unavailable(Cause::Refused)),
                Mood::Silent => {
                    let _ = work(server, &mut outside.book, now_ms);
                    Err(unavailable(Cause::OutOfTime))
                }
                _ => work(server, &mut outside.book, now_ms),
            }
        };
        if result.as_ref().is_err_and(|error| error.cause() == Cause::OutOfTime) {
            self.way.wait_in_vain();
        }
        self.way.point();
        result
    }

    fn insert(&mut self, batch: &Batch) -> Result<Vec<WriteResult>, StoreError> {
        let (batch, standing, is_recovery) = (Arc::clone(batch), self.standing, self.is_recovery);
        let at = Destination::Server(self.server);
        self.call(true, move |server, book, now_ms| {
            let insert = |event: &Event| {
                let number = number(event);
                let is_odd = book.sent.get(&number).is_some_and(|sent| sent.is_odd);
                if let Some(code) = server.refusal(is_odd) {
                    if server.has_strange_column {
                        book.hint(number, Fault::F37);
                    }
                    return match Blame::of_code(code) {
                        Blame::Row => Err(StoreError::rejected(Refusal::ValueRefused, code)),
                        _ => Err(unavailable(Cause::Refused)),
                    };
                }
                if server.drops_rows {
                    book.hint(number, Fault::F38);
                    return Ok(());
                }
                if server.known.contains_key(&number) {
                    return Ok(());
                }
                server.next_seq += 1;
                let seq = server.next_seq;
                server.known.insert(number, seq);
                let row = Row { event: event.clone(), standing, forwarded_ms: None, stored_ms: now_ms };
                server.rows.insert(seq, row);
                if standing == Standing::Home {
                    book.arrives(number, at, is_recovery, now_ms);
                }
                Ok(())
            };
            Ok(batch.iter().map(insert).collect())
        })
    }
}

/// The time of a row at home had not come. `own`: how long the daemon that removed it keeps its own.
fn check_age(book: &mut Book, row: &Row, now_ms: i64, own: Duration, is_server_off: bool) {
    let number = number(&row.event);
    let Some(sent) = book.sent.get(&number).filter(|_| row.standing == Standing::Home) else { return };
    let age_ms = now_ms - row.stored_ms;
    let is_early = |keep: Duration| age_ms + EARLY_MS < keep.as_millis() as i64;
    if is_early(book.keeps[&sent.shop]) {
        let is_off = is_server_off || (sent.received_ms - row.stored_ms).abs() > CLOCK_SET_MS;
        let fault = match is_early(own) {
            false => Some(Fault::F54),
            true => is_off.then_some(Fault::F30),
        };
        let text = format!("{number} was removed after {age_ms} ms: {sent:?}");
        book.find(Broken::Removed, fault, Some(number), text);
    }
}

impl Drop for PostgresClient {
    fn drop(&mut self) {
        let mut outside = self.way.look();
        outside.servers[self.server].ends(self.session);
    }
}

impl Store for PostgresClient {
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        self.insert(batch).unwrap_or_else(|error| vec![Err(error); batch.len()])
    }

    fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        let letters: Vec<u64> = letters.iter().map(|(event, _)| number(event)).collect();
        self.call(true, move |server, book, _| {
            let is_odd = |one: &u64| book.sent.get(one).is_some_and(|sent| sent.is_odd);
            if letters.iter().any(is_odd) {
                return Err(StoreError::rejected(Refusal::ValueRefused, "odd"));
            }
            server.dead.extend(letters);
            Ok(())
        })
    }
}

impl Tables for PostgresClient {
    fn take_drain_lock(&mut self) -> Result<bool, StoreError> {
        let session = self.session;
        self.call(false, move |server, _, _| Ok(*server.drainer.get_or_insert(session) == session))
    }

    fn held_after(&mut self, seq: i64, rows: usize, _: usize) -> Result<Vec<HeldRow>, StoreError> {
        self.call(false, move |server, _, _| {
            let waits = |row: &Row| row.standing == Standing::Held && row.forwarded_ms.is_none();
            let behind = server.rows.range(seq + 1..).filter(|(_, row)| waits(row)).take(rows);
            Ok(behind.map(|(seq, row)| HeldRow { seq: *seq, event: Ok(row.event.clone()) }).collect())
        })
    }

    fn forwarded(&mut self, seqs: &[i64]) -> WriteResult {
        let seqs = seqs.to_vec();
        self.call(true, move |server, _, now_ms| {
            for seq in seqs {
                if let Some(row) = server.rows.get_mut(&seq).filter(|row| row.standing == Standing::Held) {
                    row.forwarded_ms.get_or_insert(now_ms + server.ahead_ms);
                }
            }
            Ok(())
        })
    }

    fn dead_letter(&mut self, rows: &[(i64, Arc<str>)]) -> WriteResult {
        let rows = rows.to_vec();
        self.call(true, move |server, _, _| {
            let seqs: Vec<i64> = rows.iter().map(|(seq, _)| *seq).collect();
            let gone = server.remove(&seqs);
            server.dead.extend(gone.iter().map(|row| number(&row.event)));
            Ok(())
        })
    }

    fn sweep(&mut self, forwarded: Duration, home: Duration, most: usize) -> Result<usize, StoreError> {
        self.call(true, move |server, book, now_ms| {
            // The server's now(), against the daemons' time.
            let shown_ms = now_ms + server.ahead_ms;
            let (all_forwarded, all_home) = server.removable();
            let is_old = |keep: Duration| move |at: &&(i64, i64)| at.0 < shown_ms - keep.as_millis() as i64;
            let old = all_forwarded.iter().filter(is_old(forwarded)).take(most);
            let old = old.chain(all_home.iter().filter(is_old(home)).take(most)).take(most);
            let seqs: Vec<i64> = old.map(|(_, seq)| *seq).collect();
            let is_off = server.ahead_ms != 0;
            for row in server.remove(&seqs) {
                check_age(book, &row, now_ms, home, is_off);
            }
            Ok(seqs.len())
        })
    }

    fn trim(&mut self, bytes: u64, most: usize) -> Result<usize, StoreError> {
        self.call(true, move |server, book, now_ms| {
            let live = server.rows.len() as u64;
            if now_ms - server.reported.0 >= STATISTICS_LAG_MS {
                server.reported = (now_ms, live);
            }
            let allowed = bytes / ROW_BYTES;
            let excess = server.reported.1.saturating_sub(allowed).min(most as u64) as usize;
            let (forwarded, home) = server.removable();
            let shown_ms = now_ms + server.ahead_ms;
            let oldest = forwarded.iter().chain(&home).filter(|(at, _)| *at < shown_ms).take(excess);
            let seqs: Vec<i64> = oldest.map(|(_, seq)| *seq).collect();
            let needed = live.saturating_sub(allowed) as usize;
            for row in server.remove(&seqs).iter().skip(needed) {
                if row.standing == Standing::Home {
                    let number = number(&row.event);
                    let text = format!("{number} was removed for room: {live} rows, {allowed} allowed");
                    book.find(Broken::Removed, Some(Fault::F42), Some(number), text);
                }
            }
            Ok(seqs.len())
        })
    }

    fn counts(&mut self) -> Result<RowCounts, StoreError> {
        self.call(false, |server, _, _| {
            let of = |wanted: fn(&Row) -> bool| server.rows.values().filter(move |row| wanted(row));
            let waits = |row: &Row| row.standing == Standing::Held && row.forwarded_ms.is_none();
            let most = u64::from(POSTGRES_COUNT_MAX);
            Ok(RowCounts {
                held: most.min(of(waits).count() as u64),
                home: most.min(of(|row| row.standing == Standing::Home).count() as u64),
                dead_letters: most.min(server.dead.len() as u64),
                oldest_held_ms: of(waits).next().map(|row| row.event.received_at_ms()),
            })
        })
    }
}
