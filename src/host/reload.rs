//! What SIGHUP reloads: files whose contents the daemon keeps in memory.
//!
//! Invariant: when a file cannot be read or used, what is in use stays in use, and the log says so.

use std::sync::Arc;

use log::{error, info};

/// Something in memory that was read from files.
pub trait Reload: Send + Sync {
    /// Reads the files again and uses their contents from now on. Returns what they are, for the log.
    ///
    /// # Errors
    /// Why they cannot be used. What was in use stays in use.
    fn reload(&self) -> Result<String, String>;
}

/// Everything that SIGHUP reloads.
#[derive(Clone, Default)]
pub struct Reloads(Vec<Arc<dyn Reload>>);

impl Reloads {
    /// Adds one.
    pub fn add(&mut self, one: Arc<dyn Reload>) {
        self.0.push(one);
    }

    /// Reloads all of them, with one log line each.
    pub fn run(&self) {
        if self.0.is_empty() {
            info!("SIGHUP: there is nothing to reload");
        }
        for files in &self.0 {
            match files.reload() {
                Ok(what) => info!("SIGHUP: {what}"),
                Err(why) => error!("SIGHUP: {why}; what was loaded before stays in use"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counted(AtomicUsize, bool);

    impl Reload for Counted {
        fn reload(&self) -> Result<String, String> {
            self.0.fetch_add(1, Ordering::Relaxed);
            if self.1 { Ok("read".into()) } else { Err("unreadable".into()) }
        }
    }

    #[test]
    fn one_that_fails_does_not_keep_the_others_from_being_reloaded() {
        let all = [false, true].map(|works| Arc::new(Counted(AtomicUsize::new(0), works)));
        let mut reloads = Reloads::default();
        all.iter().for_each(|one| reloads.add(Arc::clone(one) as Arc<dyn Reload>));
        reloads.run();
        reloads.run();
        assert_eq!(all.map(|one| one.0.load(Ordering::Relaxed)), [2, 2]);
    }
}
