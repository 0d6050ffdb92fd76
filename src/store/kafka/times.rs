//! Which time a record is sent with. Pure.
//!
//! A topic refuses records, or removes them, by their own time. An event that waited, or that was received by a clock
//! that was wrong, would reach nobody: it is sent with the time of sending, so that its readers have the topic's whole
//! retention. `received_at` stays in the header.

use std::collections::BTreeMap;

/// Of a topic's settings that nobody may read: an event that is older than this is late.
const LATE_UNKNOWN_MS: i64 = 60_000;
/// 2: half. A record may lose no more than this part of the topic's retention.
const RETENTION_SHARE: i64 = 2;

/// What a topic's settings say about the times of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicTimes {
    /// Records that are older than this when they are sent get the time of sending.
    late_ms: i64,
}

impl TopicTimes {
    /// The settings that are asked for.
    pub(super) const NAMES: [&str; 4] = [
        "retention.ms",
        "cleanup.policy",
        "message.timestamp.before.max.ms",
        "message.timestamp.difference.max.ms",
    ];

    /// Of a topic whose settings cannot be read.
    pub(super) const UNKNOWN: Self = Self { late_ms: LATE_UNKNOWN_MS };

    /// By the settings as the broker names them. `difference` is what brokers before 3.6 have for `before` and `after`.
    pub(crate) fn of(settings: &BTreeMap<String, String>) -> Self {
        let ms =
            |name: &str| settings.get(name).and_then(|value| value.parse().ok()).filter(|ms: &i64| *ms >= 0);
        let Some(retention) = settings.get("retention.ms") else { return Self::UNKNOWN };
        // -1 is for ever. What removes nothing for its age, such as compaction alone, has a retention too, unused.
        let retention = match retention.as_str() {
            "-1" => i64::MAX,
            text => text.parse().unwrap_or(LATE_UNKNOWN_MS * RETENTION_SHARE),
        };
        let refused = [ms("message.timestamp.before.max.ms"), ms("message.timestamp.difference.max.ms")];
        let refused = refused.into_iter().flatten().min().unwrap_or(i64::MAX);
        Self { late_ms: (retention / RETENTION_SHARE).min(refused / RETENTION_SHARE) }
    }

    /// The time of the record of an event that was received at `received_ms` and is sent at `now_ms`, by one clock, which
    /// may have been set in between.
    pub(crate) fn of_record(self, received_ms: i64, now_ms: i64) -> i64 {
        let age = now_ms.saturating_sub(received_ms);
        if (0..=self.late_ms).contains(&age) { received_ms } else { now_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;
    const NOW: i64 = 1_793_491_200_000;

    fn of(settings: &[(&str, &str)]) -> TopicTimes {
        TopicTimes::of(
            &settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        )
    }

    #[test]
    fn an_event_keeps_its_time_while_that_costs_its_readers_little() {
        let week = of(&[("retention.ms", "604800000")]);
        for (age, is_kept) in [
            (0, true),
            (3 * DAY_MS, true),
            (4 * DAY_MS, false),
            (40 * DAY_MS, false),
            // The clock was ahead when it was received.
            (-1, false),
            (-400 * DAY_MS, false),
        ] {
            let received = NOW - age;
            let expected = if is_kept { received } else { NOW };
            assert_eq!(week.of_record(received, NOW), expected, "{age} ms old");
        }
        assert_eq!(week.of_record(i64::MIN, i64::MAX), i64::MAX);
    }

    #[test]
    fn every_setting_that_judges_a_time_counts_and_none_that_is_unlimited() {
        let old = NOW - 365 * DAY_MS;
        let forever = ("retention.ms", "-1");
        assert_eq!(of(&[forever]).of_record(old, NOW), old);
        assert_eq!(
            of(&[forever, ("message.timestamp.before.max.ms", "9223372036854775807")]).of_record(old, NOW),
            old
        );
        for name in ["message.timestamp.before.max.ms", "message.timestamp.difference.max.ms"] {
            assert_eq!(of(&[forever, (name, "86400000")]).of_record(old, NOW), NOW, "{name}");
        }
        let hour = of(&[("retention.ms", "3600000")]);
        assert_eq!(hour.of_record(NOW - 1_700_000, NOW), NOW - 1_700_000);
        assert_eq!(hour.of_record(NOW - 1_900_000, NOW), NOW);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_unlimited() {
        for unknown in [TopicTimes::UNKNOWN, of(&[]), of(&[("retention.ms", "a week")])] {
            assert_eq!(unknown.of_record(NOW - 59_000, NOW), NOW - 59_000);
            assert_eq!(unknown.of_record(NOW - 61_000, NOW), NOW);
        }
    }
}
