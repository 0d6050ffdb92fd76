//! W3C trace context: whether a `traceparent` is valid. Pure.

use crate::limits::TRACEPARENT_MAX;

/// Version 00: `00-<32>-<16>-<2>` in lower-case hexadecimal.
const LEN: usize = 55;

/// Whether it may be passed on: all its parts are there, and no id is zero. A later version may have further parts.
#[must_use]
pub fn is_valid(text: &str) -> bool {
    if text.len() < LEN || text.len() > TRACEPARENT_MAX || !text.is_ascii() {
        return false;
    }
    let (parts, more) = text.split_at(LEN);
    let mut parts = parts.split('-');
    let mut part = |len: usize| parts.next().filter(|part| part.len() == len && is_hex(part));
    let (Some(version), Some(trace), Some(parent), Some(_flags)) = (part(2), part(32), part(16), part(2))
    else {
        return false;
    };
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    let ends_well = more.is_empty() || (version != "00" && more.starts_with('-'));
    version != "ff" && !is_zero(trace) && !is_zero(parent) && ends_well
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_and_meaningful_ones_are_valid() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let good = format!("00-{trace}-{parent}-01");
        assert!(is_valid(&good));
        assert!(is_valid(&format!("00-{trace}-{parent}-ff")));
        assert!(is_valid(&format!("cc-{trace}-{parent}-01")));
        assert!(is_valid(&format!("cc-{trace}-{parent}-01-what-the-future-holds")));
        for wrong in [
            String::new(),
            good[1..].to_owned(),
            good[..54].to_owned(),
            good.to_uppercase(),
            good.replace('-', "_"),
            format!("{good}-"),
            format!("{good}x"),
            format!("cc-{trace}-{parent}-01x"),
            format!("ff-{trace}-{parent}-01"),
            format!("0g-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}0-{}-01", &parent[1..]),
            format!("00-{trace}-{parent}-0 "),
            format!("cc-{trace}-{parent}-01-{}", "x".repeat(TRACEPARENT_MAX)),
        ] {
            assert!(!is_valid(&wrong), "{wrong:?}");
        }
    }
}
