//! Counters and the reading of them that is shown, declared together: a new counter is one line.
//!
//! Counters are relaxed atomics: each is exact, and together they are consistent whenever nothing is in flight.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Declares counters as atomics, and their values at one moment as what is shown. One more field may follow, of a kind
/// that has a `read` of its own.
macro_rules! counters {
    (
        $(#[doc = $counters_doc:literal])+ $vis:vis $counters:ident,
        $(#[doc = $figures_doc:literal])+ $figures:ident,
        $($(#[doc = $doc:literal])+ $name:ident),+
        $(; $(#[doc = $more_doc:literal])+ $more:ident: $kind:ty => $(#[$shown_as:meta])* $shown:ty)? $(,)?
    ) => {
        $(#[doc = $counters_doc])+
        #[derive(Debug, Default)]
        $vis struct $counters {
            $($(#[doc = $doc])+ $vis $name: std::sync::atomic::AtomicU64,)+
            $($(#[doc = $more_doc])+ $vis $more: $kind,)?
        }

        $(#[doc = $figures_doc])+
        #[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
        pub struct $figures {
            $($(#[doc = $doc])+ pub $name: u64,)+
            $($(#[doc = $more_doc])+ $(#[$shown_as])* pub $more: $shown,)?
        }

        impl $counters {
            /// Reads every counter.
            #[must_use]
            $vis fn snapshot(&self) -> $figures {
                $figures {
                    $($name: self.$name.load(std::sync::atomic::Ordering::Relaxed),)+
                    $($more: self.$more.read(),)?
                }
            }
        }
    };
}

pub(crate) use counters;

/// Adds to a counter.
pub fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

/// Subtracts from a counter.
pub fn sub(counter: &AtomicU64, n: usize) {
    counter.fetch_sub(n as u64, Relaxed);
}

/// Sets a counter that shows how many there are now.
pub fn set(counter: &AtomicU64, n: usize) {
    counter.store(n as u64, Relaxed);
}
