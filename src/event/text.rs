//! JSON strings: decoding, and writing them in the one spelling of the normal form.

use std::borrow::Cow;

use serde::Serialize;

/// The text of a JSON string token. `None`: the token is not a well-formed string. A string that passed the scan
/// always is.
pub(super) fn decode(token: &str) -> Option<Cow<'_, str>> {
    let inner = token.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(token).ok().map(Cow::Owned)
}

/// The text of the JSON string at the start of `json`.
pub(super) fn decode_first(json: &str) -> Option<Cow<'_, str>> {
    let bytes = json.as_bytes();
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return decode(&json[..=at]);
        }
        at += 2;
    }
}

/// Appends `value` as JSON.
pub(super) fn write_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("BUG: a text or number could not be written to memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_escapes_is_copied() {
        assert!(matches!(decode(r#""till 7 é""#), Some(Cow::Borrowed("till 7 é"))));
        assert!(matches!(decode(r#""""#), Some(Cow::Borrowed(""))));
        assert_eq!(decode(r#""\u006cevel\n\ud83d\ude00\/""#).as_deref(), Some("level\n😀/"));
        for token in ["", "\"", "1", "null", "{}", r#""\ud800""#, r#""\x""#, r#"a""#, r#""a"#] {
            assert_eq!(decode(token), None, "{token}");
        }
    }

    #[test]
    fn the_first_string_ends_at_its_own_quote() {
        for (json, text) in [(r#""a","b""#, "a"), (r#""\"\\","b""#, "\"\\"), (r#""""#, "")] {
            assert_eq!(decode_first(json).as_deref(), Some(text), "{json}");
        }
        for json in ["", "\"", "\"a", r#""\""#, "1", r#""a\"#] {
            assert_eq!(decode_first(json), None, "{json}");
        }
    }

    #[test]
    fn only_quotes_backslashes_and_control_characters_are_escaped() {
        let mut out = Vec::new();
        write_json("\"\\/\u{0}\u{1f}\n\u{7f}é😀", &mut out);
        assert_eq!(out, "\"\\\"\\\\/\\u0000\\u001f\\n\u{7f}é😀\"".as_bytes());
    }
}
