//! Limits of size and age.

use logs_ingest::host::clock;
use logs_ingest::store::Standing;
use logs_ingest::store::StoreError;
use logs_ingest::store::spool::Spool;

use super::*;

const LIMIT: u64 = 1 << 20;

fn open_small(folder: &Folder) -> Spool {
    Spool::open(&Settings { max_bytes: Some(LIMIT), ..folder.settings() }).unwrap()
}

/// Appends batches of events until not even the first of one goes in. Returns how many are in.
fn fill(spool: &Spool, from: u64) -> (u64, String) {
    let mut next = from;
    loop {
        let outcomes = spool.append(&batch(next..next + 10), Standing::Held, "kafka is down");
        let stored = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
        assert!(outcomes[stored..].iter().all(Result::is_err), "nothing goes in behind a refused event");
        next += stored as u64;
        if let Err(why) = &outcomes[0] {
            assert!(matches!(why, StoreError::Unavailable(..)), "{why:?}");
            return (next - from, why.to_string());
        }
    }
}

#[test]
fn held_rows_fill_the_spool_to_its_limit_and_deletes_make_room() {
    let folder = Folder::new("full");
    let spool = open_small(&folder);
    let (stored, why) = fill(&spool, 0);
    assert!(stored > 300, "only {stored} events fit into {LIMIT} bytes");
    assert!(why.contains("the spool is full") && why.contains("SPOOL_MAX_BYTES"), "{why}");
    let figures = spool.figures();
    assert!(figures.full && figures.writable);
    assert!(figures.bytes <= LIMIT, "{} bytes are used", figures.bytes);
    assert_eq!(figures.held, stored);
    assert!(spool.keep_letters(&[(event(1 << 40), because("policy"))]).is_err());

    let rows = held(&spool);
    spool.dead_letter(vec![(rows[0].0, because("poison"))]).unwrap();
    spool.release(rows[1..rows.len() / 2].iter().map(|(seq, _)| *seq).collect()).unwrap();
    assert!(!spool.figures().full);
    let (more, _) = fill(&spool, stored);
    assert!(more > stored / 3, "{more} events fit after half of {stored} were released");
    let expected: Vec<u64> = (rows.len() as u64 / 2..stored + more).collect();
    assert_eq!(numbers(&held(&spool)), expected);
    close(&spool);
}

