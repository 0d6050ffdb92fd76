//! One connection through the proxy: a thread for each direction, and what both share.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use logs_ingest::host::thread;
use socket2::SockRef;

use super::super::http::is_timeout;
use super::{CONNECT_LIMIT, Mode, Shared};

const CHUNK_BYTES: usize = 16 * 1024;
/// A write to a peer that reads nothing looks this often whether the connection was cut.
const WRITE_TURN: Duration = Duration::from_millis(100);

/// Both sockets.
#[derive(Debug)]
pub(super) struct Wire {
    client: TcpStream,
    target: OnceLock<TcpStream>,
    /// A byte or an end was lost: nothing passes any more.
    silent: AtomicBool,
    cut: AtomicBool,
}

impl Wire {
    pub(super) fn new(client: TcpStream) -> Self {
        tune(&client);
        Self { client, target: OnceLock::new(), silent: AtomicBool::new(false), cut: AtomicBool::new(false) }
    }

    /// Ends both pumps without a polite end towards either side.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in [Some(&self.client), self.target.get()].into_iter().flatten() {
            reset_on_close(stream);
            // Wakes a read here and sends nothing there. It may be closed already.
            drop(stream.shutdown(Shutdown::Read));
        }
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::SeqCst)
    }
}

/// One direction.
#[derive(Clone)]
pub(super) struct Pump {
    shared: Arc<Shared>,
    wire: Arc<Wire>,
    /// Nothing is ever sent: it disconnects when the connection is cut.
    ended: Receiver<()>,
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Pump {
    pub(super) fn new(shared: Arc<Shared>, wire: Arc<Wire>, ended: Receiver<()>) -> Self {
        Self { shared, wire, ended }
    }

    /// From the client to the target, and starts the other direction when the target is reached: at
    /// once where bytes pass (a server may speak first), else when they do.
    pub(super) fn run_up(self) {
        let mut buffer = [0; CHUNK_BYTES];
        let mut down = None;
        loop {
            if down.is_none() && self.reaches_target() {
                down = self.connect();
                if down.is_none() {
                    return;
                }
            }
            let count = match (&self.wire.client).read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(_) => {
                    self.wire.cut();
                    break;
                }
            };
            // The mode may have changed while nothing came.
            if down.is_none() && self.reaches_target() {
                down = self.connect();
            }
            if self.pass(Way::Up, &buffer[..count]).is_err() {
                self.wire.cut();
                break;
            }
        }
        if let Some(target) = self.wire.target.get()
            && !self.wire.is_cut()
        {
            // Nobody waits for an answer that is swallowed.
            let how = if self.wire.is_silent() { Shutdown::Both } else { Shutdown::Write };
            drop(target.shutdown(how));
        }
        if let Some(down) = down {
            down.join().expect("a pump does not panic");
        }
    }

    fn reaches_target(&self) -> bool {
        let mode = self.shared.mode();
        let made_up = matches!(mode, Mode::Blackhole | Mode::Garbage | Mode::HugeLength | Mode::HttpText);
        !made_up && !self.wire.is_silent()
    }

    /// `None`: the target cannot be reached, and the client is reset, which is the nearest that an
    /// accepted connection has to being refused.
    fn connect(&self) -> Option<JoinHandle<()>> {
        let Ok(target) = TcpStream::connect_timeout(&self.shared.target, CONNECT_LIMIT) else {
            self.shared.turn_away(&self.wire.client);
            self.wire.cut();
            return None;
        };
        tune(&target);
        self.wire.target.set(target).expect("BUG: a wire reaches its target once");
        // Cut in the meantime, without this socket.
        if self.wire.is_cut() {
            self.wire.cut();
        }
        let pump = self.clone();
        let down = thread::start("proxy-down", move || pump.run_down());
        Some(down.expect("the system gives a thread"))
    }

    fn run_down(self) {
        let mut target = self.wire.target.get().expect("BUG: this direction starts with the target reached");
        let mut buffer = [0; CHUNK_BYTES];
        loop {
            match target.read(&mut buffer) {
                _ if self.wire.is_cut() => return,
                Ok(0) if self.swallows(Way::Down) => {
                    self.wire.silent.store(true, Ordering::SeqCst);
                    return;
                }
                Ok(0) => {
                    drop(self.wire.client.shutdown(Shutdown::Write));
                    return;
                }
                Ok(count) if self.pass(Way::Down, &buffer[..count]).is_ok() => {}
                // A reset is swallowed like an end.
                Err(_) if self.swallows(Way::Down) => {
                    self.wire.silent.store(true, Ordering::SeqCst);
                    return;
                }
                _ => {
                    self.wire.cut();
                    return;
                }
            }
        }
    }

