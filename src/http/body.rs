//! A request's body as its endpoint reads it: decoded, and within its limit both as sent and decoded.
//!
//! Invariants: a body that was read to its end was complete; however far it expands, it costs a buffer and its limit.

use std::io::{self, ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use log::error;
use sha2::{Digest as _, Sha256};

use super::idempotency::Digest;
use super::request::Request;
use crate::wire::reply::Reply;

/// The value of `Accept-Encoding`: the encodings that a body may have.
const ACCEPTED: &str = "gzip, identity";

/// A body being read.
pub(super) struct RequestBody<'r> {
    source: Source<'r>,
    limit: usize,
    left: usize,
    declared: usize,
    hash: Option<Sha256>,
}

enum Source<'r> {
    Plain(Wire<'r>),
    Gzip(Box<MultiGzDecoder<Wire<'r>>>),
}

/// The bytes from the door. It has the whole body already, so an early end is a bug.
struct Wire<'r> {
    reader: &'r mut dyn Read,
    left: usize,
}

impl<'r> RequestBody<'r> {
    /// The body of `request`, of at most `limit` bytes.
    ///
    /// # Errors
    /// 415 or 413.
    pub(super) fn of(request: &'r mut Request, limit: usize) -> Result<Self, Reply> {
        let gzip = is_gzip(request.content_encoding().unwrap_or_default())?;
        let declared = request.body_bytes();
        if declared > limit {
            return Err(Reply::too_large("the body", limit));
        }
        let wire = Wire { reader: request.body(), left: declared };
        // An empty body is reported as missing, encoded or not.
        let source = match gzip && declared > 0 {
            true => Source::Gzip(Box::new(MultiGzDecoder::new(wire))),
            false => Source::Plain(wire),
        };
        Ok(Self { source, limit, left: limit, declared, hash: None })
    }

    /// The same, with a digest of what is read.
    pub(super) fn hashed(mut self) -> Self {
        self.hash = Some(Sha256::new());
        self
    }

    /// The digest of what was read. `None` without [`Self::hashed`].
    pub(super) fn digest(self) -> Option<Digest> {
        self.hash.map(|hash| hash.finalize().into())
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// The reply to send instead.
    pub(super) fn read_whole(&mut self) -> Result<Vec<u8>, Reply> {
        let limit = self.limit;
        let mut body = Vec::with_capacity(self.declared);
        match self.read_to_end(&mut body) {
            Ok(_) => Ok(body),
            Err(error) => Err(refusal(&error, limit)),
        }
    }
}

impl Read for RequestBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.source {
            Source::Plain(wire) => wire.read(buffer)?,
            Source::Gzip(decoder) => decoder.read(buffer)?,
        };
        self.left = self.left.checked_sub(count).ok_or(ErrorKind::FileTooLarge)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..count]);
        }
        Ok(count)
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self.left.saturating_sub(count);
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(count)
    }
}

/// The reply to a body that could not be read.
pub(super) fn refusal(error: &io::Error, limit: usize) -> Reply {
    match error.kind() {
        ErrorKind::FileTooLarge => Reply::too_large("the body", limit),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => Reply::bad_request("the body is not valid gzip"),
        ErrorKind::UnexpectedEof => Reply::bad_request("the gzip body is incomplete"),
        _ => {
            error!("BUG: the door did not send the whole body cause={:?}", error.to_string());
            Reply::internal()
        }
    }
}

/// Whether the encoding is gzip, or none.
///
/// # Errors
/// 415 for any other.
fn is_gzip(encoding: &str) -> Result<bool, Reply> {
    let is = |name: &str| encoding.eq_ignore_ascii_case(name);
    match encoding {
        "" => Ok(false),
        _ if is("identity") => Ok(false),
        _ if is("gzip") || is("x-gzip") => Ok(true),
        _ => Err(Reply::unsupported_encoding(ACCEPTED)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(mut sent: &[u8], declared: usize, gzip: bool, limit: usize) -> Result<Vec<u8>, u16> {
        let wire = Wire { reader: &mut sent, left: declared };
        let source =
            if gzip { Source::Gzip(Box::new(MultiGzDecoder::new(wire))) } else { Source::Plain(wire) };
        let mut body = RequestBody { source, limit, left: limit, declared, hash: None };
        body.read_whole().map_err(|reply| reply.status())
    }

    #[test]
    fn gzip_and_identity_are_the_only_encodings() {
        for (encoding, is) in [
            ("", false),
            ("identity", false),
            ("Identity", false),
            ("gzip", true),
            ("GZIP", true),
            ("x-gzip", true),
        ] {
            assert_eq!(is_gzip(encoding).unwrap(), is, "{encoding}");
        }
        for encoding in ["deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "gzip,", "gzip;q=1"] {
            let reply = is_gzip(encoding).unwrap_err();
            assert_eq!((reply.status(), &reply.headers()[0]), (415, &("Accept-Encoding", ACCEPTED.into())));
        }
    }

    #[test]
    fn a_body_is_read_completely_or_not_at_all() {
        assert_eq!(read(b"abc", 3, false, 3), Ok(b"abc".to_vec()));
        assert_eq!(read(b"", 0, false, 3), Ok(vec![]));
        assert_eq!(read(b"ab", 3, false, 3), Err(500));
        let whole = gzip(b"abc");
        assert_eq!(read(&whole, whole.len(), true, 3), Ok(b"abc".to_vec()));
        assert_eq!(read(&whole[..9], whole.len(), true, 3), Err(500));
        let members = [gzip(b"a"), gzip(b""), gzip(b"bc")].concat();
        assert_eq!(read(&members, members.len(), true, 3), Ok(b"abc".to_vec()));
    }

    #[test]
    fn invalid_gzip_is_400_at_any_cut_and_any_flip() {
        let whole = gzip(b"hello, hello, hello");
        for cut in 1..whole.len() {
            assert_eq!(read(&whole[..cut], cut, true, 1_000), Err(400), "cut at {cut}");
        }
        // Time, extra flags and system in the header (bytes 4 to 9) may have any value.
        for at in (0..4).chain(10..whole.len()) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x80;
            assert_eq!(read(&flipped, flipped.len(), true, 1_000), Err(400), "flipped at {at}");
        }
        for garbage in [&b"{}"[..], b"\x1f\x8b", &[&whole[..], b"{}"].concat()] {
            assert_eq!(read(garbage, garbage.len(), true, 1_000), Err(400), "{garbage:?}");
        }
    }

    #[test]
    fn a_bomb_is_413_at_its_limit() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert!(bomb.len() < 1_100);
        assert_eq!(read(&bomb, bomb.len(), true, (1 << 20) - 1), Err(413));
        assert_eq!(read(&bomb, bomb.len(), true, 1 << 20).map(|body| body.len()), Ok(1 << 20));
        assert_eq!(read(b"abcd", 4, false, 3), Err(413));
    }
}
