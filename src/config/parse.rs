//! Sizes, durations and broker lists from text. Pure.

use std::time::Duration;

/// `1048576`, `64KiB`, `64 MiB`, `1G`. None: not a size.
pub(super) fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text)?;
    let factor: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    usize::try_from(number).ok()?.checked_mul(factor)
}

/// The largest unit that shows the size whole.
pub(super) fn show_bytes(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// `3`, `3s`, `500ms`, `2m`, `1h`, in milliseconds. None: not a duration.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A duration of a command's option, as settings have it.
///
/// # Errors
/// What is legal.
pub fn duration(text: &str) -> Result<Duration, String> {
    let ms = duration_ms(text).ok_or("write seconds, or a number with ms, s, m or h")?;
    Ok(Duration::from_millis(ms))
}

/// `till-server:9092, [::1]:9092, broker` (port 9092 when none is named).
///
/// Errors: which entry is wrong, and why.
pub(super) fn brokers(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|entry| broker(entry.trim())).collect()
}

fn broker(entry: &str) -> Result<String, String> {
    const FORM: &str = "use host:port, several separated by commas";
    let refuse = |why: &str| Err(format!("{why} in {entry:?}: {FORM}"));
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (entry, "9092"),
    };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_is_legal = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    if entry.is_empty() {
        return Err(format!("an entry is empty: {FORM}"));
    }
    if entry.contains("://") {
        return refuse("there is a scheme");
    }
    if !host_is_legal {
        return refuse("the host is not a host name or address");
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(format!("{host}:{port}")),
        _ => refuse("the port is not a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_units() {
        for (text, want) in [("0", 0), ("1024", 1024), ("64KiB", 65_536), ("1 GiB", 1 << 30), ("2m", 2 << 20)]
        {
            assert_eq!(bytes(text), Some(want), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1TB", "99999999999GiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(show_bytes(400 << 10), "400KiB");
        assert_eq!(show_bytes(1_000), "1000");
    }

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        for (text, want) in [("3", 3_000), ("3s", 3_000), ("500ms", 500), ("2 m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(duration_ms(text), Some(want), "{text}");
        }
        for text in ["", "s", "-3s", "1d", "3.5s"] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
    }

    #[test]
    fn broker_lists_name_the_entry_that_is_wrong() {
        let list = brokers("kafka-1:9092, 10.0.0.7 ,[::1]:19092").unwrap();
        assert_eq!(list, ["kafka-1:9092", "10.0.0.7:9092", "[::1]:19092"]);
        for (text, part) in [
            ("a:9092,,b:9092", "empty"),
            ("a:0", "\"a:0\""),
            ("a:b:c", "\"a:b:c\""),
            ("kafka://a:9092", "scheme"),
            ("a b:9092", "\"a b:9092\""),
            ("a:65536", "1 to 65535"),
        ] {
            let why = brokers(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
