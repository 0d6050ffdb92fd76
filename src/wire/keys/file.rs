//! The file of API keys: each line is `NAME KEY` or `NAME sha256:HEX`; blank lines and lines that begin with `#` are
//! ignored. Several lines of one name are several keys of one client, so that keys can be changed without a gap.
//!
//! A file with plain keys must be readable by its owner and group only; a file with hashes alone may be readable by
//! everyone, as the secrets of a container often are. Only its owner and group may write to either.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{KeyDigest, digest, words};
use crate::limits::{API_KEY_CHARS_MAX, API_KEY_CHARS_MIN, API_KEYS_FILE_BYTES_MAX, API_KEYS_MAX};

/// The longest name of a client: logs and counters show it.
const NAME_CHARS_MAX: usize = 64;
const HASH: &str = "sha256:";

/// Why a file of keys cannot be used: which line is wrong, but never what it says.
#[derive(Debug)]
pub struct KeysError {
    path: PathBuf,
    problem: String,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "API_KEYS_FILE={:?} cannot be used: {}", self.path, self.problem)
    }
}

impl std::error::Error for KeysError {}

/// A line that holds a key.
pub(super) struct KeyLine {
    pub(super) name: Box<str>,
    pub(super) digest: KeyDigest,
    is_clear: bool,
}

/// Reads and judges the file.
pub(super) fn read(path: &Path) -> Result<Vec<KeyLine>, KeysError> {
    let refuse = |problem: String| KeysError { path: path.to_owned(), problem };
    let (text, mode) = text_and_mode(path).map_err(refuse)?;
    let lines = parse(&text).map_err(refuse)?;
    check_mode(mode, lines.iter().any(|line| line.is_clear)).map_err(refuse)?;
    Ok(lines)
}

/// The only key of a client's own file.
///
/// # Errors
/// The file cannot be read, others can read it, or it holds something else.
pub fn read_one(path: &Path) -> Result<String, String> {
    let read = || {
        let (text, mode) = text_and_mode(path)?;
        check_mode(mode, true)?;
        checked(text.trim()).map(str::to_owned)
    };
    read().map_err(|problem: String| format!("the key file {path:?} cannot be used: {problem}"))
}

