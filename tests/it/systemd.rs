//! Under a service manager: what a real notify socket receives, sockets that it hands over, and the units by
//! systemd's own tools.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::notify::Manager;
use crate::support::proxy::Proxy;
use crate::support::{TempDir, poll};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_manager_hears_when_it_is_ready_how_it_is_and_that_it_stops() {
    let manager = Manager::new();
    let kafka = format!("127.0.0.1:{}", Proxy::reserve());
    let mut daemon = manager.daemon().env("KAFKA_BROKERS", kafka).start();
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS="), "{ready}");
    // No broker was waited for.
    assert_eq!(daemon.client().post_event(events::event().to_string()).status, 202);
    let status = manager.wait_for("1 event waits");
    assert!(
        status.contains("STATUS=kafka is down since 20") && status.contains(": events go to the spool"),
        "{status}"
    );
    daemon.signal(Signal::HUP);
    manager.wait_for("READY=1");
    assert!(!manager.said_within(Duration::from_secs(3), "WATCHDOG=1"), "nobody asked for it");
    daemon.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert!(daemon.wait_for_exit(LIMIT).success());
}

/// The daemon with sockets at the places where systemd puts them.
fn activated(home: &Path, sockets: &[&dyn AsFd], stderr: Stdio) -> Child {
    let mut moves = String::new();
    for (nth, socket) in sockets.iter().enumerate() {
        fcntl_setfd(socket.as_fd(), FdFlags::empty()).expect("our own descriptor");
        // First out of the way of each other.
        moves += &format!("exec {}<&{}; ", 200 + nth, socket.as_fd().as_raw_fd());
    }
    (0..sockets.len()).for_each(|nth| moves += &format!("exec {}<&{}; ", 3 + nth, 200 + nth));
    let script = format!("{moves} export LISTEN_PID=$$ LISTEN_FDS={}; exec \"$0\"", sockets.len());
    let child = Command::new("bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_logs-ingest")])
        .env("DATA_DIR", home)
        .env("HOST", "192.0.2.1")
        .env("LOG_LEVEL", "info")
        .stdin(Stdio::null())
        .stderr(stderr)
        .spawn();
    for socket in sockets {
        fcntl_setfd(socket.as_fd(), FdFlags::CLOEXEC).expect("our own descriptor");
    }
    child.expect("bash starts")
}

fn stop(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert!(child.wait().expect("it ends").success());
}

/// The status of one event on a connection of its own; none when the daemon closed it.
fn post(mut stream: impl Read + Write) -> Option<String> {
    let body = events::event().to_string();
    let head = format!(
        "POST /api/logs/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).map(str::to_owned)
}

#[test]
fn no_connection_is_refused_while_the_daemon_restarts() {
    let home = TempDir::new();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address: SocketAddr = tcp.local_addr().expect("an address");
    let path = home.path().join("own.sock");
    let unix = UnixListener::bind(&path).expect("a writable folder");
    let (stopped, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let till = {
        let (stopped, stored) = (Arc::clone(&stopped), Arc::clone(&stored));
        logs_ingest::host::thread::start("till", move || {
            while !stopped.load(Ordering::Relaxed) {
                let stream = TcpStream::connect(address).expect("nobody is refused");
                stream.set_read_timeout(Some(LIMIT)).expect("a socket");
                if post(stream).as_deref() == Some("202") {
                    stored.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
        .expect("a thread")
    };
    for _ in 0..3 {
        let child = activated(home.path(), &[&tcp, &unix], Stdio::null());
        let before = stored.load(Ordering::Relaxed);
        poll(LIMIT, "events to be stored", || (stored.load(Ordering::Relaxed) > before + 30).then_some(()));
        let local = std::os::unix::net::UnixStream::connect(&path).expect("the other socket");
        assert_eq!(post(local).as_deref(), Some("202"));
        stop(child);
    }
    let child = activated(home.path(), &[&tcp], Stdio::null());
    stopped.store(true, Ordering::Relaxed);
    till.join().expect("every connection was taken");
    stop(child);
    // The manager's socket is the manager's to remove.
    assert!(path.exists());
}

#[test]
fn a_socket_of_another_kind_is_refused_with_what_to_do() {
    let home = TempDir::new();
    let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let output = activated(home.path(), &[&udp], Stdio::piped()).wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(78) && said.contains("use ListenStream="), "{said}");
}

#[test]
fn the_units_are_in_order_and_closed_off() {
    let (folder, deploy) = (TempDir::new(), Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"));
    let analyze = |args: &[&str], files: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(args).args(files.iter().map(|name| folder.path().join(name)));
        let output = command.output().expect("scripts/test installs systemd");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
        said
    };
    for name in ["logs-ingest.service", "logs-ingest.socket"] {
        let unit = fs::read_to_string(deploy.join(name)).expect("a unit");
        // Where this build has its program: that it is there is looked at too.
        let here = unit.replace("/usr/bin/logs-ingest", env!("CARGO_BIN_EXE_logs-ingest"));
        fs::write(folder.path().join(name), here).expect("a writable folder");
    }
    let said = analyze(&["verify", "--man=no"], &["logs-ingest.service", "logs-ingest.socket"]);
    assert!(said.trim().is_empty(), "{said}");
    // In tenths.
    analyze(&["security", "--offline=true", "--threshold=15", "--no-pager"], &["logs-ingest.service"]);
}

#[test]
fn without_a_manager_nothing_is_different() {
    let mut daemon = Daemon::builder().env("NOTIFY_SOCKET", "/nowhere/at/all").start();
    assert_eq!(daemon.client().post_event(events::event().to_string()).status, 202);
    assert!(daemon.terminate().success());
}
