//! What can happen: tills, time, servers that fail and heal, processes that end, and people.

use std::time::Duration;

use super::cluster::Policy;
use super::outside::{Fuse, Settings, Then, look};
use super::server::{Mood as ServerMood, ROW_BYTES};
use super::town::{CLUSTERS, SERVERS, SESSIONS, Sale, Town};
use crate::delivery::tests::Random;
use crate::delivery::tests::process::SOON;
use crate::delivery::tests::world::Mood;

const DAY_MS: i64 = 86_400_000;

/// A kind of move. Its particulars are drawn when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Move {
    // Tills.
    Sell,
    SellMany,
    SellHashed,
    // Time.
    Seconds,
    Minutes,
    Days,
    // Stores.
    KafkaFails,
    KafkaHeals,
    PostgresFails,
    PostgresHeals,
    FailsAtWork,
    DiskIsWiped,
    OtherWrites,
    // Processes.
    Restart,
    CrashSelling,
    CrashWorking,
    PowerFails,
    SpoolEnds,
    // People.
    Reconfigure,
    Reinstate,
    SetClock,
    RightClock,
    SetServerClock,
    LoseFiles,
    AddColumn,
    AddTrigger,
    MendTable,
    SetTopic,
    SetSessions,
}

/// A kind of world: who is there, and what happens how often.
pub(super) struct Profile {
    pub(super) shops: fn(&mut Random) -> Vec<Settings>,
    pub(super) moves: &'static [(Move, u64)],
    pub(super) length: u64,
    /// Different values of `request_id`.
    pub(super) keys: u64,
    /// The most events that are sold at once.
    pub(super) many: u64,
    /// Stores refuse some events for their own sake.
    pub(super) may_be_refused: bool,
}

impl Profile {
    pub(super) fn draw(&self, random: &mut Random) -> Move {
        let all: u64 = self.moves.iter().map(|one| one.1).sum();
        let mut at = random.below(all);
        for (kind, weight) in self.moves {
            if at < *weight {
                return *kind;
            }
            at -= weight;
        }
        unreachable!("a weight is drawn")
    }

    fn sale(&self, town: &Town, random: &mut Random, events: u64, is_hashed: bool) -> Sale {
        let shop = random.below(town.shops.len() as u64) as usize;
        Sale { shop, events, is_hashed, keys: self.keys, may_be_refused: self.may_be_refused }
    }

    fn few(&self, town: &Town, random: &mut Random) -> Sale {
        let events = random.between(1, 4);
        self.sale(town, random, events, false)
    }

    /// Makes a move.
    pub(super) fn apply(&self, kind: Move, town: &mut Town, random: &mut Random) {
        match kind {
            Move::Sell | Move::SellMany | Move::SellHashed => self.sell(kind, town, random),
            Move::Seconds => town.run(Duration::from_millis(random.between(500, 12_000))),
            Move::Minutes => town.pass(Duration::from_secs(random.between(60, 1_800)), 2),
            Move::Days => town.pass(Duration::from_secs(3_600 * random.between(1, 24 * 40)), 3),
            Move::Restart
            | Move::CrashSelling
            | Move::CrashWorking
            | Move::PowerFails
            | Move::SpoolEnds
            | Move::Reconfigure
            | Move::Reinstate => self.end_process(kind, town, random),
            Move::SetClock | Move::RightClock | Move::LoseFiles => touch_machine(kind, town, random),
            _ => self.touch_store(kind, town, random),
        }
    }

    fn sell(&self, kind: Move, town: &mut Town, random: &mut Random) {
        let sale = match kind {
            Move::SellMany => {
                let events = random.between(self.many / 2, self.many);
                self.sale(town, random, events, false)
            }
            Move::SellHashed => {
                let events = random.between(1, 4);
                self.sale(town, random, events, true)
            }
            _ => self.few(town, random),
        };
        town.sell(sale, random, None);
    }

    fn end_process(&self, kind: Move, town: &mut Town, random: &mut Random) {
        let sale = self.few(town, random);
        let shop = &mut town.shops[sale.shop];
        match kind {
            Move::CrashSelling | Move::PowerFails => {
                shop.sync();
                let left = random.below(5);
                town.light(Fuse { shop: sale.shop, left, before_mark: false, then: Then::Crash });
                let cut = (kind == Move::PowerFails).then(|| random.below(1_001));
                town.sell(sale, random, cut);
                town.quench();
            }
            Move::CrashWorking => {
                let (left, before_mark) = (random.below(8), random.below(3) == 0);
                let left = if before_mark { left / 4 } else { left };
                town.light(Fuse { shop: sale.shop, left, before_mark, then: Then::Crash });
                town.run(Duration::from_secs(12));
                town.quench();
            }
            Move::SpoolEnds => assert!(shop.process().spool.close(SOON)),
            Move::Reconfigure => {
                let settings = other(shop.settings, random);
                shop.restart(settings);
            }
            Move::Reinstate => shop.restart(shop.intended),
            _ => shop.restart(shop.settings),
        }
    }

