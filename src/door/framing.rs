//! The framing of bodies: how long a body is, and its bytes without the framing. Pure: it is fed what has arrived, and
//! says how much of that belongs to the body.

use super::target::hex;

/// Digits of a chunk's size, leading zeros included.
const SIZE_DIGITS_MAX: u8 = 16;
/// Bytes of chunk extensions, all chunks of a body together.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of trailer fields.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// What says where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Empty,
    /// `Content-Length`, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// More bytes than allowed.
    TooLarge,
    /// Its framing is broken.
    Broken(&'static str),
}

/// A body being received.
#[derive(Debug)]
pub(super) struct BodyReader {
    state: FramingState,
    limit: usize,
    taken: usize,
    extensions: usize,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FramingState {
    Counted { left: u64 },
    Size { digits: u8, value: u64 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataEnd,
    TrailerStart,
    Trailer,
    TrailerEnd,
    LastEnd,
    Done,
}

impl BodyReader {
    /// A body of at most `limit` bytes.
    pub(super) fn new(framing: Framing, limit: usize) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => FramingState::Done,
            Framing::Length(left) => FramingState::Counted { left },
            Framing::Chunked => FramingState::Size { digits: 0, value: 0 },
        };
        Self { state, limit, taken: 0, extensions: 0, trailers: 0 }
    }

    /// Has the body's last byte been seen?
    pub(super) fn is_done(&self) -> bool {
        self.state == FramingState::Done
    }

