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
