//! The grammar of timestamps: `DATE [SEP TIME [OFFSET]]`, ISO 8601 in its calendar and week forms,
//! basic and extended. The text is only judged: what was sent is what is stored.

/// Is the whole of `text` a timestamp?
pub(super) fn is_iso8601(text: &str) -> bool {
    let mut rest = Rest(text.as_bytes());
    date_and_time(&mut rest).is_some() && rest.0.is_empty()
}

/// What is left to read. `None` anywhere below means: not in the grammar.
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

fn date_and_time(rest: &mut Rest<'_>) -> Option<()> {
    date(rest)?;
    if rest.eat(b'T') || rest.eat(b' ') {
        time(rest)?;
        offset(rest)?;
    }
    Some(())
}

fn date(rest: &mut Rest<'_>) -> Option<()> {
    let year = rest.number(4).filter(|&year| year >= 1)?;
    let extended = rest.eat(b'-');
    if rest.eat(b'W') {
        let week = rest.number(2)?;
        let has_day = if extended { rest.eat(b'-') } else { rest.at_digit() };
        let day = if has_day { rest.number(1)? } else { 1 };
        return is_week_date(year, week, day).then_some(());
    }
    let month = rest.number(2)?;
    if extended && !rest.eat(b'-') {
        return None;
    }
    let day = rest.number(2)?;
    ((1..=days_in(year, month)).contains(&day)).then_some(())
}

fn time(rest: &mut Rest<'_>) -> Option<()> {
    rest.below(24)?;
    let extended = rest.eat(b':');
    if !extended && !rest.at_digit() {
        return Some(());
    }
    rest.below(60)?;
    let has_seconds = if extended { rest.eat(b':') } else { rest.at_digit() };
    if !has_seconds {
        return Some(());
    }
    rest.below(60)?;
    if rest.eat(b'.') || rest.eat(b',') {
        rest.number(1)?;
        while rest.at_digit() {
            rest.number(1)?;
        }
    }
    Some(())
}

fn offset(rest: &mut Rest<'_>) -> Option<()> {
    if rest.0.is_empty() || rest.eat(b'Z') {
        return Some(());
    }
    if !rest.eat(b'+') && !rest.eat(b'-') {
        return None;
    }
    rest.below(24)?;
    if rest.eat(b':') || rest.at_digit() {
        rest.below(60)?;
    }
    Some(())
}

const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days of a month; a month that does not exist has none.
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
    // The last two days of week 9999-W52 are in the year 10000.
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
        }
    }
}
