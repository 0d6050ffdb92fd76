//! Card numbers are masked: the first six digits and the last four stay, the ones between become stars,
//! before anything is queued, stored, logged or answered.
//!
//! `filter` looks at every text once, fast; hardly any goes on to `json`, which walks from token to token,
//! and to `find`, which knows how cards are written, and `issuers`, which knows their numbers. The rules,
//! and what they miss, are in `docs/card-numbers.md`. Masking what is masked changes nothing.

mod filter;
mod find;
mod issuers;
mod json;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(super) use json::mask as mask_json;

use find::Finder;

/// A text that is no JSON, with its card numbers masked.
#[must_use]
pub fn mask_text(text: &str) -> Cow<'_, str> {
    if !filter::may_hold_card(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut finder = Finder::default();
    finder.search(text.char_indices());
    if finder.masked.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut masked = text.to_owned();
    for at in finder.masked {
        masked.replace_range(at..=at, "*");
    }
    Cow::Owned(masked)
}
