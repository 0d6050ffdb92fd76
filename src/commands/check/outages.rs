//! What will happen in which outage, by the settings in force. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::commands::output::{count, size};
use crate::config::Config;

/// What an event takes in the spool, roughly, with its row's columns.
const EVENT_BYTES: u64 = 1_024;

/// An outage and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outage {
    pub(super) when: &'static str,
    pub(super) then: String,
}

impl Outage {
    fn new(when: &'static str, then: impl Into<String>) -> Self {
        Self { when, then: then.into() }
    }
}

/// Every outage that these settings know. `spool_bytes`: what the spool may hold.
pub(super) fn outages(config: &Config, spool_bytes: u64) -> Vec<Outage> {
    let room = format!("{}, some {} small events", size(spool_bytes), count(spool_bytes / EVENT_BYTES));
    let mut all = of_stores(config, &room);
    all.extend(of_this_machine(config));
    all
}

fn of_stores(config: &Config, room: &str) -> Vec<Outage> {
    let back = match config.recovery.recovery_rate {
        0 => "as fast as it takes them".to_owned(),
        rate => format!("at most {rate} per second"),
    };
    match (config.kafka(), config.postgres()) {
        (Some(kafka), Some(postgres)) => vec![
            Outage::new(
                "Kafka is down",
                format!(
                    "within {} events go to PostgreSQL; once Kafka is back they follow by themselves, {back}",
                    seconds(kafka.deadline)
                ),
            ),
            Outage::new(
                "Kafka and PostgreSQL are down",
                format!(
                    "within {} more events go to the spool, which holds {room}; when it is full, clients are answered \
                     503",
                    seconds(postgres.deadline)
                ),
            ),
            Outage::new("only PostgreSQL is down", "nothing: it is not used while Kafka takes events"),
        ],
        (Some(kafka), None) => vec![Outage::new(
            "Kafka is down",
            format!(
                "within {} events go to the spool, which holds {room}; when it is full, clients are answered 503; once \
                 Kafka is back the events follow by themselves, {back}",
                seconds(kafka.deadline)
            ),
        )],
        (None, Some(postgres)) => vec![Outage::new(
            "PostgreSQL is down",
            format!(
                "it is the events' home; within {} they go to the spool, which holds {room}; when it is full, clients \
                 are answered 503; once PostgreSQL is back the events move there by themselves",
                seconds(postgres.deadline)
            ),
        )],
        (None, None) => vec![Outage::new(
            "the spool is full",
            format!(
                "it is the events' home and holds {room}: the oldest are removed, as is what is older than {} days; \
                 nothing sends them anywhere",
                config.keep().home.as_secs() / 86_400
            ),
        )],
    }
}

fn of_this_machine(config: &Config) -> Vec<Outage> {
    let disk = match (config.kafka(), config.postgres()) {
        (None, None) => "clients are answered 503; nothing that is stored is lost",
        _ => {
            "nothing while another store takes events; else clients are answered 503; nothing that is stored is lost"
        }
    };
    let power = match config.kafka() {
        Some(_) => {
            "what the spool and PostgreSQL took is on their disks; what Kafka acknowledged is as safe as its topic's \
             replicas and their machines"
        }
        None => "everything that was answered 202 is there at the next start",
    };
    let longest = seconds(config.answer_timeout());
    vec![
        Outage::new("the spool's disk is full or fails", disk),
        Outage::new(
            "the daemon is killed",
            "everything that was answered 202 is there at the next start; clients send the rest again",
        ),
        Outage::new("this machine loses power", power),
        Outage::new(
            "a client waits for its answer",
            format!("usually milliseconds; at most {longest}, when every store and the disk hang"),
        ),
    ]
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::Cli;

    #[test]
    fn each_combination_of_stores_has_its_outages() {
        const KAFKA: &str = "--kafka-brokers=a:9092";
        const POSTGRES: &str = "--postgres-url=postgres://u@h/d";
        for (line, expected) in [
            (vec![KAFKA, POSTGRES], ["Kafka is down", "go to PostgreSQL"]),
            (
                vec![KAFKA, POSTGRES, "--postgres-deadline=5s"],
                ["Kafka and PostgreSQL are down", "within 5 s more"],
            ),
            (vec![KAFKA], ["Kafka is down", "go to the spool, which holds 1.0 GiB"]),
            (vec![KAFKA, "--recovery-rate=0"], ["Kafka is down", "as fast as it takes them"]),
            (vec![KAFKA], ["this machine loses power", "as safe as its topic's replicas"]),
            (vec![POSTGRES], ["this machine loses power", "everything that was answered 202"]),
            (vec![POSTGRES], ["PostgreSQL is down", "it is the events' home"]),
            (vec!["--keep-days=3"], ["the spool is full", "older than 3 days"]),
            (vec![], ["the spool's disk is full or fails", "clients are answered 503"]),
        ] {
            let cli = Cli::try_parse_from(["logs-ingest"].iter().chain(&line)).unwrap();
            let all = outages(&Config::from_raw(&cli.settings).unwrap(), 1 << 30);
            let [when, then] = expected;
            let found = all.iter().find(|outage| outage.when == when);
            assert!(found.is_some_and(|outage| outage.then.contains(then)), "{line:?}: {all:#?}");
        }
    }
}
