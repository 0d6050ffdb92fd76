//! What the fuzz targets reach of the door: its pure parts, from bytes to a forwarded request.

use super::framing::{BodyReader, Framing};
use super::head::{self, Parsed};

/// Parses a head and reads the body behind it, `step` bytes at a time.
///
/// # Panics
/// The parts contradict each other.
pub fn request(bytes: &[u8], step: usize) {
    const LIMIT: usize = 1 << 20;
    let whole = match head::parse(bytes) {
        Parsed::Whole(whole) => whole,
        Parsed::Partial | Parsed::Refused(_) => return,
    };
    assert!(whole.len <= bytes.len());
    assert!(matches!(head::parse(&bytes[..whole.len]), Parsed::Whole(same) if same.len == whole.len));
    let Ok(head) = whole.verdict else { return };
    let rest = &bytes[whole.len..];
    let read = |framing: Framing, step: usize| {
        let mut reader = BodyReader::new(framing, LIMIT);
        let (mut at, mut content) = (0, Vec::new());
        while at < rest.len() && !reader.is_done() {
            let end = rest.len().min(at + step);
            match reader.feed(&rest[at..end], &mut content) {
                Ok(taken) => at += taken,
                Err(error) => return Err(error),
            }
        }
        assert!(content.len() <= at && content.capacity() <= 4 * rest.len() + 64);
        Ok((reader.is_done(), at, content))
    };
    assert_eq!(read(head.framing, step), read(head.framing, usize::MAX));
}
