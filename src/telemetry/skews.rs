//! The worst difference between an event's own time and its receipt, by service: it shows whose clock is wrong. The
//! number of services and the length of their names are bounded.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::limits::{SKEW_NAME_CHARS_MAX, SKEW_SERVICES_MAX};

/// The name for all services beyond the bound.
const OTHERS: &str = "(others)";

/// See the module.
#[derive(Debug, Default)]
pub struct Skews(Mutex<HashMap<Box<str>, i64>>);

impl Skews {
    /// Notes the skew of an event of `service`.
    pub fn note(&self, service: &str, skew_ms: i64) {
        let name =
            service.char_indices().nth(SKEW_NAME_CHARS_MAX).map_or(service, |(end, _)| &service[..end]);
        let mut worst = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if worst.contains_key(name) || worst.len() < SKEW_SERVICES_MAX { name } else { OTHERS };
        match worst.get_mut(name) {
            Some(known) if known.unsigned_abs() >= skew_ms.unsigned_abs() => {}
            Some(known) => *known = skew_ms,
            None => {
                worst.insert(name.into(), skew_ms);
            }
        }
    }

    /// The worst skew of each service since start.
    #[must_use]
    pub fn worst(&self) -> BTreeMap<Box<str>, i64> {
        let worst = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        worst.iter().map(|(name, skew_ms)| (name.clone(), *skew_ms)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_stays_whichever_way_a_clock_is_off() {
        let skews = Skews::default();
        for skew_ms in [5, -7, 6, 0] {
            skews.note("till", skew_ms);
        }
        skews.note("shop", i64::MIN);
        skews.note("shop", i64::MAX);
        assert_eq!(skews.worst(), [("shop".into(), i64::MIN), ("till".into(), -7)].into());
    }

    #[test]
    fn services_and_names_are_bounded() {
        let skews = Skews::default();
        for n in 0..2_i64 * SKEW_SERVICES_MAX as i64 {
            skews.note(&format!("{n}{}", "ü".repeat(500)), n);
        }
        let worst = skews.worst();
        assert_eq!((worst.len(), worst[OTHERS]), (SKEW_SERVICES_MAX + 1, 2 * SKEW_SERVICES_MAX as i64 - 1));
        assert!(worst.keys().all(|name| name.chars().count() <= SKEW_NAME_CHARS_MAX));
    }
}
