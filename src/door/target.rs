//! The request target: its form, its decoded path, its query. Pure.

use std::borrow::Cow;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestTarget<'b> {
    /// Percent-decoded. `None`: the result is not text, so it is not a path that the daemon has.
    pub(super) path: Option<Cow<'b, str>>,
    /// As sent, without the question mark.
    pub(super) query: Option<&'b str>,
}

/// Origin-form (`/path?query`), absolute-form (`http://host/path?query`) and `*`.
///
/// # Errors
/// What is wrong with it, for the client.
pub(super) fn parse(raw: &str) -> Result<RequestTarget<'_>, &'static str> {
    if !raw.is_ascii() || raw.contains('#') {
        return Err("the request target has a character that must be percent-encoded");
    }
    let local = if raw.starts_with('/') || raw == "*" { raw } else { after_authority(raw)? };
    let (path, query) = match local.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (local, None),
    };
    // The empty path of an absolute-form target is the root.
    Ok(RequestTarget { path: decode(if path.is_empty() { "/" } else { path }), query })
}

fn after_authority(raw: &str) -> Result<&str, &'static str> {
    let (scheme, rest) = raw.split_once("://").ok_or("the request target is neither a path nor a URL")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err("the request target is not an http URL");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    if end == 0 { Err("the request target has no host") } else { Ok(&rest[end..]) }
}

fn decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_give_path_and_query() {
        for (raw, path, query) in [
            ("/health", Some("/health"), None),
            ("/health?", Some("/health"), Some("")),
            ("/health?a=%zz&b", Some("/health"), Some("a=%zz&b")),
            ("/api%2Flogs/%69ngest", Some("/api/logs/ingest"), None),
            ("http://till.example/health?x", Some("/health"), Some("x")),
            ("HTTPS://[::1]:8000/health", Some("/health"), None),
            ("http://till.example", Some("/"), None),
            ("http://till.example?x", Some("/"), Some("x")),
            ("/%", None, None),
            ("/%4", None, None),
            ("/%+1", None, None),
            ("/%ff", None, None),
            ("/a%00b", Some("/a\0b"), None),
            ("//health", Some("//health"), None),
            ("*", Some("*"), None),
        ] {
            let target = parse(raw).unwrap();
            assert_eq!((target.path.as_deref(), target.query), (path, query), "{raw}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for raw in ["health", "till.example:443", "ftp://x/health", "http:///health", "/a#b", "/ü", "?x"] {
            assert!(parse(raw).is_err(), "{raw}");
        }
    }
}
