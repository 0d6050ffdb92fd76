//! A TCP proxy between the daemon and a broker that breaks connections in every way that networks
//! and brokers do, switchable while traffic flows.
//!
//! For Kafka the broker must advertise the proxy's address, or clients go past it after the first
//! metadata answer: [`Proxy::reserve`] a port, start the broker with it as the advertised one, then
//! [`Proxy::start_on`] it.
//!
//! Invariants: a connection that lost a byte never passes another one (TCP has no holes): it stays
//! silent until it is closed. Threads are bounded (two a connection, and one that accepts) and
//! joined on drop, whatever mode they are in.

mod checks;
mod pump;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use logs_ingest::host::thread;

use super::kafka::{Broker, Builder};
use super::ports;
use pump::{Pump, Wire, reset_on_close};

const CONNECTIONS_MAX: usize = 256;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They go through.
    Pass,
    /// Nobody listens: new connections are refused. Running ones go on unless they are cut.
    Refuse,
    /// Connections are accepted; what is sent on them vanishes; no answer, no end, no reset.
    Blackhole,
    /// Requests go through, answers vanish: the other side has done what was asked.
    HangAfterRequest,
    /// Requests go through, and the first byte of an answer resets the connection.
    CutAnswers,
    /// Each piece of up to 16 KiB waits a random time between the two, each way.
    Delay { min: Duration, max: Duration },
    /// So many bytes a second, each way.
    Throttle { bytes_per_s: u32 },
    /// A byte a packet.
    Slice,
    /// Every request is answered with random bytes; the other side sees nothing.
    Garbage,
    /// ... with a length of 2 GiB and a few bytes of it.
    HugeLength,
    /// ... with a web server's refusal, and the end.
    HttpText,
}

/// Since start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    /// Connections above the proxy's own bound, or whose target could not be reached: reset.
    pub(crate) turned_away: AtomicU64,
    pub(crate) cut: AtomicU64,
    /// Bytes written to the target, and to clients (forged ones too).
    pub(crate) bytes_up: AtomicU64,
    pub(crate) bytes_down: AtomicU64,
    pub(crate) bytes_swallowed: AtomicU64,
    /// Answers that the proxy made up itself.
    pub(crate) forged: AtomicU64,
}

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    addr: SocketAddr,
    target: SocketAddr,
    mode: Mutex<Mode>,
    accepting: AtomicBool,
    connections: Mutex<Vec<Connection>>,
    counters: Counters,
    random: AtomicU64,
}

#[derive(Debug)]
struct Connection {
    /// Gone, and its sockets closed, when the pumps have ended.
    wire: Weak<Wire>,
    /// Dropped to cut it: every wait inside ends at once.
    alive: Sender<()>,
    pump: JoinHandle<()>,
}

/// A broker whose clients all come through a proxy.
pub(crate) fn behind_a_proxy(builder: Builder) -> (Broker, Proxy) {
    let port = Proxy::reserve();
    let advertised = format!("PLAINTEXT://127.0.0.1:{port}");
    let broker = builder.property("advertised.listeners", &advertised).start();
    let proxy = Proxy::start_on(port, broker.address().parse().unwrap());
    (broker, proxy)
}

impl Proxy {
    /// A loopback port that nobody listens on, below 32768: ports above it are handed out to
    /// outgoing connections and would be taken. No port is given twice in one run.
    pub(crate) fn reserve() -> u16 {
        ports::claim(30_000..32_000, 1)
    }

    pub(crate) fn start(target: SocketAddr) -> Self {
        Self::start_on(Self::reserve(), target)
    }

    pub(crate) fn start_on(port: u16, target: SocketAddr) -> Self {
        let seed = u64::from(std::process::id()) << 16 | u64::from(port);
        let shared = Shared {
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            target,
            mode: Mutex::new(Mode::Pass),
            accepting: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
            counters: Counters::default(),
            random: AtomicU64::new(seed),
        };
        let mut proxy = Self { shared: Arc::new(shared), acceptor: None };
        proxy.listen();
        proxy
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Connections that neither side has ended.
    pub(crate) fn open(&self) -> usize {
        self.shared.reap();
        lock(&self.shared.connections).len()
    }

    /// From the next piece of bytes on, also on running connections.
    pub(crate) fn set(&mut self, mode: Mode) {
        *lock(&self.shared.mode) = mode;
        match mode {
            Mode::Refuse => self.close_listener(),
            _ if self.acceptor.is_none() => self.listen(),
            _ => {}
        }
    }

    /// Resets every running connection, on both sides; new ones are taken as the mode says.
    pub(crate) fn cut(&self) {
        let connections = std::mem::take(&mut *lock(&self.shared.connections));
        for connection in &connections {
            if let Some(wire) = connection.wire.upgrade() {
                wire.cut();
            }
        }
        for connection in connections {
            self.shared.counters.cut.fetch_add(1, Ordering::Relaxed);
            drop(connection.alive);
            connection.pump.join().expect("a pump does not panic");
        }
    }

    fn listen(&mut self) {
        let listener = TcpListener::bind(self.shared.addr);
        let listener =
            listener.unwrap_or_else(|error| panic!("cannot listen on {}: {error}", self.shared.addr));
        self.shared.accepting.store(true, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        let acceptor = thread::start("proxy-accept", move || shared.accept(&listener));
        self.acceptor = Some(acceptor.expect("the system gives a thread"));
    }

    fn close_listener(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.accepting.store(false, Ordering::SeqCst);
        // Ends the accept that waits.
        drop(TcpStream::connect_timeout(&self.shared.addr, CONNECT_LIMIT));
        acceptor.join().expect("the acceptor does not panic");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close_listener();
        self.cut();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            if !self.accepting.load(Ordering::SeqCst) {
                return;
            }
            let (client, _) = accepted.expect("a loopback connection can be accepted");
            self.counters.accepted.fetch_add(1, Ordering::Relaxed);
            self.reap();
            if lock(&self.connections).len() >= CONNECTIONS_MAX {
                self.turn_away(&client);
                continue;
            }
            let wire = Arc::new(Wire::new(client));
            let (weak, (alive, cut)) = (Arc::downgrade(&wire), bounded(0));
            let pump = Pump::new(Arc::clone(self), wire, cut);
            let pump = thread::start("proxy-up", move || pump.run_up()).expect("the system gives a thread");
            lock(&self.connections).push(Connection { wire: weak, alive, pump });
        }
    }

    fn turn_away(&self, client: &TcpStream) {
        self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        reset_on_close(client);
    }

    fn reap(&self) {
        let mut ended = Vec::new();
        let mut connections = lock(&self.connections);
        for index in (0..connections.len()).rev() {
            if connections[index].pump.is_finished() {
                ended.push(connections.swap_remove(index));
            }
        }
        drop(connections);
        for connection in ended {
            connection.pump.join().expect("a pump does not panic");
        }
    }

    fn mode(&self) -> Mode {
        *lock(&self.mode)
    }

    /// Not for secrets: a sequence of its own for each proxy (splitmix64).
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