#[test]
fn home_rows_make_room_oldest_first() {
    let folder = Folder::new("home");
    let spool = open_small(&folder);
    hold(&spool, 0..20);
    for n in (1_000..9_000).step_by(50) {
        all_ok(&spool.append(&batch(n..n + 50), Standing::Home, "no kafka is configured"));
        let figures = spool.figures();
        assert!(figures.bytes <= LIMIT, "{} bytes are used", figures.bytes);
    }
    let figures = spool.figures();
    assert!(figures.removed > 1_000 && figures.home > 300, "{figures:?}");
    assert_eq!(figures.removed + figures.home, 8_000);
    let sql = folder.sql();
    let (first, count): (String, u32) = sql
        .query_row("SELECT min(received_at), count(*) FROM raw_logs WHERE state = 'home'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(u64::from(count), figures.home);
    assert_eq!(
        first,
        clock::rfc3339(event(1_000 + figures.removed).received_at_ms()),
        "the oldest went first"
    );
    drop(sql);

    // Held rows take the place of home rows, never the other way round.
    let (stored, _) = fill(&spool, 10_000);
    assert_eq!((spool.figures().home, spool.figures().held), (0, 20 + stored));
    let refused = spool.append(&batch([9_000]), Standing::Home, "no kafka is configured");
    assert!(matches!(refused[0], Err(StoreError::Unavailable(..))), "{refused:?}");
    assert_eq!(numbers(&held(&spool))[..20], (0..20).collect::<Vec<u64>>());
    close(&spool);
}

#[test]
fn a_lowered_limit_is_reached_step_by_step_without_refusing_events() {
    let folder = Folder::new("lowered");
    let spool = folder.open();
    for n in (0..8_000).step_by(500) {
        all_ok(&spool.append(&batch(n..n + 500), Standing::Home, "no kafka is configured"));
    }
    assert!(spool.figures().bytes > 2 * LIMIT, "{:?}", spool.figures());
    close(&spool);
    let spool = open_small(&folder);
    for n in (10_000..).step_by(64) {
        all_ok(&spool.append(&batch(n..n + 64), Standing::Home, "no kafka is configured"));
        if spool.figures().bytes <= LIMIT {
            break;
        }
        assert!(n < 20_000, "{:?}", spool.figures());
    }
    close(&spool);
}

#[test]
fn home_rows_go_when_they_are_too_old_and_held_rows_never() {
    let folder = Folder::new("age");
    let spool = Spool::open(&Settings { keep: DAY, ..folder.settings() }).unwrap();
    let now = clock::record_ms();
    let day = i64::try_from(DAY.as_millis()).unwrap();
    let dated = |n: u64, at: i64| restored(n, std::str::from_utf8(event(n).payload()).unwrap(), at);
    let old: Batch = (0..1_200).map(|n| dated(n, now - 2 * day)).collect();
    let young: Batch = (2_000..2_010).map(|n| dated(n, now)).collect();
    let waiting: Batch = (3_000..3_010).map(|n| dated(n, now - 2 * day)).collect();
    all_ok(&spool.append(&waiting, Standing::Held, "kafka is down"));
    all_ok(&spool.append(&old, Standing::Home, "no kafka is configured"));
    all_ok(&spool.append(&young, Standing::Home, "no kafka is configured"));
    wait_for("old rows are removed", || spool.figures().home <= 10);
    let figures = spool.figures();
    assert_eq!((figures.home, figures.held, figures.removed), (10, 10, 1_200));
    close(&spool);
}

#[test]
fn room_that_is_free_goes_back_to_the_disk() {
    let folder = Folder::new("give-back");
    let spool = folder.open();
    let big = "x".repeat(20_000);
    let rows: Batch = (0..1_200).map(|n| event_with(n, &big)).collect();
    all_ok(&spool.append(&rows, Standing::Held, "kafka is down"));
    close(&spool);
    let before = fs::metadata(folder.database()).unwrap().len();
    assert!(before > 20 << 20, "{before}");

    let spool = folder.open();
    spool.release(held(&spool).iter().map(|(seq, _)| *seq).collect()).unwrap();
    hold(&spool, [1_000]);
    wait_for("the file shrinks", || fs::metadata(folder.database()).unwrap().len() < 8 << 20);
    assert_eq!(numbers(&held(&spool)), [1_000]);
    close(&spool);
}

#[test]
fn the_log_stays_small_under_load_and_shrinks_after_a_reader_that_never_ends() {
    let folder = Folder::new("log");
    let spool = folder.open();
    let log = || fs::metadata(folder.0.join("spool.sqlite3-wal")).unwrap().len();
    let mut most = 0;
    let mut load = |from: u64| {
        let mut reader = spool.reader().unwrap();
        for n in (from..from + 20_000).step_by(200) {
            hold(&spool, n..n + 200);
            // As recovery does meanwhile: reads that end, and deletes.
            let rows = reader.held_after(0, 150, 1 << 20).unwrap();
            spool.release(rows.iter().map(|row| row.seq).collect()).unwrap();
            most = most.max(log());
        }
        std::mem::take(&mut most)
    };
    let ordinary = load(0);
    assert!(ordinary < 32 << 20, "the log had {ordinary} bytes");

    let strange = folder.sql();
    strange.execute_batch("BEGIN; SELECT count(*) FROM raw_logs").unwrap();
    let held_up = load(100_000);
    assert!(held_up > ordinary, "the reader holds the log up: {held_up} bytes");
    strange.execute_batch("COMMIT").unwrap();
    drop(strange);
    load(200_000);
    wait_for("the log shrinks", || {
        hold(&spool, [1 << 40]);
        spool.release(held(&spool).iter().map(|(seq, _)| *seq).collect()).unwrap();
        log() < 8 << 20
    });
    close(&spool);
}
