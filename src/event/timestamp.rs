//! The grammar of timestamps: `DATE [SEP TIME [OFFSET]]`, ISO 8601 in its calendar and week forms, basic and extended.
//! The text is checked and its instant found; the text itself is stored as sent.

/// The instant of `text` in milliseconds since 1970; without an offset it is UTC. `None`: it is not a timestamp.
#[must_use]
pub fn instant_ms(text: &str) -> Option<i64> {
    let mut rest = Rest(text.as_bytes());
    date_and_time(&mut rest).filter(|_| rest.0.is_empty())
}

/// What is left to read. Below, `None` always means: not in the grammar.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn at_digit(&self) -> bool {
        self.peek().is_some_and(|byte| byte.is_ascii_digit())
    }

    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number
            .iter()
            .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
    }

    /// Two digits below `end`.
    fn below(&mut self, end: u32) -> Option<u32> {
        self.number(2).filter(|&value| value < end)
    }
}

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

fn date_and_time(rest: &mut Rest<'_>) -> Option<i64> {
    let midnight = date(rest)? * DAY_MS;
    if rest.eat(b'T') || rest.eat(b' ') {
        let time = time(rest)?;
        return Some(midnight + time - offset(rest)?);
    }
    Some(midnight)
}

/// In days since 1970.
fn date(rest: &mut Rest<'_>) -> Option<i64> {
    let year = rest.number(4).filter(|&year| year >= 1)?;
    let extended = rest.eat(b'-');
    if rest.eat(b'W') {
        let week = rest.number(2)?;
        let has_day = if extended { rest.eat(b'-') } else { rest.at_digit() };
        let day = if has_day { rest.number(1)? } else { 1 };
        return is_week_date(year, week, day).then(|| week_day(year, week, day));
    }
    let month = rest.number(2)?;
    if extended && !rest.eat(b'-') {
        return None;
    }
    let day = rest.number(2)?;
    ((1..=days_in(year, month)).contains(&day)).then(|| day_of(year, month, day))
}

/// In milliseconds; finer digits are dropped.
fn time(rest: &mut Rest<'_>) -> Option<i64> {
    let hours = rest.below(24)?;
    let extended = rest.eat(b':');
    if !extended && !rest.at_digit() {
        return Some(i64::from(hours) * 60 * MINUTE_MS);
    }
    let minutes = i64::from(hours * 60 + rest.below(60)?);
    let has_seconds = if extended { rest.eat(b':') } else { rest.at_digit() };
    if !has_seconds {
        return Some(minutes * MINUTE_MS);
    }
    let seconds = i64::from(rest.below(60)?);
    let mut fraction = 0;
    if rest.eat(b'.') || rest.eat(b',') {
        let mut unit = 100;
        fraction += unit * i64::from(rest.number(1)?);
        while rest.at_digit() {
            unit /= 10;
            fraction += unit * i64::from(rest.number(1)?);
        }
    }
    Some(minutes * MINUTE_MS + seconds * 1_000 + fraction)
}

/// In milliseconds east of UTC.
fn offset(rest: &mut Rest<'_>) -> Option<i64> {
    if rest.0.is_empty() || rest.eat(b'Z') {
        return Some(0);
    }
    let sign = if rest.eat(b'+') {
        1
    } else if rest.eat(b'-') {
        -1
    } else {
        return None;
    };
    let mut minutes = rest.below(24)? * 60;
    if rest.eat(b':') || rest.at_digit() {
        minutes += rest.below(60)?;
    }
    Some(sign * i64::from(minutes) * MINUTE_MS)
}

/// Days since 1970 of a valid date. Years begin in March here, so that the leap day is the last one.
fn day_of(year: u32, month: u32, day: u32) -> i64 {
    const TO_1970: i64 = 719_468;
    let year = i64::from(year) - i64::from(month <= 2);
    let month = i64::from((month + 9) % 12);
    let in_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    365 * year + year / 4 - year / 100 + year / 400 + in_year - TO_1970
}

