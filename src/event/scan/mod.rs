//! The strict scan of a whole body: is it JSON that may be passed on, and if not, at which character?
//!
//! Everything is checked, even what is only passed on: it must be safe for the next reader. So, beside the grammar:
//! numbers fit a double, escapes make whole characters, and nesting is bounded. One loop, and one bit per level: depth
//! costs no stack.
//!
//! Positions are those of Python's json module, which clients of the service that this one replaces know. What Python
//! accepts (`NaN`, a lone surrogate, too large a number) counts only when Python would find no other fault, so it is
//! noted and the scan goes on. Nesting that is too deep ends the scan at once.

mod token;

#[cfg(test)]
mod tests;

use crate::limits::JSON_DEPTH_MAX;

/// The byte from which the text is not valid JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault(usize);

/// Checks that `text` is one JSON value with nothing but white space around it.
///
/// # Errors
/// The character of the fault, counted from 0.
pub(super) fn scan(text: &str) -> Result<(), usize> {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, noted: None };
    let fault = match (scanner.document(), scanner.noted) {
        (Ok(()), None) => return Ok(()),
        (Ok(()), Some(fault)) | (Err(fault), _) => fault,
    };
    Err(text[..fault.0].chars().count())
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The first fault that Python would accept.
    noted: Option<Fault>,
}

/// The open containers: one bit for each level, set for an object, the innermost lowest.
#[derive(Default)]
struct Levels {
    objects: u128,
    depth: usize,
}

const _: () = assert!(JSON_DEPTH_MAX <= u128::BITS as usize, "a level needs its bit in Levels");

impl Levels {
    /// Opens one more. False: that is too deep.
    fn open(&mut self, object: bool) -> bool {
        let room = self.depth < JSON_DEPTH_MAX;
        if room {
            self.objects = (self.objects << 1) | u128::from(object);
            self.depth += 1;
        }
        room
    }

    fn close(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blank(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    fn note(&mut self, at: usize) {
        self.noted.get_or_insert(Fault(at));
    }

    fn document(&mut self) -> Result<(), Fault> {
        let mut levels = Levels::default();
        loop {
            let value = self.skip_blank();
            if let Some(bracket @ (b'{' | b'[')) = value {
                if !levels.open(bracket == b'{') {
                    return Err(self.noted.unwrap_or(Fault(self.at)));
                }
                self.at += 1;
                // The code of a closing bracket is that of the opening one plus 2.
                if self.skip_blank() != Some(bracket + 2) {
                    if levels.in_object() {
                        self.name()?;
                    }
                    continue;
                }
                self.at += 1;
                levels.close();
            } else {
                self.scalar(value)?;
            }
            self.after_value(&mut levels)?;
            if levels.depth == 0 {
                return if self.skip_blank().is_none() { Ok(()) } else { Err(Fault(self.at)) };
            }
        }
    }

    /// Closes the containers that end after a value, and moves to the start of the next value, if there is one.
    fn after_value(&mut self, levels: &mut Levels) -> Result<(), Fault> {
        while levels.depth > 0 {
            let object = levels.in_object();
            match self.skip_blank() {
                Some(b'}') if object => levels.close(),
                Some(b']') if !object => levels.close(),
                Some(b',') => {
                    self.at += 1;
                    return if object { self.name() } else { Ok(()) };
                }
                _ => return Err(Fault(self.at)),
            }
            self.at += 1;
        }
        Ok(())
    }

    /// A member's name and its colon.
    fn name(&mut self) -> Result<(), Fault> {
        if self.skip_blank() != Some(b'"') {
            return Err(Fault(self.at));
        }
        self.string()?;
        if self.skip_blank() != Some(b':') {
            return Err(Fault(self.at));
        }
        self.at += 1;
        Ok(())
    }
}
