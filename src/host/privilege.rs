//! What other users of the machine may see of the daemon: nothing that it writes, and nothing of its memory.

use std::io;

use log::warn;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit, umask};

/// A core dump would hold keys and events. One byte and not none: Linux takes that for "no dump at all",
/// also where dumps are piped to a program, which no other limit stops.
const CORE_BYTES_MAX: u64 = 1;

/// Files that are made from now on are this user's alone, and no core is dumped. Call it before anything
/// is made or started.
///
/// Errors: the limit can't be set; the files' part holds all the same.
pub fn close_off() -> io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    let most = getrlimit(Resource::Core).maximum.map_or(CORE_BYTES_MAX, |most| most.min(CORE_BYTES_MAX));
    setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}

/// Says so where the daemon has more rights than it needs.
pub fn warn_of_root() {
    if geteuid().is_root() {
        warn!("running as root, which nothing here needs: give the daemon a user of its own");
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
