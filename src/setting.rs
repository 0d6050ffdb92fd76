//! The kinds of value that settings have, each with its one parser.
//!
//! A room declares its settings as clap `Args` beside the code that they steer. Such a struct is called `Options`; its
//! field names are the only place where variable and flag are written. `config/` reads them.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;

/// A number that settings have. There are several, so that a range must name its type.
pub trait WholeNumber: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static {}

impl WholeNumber for u16 {}
impl WholeNumber for u32 {}
impl WholeNumber for u64 {}
impl WholeNumber for usize {}

/// A whole number.
pub fn count<T: WholeNumber>(range: RangeInclusive<T>) -> impl TypedValueParser<Value = T> {
    move |text: &str| {
        let number = text.trim().parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("use a whole number from {} to {}", range.start(), range.end()))
    }
}

/// Whole days.
pub fn days(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    count(range).map(|days| Duration::from_secs(24 * 60 * 60 * days))
}

/// `1048576`, `64KiB`, `64 MiB`, `1G`, in bytes.
pub fn size(range: RangeInclusive<usize>) -> impl TypedValueParser<Value = usize> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("b", 1),
        ("k", 1 << 10),
        ("kib", 1 << 10),
        ("m", 1 << 20),
        ("mib", 1 << 20),
        ("g", 1 << 30),
        ("gib", 1 << 30),
    ];
    move |text: &str| {
        let bytes = with_unit(text, &UNITS).and_then(|bytes| usize::try_from(bytes).ok());
        bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            let (least, most) = (show_size(*range.start()), show_size(*range.end()));
            format!("use a size from {least} to {most}: bytes, or with KiB, MiB or GiB")
        })
    }
}

/// The largest unit that shows the size whole.
fn show_size(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// `3`, `3s`, `500ms`, `2m`, `1h`. The range is in milliseconds.
pub fn duration(range_ms: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    const UNITS: [(&str, u64); 6] =
        [("ms", 1), ("", 1_000), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000)];
    move |text: &str| {
        let ms = with_unit(text, &UNITS).filter(|ms| range_ms.contains(ms));
        ms.map(Duration::from_millis).ok_or_else(|| {
            let (least, most) = (range_ms.start(), range_ms.end() / 1_000);
            format!("use a duration from {least}ms to {most}s: seconds, or with ms, s, m or h")
        })
    }
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| unit.trim_start().eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// One of a few words, in any case.
pub fn choice<T: Copy + Send + Sync>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    move |text: &str| {
        let chosen = words.iter().find(|(word, _)| text.trim().eq_ignore_ascii_case(word));
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let (last, others) = names.split_last().expect("BUG: a choice of nothing");
            format!("use {} or {last}", others.join(", "))
        })
    }
}

/// On or off.
pub fn switch() -> impl TypedValueParser<Value = bool> {
    choice(&[("on", true), ("off", false)])
}

/// An address of this machine.
///
/// # Errors
/// What is legal.
pub fn address(text: &str) -> Result<IpAddr, &'static str> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        _ => bare.parse().map_err(|_| "use an IP address of this machine, 0.0.0.0, :: or localhost"),
    }
}

/// A value that no text shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value, for who needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn parse<T: Clone + Send + Sync>(kind: &impl TypedValueParser<Value = T>, text: &str) -> Option<T> {
        kind.parse_ref(&clap::Command::new(""), None, OsStr::new(text)).ok()
    }

    #[test]
    fn sizes_take_binary_units() {
        let kind = size(0..=usize::MAX);
        for (text, want) in [("0", 0), ("1024", 1024), ("64KiB", 65_536), ("1 GiB", 1 << 30), ("2m", 2 << 20)]
        {
            assert_eq!(parse(&kind, text), Some(want), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1TB", "99999999999GiB"] {
            assert_eq!(parse(&kind, text), None, "{text}");
        }
        assert_eq!((show_size(400 << 10), show_size(1_000)), ("400KiB".to_owned(), "1000".to_owned()));
    }

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        let kind = duration(0..=u64::MAX);
        for (text, want) in [("3", 3_000), ("3s", 3_000), ("500ms", 500), ("2 m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse(&kind, text), Some(Duration::from_millis(want)), "{text}");
        }
        for text in ["", "s", "-3s", "1d", "3.5s"] {
            assert_eq!(parse(&kind, text), None, "{text}");
        }
    }

    #[test]
    fn ranges_hold_and_choices_take_any_case() {
        assert_eq!(
            [0, 1, 7, 8].map(|n| parse(&count(1..=7_usize), &n.to_string())),
            [None, Some(1), Some(7), None]
        );
        assert_eq!(
            ["ON", "off", "maybe", ""].map(|text| parse(&switch(), text)),
            [Some(true), Some(false), None, None]
        );
        assert_eq!(address("[::1]").unwrap().to_string(), "::1");
        assert_eq!(address("localhost").unwrap().to_string(), "127.0.0.1");
        assert_eq!(format!("{:?}", Secret::from("hunter2".to_owned())), "(not shown)");
    }
}
