//! The simulator: producer, failover, route, links, recovery and spool as the daemon has them, in a world that is
//! played. Nothing waits for real time: each part of a daemon is a value that is stepped, by a clock that is moved.
//!
//! - `world` what is outside a daemon: Kafka and Postgres as memory, each in a mood. It outlives crashes
//! - `clock` a clock that is moved by hand; each daemon has its own
//! - `process` one daemon's parts, which are stepped; `daemon` the same in `world`; `site` what it has promised there
//! - `sim` whole towns: several daemons on shared stores, and people. The others know one daemon and one world
//! - `reference` where each event must be, in plain rules; `model` random operations compared with it (F25), and
//!   `combinations` the ones that lead to another place, by name
//! - `flapping` (F8), `outages` (F10), `pace` (F11) and `retention`: hours and days, in virtual time
//!
//! A failure prints its seed; `LOGS_INGEST_SEED` takes it back, `LOGS_INGEST_LONG` makes many more.

mod clock;
mod combinations;
mod daemon;
mod flapping;
mod log_lines;
mod model;
mod outages;
mod pace;
mod process;
mod reference;
mod retention;
mod sim;
mod site;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Runs `test` with this many seeds, a hundred times more in the long form, or with the one that was given.
fn with_seeds(name: &str, many: u64, test: impl Fn(u64)) {
    let run = |seed: u64| {
        if let Err(thrown) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            eprintln!("{name} fails with LOGS_INGEST_SEED={seed}");
            resume_unwind(thrown);
        }
    };
    if let Some(seed) = std::env::var("LOGS_INGEST_SEED").ok().and_then(|text| text.parse().ok()) {
        return run(seed);
    }
    let many = if std::env::var_os("LOGS_INGEST_LONG").is_some() { 100 * many } else { many };
    let first = uuid::Uuid::now_v7().as_u64_pair().1;
    println!("{name}: LOGS_INGEST_SEED from {first}, {many} of them");
    (0..many).for_each(|n| run(first.wrapping_add(n)));
}
