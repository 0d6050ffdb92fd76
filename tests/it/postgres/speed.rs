//! How fast rows go in and come out. The floors are for an unoptimised build on a busy machine; the figures
//! are printed.

use super::*;

const ROWS: u64 = 6_400;

#[test]
fn rows_go_in_and_come_out_fast_enough_for_a_chain_of_shops() {
    let bench = Bench::new();
    let mut store = bench.connect();
    for size in [64, 500] {
        let batches: Vec<Batch> = (0..ROWS / size).map(|n| batch(n * size..(n + 1) * size)).collect();
        let started = Instant::now();
        for batch in &batches {
            all_ok(&store.append(batch, Standing::Held, "kafka is down"));
        }
        let stored = batches.len() as u64 * size;
        let in_rate = stored as f64 / started.elapsed().as_secs_f64();
        let started = Instant::now();
        let mut drained = 0;
        loop {
            let rows = store.held_after(0, 500, 1 << 20).unwrap();
            if rows.is_empty() {
                break;
            }
            store.forwarded(&rows.iter().map(|row| row.seq).collect::<Vec<_>>()).unwrap();
            drained += rows.len() as u64;
        }
        let out_rate = drained as f64 / started.elapsed().as_secs_f64();
        eprintln!("batches of {size}: {in_rate:.0} rows/s in, {out_rate:.0} rows/s out");
        assert_eq!(drained, stored);
        assert!(in_rate > 400.0 && out_rate > 400.0, "{in_rate:.0} rows/s in, {out_rate:.0} rows/s out");
        bench.server.sql("TRUNCATE raw_logs");
    }
}

#[test]
fn plans_made_while_the_tables_were_empty_do_not_read_all_of_them_later() {
    let bench = Bench::with(Server::builder().setting("autovacuum", "off"));
    // What made the tables and their indexes has read them once.
    drop(bench.connect());
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'logs-ingest'";
    poll(PATIENCE, "the session to end", || (bench.server.value(sessions) == "0").then_some(()));
    bench.server.sql("SELECT pg_stat_reset()");
    let mut store = bench.connect();
    let day = Duration::from_secs(24 * 60 * 60);
    let mut round = |numbers: std::ops::Range<u64>| {
        for n in numbers {
            hold(&mut store, [n]);
            let rows = store.held_after(0, 500, 1 << 20).unwrap();
            store.forwarded(&[rows[0].seq]).unwrap();
            store.dead_letter(&[(rows[0].seq, because("too large"))]).unwrap();
            store.sweep(day, day, 10).unwrap();
            store.counts().unwrap();
        }
    };
    round(0..10);
    bench.server.sql(
        "INSERT INTO raw_logs (ingest_id, received_at, state, reason, instance, payload) \
         SELECT gen_random_uuid(), now(), CASE WHEN n % 2 = 0 THEN 'held' ELSE 'home' END, '', '', '{}' \
         FROM generate_series(1, 50000) n",
    );
    round(10..20);
    drop(store);
    let scans = "SELECT relname || ' ' || idx_scan, seq_scan FROM pg_stat_user_tables \
                 WHERE relname IN ('raw_logs', 'dead_letters') AND idx_scan > 100 ORDER BY 1";
    let scanned = poll(PATIENCE, "the statistics of the ended session", || {
        let scanned = bench.server.sql(scans);
        (!scanned.is_empty()).then_some(scanned)
    });
    assert!(scanned.iter().all(|table| table[1] == "0"), "{scanned:?}");
}
