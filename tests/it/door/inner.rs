//! A door with a `tiny_http` server behind it, and clients in front.
//!
//! The server answers by the request's query: `?hold` waits until the test lets it go, `?bytes=N`
//! gives N bytes, `?drop` drops the request; every other answer shows what arrived.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use logs_ingest::door::{Door, InnerServer, Listener, Options, Settings, Watch};
use logs_ingest::host::thread;
use logs_ingest::telemetry::timings::Timings;
use logs_ingest::wire::keys::Guard;
use tiny_http::{Header, Request, Response, Server};

/// Longer than anything that a test waits for takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn settings() -> Settings {
    Settings {
        options: Options {
            max_connections: 1_024,
            max_connections_per_address: 0,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            upstream_connections: 256,
        },
        upstream_timeout: Duration::from_secs(20),
        batch_timeout: Duration::from_secs(20),
        body_bytes_max: 1024 * 1024,
        guard: Guard::default(),
        batch_bytes_max: 1024 * 1024,
        answers: Timings::default().request,
    }
}

pub(crate) fn with(options: Options) -> Settings {
    Settings { options, ..settings() }
}

/// The inner server, and its workers.
pub(crate) struct Inner {
    server: Arc<Server>,
    workers: Vec<JoinHandle<()>>,
}

impl Inner {
    pub(crate) fn start(path: &std::path::Path, held: &Sender<Request>) -> Self {
        let server = Arc::new(Server::http_unix(path).unwrap());
        let worker = |_| {
            let (server, held) = (Arc::clone(&server), held.clone());
            thread::start("inner", move || {
                for request in server.incoming_requests() {
                    answer(request, &held);
                }
            })
            .unwrap()
        };
        let workers = (0..4).map(worker).collect();
        Self { server, workers }
    }

    /// Stops reading requests. Connections to it stay open, as they do when `tiny_http` is dropped.
    pub(crate) fn stop(self) {
        self.workers.iter().for_each(|_| self.server.unblock());
        self.workers.into_iter().for_each(|worker| worker.join().unwrap());
    }
}

fn answer(mut request: Request, held: &Sender<Request>) {
    let url = request.url().to_owned();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    if query == "hold" {
        held.send(request).unwrap();
    } else if query == "drop" {
        drop(request);
    } else if let Some(bytes) = query.strip_prefix("bytes=") {
        let body = vec![b'x'; bytes.parse().unwrap()];
        request.respond(Response::from_data(body)).unwrap();
    } else {
        let mut body = Vec::new();
        request.as_reader().read_to_end(&mut body).unwrap();
        release(request, &body);
    }
}

/// Answers a request: 202 with what arrived.
pub(crate) fn release(request: Request, body: &[u8]) {
    let mut text = format!("{} {}\n", request.method(), request.url()).into_bytes();
    for header in request.headers() {
        text.extend_from_slice(format!("{}: {}\n", header.field, header.value).as_bytes());
    }
    text.push(b'\n');
    text.extend_from_slice(body);
    let stored = Header::from_bytes("X-Stored-In", "spool").unwrap();
    let response = Response::from_data(text).with_status_code(202).with_header(stored);
    let _ = request.respond(response);
}

/// A door, the server behind it, and the folder of their socket.
pub(crate) struct House {
    pub(crate) door: Option<Door>,
    pub(crate) inner: Option<Inner>,
    pub(crate) address: SocketAddr,
    pub(crate) path: PathBuf,
    pub(crate) held: Receiver<Request>,
    pub(crate) hold: Sender<Request>,
    pub(crate) rebuild: Receiver<()>,
}

impl House {
    pub(crate) fn new(settings: Settings) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("logs-ingest-door-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("inner.sock");
        let (hold, held) = bounded(1_024);
        let inner = Inner::start(&path, &hold);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ask, rebuild) = bounded(1);
        let listener = Listener::tcp(listener, None).unwrap();
        let server = InnerServer { path: path.clone(), rebuild: ask };
        let door = Door::start(vec![listener], server, settings, &Watch::default()).unwrap();
        Self { door: Some(door), inner: Some(inner), address, path, held, hold, rebuild }
    }

    pub(crate) fn door(&self) -> &Door {
        self.door.as_ref().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// A new client is answered, soon.
    pub(crate) fn serves(&self) {
        let started = Instant::now();
        let mut client = self.client();
        client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().status, 202);
        client.send(post(b"{}"));
        assert_eq!(client.answer().status, 202);
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "a healthy client waited {:?}",
            started.elapsed()
        );
    }

    /// No request is inside any more, and no byte of any is kept.
    pub(crate) fn holds_nothing(&self) {
        wait_until("the door holds nothing", || {
            let figures = self.door().figures();
            (figures.memory_bytes, figures.in_flight, figures.waiting) == (0, 0, 0)
        });
    }

    pub(crate) fn refused(&self, status: u16) -> u64 {
        let figures = self.door().figures();
        figures.refused.get(&status).copied().unwrap_or_default()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(self.door.take());
        while let Ok(request) = self.held.try_recv() {
            drop(request);
        }
        if let Some(inner) = self.inner.take() {
            inner.stop();
        }
        let _ = std::fs::remove_dir_all(self.path.parent().unwrap());
    }
}

/// Polls until it holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    post_to("/api/logs/ingest", body)
}

pub(crate) fn post_to(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = headers.next().map(|(_, value)| value.as_str());
        assert!(headers.next().is_none(), "{name} came twice");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A client that speaks in bytes.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to(false)
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "a cut line: {line:?}");
        line.truncate(line.len() - 2);
        line
    }

    pub(crate) fn answer_to(&mut self, is_head: bool) -> Answer {
        let status = self.line();
        let status: u16 = status.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        assert_eq!(answer.header("Server"), Some("logs-ingest"));
        assert!(answer.header("Date").is_some() && answer.header("Content-Type").is_some());
        let length: usize = answer.header("Content-Length").unwrap().parse().unwrap();
        if !is_head {
            answer.body.resize(length, 0);
            self.reader.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    /// The connection ends here, in an orderly way, with nothing more sent.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).is_ok() && rest.is_empty()
    }

    /// The connection ends here, in whatever way.
    pub(crate) fn is_gone(&mut self) -> bool {
        let mut byte = [0];
        match self.reader.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
