//! Events as rows: bytes, order, duplicates, dead letters, handles.

use std::sync::Arc;

use bytes::Bytes;
use logs_ingest::event::{Arrival, Event};
use logs_ingest::limits::RELEASED_MS;
use logs_ingest::store::Standing;
use logs_ingest::store::StoreError;
use logs_ingest::store::spool::{OpenError, Spool};
use uuid::Uuid;

use super::*;

#[test]
fn odd_characters_come_back_as_they_went_in() {
    let folder = Folder::new("odd");
    let spool = folder.open();
    let stack = "at line 1\n".repeat(20_000);
    let odd = serde_json::json!({
        "request_id": "r\u{0}\u{1F9FE}\"\\", "service": "", "env": "\u{202e}", "timestamp": "2025-W47-2",
        "action": "a'; DROP TABLE raw_logs; --", "level": "critical", "message": "a\u{0}b", "user_id": null,
        "price": 1e300, "quantity": i64::MIN, "stack": stack, "raw_data": {"k": [1.10, null]}, "unknown": "kept",
    })
    .to_string();
    let arrival = Arrival {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..Arrival::new(Uuid::now_v7(), RELEASED_MS + 7)
    };
    let sent = Event::restored(arrival, Bytes::from("r\u{0}\u{1F9FE}\"\\"), Bytes::from(odd));
    all_ok(&spool.append(&Arc::from(vec![sent.clone()]), Standing::Held, "kafka is down"));

    let rows = spool.reader().unwrap().held_after(0, 10, 1 << 20).unwrap();
    let got = rows[0].event.as_ref().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(got.payload(), sent.payload());
    assert_eq!(got.key(), sent.key());
    assert_eq!(got.ingest_id(), sent.ingest_id());
    assert_eq!(got.received_at_ms(), sent.received_at_ms());
    assert_eq!(got.traceparent(), sent.traceparent());

    type Shown = (String, String, String, f64, i64, Option<String>, String, String);
    let shown: Shown = folder
        .sql()
        .query_row(
            "SELECT received_at, message, action, price, quantity, user_id, raw_data, state || ' ' || reason || ' ' \
             || instance || ' ' || event_timestamp FROM raw_logs",
            [],
            |row| {
                let get = |index| row.get::<_, String>(index);
                Ok((get(0)?, get(1)?, get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, get(6)?, get(7)?))
            },
        )
        .unwrap();
    assert_eq!(
        shown,
        (
            "2026-11-01T00:00:00.007Z".to_owned(),
            "a\u{fffd}b".to_owned(),
            "a'; DROP TABLE raw_logs; --".to_owned(),
            1e300,
            i64::MIN,
            None,
            r#"{"k":[1.1,null]}"#.to_owned(),
            "held kafka is down test 2025-W47-2".to_owned(),
        )
    );
    close(&spool);
}

#[test]
fn held_rows_are_read_in_the_order_of_arrival_page_by_page() {
    let folder = Folder::new("order");
    let spool = folder.open();
    for start in (0..500).step_by(50) {
        hold(&spool, (start..start + 50).rev());
    }
    all_ok(&spool.append(&batch(900..905), Standing::Home, "no kafka is configured"));
    let expected: Vec<u64> = (0..500).step_by(50).flat_map(|start| (start..start + 50).rev()).collect();
    assert_eq!(numbers(&held(&spool)), expected);

    let mut reader = spool.reader().unwrap();
    assert_eq!(reader.held_after(0, 7, 1 << 20).unwrap().len(), 7);
    assert_eq!(reader.held_after(0, 7, 1).unwrap().len(), 1, "one row comes however large it is");
    let size = event(0).size_bytes();
    assert!((2..=4).contains(&reader.held_after(0, 100, 3 * size + size / 2).unwrap().len()));
    assert_eq!(reader.held_after(i64::MAX - 1, 7, 1 << 20).unwrap().len(), 0);
    close(&spool);
}

#[test]
fn a_repeated_event_is_stored_once_and_answered_as_stored() {
    let folder = Folder::new("repeat");
    let spool = folder.open();
    hold(&spool, [1, 2, 2, 3]);
    hold(&spool, [3, 1, 4]);
    assert_eq!(numbers(&held(&spool)), [1, 2, 3, 4]);
    assert_eq!(spool.figures().held, 4);
    close(&spool);
}

#[test]
fn released_rows_are_gone_and_their_seqs_are_never_given_again() {
    let folder = Folder::new("release");
    let spool = folder.open();
    hold(&spool, 0..10);
    let seqs: Vec<i64> = held(&spool).iter().map(|(seq, _)| *seq).collect();
    let last = seqs[9];
    spool.release(seqs.clone()).unwrap();
    spool.release(seqs).unwrap();
    assert_eq!((spool.figures().held, spool.figures().oldest_held_ms), (0, None));
    hold(&spool, [11]);
    assert!(held(&spool)[0].0 > last);
    assert_eq!(spool.figures().oldest_held_ms, Some(event(11).received_at_ms()));
    close(&spool);
}

#[test]
fn dead_letters_keep_the_event_and_its_error() {
    let folder = Folder::new("dead");
    let spool = folder.open();
    hold(&spool, 0..3);
    let rows = held(&spool);
    spool.dead_letter(vec![(rows[1].0, because("too large")), (999, because("not there"))]).unwrap();
    spool.keep_letters(&[(event(7), because("policy"))]).unwrap();
    spool.keep_letters(&[(event(7), because("policy"))]).unwrap();
    let figures = spool.figures();
    assert_eq!((figures.held, figures.dead_letters, figures.damaged), (2, 2, 0));
    assert_eq!(numbers(&held(&spool)), [0, 2]);
    let sql = folder.sql();
    let mut statement =
        sql.prepare("SELECT request_id || ' ' || error FROM dead_letters ORDER BY seq").unwrap();
    let letters: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(letters, ["r-1 too large", "r-7 policy"]);
    close(&spool);
}

