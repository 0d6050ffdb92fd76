//! Strings, numbers and literals.

use super::{Fault, Scanner};

/// A whole number of fewer digits is less than the greatest double, which has 309.
const SAFE_DIGITS: usize = 308;

impl Scanner<'_> {
    /// A string, number or literal.
    pub(super) fn scalar(&mut self, first: Option<u8>) -> Result<(), Fault> {
        match first {
            Some(b'"') => self.string(),
            Some(b'0'..=b'9') => self.number(),
            Some(b'-') if !self.rest().starts_with(b"-Infinity") => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'N') => self.literal_of_python(b"NaN"),
            Some(b'I') => self.literal_of_python(b"Infinity"),
            Some(b'-') => self.literal_of_python(b"-Infinity"),
            _ => Err(Fault(self.at)),
        }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.rest().starts_with(word) {
            return Err(Fault(self.at));
        }
        self.at += word.len();
        Ok(())
    }

    fn literal_of_python(&mut self, word: &[u8]) -> Result<(), Fault> {
        let start = self.at;
        self.literal(word)?;
        self.note(start);
        Ok(())
    }

    /// The end of the digits that start at `from`.
    fn digits_end(&self, from: usize) -> usize {
        from + self.bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// Reads as far as the text is a number. The caller judges what follows.
    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let whole = start + usize::from(self.bytes[start] == b'-');
        let mut end = match self.bytes.get(whole) {
            Some(b'0') => whole + 1,
            Some(b'1'..=b'9') => self.digits_end(whole + 1),
            _ => return Err(Fault(start)),
        };
        let mut may_be_too_large = end - whole > SAFE_DIGITS;
        if self.bytes.get(end) == Some(&b'.') {
            let fraction_end = self.digits_end(end + 1);
            if fraction_end > end + 1 {
                end = fraction_end;
            }
        }
        if let Some(b'e' | b'E') = self.bytes.get(end) {
            let exponent = end + 1 + usize::from(matches!(self.bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent_end = self.digits_end(exponent);
            if exponent_end > exponent {
                end = exponent_end;
                may_be_too_large = true;
            }
        }
        if may_be_too_large && !is_within_double(&self.bytes[start..end]) {
            self.note(start);
        }
        self.at = end;
        Ok(())
    }

    /// A string, from its opening quote on.
    pub(super) fn string(&mut self) -> Result<(), Fault> {
        let opening = self.at;
        self.at += 1;
        loop {
            self.at += plain_prefix(self.rest());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(opening)?,
                Some(_) => return Err(Fault(self.at)),
                None => return Err(Fault(opening)),
            }
        }
    }

    /// One escape, or the two that make one character, starting at the backslash.
    fn escape(&mut self, opening: usize) -> Result<(), Fault> {
        let backslash = self.at;
        match self.bytes.get(backslash + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = self.code_unit(backslash).ok_or(Fault(backslash + 1))?;
                self.at += 6;
                let is_pair = is_high_surrogate(unit)
                    && self.rest().starts_with(b"\\u")
                    && self.code_unit(self.at).is_some_and(is_low_surrogate);
                if is_pair {
                    self.at += 6;
                } else if is_high_surrogate(unit) || is_low_surrogate(unit) {
                    self.note(backslash);
                }
            }
            Some(_) => return Err(Fault(backslash)),
            None => return Err(Fault(opening)),
        }
        Ok(())
    }

    /// The four hex digits of the `\u` at `backslash`. At the end of the text, the fault is where Python reports it.
    fn code_unit(&self, backslash: usize) -> Option<u32> {
        let digits = self.bytes.get(backslash + 2..backslash + 6)?;
        let more_follows = backslash + 6 < self.bytes.len();
        digits
            .iter()
            .try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
            .filter(|_| more_follows)
    }
}

const fn is_high_surrogate(unit: u32) -> bool {
    matches!(unit, 0xD800..=0xDBFF)
}

const fn is_low_surrogate(unit: u32) -> bool {
    matches!(unit, 0xDC00..=0xDFFF)
}

/// Whether the number is finite when read as a double.
fn is_within_double(number: &[u8]) -> bool {
    str::from_utf8(number).is_ok_and(|text| text.parse().is_ok_and(f64::is_finite))
}

/// The number of bytes before the first quote, backslash or control character.
fn plain_prefix(bytes: &[u8]) -> usize {
    const fn is_special(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }
    // Without an early exit inside a block the compiler compares whole blocks at once.
    let (blocks, _) = bytes.as_chunks::<16>();
    let plain = blocks.iter().take_while(|block| !block.iter().fold(false, |any, &b| any | is_special(b)));
    let from = plain.count() * 16;
    from + bytes[from..].iter().take_while(|&&byte| !is_special(byte)).count()
}
