//! The items of a batch, one at a time: lines (NDJSON), or the elements of one array. They are separated while the
//! body is read, so that a batch takes no more memory than its largest item.
//!
//! Brackets and quotes alone say where an element ends. Whether an item is an event, or valid JSON at all, is judged
//! by validation.

use std::io::{self, BufRead, Chain, Cursor, Read};

use serde::de::IgnoredAny;

use crate::setting::{count, size};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The limits of a batch.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Events")]
#[group(skip)]
pub struct BatchRules {
    /// Events in one request to /api/logs/ingest/batch
    #[arg(long, env, default_value = "10000", value_name = "COUNT", value_parser = count(1..=100_000_usize))]
    pub max_batch_events: usize,
    /// Largest body of such a request, both as sent and after its gzip is undone (64KiB to 64MiB)
    #[arg(long, env, default_value = "8MiB", value_name = "SIZE", value_parser = size(64 << 10..=64 << 20))]
    pub max_batch_bytes: usize,
}

/// How a body contains its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One per line. Blank lines are ignored.
    Lines,
    /// `[item, item, ...]`
    Array,
}

/// Why there is no next item.
#[derive(Debug)]
pub enum ItemsError {
    /// The body could not be read.
    Read(io::Error),
    /// The array is broken at this character of the body, counted from 0.
    Broken(usize),
}

impl From<io::Error> for ItemsError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// What comes next in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// An element, or the end of an empty array.
    First,
    /// An element.
    Next,
    /// Nothing: the array is complete.
    Ended,
    /// Nothing: the body ended before the array.
    Cut,
}

/// A batch being read.
#[derive(Debug)]
pub struct Items<R> {
    reader: Chain<Cursor<Vec<u8>>, R>,
    form: Form,
    stage: Stage,
    item: Vec<u8>,
    /// Characters of the body before the item.
    item_at: usize,
    /// Characters read so far.
    chars: usize,
}

impl<R: BufRead> Items<R> {
    /// Looks at the start of a body: what does not begin with `[`, after a byte order mark and white space, is lines.
    /// With `only_lines`, everything is.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn open(mut reader: R, only_lines: bool) -> io::Result<Self> {
        let mut start = Vec::with_capacity(BYTE_ORDER_MARK.len());
        reader.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut start)?;
        if start == BYTE_ORDER_MARK {
            start.clear();
        }
        let reader = Cursor::new(start).chain(reader);
        let (form, stage) = (Form::Lines, Stage::First);
        let mut items = Self { reader, form, stage, item: Vec::new(), item_at: 0, chars: 0 };
        if items.skip_blank()? == Some(b'[') && !only_lines {
            items.form = Form::Array;
            items.skip_one();
        }
        Ok(items)
    }

    /// How the body contains its items.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The next item, from its first character that is not blank; `None` after the last.
    ///
    /// # Errors
    /// Those of the reader, or an array that continues or ends where it must not.
    pub fn next_item(&mut self) -> Result<Option<&[u8]>, ItemsError> {
        let found = match self.form {
            Form::Lines => self.next_line()?,
            Form::Array => self.next_element()?,
        };
        Ok(found.then_some(&self.item[..]))
    }

    /// The character of the body that is `offset` characters into the last item.
    #[must_use]
    pub fn offset_in_body(&self, offset: usize) -> usize {
        self.item_at + offset
    }

    fn next_line(&mut self) -> io::Result<bool> {
        self.item.clear();
        if self.skip_blank()?.is_none() {
            return Ok(false);
        }
        self.item_at = self.chars;
        self.reader.read_until(b'\n', &mut self.item)?;
        self.chars += chars_in(&self.item);
        Ok(true)
    }

    fn next_element(&mut self) -> Result<bool, ItemsError> {
        let next = self.skip_blank()?;
        match (self.stage, next) {
            (Stage::Ended, None) => return Ok(false),
            (Stage::First, Some(b']')) => {
                self.skip_one();
                self.stage = Stage::Ended;
                return self.next_element();
            }
            (Stage::Ended | Stage::Cut, _) | (_, None | Some(b',' | b']')) => {
                return Err(ItemsError::Broken(self.chars));
            }
            (Stage::First | Stage::Next, Some(_)) => {}
        }
        self.item_at = self.chars;
        self.element()?;
        Ok(true)
    }

    /// Reads an element, and the comma or bracket that ends it.
    fn element(&mut self) -> io::Result<()> {
        self.item.clear();
        let mut nesting = Nesting::default();
        loop {
            let chunk = self.reader.fill_buf()?;
            let end = nesting.end_in(chunk);
            let len = end.unwrap_or(chunk.len());
            self.item.extend_from_slice(&chunk[..len]);
            self.stage = match end.map(|end| chunk[end]) {
                Some(b',') => Stage::Next,
                Some(_) => Stage::Ended,
                None => Stage::Cut,
            };
            self.reader.consume(len + usize::from(end.is_some()));
            if end.is_some() || len == 0 {
                self.chars += chars_in(&self.item) + usize::from(end.is_some());
                return Ok(());
            }
        }
    }

    /// The next byte that is not blank, without consuming it.
    fn skip_blank(&mut self) -> io::Result<Option<u8>> {
        loop {
            let chunk = self.reader.fill_buf()?;
            let blanks = chunk.iter().take_while(|byte| b" \n\r\t".contains(byte)).count();
            let (found, is_end) = (chunk.get(blanks).copied(), chunk.is_empty());
            self.reader.consume(blanks);
            self.chars += blanks;
            if found.is_some() || is_end {
                return Ok(found);
            }
        }
    }

    fn skip_one(&mut self) {
        self.reader.consume(1);
        self.chars += 1;
    }
}