#[test]
fn a_row_that_fails_for_its_own_sake_costs_only_itself() {
    let folder = Folder::new("bad-row");
    let spool = folder.open();
    folder
        .sql()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON held_rows WHEN instr(NEW.payload, 'r-3') \
             BEGIN SELECT RAISE(ABORT, 'refused by a trigger'); END",
        )
        .unwrap();
    let outcomes = spool.append(&batch(0..6), Standing::Held, "kafka is down");
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(()) => assert_ne!(n, 3),
            Err(StoreError::Rejected(_, why)) => {
                assert!(n == 3 && why.contains("refused by a trigger"), "{n}: {why}")
            }
            Err(other) => panic!("{n}: {other}"),
        }
    }
    assert_eq!(numbers(&held(&spool)), [0, 1, 2, 4, 5]);
    assert!(spool.figures().writable);
    close(&spool);
}

#[test]
fn many_threads_share_the_writer_and_each_keeps_its_order() {
    let folder = Folder::new("threads");
    let spool = folder.open();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let spool = spool.clone();
            scope.spawn(move || {
                (0..20).for_each(|n| hold(&spool, [thread * 1_000 + 2 * n, thread * 1_000 + 2 * n + 1]))
            });
        }
    });
    let rows = numbers(&held(&spool));
    assert_eq!(rows.len(), 8 * 40);
    for thread in 0..8 {
        let own: Vec<u64> = rows.iter().copied().filter(|n| n / 1_000 == thread).collect();
        assert_eq!(own, (0..40).map(|n| thread * 1_000 + n).collect::<Vec<u64>>());
    }
    assert_eq!(spool.figures().held, 320);
    close(&spool);
}

#[test]
fn a_spool_opened_again_has_its_rows_and_figures() {
    let folder = Folder::new("again");
    let spool = folder.open();
    hold(&spool, 0..5);
    all_ok(&spool.append(&batch(10..12), Standing::Home, "no kafka is configured"));
    spool.keep_letters(&[(event(20), because("policy"))]).unwrap();
    let before = spool.figures();
    let rows = held(&spool);
    close(&spool);
    let refused = spool.append(&batch([99]), Standing::Held, "kafka is down");
    assert!(
        matches!(&refused[0], Err(StoreError::Unavailable(_, why)) if why.contains("is closed")),
        "{refused:?}"
    );

    let spool = folder.open();
    let after = spool.figures();
    assert_eq!((after.held, after.home, after.dead_letters), (5, 2, 1));
    assert_eq!((after.bytes, after.oldest_held_ms), (before.bytes, before.oldest_held_ms));
    assert_eq!(held(&spool), rows);
    close(&spool);
}

#[test]
fn files_belong_to_the_daemons_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("modes");
    let dir = folder.0.join("data/deeper");
    let spool = Spool::open(&settings(&dir)).unwrap();
    hold(&spool, [1]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for name in ["spool.sqlite3", "spool.sqlite3-wal", "spool.sqlite3-shm", "spool.lock", "spool.reserve"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    close(&spool);
}

#[test]
fn a_second_daemon_is_refused_and_told_who_has_the_spool() {
    let folder = Folder::new("second");
    let spool = folder.open();
    match Spool::open(&folder.settings()) {
        Err(OpenError::InUse(why)) => {
            assert!(why.contains("spool.lock"), "{why}");
            assert!(why.contains(&format!("process {}", std::process::id())), "{why}");
        }
        other => panic!("{other:?}"),
    }
    hold(&spool, [1]);
    close(&spool);
    close(&folder.open());
}

#[test]
fn any_sqlite3_from_3_38_on_reads_the_views() {
    let folder = Folder::new("views");
    let spool = folder.open();
    hold(&spool, [1, 2]);
    all_ok(&spool.append(&batch([3]), Standing::Home, "the spool is its home"));
    spool.keep_letters(&[(event(4), because("policy"))]).unwrap();
    // A damaged payload hides only its own fields.
    folder.sql().execute("UPDATE held_rows SET payload = x'7b' WHERE seq = 2", []).unwrap();
    close(&spool);
    let script = "import sqlite3, sys
db = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)
assert sqlite3.sqlite_version_info >= (3, 38), sqlite3.sqlite_version
for row in db.execute('SELECT seq, ingest_id, received_at, state, request_id, price, quantity, reason FROM raw_logs ORDER BY seq'):
    print(*row)
for row in db.execute('SELECT ingest_id, request_id, error FROM dead_letters WHERE level = ?', ['info']):
    print(*row)
";
    let output =
        std::process::Command::new("python3").args(["-c", script]).arg(folder.database()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let id = "00000000-0000-0000-0000-00000000000";
    let expected = [
        format!("1 {id}1 2026-11-01T00:00:00.001Z held r-1 12.5 1 kafka is down"),
        format!("2 {id}2 2026-11-01T00:00:00.002Z held None None None kafka is down"),
        format!("3 {id}3 2026-11-01T00:00:00.003Z home r-3 12.5 3 the spool is its home"),
        format!("{id}4 r-4 policy"),
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
