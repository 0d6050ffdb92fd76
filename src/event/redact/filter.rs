//! The one fast look at every text: can there be a card number in it at all?
//!
//! A number and its separators, all of them escaped even, are bytes of few kinds, and most of these
//! are digits: however it lies, one block of sixteen bytes has seven digits. Blocks are counted without a
//! branch a byte; only a block with so many is looked at closely.

use super::issuers::DIGITS_MIN;

/// Digits that some block has where a number lies across two of them, even.
const BLOCK_DIGITS: u8 = (DIGITS_MIN / 2) as u8;
const BLOCK: usize = 16;

/// False: no card number is in `text`, be it plain or the inside of a JSON string.
pub(super) fn may_hold_card(text: &[u8]) -> bool {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let is_dense =
        |block: &[u8]| block.iter().map(|b| u8::from(b.is_ascii_digit())).sum::<u8>() >= BLOCK_DIGITS;
    let dense = blocks.iter().enumerate().filter(|(_, block)| is_dense(*block)).map(|(index, _)| index);
    let last = is_dense(rest).then_some(blocks.len());
    dense.chain(last).any(|block| has_long_stretch(text, block * BLOCK))
}

/// Whether a stretch of a number's bytes that touches the block at `from` has enough digits.
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

/// Digits, the separators' bytes, and what escapes of either are made of.
const fn is_of_number(byte: u8) -> bool {
    match byte {
        b'0'..=b'9' | b' ' | b'-' => true,
        b'\\' | b'u' | b'a' | b'A' | b'd' | b'D' | b'f' | b'F' => true,
        // U+00A0, U+2010 to U+2013, U+202F, U+2212.
        0xC2 | 0xA0 | 0xE2 | 0x80 | 0x90..=0x93 | 0xAF | 0x88 => true,
        _ => false,
    }
}
