//! Bodies as tills, scripts and mistakes make them: from good events, by changes that each have a
//! chance to be wrong.

use crate::support::events::{self, Body, FIELDS};
use crate::support::random::Seed;

/// JSON tokens of every kind, for any field.
const TOKENS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "7",
    "3.5",
    "3.0",
    "-0.0",
    "1e2",
    "1E+2",
    "1e-1",
    "1e-400",
    "1.10",
    "3.0000000000000000000001",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "9223372036854775807.0",
    "1e18",
    "1e19",
    "1e300",
    "-1e300",
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "[]",
    "{}",
    "[1]",
    r#"{"a":1}"#,
    r#"[[],{"b":[null]}]"#,
    r#""""#,
    r#"" ""#,
    r#""x""#,
    r#""12.5""#,
    r#"" 12.5 ""#,
    r#""+1""#,
    r#""-1""#,
    r#""--1""#,
    r#"".5""#,
    r#""5.""#,
    r#"".""#,
    r#""1e3""#,
    r#""1e400""#,
    r#""-1e400""#,
    r#""00012""#,
    r#""007""#,
    r#""3""#,
    r#""3.00""#,
    r#""3.01""#,
    r#""3.""#,
    r#"".0""#,
    r#""3e2""#,
    r#""3 pcs""#,
    r#""1,5""#,
    r#""0x10""#,
    r#""$12""#,
    r#""٣""#,
    r#""\u00a012.5\u2003""#,
    r#""inf""#,
    r#""-inf""#,
    r#""nan""#,
    r#""NaN""#,
    r#""Infinity""#,
    r#""infinity""#,
    r#""9223372036854775807""#,
    r#""9223372036854775808""#,
    r#""-9223372036854775809""#,
    r#""99999999999999999999999.00""#,
    r#""\u0000""#,
    r#""\ud83d\ude00""#,
    r#""\ud800""#,
    r#""\udc00x""#,
    r#""é""#,
    "\"日本\"",
    r#""a\nb""#,
    r#""debug""#,
    r#""info""#,
    r#""warn""#,
    r#""error""#,
    r#""critical""#,
    r#""INFO""#,
    r#""warning""#,
    r#""\u0069nfo""#,
    r#"" info""#,
];

/// Near misses of every form.
const TIMESTAMPS: &[&str] = &[
    "2025-11-18T17:21:35.750Z",
    "2025-11-18",
    "20251118",
    "2025-W47-2",
    "2025W472",
    "2025-W47",
    "2025W47",
    "2025-W53",
    "2020-W53-5",
    "2025-W47-8",
    "2025-W00-1",
    "2025",
    "2025-11",
    "2025-1-8",
    "2025-1118",
    "202511-18",
    "2025/11/18",
    "2025-02-29",
    "2024-02-29",
    "1900-02-29",
    "2000-02-29",
    "0000-01-01",
    "0001-01-01",
    "9999-12-31T23:59:59Z",
    "2025-13-01",
    "2025-00-10",
    "2025-11-31",
    "2025-11-18T",
    "2025-11-18 ",
    "2025-11-18T17",
    "2025-11-18T17:21",
    "2025-11-18 17:21:35",
    "2025-11-18T1721",
    "2025-11-18T172135",
    "2025-11-18T17:2135",
    "2025-11-18T1721:35",
    "20251118T17:21:35Z",
    "2025-11-18T24:00:00",
    "2025-11-18T17:60",
    "2025-11-18T17:21:60",
    "2025-11-18T17:21:35.",
    "2025-11-18T17:21:35,5",
    "2025-11-18T17:21.5",
    "2025-11-18T17:21:35+01",
    "2025-11-18T17:21:35+0100",
    "2025-11-18T17:21:35-05:30",
    "2025-11-18T17:21:35+24:00",
    "2025-11-18T17:21:35+23:60",
    "2025-11-18T17:21:35+5",
    "2025-11-18T17:21:35+1:00",
    "2025-11-18T17:21:35 Z",
    "2025-11-18T17:21:35UTC",
    "2025-11-18T17Z",
    "2025-11-18T17+01:00",
    "2025-11-18Z",
    "2025-11-18+01:00",
    " 2025-11-18",
    "2025-11-18\\n",
    "1763486495",
    "1763486495.75",
    "Tue, 18 Nov 2025 17:21:35 GMT",
    "2025-11-18t17:21:35",
    "２０２５-11-18",
    "-2025-11-18",
    "+2025-11-18",
    "2025-11-18T17:21:35.123456789012345678901234567890Z",
    "2025-11-18T17:21:35−05:00",
    "2025-W47-2T17:21:35Z",
    "now",
];

/// What falls into a body by mistake.
const BYTES: &[u8] = b"{}[]\",:\\/ \t\n\r0159eE+-.truefalsnINaZ\x00\x01\x1f\x7f'`\xc3\xa9\xff\xed\xa0\x80";

pub(super) struct Generator(Seed);