/// Whether it is one JSON value by the grammar, whatever else is wrong with it. Then only this element of an array is
/// refused, because the other elements are what they seem to be.
#[must_use]
pub fn is_one_value(item: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(item).is_ok()
}

/// Where in an element the bytes read so far end.
#[derive(Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// The index in `chunk` of the comma or bracket that ends the element.
    fn end_in(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < chunk.len() {
            if self.escaped {
                self.escaped = false;
            } else if self.in_string {
                at += memchr::memchr2(b'"', b'\\', &chunk[at..])?;
                self.escaped = chunk[at] == b'\\';
                self.in_string = self.escaped;
            } else {
                match chunk[at] {
                    b',' | b']' if self.depth == 0 => return Some(at),
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
            at += 1;
        }
        None
    }
}

/// Counts the bytes that begin a character.
fn chars_in(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !(0x80..0xC0).contains(*byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    /// Items, and the character at which the body breaks, if it does.
    fn split(body: &[u8], chunk: usize, only_lines: bool) -> (Form, Vec<String>, Option<usize>) {
        let reader = BufReader::with_capacity(chunk, body);
        let mut items = Items::open(reader, only_lines).unwrap();
        let mut found = Vec::new();
        loop {
            match items.next_item() {
                Ok(Some(item)) => found.push(String::from_utf8_lossy(item).trim_end().to_owned()),
                Ok(None) => return (items.form(), found, None),
                Err(ItemsError::Broken(at)) => return (items.form(), found, Some(at)),
                Err(ItemsError::Read(error)) => panic!("{error}"),
            }
        }
    }

    fn assert_split(body: &str, form: Form, items: &[&str], broken: Option<usize>) {
        for chunk in [1, 2, 3, 7, 4_096] {
            let (got_form, got, at) = split(body.as_bytes(), chunk, false);
            assert_eq!(
                (got_form, got, at),
                (form, items.iter().map(|&i| i.into()).collect(), broken),
                "{body:?}"
            );
        }
    }

    #[test]
    fn lines_are_separated_however_they_end() {
        let two = &["{\"a\":1}", "{\"b\":2}"];
        for body in [
            "{\"a\":1}\n{\"b\":2}\n",
            "{\"a\":1}\n{\"b\":2}",
            "{\"a\":1}\r\n{\"b\":2}\r\n",
            "\u{feff}{\"a\":1}\n{\"b\":2}",
            "\u{feff}\r\n \t\n  {\"a\":1}\n\n\r\n   \n{\"b\":2}\n\n\n",
        ] {
            assert_split(body, Form::Lines, two, None);
        }
        for body in ["", " ", "\n\r\n", "\u{feff}", "\u{feff}\n"] {
            assert_split(body, Form::Lines, &[], None);
        }
        assert_split("x\n[1]\n\"a\n", Form::Lines, &["x", "[1]", "\"a"], None);
        assert_split("{}{}", Form::Lines, &["{}{}"], None);
        // The beginning of a byte order mark, and another character that begins alike.
        assert_split("\u{ff21}\n{}", Form::Lines, &["\u{ff21}", "{}"], None);
        assert_eq!(split(b"\xEF\xBB", 1, false).1, ["\u{fffd}"]);
    }

    #[test]
    fn a_bracket_opens_an_array_unless_the_type_says_lines() {
        let body = b" [1]\n[2]";
        assert_eq!(split(body, 2, true), (Form::Lines, vec!["[1]".into(), "[2]".into()], None));
        assert_eq!(split(body, 2, false), (Form::Array, vec!["1".into()], Some(5)));
    }

    #[test]
    fn elements_end_where_their_brackets_and_quotes_say() {
        for (body, items) in [
            ("[]", &[][..]),
            (" [ ]\n ", &[]),
            ("[{}]", &["{}"]),
            ("\u{feff}[1, \"a\" ,null]\r\n", &["1", "\"a\"", "null"]),
            (r#"[{"a":[1,2,{"b":"]},"}]},[[],{}]]"#, &[r#"{"a":[1,2,{"b":"]},"}]}"#, "[[],{}]"]),
            (r#"["\"],\\",{"é\\":"]"}]"#, &[r#""\"],\\""#, r#"{"é\\":"]"}"#]),
        ] {
            assert_split(body, Form::Array, items, None);
        }
    }

    #[test]
    fn a_broken_array_says_at_which_character() {
        for (body, items, at) in [
            ("[", &[][..], 1),
            ("[ ", &[], 2),
            ("[,1]", &[], 1),
            ("[1,]", &["1"], 3),
            ("[1,,2]", &["1"], 3),
            ("[1", &["1"], 2),
            ("[\"é\",\"ü", &["\"é\"", "\"ü"], 7),
            ("[1,", &["1"], 3),
            ("[1] x", &["1"], 4),
            ("\u{feff}[{}]]", &["{}"], 4),
            ("[1]\n[2]", &["1"], 4),
        ] {
            assert_split(body, Form::Array, items, Some(at));
        }
    }

    #[test]
    fn an_offset_in_an_item_becomes_one_in_the_body() {
        let mut items = Items::open("[ \"é\", x]".as_bytes(), false).unwrap();
        items.next_item().unwrap();
        assert_eq!(items.offset_in_body(1), 3);
        assert_eq!(items.next_item().unwrap(), Some(&b"x"[..]));
        assert_eq!(items.offset_in_body(0), 7);
    }

    #[test]
    fn what_is_wrong_with_a_value_alone_does_not_break_the_array() {
        for item in ["{\"a\":1e400}", "\"\\ud800\"", "-1", "[1,{}] ", &"[".repeat(101)] {
            assert_eq!(is_one_value(item.as_bytes()), !item.starts_with("[["), "{item}");
        }
        assert!(is_one_value(&[b"[".repeat(5_000), b"]".repeat(5_000)].concat()));
        assert!(is_one_value(b"{\"a\":\"\xff\"}"));
        for item in ["", "{} {}", "{\"a\":}", "NaN", "'a'", "{\"a\":1", "[}", "\"a\nb\""] {
            assert!(!is_one_value(item.as_bytes()), "{item}");
        }
    }

    proptest! {
        #[test]
        fn values_written_as_an_array_or_as_lines_come_back(
            texts in prop::collection::vec("[\\[\\]{},\"\\\\a-c é]{0,12}", 0..8), chunk in 1_usize..40,
        ) {
            let values: Vec<String> = texts.iter().map(|text| serde_json::json!({"k": [text]}).to_string()).collect();
            let array = format!("[{}]", values.join(" , "));
            prop_assert_eq!(split(array.as_bytes(), chunk, false), (Form::Array, values.clone(), None));
            prop_assert_eq!(split(values.join("\n").as_bytes(), chunk, false), (Form::Lines, values, None));
        }

        #[test]
        fn no_bytes_make_it_panic_or_loop_forever(body: Vec<u8>, chunk in 1_usize..9) {
            let (_, items, _) = split(&body, chunk, false);
            prop_assert!(items.len() <= body.len());
        }
    }
}
