//! Ports for servers of others' that have to be named before they listen, and again after they were killed.
//!
//! Invariant: a port belongs to one test program until that ends, also while nothing listens there: several programs run
//! side by side, and a broker that comes back must not meet another one's.

use std::net::TcpListener;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

/// The claims of this program. The kernel gives them back when it ends.
static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// The first of `count` neighbouring ports of `range` that are free and now this program's.
pub(crate) fn claim(range: Range<u16>, count: u16) -> u16 {
    let end = range.end;
    let first =
        range.step_by(usize::from(count)).find(|first| first + count <= end && claim_here(*first, count));
    first.unwrap_or_else(|| panic!("no {count} neighbouring ports are free below {end}"))
}

fn claim_here(first: u16, count: u16) -> bool {
    // A name of the kernel's, without a file: who binds it first has it.
    let name =
        SocketAddr::from_abstract_name(format!("logs-ingest-test-port-{first}")).expect("a short name");
    let Ok(claim) = UnixListener::bind_addr(&name) else { return false };
    let free = (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    if free {
        CLAIMS.lock().expect("no test panics with it").push(claim);
    }
    free
}

#[test]
fn a_port_is_claimed_once() {
    let (one, other) = (claim(19_000..19_100, 2), claim(19_000..19_100, 2));
    assert_ne!(one, other);
    assert!(!claim_here(one, 2) && !claim_here(other, 2));
}
