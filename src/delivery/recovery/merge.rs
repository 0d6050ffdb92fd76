//! One order out of several backlogs. Pure.
//!
//! An outage may leave a client's events in both stores. Each store gives its rows in the order in
//! which it took them; across stores the time of receipt decides, and within a millisecond the ids that were made in
//! order. An id that is derived from an Idempotency-Key says nothing of the order.

use std::collections::VecDeque;

use crate::event::Event;
use crate::store::HeldRow;

/// What one backlog has at its head.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Page {
    /// Rows in the backlog's own order.
    pub(in crate::delivery) rows: VecDeque<HeldRow>,
    /// Whether there are more behind them.
    pub(in crate::delivery) more: bool,
}

/// A row and the backlog that it came from.
#[derive(Debug)]
pub(in crate::delivery) struct Picked {
    pub(in crate::delivery) backlog: usize,
    pub(in crate::delivery) row: HeldRow,
}

/// The oldest `most` rows of all pages. Stops early where a page is used up that is not its backlog's
/// last, because what comes next there is unknown.
pub(in crate::delivery) fn oldest(mut pages: Vec<Page>, most: usize) -> Vec<Picked> {
    let mut picked = Vec::new();
    while picked.len() < most {
        let next =
            pages.iter().enumerate().filter_map(|(backlog, page)| Some((rank(page.rows.front()?), backlog)));
        let Some((_, backlog)) = next.min() else { break };
        let page = &mut pages[backlog];
        let Some(row) = page.rows.pop_front() else { break };
        picked.push(Picked { backlog, row });
        if page.rows.is_empty() && page.more {
            break;
        }
    }
    picked
}

/// A damaged row has no age: it leaves first.
fn rank(row: &HeldRow) -> (i64, u128) {
    let of_event = |event: &Event| {
        let id = event.ingest_id();
        let is_derived = id.get_version() == Some(uuid::Version::Custom);
        (event.received_at_ms(), if is_derived { 0 } else { id.as_u128() })
    };
    row.event.as_ref().map_or((i64::MIN, 0), of_event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Arrival;

    fn row(seq: i64, id: u128) -> HeldRow {
        let arrival = Arrival::new(uuid::Uuid::from_u128(id), 0);
        HeldRow { seq, event: Ok(Event::restored(arrival, "k".into(), "{}".into())) }
    }

    fn page(ids: &[u128], more: bool) -> Page {
        Page { rows: ids.iter().zip(1..).map(|(id, seq)| row(seq, *id)).collect(), more }
    }

    fn ids(pages: Vec<Page>, most: usize) -> Vec<(usize, u128)> {
        let picked = oldest(pages, most);
        picked.iter().map(|one| (one.backlog, rank(&one.row).1)).collect()
    }

    #[test]
    fn rows_of_two_stores_leave_by_age_and_each_store_keeps_its_order() {
        let pages = vec![page(&[1, 4, 5], false), page(&[2, 3, 9], false)];
        assert_eq!(ids(pages, 100), [(0, 1), (1, 2), (1, 3), (0, 4), (0, 5), (1, 9)]);
        // A store's own order holds even where its ids are not in order.
        assert_eq!(ids(vec![page(&[7, 1], false), page(&[2], false)], 100), [(1, 2), (0, 7), (0, 1)]);
    }

    #[test]
    fn a_derived_id_says_nothing_of_the_order() {
        let at = |seq, received_at_ms, id: uuid::Uuid| {
            let arrival = Arrival::new(id, received_at_ms);
            HeldRow { seq, event: Ok(Event::restored(arrival, "k".into(), "{}".into())) }
        };
        let derived = |first: u8| uuid::Uuid::new_v8([first; 16]);
        let made = |ms: u64| uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(ms, 0, 0, 0));
        let spool =
            Page { rows: [at(1, 1_000, derived(0xff)), at(2, 3_000, derived(0))].into(), more: false };
        let postgres = Page { rows: [at(1, 2_000, made(2)), at(2, 4_000, derived(0))].into(), more: false };
        let picked = oldest(vec![spool, postgres], 100);
        let order: Vec<_> = picked.iter().map(|one| (one.backlog, one.row.seq)).collect();
        assert_eq!(order, [(0, 1), (1, 1), (0, 2), (1, 2)]);
    }

    #[test]
    fn what_is_behind_a_page_is_not_overtaken() {
        let pages = vec![page(&[1, 2], true), page(&[5, 6], false)];
        assert_eq!(ids(pages, 100), [(0, 1), (0, 2)]);
    }

    #[test]
    fn a_trial_is_the_oldest_of_all() {
        assert_eq!(ids(vec![page(&[4], true), page(&[3], true)], 1), [(1, 3)]);
        assert_eq!(ids(vec![Page::default(), page(&[3], true)], 1), [(1, 3)]);
        assert_eq!(ids(vec![], 1), []);
    }

    #[test]
    fn a_damaged_row_leaves_first() {
        let damaged = HeldRow { seq: 1, event: Err("checksum".into()) };
        let pages = vec![page(&[1], false), Page { rows: [damaged].into(), more: false }];
        assert_eq!(ids(pages, 1), [(1, 0)]);
    }
}
