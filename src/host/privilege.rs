//! Other users of the machine see nothing that the daemon writes, and nothing of its memory.

use std::io;

use log::warn;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit, umask};

/// A core dump would hold keys and events. 1 and not 0: for Linux only 1 also stops dumps that are piped to a program.
const CORE_BYTES_MAX: u64 = 1;

/// From now on new files are readable by this user alone, and no core is dumped. Call it before any file or thread
/// is made.
///
/// # Errors
/// The limit on core dumps cannot be set; files are private all the same.
pub fn close_off() -> io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    let most = getrlimit(Resource::Core).maximum.map_or(CORE_BYTES_MAX, |most| most.min(CORE_BYTES_MAX));
    setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}

/// Logs a warning where the daemon has more rights than it needs.
pub fn warn_of_root() {
    if geteuid().is_root() {
        warn!("running as root, which is not needed: give the daemon a user of its own");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_no_longer_dumped() {
        close_off().unwrap();
        let limit = getrlimit(Resource::Core);
        assert!(limit.maximum <= Some(1) && limit.current == limit.maximum, "{limit:?}");
    }
}