    /// Takes what belongs to the body from the front of `input`, appends its content to `content` and returns how many
    /// bytes it took: all of `input`, unless the body ends before.
    ///
    /// # Errors
    /// The body is too large or badly framed. It cannot be read on.
    pub(super) fn feed(&mut self, input: &[u8], content: &mut Vec<u8>) -> Result<usize, BodyError> {
        let mut at = 0;
        while at < input.len() && self.state != FramingState::Done {
            match self.state {
                FramingState::Counted { left } | FramingState::Data { left } => {
                    at += self.content(&input[at..], left, content)?;
                }
                _ => {
                    self.state = self.framing_byte(input[at])?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    fn content(&mut self, input: &[u8], left: u64, content: &mut Vec<u8>) -> Result<usize, BodyError> {
        let here = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        self.taken += here;
        if self.taken > self.limit {
            return Err(BodyError::TooLarge);
        }
        if matches!(self.state, FramingState::Counted { .. }) && content.capacity() - content.len() < here {
            // Doubling, but never beyond the announced length, which is not reserved before the bytes come.
            let room = usize::try_from(left).map_or(here, |left| left.min(content.len().max(here)));
            content.reserve_exact(room);
        }
        content.extend_from_slice(&input[..here]);
        let left = left - here as u64;
        self.state = match (self.state, left) {
            (FramingState::Counted { .. }, 0) => FramingState::Done,
            (FramingState::Counted { .. }, left) => FramingState::Counted { left },
            (_, 0) => FramingState::DataReturn,
            (_, left) => FramingState::Data { left },
        };
        Ok(here)
    }

    /// One byte of the framing around the chunks.
    fn framing_byte(&mut self, byte: u8) -> Result<FramingState, BodyError> {
        let broken = |what| Err(BodyError::Broken(what));
        match (self.state, byte) {
            (FramingState::Size { digits: 0, .. }, b'\r' | b';') => broken("a chunk has no size"),
            (FramingState::Size { value, .. }, b'\r') => self.sized(value),
            (FramingState::Size { value, .. }, b';') => Ok(FramingState::Extension { size: value }),
            (FramingState::Size { digits, value }, digit) => match hex(digit) {
                Some(digit) if digits < SIZE_DIGITS_MAX => {
                    Ok(FramingState::Size { digits: digits + 1, value: value << 4 | u64::from(digit) })
                }
                _ => broken("a chunk's size is not a hexadecimal number"),
            },
            (FramingState::Extension { size }, b'\r') => self.sized(size),
            (FramingState::Extension { size }, byte) => {
                self.extensions += 1;
                if self.extensions > EXTENSION_BYTES_MAX || is_control(byte) {
                    return broken("a chunk's extensions are too long or not text");
                }
                Ok(FramingState::Extension { size })
            }
            (FramingState::SizeEnd { size: 0 }, b'\n') => Ok(FramingState::TrailerStart),
            (FramingState::SizeEnd { size }, b'\n') => Ok(FramingState::Data { left: size }),
            (FramingState::DataReturn, b'\r') => Ok(FramingState::DataEnd),
            (FramingState::DataEnd, b'\n') => Ok(FramingState::Size { digits: 0, value: 0 }),
            (FramingState::TrailerStart, b'\r') => Ok(FramingState::LastEnd),
            (FramingState::Trailer, b'\r') => Ok(FramingState::TrailerEnd),
            (FramingState::TrailerEnd, b'\n') => Ok(FramingState::TrailerStart),
            (FramingState::LastEnd, b'\n') => Ok(FramingState::Done),
            (FramingState::TrailerStart | FramingState::Trailer, byte) => {
                self.trailers += 1;
                if self.trailers > TRAILER_BYTES_MAX || is_control(byte) {
                    return broken("the trailer fields are too long or not text");
                }
                Ok(FramingState::Trailer)
            }
            _ => broken("a chunk does not end where its size says"),
        }
    }

    fn sized(&self, size: u64) -> Result<FramingState, BodyError> {
        let room = self.limit.saturating_sub(self.taken);
        if size > room as u64 { Err(BodyError::TooLarge) } else { Ok(FramingState::SizeEnd { size }) }
    }
}

fn is_control(byte: u8) -> bool {
    byte != b'\t' && (byte < b' ' || byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, limit: usize, input: &[u8]) -> Result<(Vec<u8>, usize, bool), BodyError> {
        let mut whole = (Vec::new(), 0, false);
        let mut reader = BodyReader::new(framing, limit);
        whole.1 = reader.feed(input, &mut whole.0)?;
        whole.2 = reader.is_done();
        // Byte by byte the result is the same.
        let mut reader = BodyReader::new(framing, limit);
        let mut content = Vec::new();
        let mut taken = 0;
        for byte in input {
            taken += reader.feed(std::slice::from_ref(byte), &mut content)?;
        }
        assert_eq!((content, taken, reader.is_done()), whole);
        Ok(whole)
    }

    #[test]
    fn counted_bodies_end_at_their_length() {
        assert_eq!(read(Framing::Length(3), 10, b"abcdef"), Ok((b"abc".to_vec(), 3, true)));
        assert_eq!(read(Framing::Length(3), 10, b"ab"), Ok((b"ab".to_vec(), 2, false)));
        assert_eq!(read(Framing::Length(0), 10, b"ab"), Ok((vec![], 0, true)));
        assert_eq!(read(Framing::Empty, 10, b"ab"), Ok((vec![], 0, true)));
        assert_eq!(read(Framing::Length(u64::MAX), 3, b"abcd"), Err(BodyError::TooLarge));
    }

    #[test]
    fn chunked_bodies_are_decoded() {
        for (input, content, rest) in [
            (&b"0\r\n\r\nPOST"[..], &b""[..], 4),
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc", 0),
            (b"3\r\nabc\r\n0a\r\n0123456789\r\n000\r\n\r\n", b"abc0123456789", 0),
            (b"1;name=\"v;\";x\r\na\r\n0;end\r\nTrailer: 1\r\nOther:\t2\r\n\r\nGET", b"a", 3),
            (b"0000000000000001\r\na\r\n0\r\n\r\n", b"a", 0),
        ] {
            let taken = input.len() - rest;
            assert_eq!(read(Framing::Chunked, 13, input), Ok((content.to_vec(), taken, true)));
        }
        assert!(!read(Framing::Chunked, 13, b"3\r\nab").unwrap().2);
    }

    #[test]
    fn broken_chunks_are_refused() {
        for input in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b"1 \r\na\r\n",
            b" 1\r\na\r\n",
            b";a\r\n",
            b"1\na",
            b"1\r\r",
            b"1;a\nb",
            b"1;\0\r\n",
            b"00000000000000001\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n",
            b"3\r\nabc\rX",
            b"0\r\nX\nY: 1\r\n\r\n",
            b"0\r\n\rX",
            b"0\r\n\n",
        ] {
            let got = read(Framing::Chunked, 100, input);
            assert!(
                matches!(got, Err(BodyError::Broken(_))),
                "{:?}: {got:?}",
                input.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn limits_hold_as_bytes_come() {
        assert_eq!(read(Framing::Chunked, 3, b"4\r\n"), Err(BodyError::TooLarge));
        assert_eq!(read(Framing::Chunked, 3, b"ffffffffffffffff\r\n"), Err(BodyError::TooLarge));
        assert_eq!(read(Framing::Chunked, 3, b"2\r\nab\r\n2\r\n"), Err(BodyError::TooLarge));
        let extension = [b"1;".as_slice(), &[b'e'; EXTENSION_BYTES_MAX + 1]].concat();
        assert!(matches!(read(Framing::Chunked, 3, &extension), Err(BodyError::Broken(_))));
        let trailers = b"0\r\n".iter().copied().chain(b"T: 1\r\n".iter().copied().cycle()).take(20_000);
        assert!(matches!(
            read(Framing::Chunked, 3, &trailers.collect::<Vec<_>>()),
            Err(BodyError::Broken(_))
        ));
    }
}