/// The same for a day of a week. The 4th of January is always in week 1.
fn week_day(year: u32, week: u32, day: u32) -> i64 {
    let fourth = day_of(year, 1, 4);
    // 1970 began on a Thursday.
    let monday = fourth - (fourth + 3).rem_euclid(7);
    monday + i64::from(week - 1) * 7 + i64::from(day - 1)
}

const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days of a month; 0 for a month that does not exist.
const fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

fn is_week_date(year: u32, week: u32, day: u32) -> bool {
    // The last two days of 9999-W52 are in the year 10000.
    let days = if (year, week) == (9999, 52) { 5 } else { 7 };
    (1..=weeks_in(year)).contains(&week) && (1..=days).contains(&day)
}

/// A year has 53 ISO weeks when it ends on a Thursday, or the year before ended on a Wednesday.
const fn weeks_in(year: u32) -> u32 {
    /// 0 is Sunday.
    const fn last_weekday(year: u32) -> u32 {
        (year + year / 4 - year / 100 + year / 400) % 7
    }
    if last_weekday(year) == 4 || last_weekday(year - 1) == 3 { 53 } else { 52 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate, Weekday};
    use proptest::prelude::*;

    fn is_iso8601(text: &str) -> bool {
        instant_ms(text).is_some()
    }

    #[test]
    fn every_form_names_its_instant() {
        let at = 1_763_486_495_000;
        for (text, ms) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:00.001Z", 1),
            ("1969-12-31T23:59:59.999", -1),
            ("2025-11-18T17:21:35Z", at),
            ("20251118T172135", at),
            ("2025-W47-2 17:21:35", at),
            ("2025-11-18T18:21:35.7509+01", at + 750),
            ("2025-11-18T11:51:35,75-0530", at + 750),
            ("2025-11-19T17:20:35+23:59", at),
            ("2025-11-18T17:21", at - 35_000),
            ("2025-11-18T17", at - 21 * 60_000 - 35_000),
            ("0001-01-01", -62_135_596_800_000),
            ("0001-01-01T00:00+23:59", -62_135_596_800_000 - 86_340_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("2020-W53-7", 1_609_632_000_000),
        ] {
            assert_eq!(instant_ms(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn every_form_is_accepted() {
        let dates = ["2025-11-18", "20251118", "2025-W47", "2025-W47-2", "2025W47", "2025W472"];
        let times = ["17", "17:21", "17:21:35", "17:21:35.7", "17:21:35,750123456789", "1721", "172135"];
        let offsets = ["", "Z", "+01", "-0130", "+05:45", "-23:59", "+00", "-00:00"];
        for date in dates {
            assert!(is_iso8601(date), "{date}");
            for (separator, time, offset) in times
                .iter()
                .chain(&["172135.750", "172135,7", "00:00:00", "23:59:59"])
                .flat_map(|time| offsets.map(|offset| (["T", " "], time, offset)))
                .flat_map(|(separators, time, offset)| separators.map(|sep| (sep, time, offset)))
            {
                let text = format!("{date}{separator}{time}{offset}");
                assert!(is_iso8601(&text), "{text}");
            }
        }
        for edge in ["0001-01-01", "9999-12-31", "2024-02-29", "2000-02-29", "2020-W53-7", "9999-W52-5"] {
            assert!(is_iso8601(edge), "{edge}");
        }
    }

    #[test]
    fn what_is_outside_the_grammar_is_refused() {
        for text in [
            // dates
            "",
            "2025",
            "2025-11",
            "2025-1-8",
            "2025-1118",
            "202511-18",
            "2025/11/18",
            "18.11.2025",
            "0000-01-01",
            "0000-W01",
            "10000-01-01",
            "-2025-11-18",
            "+2025-11-18",
            "2025-00-10",
            "2025-13-01",
            "2025-11-00",
            "2025-11-31",
            "2025-02-29",
            "1900-02-29",
            "2025-322",
            "2025-W00",
            "2025-W53",
            "2025-W54-1",
            "2025-W47-0",
            "2025-W47-8",
            "2025-W47-",
            "2025-W472",
            "2025W47-2",
            "2025W470",
            "2025-w47",
            "9999-W52-6",
            "9999-W52-7",
            "２025-11-18",
            "2025-11-1８",
            // times
            "2025-11-18T",
            "2025-11-18 ",
            " 2025-11-18",
            "2025-11-18T17:21:35Z ",
            "2025-11-18\n",
            "2025-11-18  17:21",
            "2025-11-18t17:21",
            "2025-11-18_17:21",
            "2025-11-18T1",
            "2025-11-18T7:21",
            "2025-11-18T24:00",
            "2025-11-18T17:60",
            "2025-11-18T17:21:60",
            "2025-11-18T17:21:",
            "2025-11-18T17:",
            "2025-11-18T17:2135",
            "2025-11-18T1721:35",
            "2025-11-18T17:21:35.",
            "2025-11-18T17:21:35,Z",
            "2025-11-18T17.5",
            "2025-11-18T17:21.5",
            "2025-11-18T172",
            "2025-11-18T17:21:35.1.2",
            "2025-11-18T17:21:35.\u{663}",
            // offsets
            "2025-11-18Z",
            "2025-11-18+01:00",
            "2025-11-18T17:21z",
            "2025-11-18T17:21+5",
            "2025-11-18T17:21+",
            "2025-11-18T17:21+24:00",
            "2025-11-18T17:21+01:60",
            "2025-11-18T17:21+01:",
            "2025-11-18T17:21+010",
            "2025-11-18T17:21+01:00:00",
            "2025-11-18T17:21ZZ",
            "2025-11-18T17:21 Z",
            "2025-11-18T17:21UTC",
            "2025-11-18T17:21\u{2212}01:00",
            // other notations
            "1763486495",
            "1763486495.75",
            "Tue, 18 Nov 2025 17:21:35 GMT",
            "now",
            "2025-11-18T17:21:35Z[UTC]",
        ] {
            assert!(!is_iso8601(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_date_is_accepted_when_it_is_real(year in 0_u16..=9999, month in 0_u32..=13, day in 0_u32..=32) {
            let real = year >= 1 && NaiveDate::from_ymd_opt(year.into(), month, day).is_some();
            prop_assert_eq!(is_iso8601(&format!("{year:04}-{month:02}-{day:02}")), real);
            prop_assert_eq!(is_iso8601(&format!("{year:04}{month:02}{day:02}T00")), real);
        }

        #[test]
        fn a_week_is_accepted_when_it_is_real(year in 0_u16..=9999, week in 0_u32..=54, day in 0_u8..=8) {
            let monday = NaiveDate::from_isoywd_opt(year.into(), week, Weekday::Mon);
            let date = Weekday::try_from(day.wrapping_sub(1)).ok()
                .and_then(|day| NaiveDate::from_isoywd_opt(year.into(), week, day))
                .filter(|date| date.year() <= 9999);
            let real = |date: Option<NaiveDate>| year >= 1 && date.is_some();
            prop_assert_eq!(is_iso8601(&format!("{year:04}-W{week:02}")), real(monday));
            prop_assert_eq!(is_iso8601(&format!("{year:04}W{week:02}")), real(monday));
            prop_assert_eq!(is_iso8601(&format!("{year:04}-W{week:02}-{day}")), real(date));
            prop_assert_eq!(is_iso8601(&format!("{year:04}W{week:02}{day} 00")), real(date));
            if let Some(date) = date.filter(|_| year >= 1) {
                let midnight = date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis();
                prop_assert_eq!(instant_ms(&format!("{year:04}-W{week:02}-{day}")), Some(midnight));
            }
        }

        #[test]
        fn an_instant_is_chronos(ms in -62_135_596_800_000_i64..=253_402_300_799_999, minutes in -1_439_i32..=1_439) {
            let offset = chrono::FixedOffset::east_opt(minutes * 60).unwrap();
            let time = chrono::DateTime::from_timestamp_millis(ms).unwrap().with_timezone(&offset);
            prop_assume!((1..=9999).contains(&time.year()));
            prop_assert_eq!(instant_ms(&time.format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()), Some(ms));
            prop_assert_eq!(instant_ms(&time.format("%Y%m%d %H%M%S%.3f%z").to_string()), Some(ms));
        }
    }
}