fn text_and_mode(path: &Path) -> Result<(String, u32), String> {
    let fails = |error: io::Error| error.to_string();
    // Opening a pipe must not wait for its other end.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fails)?;
    let meta: fs::Metadata = file.metadata().map_err(fails)?;
    if !meta.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut text = String::new();
    file.take(API_KEYS_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(fails)?;
    if text.len() as u64 > API_KEYS_FILE_BYTES_MAX {
        return Err(format!("it is larger than {API_KEYS_FILE_BYTES_MAX} bytes"));
    }
    Ok((text, meta.mode()))
}

fn check_mode(mode: u32, has_clear_keys: bool) -> Result<(), String> {
    if mode & 0o002 != 0 {
        return Err("everyone may write to it: chmod o-w".into());
    }
    if mode & 0o004 != 0 && has_clear_keys {
        return Err(
            "it holds plain keys and everyone may read it: chmod 0600, or use hashes (sha256:HEX)".into()
        );
    }
    Ok(())
}

/// Every key of the text.
///
/// # Errors
/// The first line that is wrong, by its number.
pub(super) fn parse(text: &str) -> Result<Vec<KeyLine>, String> {
    let mut lines: Vec<KeyLine> = Vec::new();
    let mut numbers: Vec<usize> = Vec::new();
    for (number, text) in (1_usize..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let line = parse_line(text).map_err(|problem| format!("line {number}: {problem}"))?;
        if let Some(twin) = lines.iter().position(|other| other.digest == line.digest) {
            return Err(format!("line {number} has the key of line {}: each key once", numbers[twin]));
        }
        if lines.len() == API_KEYS_MAX {
            return Err(format!("it has more than {API_KEYS_MAX} keys"));
        }
        lines.push(line);
        numbers.push(number);
    }
    if lines.is_empty() { Err("it has no key: nobody could send events".into()) } else { Ok(lines) }
}

fn parse_line(text: &str) -> Result<KeyLine, String> {
    let mut words_of = text.split_ascii_whitespace();
    let (Some(name), Some(key), None) = (words_of.next(), words_of.next(), words_of.next()) else {
        return Err("use NAME KEY, or NAME sha256:HEX".into());
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if name.len() > NAME_CHARS_MAX || !name.chars().all(legal) {
        return Err(format!("a name has up to {NAME_CHARS_MAX} letters, digits, '.', '_', '-' and '@'"));
    }
    let (digest, is_clear) = match key.strip_prefix(HASH) {
        Some(hex) => (from_hex(hex).ok_or("sha256: is followed by 64 hexadecimal digits")?, false),
        None => (digest(checked(key)?), true),
    };
    Ok(KeyLine { name: name.into(), digest, is_clear })
}

/// The key, if a header can carry it and nobody can guess it.
fn checked(key: &str) -> Result<&str, String> {
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a key is printable ASCII without blanks".into());
    }
    if !(API_KEY_CHARS_MIN..=API_KEY_CHARS_MAX).contains(&key.len()) {
        return Err(format!("a key has {API_KEY_CHARS_MIN} to {API_KEY_CHARS_MAX} characters"));
    }
    Ok(key)
}

fn from_hex(hex: &str) -> Option<KeyDigest> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..32).map(|nth| u8::from_str_radix(&hex[2 * nth..2 * nth + 2], 16));
    let bytes: Vec<u8> = pairs.collect::<Result<_, _>>().ok()?;
    Some(words(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "3f9a0c77b1e24d55";
    /// By `printf %s 3f9a0c77b1e24d55 | sha256sum`.
    const HASHED: &str = "sha256:d82e95d53210e23d0ac52d794592941479f94155daa03da05247f0c5aa5f27c2";

    fn problem(text: &str) -> String {
        parse(text).err().unwrap_or_else(|| panic!("taken: {text:?}"))
    }

    #[test]
    fn a_line_is_a_name_and_a_key_or_its_hash() {
        let text =
            format!("\u{20}# tills\r\n\r\n till-7\t{KEY} \r\nuser@office  sha256:{}\n", "aB".repeat(32));
        let lines = parse(&text).unwrap();
        let names: Vec<&str> = lines.iter().map(|line| &*line.name).collect();
        assert_eq!(names, ["till-7", "user@office"]);
        assert_eq!(lines[1].digest, [0xABAB_ABAB_ABAB_ABAB; 4]);
        assert!(lines[0].is_clear && !lines[1].is_clear);
        let hashed = parse(&format!("till-7 {HASHED}")).unwrap();
        assert_eq!(hashed[0].digest, lines[0].digest, "a key and its hash are the same key");
        assert_eq!(parse(&format!("a {KEY}\na {KEY}1")).unwrap().len(), 2, "two keys of one client");
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        let long = "x".repeat(API_KEY_CHARS_MAX + 1);
        for (text, said) in [
            (String::new(), "no key"),
            ("# nobody\n\n".into(), "no key"),
            ("till-7".into(), "line 1: use NAME KEY"),
            (format!("till-7 {KEY} {KEY}"), "line 1: use NAME KEY"),
            (format!("# x\ntill:7 {KEY}"), "line 2: a name has"),
            (format!("tíll {KEY}"), "a name has"),
            (format!("{} {KEY}", "n".repeat(65)), "a name has"),
            ("till-7 3f9a0c77b1e24d5".into(), "16 to 256 characters"),
            (format!("till-7 {long}"), "16 to 256 characters"),
            ("till-7 schlüsselschlüssel".into(), "printable ASCII"),
            ("till-7 sha256:3f9a0c77b1e24d55".into(), "64 hexadecimal"),
            (format!("till-7 sha256:{}", "+1".repeat(32)), "64 hexadecimal"),
            (format!("a {KEY}\n\nb {KEY}"), "line 3 has the key of line 1"),
            (format!("a {KEY}\nb {HASHED}"), "line 2 has the key of line 1"),
        ] {
            let problem = problem(&text);
            assert!(problem.contains(said), "{text:?}: {problem}");
            assert!(!problem.contains(&KEY[..15]), "{problem}");
        }
        let many: String = (0..=API_KEYS_MAX).map(|n| format!("a {KEY}{n}\n")).collect();
        assert!(problem(&many).contains("more than 1000 keys"));
    }

    #[test]
    fn keys_in_clear_are_their_owners_alone() {
        for (mode, has_clear_keys, is_fine) in [
            (0o100_600, true, true),
            (0o100_640, true, true),
            (0o100_644, true, false),
            (0o100_444, false, true),
            (0o100_602, false, false),
            (0o100_666, true, false),
        ] {
            assert_eq!(check_mode(mode, has_clear_keys).is_ok(), is_fine, "{mode:o} {has_clear_keys}");
        }
    }
}
