//! Room and age: what the spool may hold, and which home rows are removed first.
//!
//! Invariants: a held row is never removed to make room; a transaction removes a bounded number of home rows; free
//! pages go back to the disk in small steps.

use rusqlite::Connection;

use super::tables::Changes;
use crate::event::Event;
use crate::limits::{
    SPOOL_DEFAULT_BYTES, SPOOL_DISK_SHARE, SPOOL_GIVE_BACK_PAGES, SPOOL_REMOVE_ROWS, SPOOL_SPARE_PAGES,
};
use crate::store::Standing;
use crate::store::spool::row;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What the spool may hold: the setting, or else the default and at most a share of a small disk.
pub(in crate::store::spool) fn limit(set: Option<u64>, disk_bytes: u64) -> u64 {
    set.unwrap_or_else(|| SPOOL_DEFAULT_BYTES.min(disk_bytes / SPOOL_DISK_SHARE))
}

/// Bytes of the file that hold data.
pub(in crate::store::spool) fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(db, "PRAGMA page_count")?;
    let free = pragma(db, "PRAGMA freelist_count")?;
    Ok(pages.saturating_sub(free) * page_bytes(db)?)
}

/// Bytes of one page of the file.
pub(super) fn page_bytes(db: &Connection) -> rusqlite::Result<u64> {
    pragma(db, "PRAGMA page_size")
}

fn pragma(db: &Connection, sql: &str) -> rusqlite::Result<u64> {
    db.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// How many of the events, from the first on, may go in now. Removes the oldest home rows if that makes room; a file far
/// above its limit (after the limit was lowered) shrinks step by step while home rows are left, and new events go in
/// meanwhile.
pub(super) fn make_room<'a>(
    tx: &Connection,
    events: impl Iterator<Item = &'a Event> + Clone,
    max_bytes: u64,
    changes: &mut Changes,
) -> rusqlite::Result<usize> {
    let need: u64 = events.clone().map(row::row_bytes).sum();
    let before = used_bytes(tx)?;
    let mut used = before;
    let mut home_left = true;
    // Removing twice what is needed brings the file down to the limit in time, and one step stays short.
    while used.saturating_add(need) > max_bytes && home_left && before.saturating_sub(used) < 2 * need {
        home_left = remove_oldest_home(tx, i64::MAX, 64, changes)? > 0;
        used = used_bytes(tx)?;
    }
    if home_left && used.saturating_add(need) > max_bytes && used < before {
        return Ok(events.count());
    }
    let mut room = max_bytes.saturating_sub(used);
    Ok(events
        .take_while(|event| {
            let fits = row::row_bytes(event) <= room;
            room = room.saturating_sub(row::row_bytes(event));
            fits
        })
        .count())
}

/// Removes home rows that are older than `cutoff_ms`, at most `SPOOL_REMOVE_ROWS`. Returns how many.
pub(super) fn remove_expired(
    tx: &Connection,
    cutoff_ms: i64,
    now_ms: i64,
    changes: &mut Changes,
) -> rusqlite::Result<usize> {
    let sql = "SELECT seq, received_at FROM home_rows ORDER BY seq LIMIT ?1";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement
        .query_map([SPOOL_REMOVE_ROWS.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(i64, Option<i64>)>>>()?;
    match expired_up_to(&rows, cutoff_ms, now_ms) {
        Some(seq) => remove_oldest_home(tx, seq, SPOOL_REMOVE_ROWS, changes),
        None => Ok(0),
    }
}

/// The last row, in order of arrival, that is too old for sure. Wall clocks jump, the order does not: a row is only as
/// old as every row before it allows, and a date in the future means nothing by itself.
fn expired_up_to(rows: &[(i64, Option<i64>)], cutoff_ms: i64, now_ms: i64) -> Option<i64> {
    let mut expired = None;
    for &(seq, received_at_ms) in rows {
        match received_at_ms {
            Some(ms) if ms > now_ms.saturating_add(DAY_MS) => {}
            Some(ms) if ms >= cutoff_ms => break,
            Some(_) => expired = Some(seq),
            None => {}
        }
    }
    expired
}

fn remove_oldest_home(
    tx: &Connection,
    up_to: i64,
    rows: usize,
    changes: &mut Changes,
) -> rusqlite::Result<usize> {
    let range =
        "SELECT min(seq), max(seq) FROM (SELECT seq FROM home_rows WHERE seq <= ?1 ORDER BY seq LIMIT ?2)";
    let range: (Option<i64>, Option<i64>) = tx
        .prepare_cached(range)?
        .query_row((up_to, rows.cast_signed()), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)) = range else { return Ok(0) };
    let ids = "DELETE FROM derived_ids WHERE seq BETWEEN ?1 AND ?2 \
               AND NOT EXISTS (SELECT 1 FROM held_rows WHERE held_rows.seq = derived_ids.seq)";
    tx.prepare_cached(ids)?.execute([first, last])?;
    let removed = tx.prepare_cached("DELETE FROM home_rows WHERE seq <= ?1")?.execute([last])?;
    changes.removed(Standing::Home, removed);
    changes.removed += removed as u64;
    Ok(removed)
}

/// Gives some free pages back to the disk. `false`: there are no more than are worth keeping.
pub(super) fn give_back(db: &Connection) -> rusqlite::Result<bool> {
    let free = pragma(db, "PRAGMA freelist_count")?;
    if free <= SPOOL_SPARE_PAGES {
        return Ok(false);
    }
    let step = SPOOL_GIVE_BACK_PAGES.min(free - SPOOL_SPARE_PAGES);
    // Each step of the statement frees one page: it must be run to its end.
    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({step})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 100 * DAY_MS;
    const CUTOFF: i64 = 70 * DAY_MS;

    #[test]
    fn a_small_disk_is_shared() {
        const GIB: u64 = 1 << 30;
        for (set, disk, most) in [
            (None, 4 * GIB, GIB),
            (None, 400 * GIB, GIB),
            (None, GIB, GIB / 4),
            (Some(3 * GIB), GIB, 3 * GIB),
        ] {
            assert_eq!(limit(set, disk), most, "{set:?} on {disk}");
        }
    }

    #[test]
    fn rows_expire_in_order_of_arrival() {
        for (what, rows, expired) in [
            ("nothing there", vec![], None),
            ("all young", vec![(1, Some(CUTOFF)), (2, Some(NOW))], None),
            ("two old", vec![(1, Some(1)), (2, Some(CUTOFF - 1)), (3, Some(NOW))], Some(2)),
            ("dated too early by a wrong clock", vec![(1, Some(NOW)), (2, Some(1)), (3, Some(NOW))], None),
            (
                "dated too late, old by what follows",
                vec![(1, Some(NOW * 9)), (2, Some(1)), (3, Some(NOW))],
                Some(2),
            ),
            ("dated too late, young by what follows", vec![(1, Some(NOW * 9)), (2, Some(NOW))], None),
            ("an unreadable date follows its neighbours", vec![(1, None), (2, Some(1)), (3, None)], Some(2)),
        ] {
            assert_eq!(expired_up_to(&rows, CUTOFF, NOW), expired, "{what}");
        }
    }
}
