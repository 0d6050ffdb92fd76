//! The inner server's answers, read whole before a client sees a byte of them. Pure.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use crate::door::framing::{BodyReader, Framing};
use crate::limits::{DOOR_ANSWER_BYTES_MAX, HEAD_BYTES_MAX};

/// Fields in an answer's head.
const FIELDS_MAX: usize = 48;

/// A whole answer of the inner server.
#[derive(Debug)]
pub(in crate::door) struct InnerAnswer<'b> {
    pub(in crate::door) status: u16,
    pub(in crate::door) body: &'b [u8],
    fields: [Header<'b>; FIELDS_MAX],
    count: usize,
}

impl<'b> InnerAnswer<'b> {
    /// The fields for the client: without those about this connection, and those that the door writes itself.
    pub(in crate::door) fn fields(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        const OWN: [&str; 10] = [
            "connection",
            "content-length",
            "date",
            "keep-alive",
            "server",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "x-request-id",
        ];
        let passes = |name: &str| !OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
        let fields = self.fields.iter().take(self.count);
        fields.filter(move |field| passes(field.name)).map(|field| (field.name, field.value))
    }
}

/// An answer being received.
#[derive(Debug, Default)]
pub(in crate::door) struct AnswerReader {
    received: Vec<u8>,
    state: AnswerState,
    /// A chunked body, decoded.
    decoded: Vec<u8>,
    /// The server closes the connection after it.
    closes: bool,
}

#[derive(Debug, Default)]
enum AnswerState {
    #[default]
    Head,
    Counted {
        head: usize,
        end: usize,
    },
    Chunked {
        head: usize,
        at: usize,
        reader: BodyReader,
    },
    UntilClose {
        head: usize,
    },
    Whole {
        head: usize,
        end: usize,
        is_chunked: bool,
    },
}

impl AnswerReader {
    /// Takes bytes as they arrive. `Ok(true)` when the answer is whole.
    ///
    /// # Errors
    /// What is wrong with it. The connection cannot be used any more.
    pub(in crate::door) fn feed(&mut self, bytes: &[u8]) -> Result<bool, &'static str> {
        if self.received.len() + bytes.len() > DOOR_ANSWER_BYTES_MAX {
            return Err("the answer is too large");
        }
        self.received.extend_from_slice(bytes);
        if matches!(self.state, AnswerState::Head) {
            self.read_head()?;
        }
        match &mut self.state {
            AnswerState::Counted { head, end } if self.received.len() >= *end => {
                self.state = AnswerState::Whole { head: *head, end: *end, is_chunked: false };
            }
            AnswerState::Chunked { head, at, reader } => {
                let taken = reader.feed(&self.received[*at..], &mut self.decoded);
                *at += taken.map_err(|_| "its chunks are broken")?;
                if reader.is_done() {
                    self.state = AnswerState::Whole { head: *head, end: *at, is_chunked: true };
                }
            }
            _ => {}
        }
        Ok(self.is_whole())
    }

    /// The connection was closed. `true`: that ends the answer, which is whole.
    pub(in crate::door) fn end(&mut self) -> bool {
        self.closes = true;
        if let AnswerState::UntilClose { head } = self.state {
            self.state = AnswerState::Whole { head, end: self.received.len(), is_chunked: false };
        }
        self.is_whole()
    }

    pub(in crate::door) fn is_whole(&self) -> bool {
        matches!(self.state, AnswerState::Whole { .. })
    }

    /// Can the connection take another request after this answer?
    pub(in crate::door) fn keeps(&self) -> bool {
        matches!(self.state, AnswerState::Whole { end, .. } if end == self.received.len() && !self.closes)
    }

    /// The answer, if it is whole.
    pub(in crate::door) fn answer(&self) -> Option<InnerAnswer<'_>> {
        let AnswerState::Whole { head, end, is_chunked } = self.state else { return None };
        let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let (status, parsed) = parse(&self.received[..head], &mut headers)?;
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        fields[..parsed.len()].copy_from_slice(parsed);
        let body = if is_chunked { &self.decoded[..] } else { &self.received[head..end] };
        Some(InnerAnswer { status, body, fields, count: parsed.len() })
    }

    /// Makes it ready for the next answer. Small buffers are kept.
    pub(in crate::door) fn reset(&mut self, keep_bytes: usize) {
        for buffer in [&mut self.received, &mut self.decoded] {
            buffer.clear();
            buffer.shrink_to(keep_bytes);
        }
        self.state = AnswerState::Head;
        self.closes = false;
    }

    fn read_head(&mut self) -> Result<(), &'static str> {
        let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            &self.received,
            &mut headers,
        );
        let head = match parsed {
            Ok(Status::Complete(head)) => head,
            Ok(Status::Partial) if self.received.len() <= HEAD_BYTES_MAX => return Ok(()),
            _ => return Err("its head is broken"),
        };
        let (mut length, mut is_chunked) = (None, false);
        for Header { name, value } in response.headers.iter() {
            let value = value.trim_ascii();
            if name.eq_ignore_ascii_case("content-length") {
                let digits = std::str::from_utf8(value).ok().and_then(|digits| digits.parse::<usize>().ok());
                length = Some(digits.ok_or("its Content-Length is not a number")?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = true;
            } else if name.eq_ignore_ascii_case("connection") {
                self.closes |= value.eq_ignore_ascii_case(b"close");
            }
        }
        self.state = match (is_chunked, length) {
            (true, _) => {
                let reader = BodyReader::new(Framing::Chunked, DOOR_ANSWER_BYTES_MAX);
                AnswerState::Chunked { head, at: head, reader }
            }
            (false, Some(length)) if length <= DOOR_ANSWER_BYTES_MAX => {
                AnswerState::Counted { head, end: head + length }
            }
            (false, Some(_)) => return Err("the answer is too large"),
            (false, None) => AnswerState::UntilClose { head },
        };
        Ok(())
    }
}

