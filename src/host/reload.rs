//! What SIGHUP reads anew: files whose contents the daemon keeps in memory.
//!
//! Invariant: a file that can't be read or used leaves what is in use as it is, and the log says so.

use std::sync::Arc;

use log::{error, info};

/// Something in memory that files hold.
pub trait Reload: Send + Sync {
    /// Reads the files again and uses what they say from now on. Returns what that is, for the log.
    ///
    /// Errors: why they can't be used. What was in use stays so.
    fn reload(&self) -> Result<String, String>;
}

/// Everything that SIGHUP reads anew.
#[derive(Clone, Default)]
pub struct Reloads(Vec<Arc<dyn Reload>>);

impl Reloads {
    /// One more.
    pub fn add(&mut self, one: Arc<dyn Reload>) {
        self.0.push(one);
    }

    /// Reads all of them; one line each.
    pub fn run(&self) {
        if self.0.is_empty() {
            info!("SIGHUP: there is nothing to reload");
        }
        for one in &self.0 {
            match one.reload() {
                Ok(what) => info!("SIGHUP: {what}"),
                Err(why) => error!("SIGHUP: {why}; what was read before stays in use"),
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
    fn one_that_fails_does_not_keep_the_others_from_being_read() {
        let all = [false, true].map(|works| Arc::new(Counted(AtomicUsize::new(0), works)));
        let mut reloads = Reloads::default();
        all.iter().for_each(|one| reloads.add(Arc::clone(one) as Arc<dyn Reload>));
        reloads.run();
        reloads.run();
        assert_eq!(all.map(|one| one.0.load(Ordering::Relaxed)), [2, 2]);
    }
}