    fn touch_store(&self, kind: Move, town: &mut Town, random: &mut Random) {
        let (cluster, server) =
            (random.below(CLUSTERS as u64) as usize, random.below(SERVERS as u64) as usize);
        // Most of the time the one that most shops use.
        let (cluster, server) = if random.below(4) > 0 { (0, 0) } else { (cluster, server) };
        let moods = [Mood::Down, Mood::Unreachable, Mood::Silent, Mood::Without(random.below(3) as u8)];
        let (mood, server_mood) = (random.pick(&moods), server_fault(random));
        if kind == Move::FailsAtWork {
            let sale = self.few(town, random);
            let (left, before_mark) = (random.below(10), random.below(2) == 0);
            let left = if before_mark { left / 4 } else { left };
            let then = match before_mark || random.below(2) == 0 {
                false => Then::ClusterFails(cluster, mood),
                true => Then::ServerFails(server, server_mood),
            };
            town.light(Fuse { shop: sale.shop, left, before_mark, then });
            town.sell(sale, random, None);
            town.run(Duration::from_secs(5));
            // A mark may be long in coming.
            if !before_mark {
                town.quench();
            }
            return;
        }
        let now_ms = town.time.true_ms();
        let shops = town.shops.len();
        let mut guard = look(&town.outside);
        let outside = &mut *guard;
        let (clusters, servers) = (&mut outside.clusters, &mut outside.servers);
        match kind {
            Move::KafkaFails => clusters[cluster].mood = mood,
            Move::KafkaHeals => clusters.iter_mut().for_each(|one| one.mood = Mood::Works),
            Move::PostgresFails => servers[server].set_mood(server_mood),
            Move::PostgresHeals => servers.iter_mut().for_each(|one| one.set_mood(ServerMood::Works)),
            Move::DiskIsWiped => clusters[cluster].wipe(),
            Move::OtherWrites => {
                let topic = random.below(2) as u8;
                clusters[cluster].other_writes(topic, random.between_signed(1, 3), now_ms);
            }
            Move::SetServerClock => {
                servers[server].ahead_ms = random.pick(&[0, 0, -40 * DAY_MS, 40 * DAY_MS, 400 * DAY_MS]);
            }
            Move::AddColumn => servers[server].has_strange_column = true,
            Move::AddTrigger => servers[server].drops_rows = true,
            Move::MendTable => servers.iter_mut().for_each(|one| {
                (one.has_strange_column, one.drops_rows) = (false, false);
            }),
            Move::SetTopic => {
                clusters[cluster].policy = Policy {
                    retention_ms: DAY_MS * random.between_signed(1, 30),
                    is_append_time: random.below(4) == 0,
                    is_compact: random.below(6) == 0,
                };
            }
            Move::SetSessions => {
                servers[server].sessions_max = random.pick(&[shops, shops + 1, 2 * shops, SESSIONS]);
            }
            _ => unreachable!("{kind:?} is no store's"),
        }
    }
}

impl Random {
    fn between_signed(&mut self, least: i64, most: i64) -> i64 {
        least + self.below(most.abs_diff(least) + 1) as i64
    }
}

fn server_fault(random: &mut Random) -> ServerMood {
    use ServerMood::{RefusesLogin, Silent, TakesNoWrites, Unreachable};
    random.pick(&[Unreachable, Unreachable, RefusesLogin, TakesNoWrites, Silent])
}

fn touch_machine(kind: Move, town: &mut Town, random: &mut Random) {
    let shop = random.below(town.shops.len() as u64) as usize;
    match kind {
        Move::SetClock => {
            let ahead = [-20_000 * DAY_MS, -40 * DAY_MS, 3_600_000, 3 * DAY_MS, 400 * DAY_MS];
            town.shops[shop].clock.set_ahead(random.pick(&ahead));
        }
        Move::RightClock => town.shops.iter().for_each(|shop| shop.clock.set_ahead(0)),
        _ => town.lose_files(shop),
    }
}

/// The settings with one of them absent, present or changed.
fn other(settings: Settings, random: &mut Random) -> Settings {
    match random.below(6) {
        0 => Settings { kafka: None, ..settings },
        1 => Settings { kafka: Some((random.below(2) as usize, random.below(2) as u8)), ..settings },
        2 => Settings { postgres: None, ..settings },
        3 => Settings { postgres: Some(random.below(SERVERS as u64) as usize), ..settings },
        4 => Settings { instance: random.pick(&["till-7", "till-8"]), ..settings },
        _ => Settings {
            keep_days: random.pick(&[10, 30, 3_650]),
            postgres_bytes: random.pick(&[0, 0, 40 * ROW_BYTES]),
            ..settings
        },
    }
}
