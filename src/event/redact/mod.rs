//! Masks card numbers before anything is queued, stored, logged or answered: the first six digits and the last four
//! stay, those between become stars.
//!
//! `filter` looks at every text once, fast; few go on to `json`, which walks from token to token, to `find`, which
//! knows how people write card numbers, and to `issuers`, which knows the numbers. `docs/card-numbers.md` has the rules
//! and what they miss. Masking a masked text changes nothing.

mod filter;
mod find;
mod issuers;
mod json;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(super) use json::mask as mask_json;

use find::Finder;

/// A plain text with its card numbers masked.
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
