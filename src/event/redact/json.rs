//! Masks the card numbers in a JSON text: strings, names and numbers at any depth, in one pass from token to token. The
//! text has passed the scan; for any other text, only termination is certain.

use super::filter::may_hold_card;
use super::find::Finder;
use super::issuers::DIGITS_MIN;
use crate::event::schema::{self, Field, Kind, SCHEMA};
use crate::event::text;

/// A text whose card numbers are masked.
pub(in crate::event) struct Masked {
    /// The same JSON with the digits between the first six and the last four of each number as stars.
    pub(in crate::event) json: String,
    /// How many there were.
    pub(in crate::event) cards: u32,
}

/// What may be masked at the current place.
#[derive(Clone, Copy)]
enum StringPlace {
    /// A field of the schema that stays as sent.
    Exempt,
    /// Another field of the schema: text is masked, a number is not, because it would become a text.
    Text,
    Any,
}

struct Walk<'a> {
    json: &'a str,
    at: usize,
    depth: usize,
    place: StringPlace,
    finder: Finder,
    masked: Vec<u8>,
    /// How far the text is in `masked` already.
    done: usize,
}

/// The JSON text with its card numbers masked. `None`: it has none.
pub(in crate::event) fn mask(json: &str) -> Option<Masked> {
    if !may_hold_card(json.as_bytes()) {
        return None;
    }
    let mut walk = Walk {
        json,
        at: 0,
        depth: 0,
        place: StringPlace::Any,
        finder: Finder::default(),
        masked: Vec::new(),
        done: 0,
    };
    while let Some(&byte) = json.as_bytes().get(walk.at) {
        walk.token(byte);
    }
    if walk.finder.cards == 0 {
        return None;
    }
    walk.masked.extend_from_slice(&json.as_bytes()[walk.done..]);
    let json = String::from_utf8(walk.masked).expect("BUG: a star for a digit made a text another encoding");
    Some(Masked { json, cards: u32::try_from(walk.finder.cards).unwrap_or(u32::MAX) })
}

impl Walk<'_> {
    fn token(&mut self, byte: u8) {
        match byte {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.at += 1;
    }

    /// Leaves `at` on the closing quote.
    fn string(&mut self) {
        let opening = self.at;
        let end = closing_quote(self.json.as_bytes(), opening + 1);
        self.at = end;
        let token = &self.json[opening..(end + 1).min(self.json.len())];
        if self.depth == 1 && self.is_name(end + 1) {
            self.place = place_of(token);
        } else if self.depth == 1 && matches!(self.place, StringPlace::Exempt) {
            return;
        }
        let inside = &self.json[opening + 1..end];
        if may_hold_card(inside.as_bytes()) {
            self.finder.search(Characters { text: inside, at: 0 });
            self.replace(opening + 1);
        }
    }

    /// Leaves `at` on the last character.
    fn number(&mut self) {
        let bytes = self.json.as_bytes();
        let from = self.at;
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let end = from + bytes[from..].iter().take_while(is_part).count();
        self.at = end - 1;
        if end - from < DIGITS_MIN || self.depth == 1 && !matches!(self.place, StringPlace::Any) {
            return;
        }
        let number = &self.json[from..end];
        let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
        self.finder.search(mantissa.char_indices());
        if !self.finder.masked.is_empty() {
            self.copy_to(from);
            self.masked.push(b'"');
            self.replace(from);
            self.copy_to(end);
            self.masked.push(b'"');
        }
    }

    /// Whether a colon follows.
    fn is_name(&self, from: usize) -> bool {
        let rest = self.json.as_bytes().get(from..).unwrap_or_default();
        rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
    }

    /// Writes a star for each digit found. Places are counted from `from`.
    fn replace(&mut self, from: usize) {
        let mut found = std::mem::take(&mut self.finder.masked);
        found.sort_unstable();
        found.dedup();
        for at in found.drain(..) {
            let digit = from + at;
            self.copy_to(digit);
            self.masked.push(b'*');
            // A digit, or the escape of one: `\u0034`.
            self.done = digit + if self.json.as_bytes()[digit] == b'\\' { 6 } else { 1 };
        }
        self.finder.masked = found;
    }

    fn copy_to(&mut self, end: usize) {
        self.masked.extend_from_slice(&self.json.as_bytes()[self.done..end]);
        self.done = end;
    }
}

/// What may be masked in the value of the member with this name.
fn place_of(token: &str) -> StringPlace {
    let name = text::decode(token).unwrap_or_default();
    match schema::find(&name, 0) {
        None => StringPlace::Any,
        Some(field) if field == Field::RequestId as usize => StringPlace::Exempt,
        Some(field) => match SCHEMA[field].kind {
            Kind::Timestamp | Kind::Float | Kind::Integer => StringPlace::Exempt,
            Kind::Text | Kind::Level | Kind::Object => StringPlace::Text,
        },
    }
}

/// The end of the string whose inside starts at `from`.
fn closing_quote(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if bytes[at + found] == b'"' {
            return at + found;
        }
        at += found + 2;
    }
    bytes.len()
}

/// The decoded characters of the inside of a JSON string, each with the place of its first byte.
#[derive(Clone)]
struct Characters<'a> {
    text: &'a str,
    at: usize,
}

impl Iterator for Characters<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<(usize, char)> {
        let at = self.at;
        let rest = self.text.get(at..)?;
        let c = rest.chars().next()?;
        if c != '\\' {
            self.at += c.len_utf8();
            return Some((at, c));
        }
        let escape = rest.as_bytes().get(1).copied().unwrap_or_default();
        let (c, length) = match escape {
            b'u' => unicode_escape(rest),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'"' | b'\\' | b'/' => (char::from(escape), 2),
            // Not an escape of JSON, so not one of a digit.
            _ => (char::REPLACEMENT_CHARACTER, 2),
        };
        self.at += length;
        Some((at, c))
    }
}

/// The character of the escape, or of the two escapes, at the start of `text`, and their length.
fn unicode_escape(text: &str) -> (char, usize) {
    let unit = |from: usize| {
        let digits = text.get(from..from + 4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let first = unit(2).unwrap_or_default();
    if !(0xD800..0xDC00).contains(&first) {
        return (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6);
    }
    let low = unit(8).unwrap_or_default();
    let pair = 0x10000 + ((first & 0x3FF) << 10) + (low & 0x3FF);
    (char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
}