impl Generator {
    pub(super) fn new(random: Seed) -> Self {
        Self(random)
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.0.index(one_in) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.index(from.len())]
    }

    /// The next body.
    pub(super) fn body(&mut self) -> Vec<u8> {
        if self.chance(40) {
            return self.no_object();
        }
        let mut body = Body::minimal();
        if self.chance(2) {
            let full = events::event();
            for (field, _) in FIELDS.iter().filter(|(field, required)| !required && full.get(field).is_some())
            {
                body = body.with(field, &full[field].to_string());
            }
        }
        for _ in 0..self.0.index(4) {
            body = self.changed(body);
        }
        let mut text = body.text().into_bytes();
        if self.chance(4) {
            text = self.spaced(&text);
        }
        if self.chance(6) {
            self.break_it(&mut text);
        }
        if self.chance(30) {
            text.splice(0..0, *b"\xEF\xBB\xBF");
        }
        text
    }

    fn changed(&mut self, body: Body) -> Body {
        let (field, _) = self.pick(&FIELDS);
        match self.0.index(12) {
            0 => body.without(field),
            1 | 2 => {
                let text = self.pick(TIMESTAMPS);
                body.with("timestamp", &format!("\"{text}\""))
            }
            3 => body.with("timestamp", &format!("\"{}\"", self.timestamp())),
            4 => body.with("price", self.pick(TOKENS)),
            5 => body.with("quantity", self.pick(TOKENS)),
            6 => body.with("quantity", &self.number()),
            7 => body.with("price", &self.number()),
            8 => body.and(field, self.pick(TOKENS)),
            9 => body.and(
                self.pick(&["extra", "Level", "l\\u0065vel", "\\u006cevel", "", "é", "_", "raw-data"]),
                self.pick(TOKENS),
            ),
            10 => {
                let deep = self.pick(&[1, 2, 50, 97, 98, 99, 100, 101, 300]);
                let (open, close) = self.pick(&[("[", "]"), ("{\"a\":", "}")]);
                let core = if open == "[" { "" } else { "1" };
                body.and(
                    self.pick(&["extra", "raw_data"]),
                    &format!("{}{core}{}", open.repeat(deep), close.repeat(deep)),
                )
            }
            _ => body.with(field, self.pick(TOKENS)),
        }
    }

    fn digits(&mut self, most: usize) -> String {
        (0..=self.0.index(most)).map(|_| char::from(b'0' + self.0.index(10) as u8)).collect()
    }

    /// A number, or nearly one, bare or in quotes.
    fn number(&mut self) -> String {
        let mut text = self.pick(&["", "", "-", "+"]).to_owned();
        text += &self.digits(21);
        if self.chance(3) {
            text += ".";
            text += &self.digits(6);
        }
        if self.chance(4) {
            text += self.pick(&["e", "E", "e+", "e-"]);
            text += &self.digits(3);
        }
        if self.chance(2) { format!("\"{text}\"") } else { text }
    }

    /// A point in time whose parts are mostly, but not always, in range.
    fn timestamp(&mut self) -> String {
        let mut part = |most: usize| self.0.index(most);
        let (year, month, day) = (1_900 + part(300), part(14), part(33));
        let (hour, minute, second) = (part(25), part(61), part(61));
        let date = if self.chance(3) {
            format!("{year:04}{month:02}{day:02}")
        } else {
            format!("{year:04}-{month:02}-{day:02}")
        };
        let time = if self.chance(3) {
            format!("{hour:02}{minute:02}{second:02}")
        } else {
            format!("{hour:02}:{minute:02}:{second:02}")
        };
        let offset = self.pick(&["", "Z", "+01:00", "-0130", "+14", "+00:00", "z1", "+1", "-23:59", "+2400"]);
        let separator = self.pick(&["T", "T", " ", "", "_", "  "]);
        let fraction = self.pick(&["", "", ".5", ",123456789", "."]);
        format!("{date}{separator}{time}{fraction}{offset}")
    }

    fn no_object(&mut self) -> Vec<u8> {
        match self.0.index(5) {
            0 => Vec::new(),
            1 => self
                .pick(&[" ", "\n\t", "null", "true", "[]", "[{}]", "\"{}\"", "1", "a=b&c=d", "{", "}"])
                .into(),
            2 => self.pick(TOKENS).into(),
            3 => format!("[{}]", Body::minimal().text()).into_bytes(),
            _ => events::event().to_string().encode_utf16().flat_map(u16::to_le_bytes).collect(),
        }
    }

    /// White space between tokens: a digit or a letter is never torn off its neighbours.
    fn spaced(&mut self, text: &[u8]) -> Vec<u8> {
        let (mut out, mut in_string, mut escaped) = (Vec::with_capacity(2 * text.len()), false, false);
        for &byte in text {
            let is_mark = b"{}[],:".contains(&byte) && !in_string;
            if is_mark && self.chance(3) {
                out.extend_from_slice(self.pick(&[&b" "[..], b"\n", b"\t\r\n  "]));
            }
            in_string ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            out.push(byte);
            if is_mark && self.chance(3) {
                out.push(b' ');
            }
        }
        out
    }

    fn break_it(&mut self, text: &mut Vec<u8>) {
        let at = self.0.index(text.len());
        match self.0.index(5) {
            0 => text.truncate(at),
            1 => {
                text.remove(at);
            }
            2 => text.insert(at, self.pick(BYTES)),
            3 => text[at] = self.pick(BYTES),
            _ => {
                text.extend_from_slice(self.pick(&[&b" "[..], b"x", b"{}", b",", b"\n\n", b"\xc3", b"\x00"]))
            }
        }
    }
}
