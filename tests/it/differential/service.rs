//! The Python service as a child process, from a virtual environment of its own below `target/`.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::http::Client;
use crate::support::poll;

pub(super) struct Service {
    child: Child,
    addr: SocketAddr,
}

fn python() -> PathBuf {
    let python = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/differential/bin/python"));
    assert!(python.exists(), "{} is missing: scripts/python-env makes it", python.display());
    python
}

impl Service {
    pub(super) fn start() -> Self {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/service.py");
        let child = Command::new(python())
            .args([script, &port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("python starts");
        let service = Self { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) };
        poll(Duration::from_secs(60), "the service to listen", || Client::try_connect(service.addr).ok());
        service
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.addr)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
