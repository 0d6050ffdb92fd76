//! Which events a command is about: the same flags wherever stored events are read.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};

use crate::store::browse::{RowState, Wanted};

/// Flags that pick events. All that are given must hold.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which events")]
pub struct Selection {
    /// Received at this time or later: 2026-01-31, "2026-01-31 09:15", 2026-01-31T09:15:00Z; without
    /// an offset it is this machine's time
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    pub from: Option<i64>,

    /// Received before this time
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    pub to: Option<i64>,

    /// Only events with this request_id
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,

    /// Only events of these levels; several with commas, or the flag again
    #[arg(long, value_name = "LEVEL", value_delimiter = ',',
          value_parser = ["debug", "info", "warn", "error", "critical"])]
    pub level: Vec<String>,

    /// Only events of this service
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,

    /// Only events in this state: held waits for Kafka, home is at its destination, forwarded (in
    /// PostgreSQL) is in Kafka already
    #[arg(long, value_name = "STATE",
          value_parser = PossibleValuesParser::new(RowState::NAMES).try_map(|name| name.parse::<RowState>()))]
    pub state: Option<RowState>,
}

impl Selection {
    /// As the stores take it.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            request_id: self.request_id.clone(),
            service: self.service.clone(),
            levels: self.level.clone(),
            state: self.state,
            from_ms: self.from,
            to_ms: self.to,
        }
    }
}

fn time_ms(text: &str) -> Result<i64, String> {
    time_in(text, &Local).map(|time| time.timestamp_millis()).ok_or_else(|| {
        "write 2026-01-31, \"2026-01-31 09:15\", \"2026-01-31 09:15:30\" or 2026-01-31T09:15:30Z".to_owned()
    })
}

/// A time as people write it. One that a clock change skips or repeats is the earliest that fits.
fn time_in<Tz: TimeZone>(text: &str, zone: &Tz) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .into_iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .or_else(|| {
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            Some(day.and_time(NaiveTime::MIN))
        })?;
    let hour_later = || zone.from_local_datetime(&(local + chrono::Duration::hours(1))).earliest();
    zone.from_local_datetime(&local).earliest().or_else(hour_later).map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let zone = FixedOffset::east_opt(3_600).unwrap();
        for (text, want) in [
            ("2026-01-31", Some("2026-01-30T23:00:00+00:00")),
            (" 2026-01-31 09:15 ", Some("2026-01-31T08:15:00+00:00")),
            ("2026-01-31T09:15", Some("2026-01-31T08:15:00+00:00")),
            ("2026-01-31 09:15:30.250", Some("2026-01-31T08:15:30.250+00:00")),
            ("2026-01-31T09:15:30Z", Some("2026-01-31T09:15:30+00:00")),
            ("2026-01-31T09:15:30-05:00", Some("2026-01-31T14:15:30+00:00")),
            ("2026-02-30", None),
            ("yesterday", None),
            ("09:15", None),
            ("", None),
        ] {
            assert_eq!(time_in(text, &zone).map(|time| time.to_rfc3339()).as_deref(), want, "{text}");
        }
        assert!(time_ms("31.1.2026").unwrap_err().contains("2026-01-31"));
    }
}
