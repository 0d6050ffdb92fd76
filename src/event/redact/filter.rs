//! One fast look at every text: can it contain a card number at all?
//!
//! A card number and its separators, even if all are escaped, consist of few kinds of bytes, mostly digits: wherever it
//! begins, one block of sixteen bytes has seven digits. Blocks are counted without a branch per byte; only a block with
//! that many digits is checked further.

use super::issuers::DIGITS_MIN;

/// Digits that at least one block has, even where a number lies across two blocks.
const BLOCK_DIGITS: u8 = (DIGITS_MIN / 2) as u8;
const BLOCK: usize = 16;

/// False: `text`, plain or the inside of a JSON string, contains no card number.
pub(super) fn may_hold_card(text: &[u8]) -> bool {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let is_dense =
        |block: &[u8]| block.iter().map(|b| u8::from(b.is_ascii_digit())).sum::<u8>() >= BLOCK_DIGITS;
    let dense = blocks.iter().enumerate().filter(|(_, block)| is_dense(*block)).map(|(index, _)| index);
    let last = is_dense(rest).then_some(blocks.len());
    dense.chain(last).any(|block| has_long_stretch(text, block * BLOCK))
}

/// Whether a run of bytes of a number that touches the block at `from` has enough digits.
fn has_long_stretch(text: &[u8], from: usize) -> bool {
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    let stretch_before = text[..from].iter().rev().take_while(|&&byte| is_of_number(byte));
    let mut digits = stretch_before.filter(is_digit).take(DIGITS_MIN).count();
    for (at, byte) in text.iter().enumerate().skip(from) {
        if !is_of_number(*byte) {
            if at >= from + BLOCK {
                return false;
            }
            digits = 0;
        } else if byte.is_ascii_digit() {
            digits += 1;
            if digits >= DIGITS_MIN {
                return true;
            }
        }
    }
    false
}

/// Digits, the bytes of separators, and those of the escapes of both.
const fn is_of_number(byte: u8) -> bool {
    match byte {
        b'0'..=b'9' | b' ' | b'-' => true,
        b'\\' | b'u' | b'a' | b'A' | b'd' | b'D' | b'f' | b'F' => true,
        // U+00A0, U+2010 to U+2013, U+202F, U+2212.
        0xC2 | 0xA0 | 0xE2 | 0x80 | 0x90..=0x93 | 0xAF | 0x88 => true,
        _ => false,
    }
}