fn parse<'h, 'b>(
    head: &'b [u8],
    headers: &'h mut [MaybeUninit<Header<'b>>],
) -> Option<(u16, &'h [Header<'b>])> {
    let mut response = httparse::Response::new(&mut []);
    httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, head, headers)
        .ok()?;
    Some((response.code?, response.headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> AnswerReader {
        let mut reader = AnswerReader::default();
        for byte in bytes {
            reader.feed(std::slice::from_ref(byte)).unwrap();
        }
        reader
    }

    #[test]
    fn answers_are_read_whole_and_bare() {
        for (bytes, body, keeps) in [
            (&b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX-Stored-In: spool\r\n\r\n{}"[..], &b"{}"[..], true),
            (b"HTTP/1.1 202 Accepted\r\nX-Stored-In: spool\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", b"", false),
            (b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\nX-Stored-In: spool\r\nDate: x\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"{}", true),
            (b"HTTP/1.1 202 OK\r\nServer: x\r\nX-Stored-In: spool\r\nContent-Length: 1\r\n\r\n{}", b"{", false),
        ] {
            let reader = read(bytes);
            assert!(reader.is_whole());
            assert_eq!(reader.keeps(), keeps);
            let answer = reader.answer().unwrap();
            assert_eq!((answer.status, answer.body), (202, body));
            assert_eq!(answer.fields().collect::<Vec<_>>(), [("X-Stored-In", &b"spool"[..])]);
        }
    }

    #[test]
    fn an_answer_may_end_with_its_connection() {
        let mut reader = read(b"HTTP/1.0 200 OK\r\n\r\nabc");
        assert!(!reader.is_whole());
        assert!(reader.end());
        assert_eq!(reader.answer().unwrap().body, b"abc");
        assert!(!reader.keeps());
        let mut cut = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc");
        assert!(!cut.end());
        cut.reset(0);
        assert!(cut.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap() && cut.keeps());
    }

    #[test]
    fn bad_and_endless_answers_are_refused() {
        for bytes in [
            &b"SSH-2.0"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        ] {
            assert!(AnswerReader::default().feed(bytes).is_err());
        }
        let mut endless = read(b"HTTP/1.0 200 OK\r\n\r\n");
        assert!(endless.feed(&vec![0; DOOR_ANSWER_BYTES_MAX]).is_err());
    }
}
