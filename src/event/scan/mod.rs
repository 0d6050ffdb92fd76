//! The strict scan of a whole body: is it JSON that may be passed on, and if not, at which character?
//!
//! Everything is judged, what nobody reads too: what is passed on verbatim must be safe for whoever
//! reads it next. So, beside the grammar: numbers fit a double, escapes make whole characters, and
//! nesting is bounded. One loop and a bit for each level: depth costs no stack.
//!
//! Positions are those of Python's json module, as clients of the service that this one replaces know
//! them. What Python would let pass (`NaN`, a lone surrogate, too large a number) only counts when the
//! text has no fault in Python's eyes, so it is noted and the scan goes on; too deep ends it at once.

mod token;

#[cfg(test)]
mod tests;

use crate::limits::JSON_DEPTH_MAX;

/// Where the text ceases to be JSON, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault(usize);

/// Judges `text` as one JSON value with nothing but white space around it.
///
/// Errors: the place of the fault, in characters.
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
    /// The first thing that is JSON to Python, but not to us.
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
    /// Room for one more, or false.
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
                // Brackets differ from their closing ones by 2.
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

    /// Closes what ends behind a value, and moves to where the next value starts, if there is one.
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