    fn swallows(&self, way: Way) -> bool {
        let hole = match self.shared.mode() {
            Mode::Blackhole => true,
            Mode::HangAfterRequest | Mode::Garbage | Mode::HugeLength | Mode::HttpText => way == Way::Down,
            _ => false,
        };
        hole || self.wire.is_silent()
    }

    /// One piece of bytes, as the mode says.
    fn pass(&self, way: Way, bytes: &[u8]) -> io::Result<()> {
        let mode = self.shared.mode();
        let forges = way == Way::Up && matches!(mode, Mode::Garbage | Mode::HugeLength | Mode::HttpText);
        if self.swallows(way) && !forges {
            self.wire.silent.store(true, Ordering::SeqCst);
            self.shared.counters.bytes_swallowed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            return Ok(());
        }
        match mode {
            Mode::Delay { min, max } => {
                let span = u64::try_from(max.saturating_sub(min).as_micros()).unwrap_or(u64::MAX);
                let extra = Duration::from_micros(self.shared.random() % span.saturating_add(1));
                self.wait(min + extra)?;
                self.write(way, bytes)
            }
            Mode::Throttle { bytes_per_s } => {
                // Twenty pieces a second, so that it flows rather than jerks.
                let rate = bytes_per_s.max(1);
                for piece in bytes.chunks((rate as usize / 20).max(1)) {
                    self.wait(Duration::from_secs_f64(piece.len() as f64 / f64::from(rate)))?;
                    self.write(way, piece)?;
                }
                Ok(())
            }
            Mode::Slice => bytes.chunks(1).try_for_each(|byte| self.write(way, byte)),
            Mode::Garbage => {
                let random: Vec<u8> = (0..16).flat_map(|_| self.shared.random().to_be_bytes()).collect();
                self.forge(&random)
            }
            Mode::HugeLength => self.forge(b"\x7f\xff\xff\xff\0\0\0\x01\0\0\0\0\0\0\0\0"),
            Mode::HttpText => {
                self.forge(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
                self.wire.client.shutdown(Shutdown::Write)
            }
            Mode::CutAnswers if way == Way::Down => Err(ErrorKind::ConnectionReset.into()),
            Mode::Pass | Mode::Refuse | Mode::Blackhole | Mode::HangAfterRequest | Mode::CutAnswers => {
                self.write(way, bytes)
            }
        }
    }

    /// An answer of the proxy's own; what was asked is lost.
    fn forge(&self, answer: &[u8]) -> io::Result<()> {
        self.wire.silent.store(true, Ordering::SeqCst);
        self.shared.counters.forged.fetch_add(1, Ordering::Relaxed);
        self.write(Way::Down, answer)
    }

    fn wait(&self, time: Duration) -> io::Result<()> {
        match self.ended.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(ErrorKind::ConnectionReset.into()),
        }
    }

    fn write(&self, way: Way, mut bytes: &[u8]) -> io::Result<()> {
        let (mut stream, counter) = match way {
            Way::Up => (self.wire.target.get(), &self.shared.counters.bytes_up),
            Way::Down => (Some(&self.wire.client), &self.shared.counters.bytes_down),
        };
        let stream = stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        while !bytes.is_empty() {
            if self.wire.is_cut() {
                return Err(ErrorKind::ConnectionReset.into());
            }
            match stream.write(bytes) {
                Ok(count) => {
                    counter.fetch_add(count as u64, Ordering::Relaxed);
                    bytes = &bytes[count..];
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Small pieces leave at once, and a write never waits for long.
fn tune(stream: &TcpStream) {
    stream.set_nodelay(true).expect("a TCP socket takes the option");
    stream.set_write_timeout(Some(WRITE_TURN)).expect("a TCP socket takes the option");
}

/// Closing it will reset the connection instead of ending it politely.
pub(super) fn reset_on_close(stream: &TcpStream) {
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}
