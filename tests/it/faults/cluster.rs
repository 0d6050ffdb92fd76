//! A chain's site: three brokers with three replicas of everything, two daemons, one Postgres. Brokers are
//! killed one by one and all together, leaders move, replicas are too few.

use super::*;
use crate::support::kafka::{Cluster, read_all};
use crate::support::load::{Load, Until, paced_events};
use crate::support::stores::TOPIC;

/// Both daemons and what was sent to them.
struct Site {
    cluster: Cluster,
    server: Server,
    daemons: [Daemon; 2],
    loads: Vec<Load>,
    sent: Report,
}

impl Site {
    fn start() -> Self {
        let cluster = Cluster::start();
        cluster.create_topic(TOPIC, 6);
        let server = Server::start();
        let daemon = |name: &str| {
            let daemon = daemon_of(&cluster.bootstrap(), Some(&server)).env("INSTANCE", name).start();
            state_is(&daemon, "kafka", "up");
            state_is(&daemon, "postgres", "up");
            daemon
        };
        let daemons = [daemon("north"), daemon("south")];
        let mut site = Self { cluster, server, daemons, loads: Vec::new(), sent: Report::default() };
        site.load();
        site
    }

    /// Tills at each daemon.
    fn load(&mut self) {
        let start = |daemon: &Daemon| Load::start(daemon.addr(), 3, Until::Stopped, paced_events);
        self.loads = self.daemons.iter().map(start).collect();
    }

    fn rest(&mut self) {
        for load in self.loads.drain(..) {
            self.sent.add(load.stop());
        }
    }

    /// Each daemon stores events there, live ones among them.
    fn both_store_in(&mut self, place: &str) {
        for daemon in &self.daemons {
            until_stored_in(daemon, &mut self.sent, place);
        }
    }

    fn all_arrived(&mut self, what: &str) {
        self.both_store_in("kafka");
        self.daemons.iter().for_each(|daemon| all_in_kafka(daemon, Some(&self.server)));
        eprintln!("{what}: done, {} forwarded by way of postgres", forwarded(&self.server));
    }
}

fn forwarded(server: &Server) -> u64 {
    server.value("SELECT count(*) FROM raw_logs WHERE forwarded_at IS NOT NULL").parse().unwrap()
}

/// Sessions that hold the drain's lock.
fn drainers(server: &Server) -> usize {
    server.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted").parse().unwrap()
}

#[test]
fn a_cluster_whose_brokers_come_and_go_loses_nothing_that_two_daemons_acknowledged() {
    let rounds = if is_long() { 10 } else { 1 };
    let mut site = Site::start();
    for _ in 0..rounds {
        one_by_one(&mut site);
        too_few_replicas(&mut site);
        all_together(&mut site);
    }
    site.rest();
    site.all_arrived("the end");
    let refused = site.sent.answers.len() - site.sent.with_status(202);
    assert_eq!(refused, 0, "of {} requests", site.sent.answers.len());
    let found = Found::in_topic(read_all(&site.cluster.bootstrap(), TOPIC));
    let found = site.daemons.iter().fold(found, |found, daemon| found.and_spool(&daemon.data_dir()));
    assert_all_arrived(&found.and_postgres(&site.server), &site.sent);
    for daemon in &site.daemons {
        assert_balanced(daemon);
        assert!(daemon.peak_rss_kib() < RESIDENT_KIB_MAX, "{} KiB", daemon.peak_rss_kib());
    }
}

/// A leader is killed, its partitions move, it comes back and gets them again; in the long form each in turn.
fn one_by_one(site: &mut Site) {
    let turns = if is_long() { 3 } else { 1 };
    for node in 0..turns {
        let led = site.cluster.led_by(node, TOPIC);
        assert!(led > 0, "broker {node} leads nothing");
        site.cluster.kill(node);
        poll(PATIENCE, "its partitions to have other leaders", || {
            (site.cluster.led_by(node, TOPIC) == 0).then_some(())
        });
        site.both_store_in("kafka");
        site.cluster.restart(&[node]);
        poll(2 * PATIENCE, "it to be in sync", || (site.cluster.in_sync(TOPIC) == 3).then_some(()));
        site.cluster.elect_preferred_leaders();
        poll(PATIENCE, "it to lead again", || (site.cluster.led_by(node, TOPIC) > 0).then_some(()));
        site.all_arrived(&format!("broker {node} killed and restarted"));
    }
}

/// Two of three are down. Postgres takes over; the daemon that drains it is killed, the other takes over.
fn too_few_replicas(site: &mut Site) {
    site.cluster.kill(1);
    site.cluster.kill(2);
    site.both_store_in("postgres");
    let few = |health: &serde_json::Value| {
        health["kafka"]["error"].as_str().is_some_and(|why| why.contains("eplicas"))
    };
    poll(PATIENCE, "the reason to be told", || {
        site.daemons.iter().any(|daemon| few(&daemon.health())).then_some(())
    });
    poll(PATIENCE, "one to drain, the other to stand by", || (drainers(&site.server) == 1).then_some(()));
    let killed = site.daemons.iter().position(|daemon| daemon.logged("this daemon drains postgres")).unwrap();
    site.daemons[killed].kill9();
    site.rest();
    let other = &site.daemons[1 - killed];
    other.wait_for_log("this daemon drains postgres", PATIENCE);
    let held = waiting(&site.server);
    assert!(held > 0, "a backlog waits");
    site.cluster.restart(&[1, 2]);
    all_in_kafka(other, Some(&site.server));
    assert!(counter(other, "recovered_postgres") >= held, "the other daemon drained what was left");
    assert!(drainers(&site.server) <= 1);
    site.daemons[killed].restart();
    site.load();
    site.all_arrived("two of three killed, and a daemon");
}

/// A power cut: all of them at once.
fn all_together(site: &mut Site) {
    (0..3).for_each(|node| site.cluster.kill(node));
    site.cluster.kill_controller();
    site.both_store_in("postgres");
    site.cluster.restart_all();
    poll(2 * PATIENCE, "all to be in sync", || (site.cluster.in_sync(TOPIC) == 3).then_some(()));
    site.all_arrived("all killed and restarted");
}
