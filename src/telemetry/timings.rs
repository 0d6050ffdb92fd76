//! How long things take and how large they are, as histograms. An observation costs a few relaxed atomics and no lock.
//! docs/metrics.md explains the figures.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, exponential_buckets};

use crate::limits::ROUND_EVENTS_MAX;
use crate::store::StoredIn;

/// In seconds, from an fsync on a fast disk to the longest deadlines.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// One histogram. Clones share it.
#[derive(Clone, Debug)]
pub struct Histogram(prometheus::Histogram);

impl Histogram {
    fn new(name: &str, help: &str, bounds: Vec<f64>) -> Self {
        let options = HistogramOpts::new(name, help).buckets(bounds);
        let made = prometheus::Histogram::with_opts(options);
        Self(made.unwrap_or_else(|error| panic!("BUG: the histogram {name} cannot be made: {error}")))
    }

    fn seconds(name: &str, help: &str) -> Self {
        Self::new(name, help, SECONDS.to_vec())
    }

    /// Something took this long.
    pub fn took(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }

    /// Something was this large.
    pub fn was(&self, size: usize) {
        self.0.observe(size as f64);
    }
}

/// All histograms.
#[derive(Clone, Debug)]
pub struct Timings {
    /// An ingest request, from its last byte to the first of its answer.
    pub request: Histogram,
    /// A write that Kafka acknowledged.
    pub kafka: Histogram,
    /// A write that Postgres committed.
    pub postgres: Histogram,
    /// A write that the spool committed.
    pub spool: Histogram,
    /// Events that the producer wrote together.
    pub round: Histogram,
}

impl Default for Timings {
    fn default() -> Self {
        // 1, 2, 4, ... up to the largest round.
        let powers = ROUND_EVENTS_MAX.ilog2() as usize + 1;
        let mut sizes = exponential_buckets(1.0, 2.0, powers).unwrap_or_default();
        sizes.push(ROUND_EVENTS_MAX as f64);
        Self {
            request: Histogram::seconds(
                "logs_ingest_request_duration_seconds",
                "Time from an ingest request's last byte to its answer.",
            ),
            kafka: Histogram::seconds(
                "logs_ingest_kafka_ack_duration_seconds",
                "Time until Kafka acknowledged a batch of live events.",
            ),
            postgres: Histogram::seconds(
                "logs_ingest_postgres_commit_duration_seconds",
                "Time until Postgres committed a batch of live events.",
            ),
            spool: Histogram::seconds(
                "logs_ingest_spool_commit_duration_seconds",
                "Time until the spool committed and fsynced a batch of live events.",
            ),
            round: Histogram::new(
                "logs_ingest_batch_events",
                "Events that were written to a store together.",
                sizes,
            ),
        }
    }
}

impl Timings {
    /// A write of live events, some of which `place` keeps now.
    pub fn stored(&self, place: StoredIn, took: Duration) {
        match place {
            StoredIn::Kafka => self.kafka.took(took),
            StoredIn::Postgres => self.postgres.took(took),
            StoredIn::Spool => self.spool.took(took),
            // Too rare for a histogram.
            StoredIn::DeadLetter => {}
        }
    }

    /// All observations since start.
    #[must_use]
    pub fn collect(&self) -> Vec<MetricFamily> {
        let Self { request, kafka, postgres, spool, round } = self;
        [request, kafka, postgres, spool, round].into_iter().flat_map(|one| one.0.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_observed_is_collected() {
        let timings = Timings::default();
        timings.request.clone().took(Duration::from_millis(3));
        timings.stored(StoredIn::Spool, Duration::from_secs(20));
        timings.round.was(ROUND_EVENTS_MAX);
        let families = timings.collect();
        let of = |name: &str| {
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let histogram = family.get_metric()[0].get_histogram().clone();
            let last = histogram.get_bucket().last().unwrap().cumulative_count();
            (histogram.get_sample_count(), last, histogram.get_sample_sum())
        };
        assert_eq!(of("logs_ingest_request_duration_seconds"), (1, 1, 0.003));
        assert_eq!(of("logs_ingest_spool_commit_duration_seconds"), (1, 0, 20.0), "beyond every bound");
        assert_eq!(of("logs_ingest_batch_events"), (1, 1, ROUND_EVENTS_MAX as f64));
        assert_eq!(of("logs_ingest_kafka_ack_duration_seconds"), (0, 0, 0.0));
    }
}
