//! Where held events are to go: the topic, and the cluster as far as it is known. Rows note it.

use std::sync::{Arc, Mutex, PoisonError};

/// One per daemon that has Kafka. Its copies share what is known of the cluster.
#[derive(Clone, Debug)]
pub struct Destination {
    topic: Arc<str>,
    cluster_id: Arc<Mutex<Option<Arc<str>>>>,
}

impl Destination {
    /// A topic on a cluster that is not known yet.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        Self { topic: topic.into(), cluster_id: Arc::default() }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The cluster's id, as it last named itself.
    #[must_use]
    pub fn cluster_id(&self) -> Option<Arc<str>> {
        self.cluster_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The cluster names itself. Returns the id that was known, if it was another one.
    pub fn is_on(&self, cluster_id: &str) -> Option<Arc<str>> {
        let mut known = self.cluster_id.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() == Some(cluster_id) {
            return None;
        }
        known.replace(cluster_id.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_copy_knows_the_cluster_and_only_another_one_is_news() {
        let destination = Destination::new("pos-logs");
        let copy = destination.clone();
        assert_eq!(copy.cluster_id(), None);
        assert_eq!(destination.is_on("a"), None);
        assert_eq!(destination.is_on("a"), None);
        assert_eq!(copy.cluster_id().as_deref(), Some("a"));
        assert_eq!(copy.is_on("b").as_deref(), Some("a"));
        assert_eq!((destination.topic(), destination.cluster_id().as_deref()), ("pos-logs", Some("b")));
    }
}
