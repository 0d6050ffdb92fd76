//! A cluster: one controller and three brokers, three replicas of everything, two of which must have a record
//! before it is acknowledged.

use std::collections::HashMap;

use krafka::PartitionInfo;
use krafka::admin::ElectionType;

use super::*;

const BROKERS: u16 = 3;
const CONTROLLER_ID: u16 = 10;
/// What every process of the cluster gets: a broker that is silent for so long is given up.
const COMMON: &str = "controller.listener.names=CONTROLLER\n\
    listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
    broker.session.timeout.ms=5000\n\
    broker.heartbeat.interval.ms=1000\n\
    auto.leader.rebalance.enable=false\n\
    offsets.topic.replication.factor=3\n\
    transaction.state.log.replication.factor=3\n\
    transaction.state.log.min.isr=2\n\
    min.insync.replicas=2\n\
    default.replication.factor=3\n";

/// A running cluster. Dropped, it is killed and its folders removed.
pub(crate) struct Cluster {
    controller: Broker,
    brokers: Vec<Broker>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let port = free_ports();
        let quorum = format!("controller.quorum.voters={CONTROLLER_ID}@127.0.0.1:{port}\n");
        let listener = format!("listeners=CONTROLLER://127.0.0.1:{port}\n");
        let node = |port: u16, id: u16, own: &str| {
            Broker::create(Version::V4_3, port, id, |folder| {
                format!("node.id={id}\n{quorum}{own}log.dirs={}/data\n{COMMON}", folder.display())
            })
        };
        let controller = node(port, CONTROLLER_ID, &format!("process.roles=controller\n{listener}"));
        let brokers: Vec<Broker> = (1..=BROKERS)
            .map(|id| {
                let port = free_ports();
                let own = format!(
                    "process.roles=broker\ninter.broker.listener.name=PLAINTEXT\n\
                     listeners=PLAINTEXT://127.0.0.1:{port}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{port}\n"
                );
                node(port, id, &own)
            })
            .collect();
        let mut cluster = Self { controller, brokers };
        cluster.restart_all();
        cluster
    }

    /// Every broker's address.
    pub(crate) fn bootstrap(&self) -> String {
        self.brokers.iter().map(Broker::address).collect::<Vec<_>>().join(",")
    }

    /// SIGKILL. The folder stays.
    pub(crate) fn kill(&mut self, broker: usize) {
        self.brokers[broker].kill();
    }

    pub(crate) fn kill_controller(&mut self) {
        self.controller.kill();
    }

    /// These brokers again; they answer when this returns.
    pub(crate) fn restart(&mut self, brokers: &[usize]) {
        for broker in brokers {
            self.brokers[*broker].kill();
            self.brokers[*broker].launch();
        }
        brokers.iter().for_each(|broker| self.brokers[*broker].wait_until_it_answers());
    }

    pub(crate) fn restart_all(&mut self) {
        self.controller.kill();
        self.controller.launch();
        self.restart(&[0, 1, 2]);
    }

    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) {
        self.brokers[0].create_replicated_topic(topic, partitions, BROKERS.cast_signed(), &[]);
    }

    /// Partitions of `topic` whose leader is this broker, as a live one has it.
    pub(crate) fn led_by(&self, broker: usize, topic: &str) -> usize {
        let id = i32::try_from(broker + 1).unwrap();
        self.partitions(topic).values().filter(|partition| partition.leader == id).count()
    }

    /// The fewest replicas in sync that a partition of `topic` has.
    pub(crate) fn in_sync(&self, topic: &str) -> usize {
        self.partitions(topic).values().map(|partition| partition.isr.len()).min().unwrap_or(0)
    }

    /// Leaders move to where they were at first.
    pub(crate) fn elect_preferred_leaders(&self) {
        block_on(async {
            let kafka = client(&self.live().address()).await.unwrap();
            // Per partition it says that no election was needed, which is no trouble.
            drop(kafka.admin().elect_leaders(ElectionType::Preferred, None, Default::default()).await);
        });
    }

    fn partitions(&self, topic: &str) -> HashMap<i32, PartitionInfo> {
        block_on(async {
            let known = async {
                let kafka = client(&self.live().address()).await?;
                let consumer = kafka.consumer_without_group().metrics_push(false).build().await?;
                consumer.fetch_metadata(Some(topic)).await
            };
            // While it finds itself it knows of none.
            let Ok(known) = known.await else { return HashMap::new() };
            let partitions = known.topics.iter().flat_map(|topic| topic.partitions_iter());
            partitions.map(|partition| (partition.partition, partition.clone())).collect()
        })
    }

    fn live(&self) -> &Broker {
        self.brokers.iter().find(|broker| broker.guarded.is_some()).expect("one broker is up")
    }
}
