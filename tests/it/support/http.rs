//! A small, strict HTTP/1.1 client. It sends exactly the bytes it is given, so that a test can break
//! every rule, and takes only well-formed answers, so that the daemon cannot.
//!
//! Invariant: every read and write has a time limit, every answer a size limit.

mod checks;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};
use serde_json::Value;

use super::tls;

/// Longer than the longest wait before an answer (the sum of the stores' deadlines).
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(20);

const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(crate) const INGEST: &str = "/api/logs/ingest";
pub(crate) const BATCH: &str = "/api/logs/ingest/batch";

/// One answer, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A header's value. Panics when it stands there twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice in {:?}", self.headers);
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("answers are UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", self.text()))
    }

    /// The text of `{"detail":"..."}`.
    pub(crate) fn detail(&self) -> String {
        let json = self.json();
        let keys = json.as_object().map(serde_json::Map::len);
        assert_eq!(keys, Some(1), "one key is expected: {json}");
        json["detail"].as_str().unwrap_or_else(|| panic!("no text in detail: {json}")).to_owned()
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Where a daemon is, and how to speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    addr: SocketAddr,
    trust: Option<Arc<ClientConfig>>,
}

impl From<SocketAddr> for Place {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, trust: None }
    }
}

impl From<(SocketAddr, Arc<ClientConfig>)> for Place {
    fn from((addr, trust): (SocketAddr, Arc<ClientConfig>)) -> Self {
        Self { addr, trust: Some(trust) }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(place: impl Into<Place>) -> Self {
        let place = place.into();
        let addr = place.addr;
        Self::try_connect(place).unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"))
    }

    pub(crate) fn try_connect(place: impl Into<Place>) -> io::Result<Self> {
        let Place { addr, trust } = place.into();
        let stream = TcpStream::connect_timeout(&addr, ANSWER_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        let tls = trust.map(|trust| Box::new(tls::connection(&trust)));
        Ok(Self { stream, tls, unread: Vec::new() })
    }

    pub(crate) fn send_raw(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.tls {
            None => self.stream.write_all(bytes.as_ref()),
            Some(tls) => {
                let mut both = rustls::Stream::new(tls.as_mut(), &mut self.stream);
                both.write_all(bytes.as_ref()).and_then(|()| both.flush())
            }
        }
    }

    /// Waits long enough for an unoptimised daemon with a slow machine's whole load of large batches.
    pub(crate) fn patient(self) -> Self {
        self.stream.set_read_timeout(Some(6 * ANSWER_LIMIT)).expect("a time limit above zero");
        self
    }

    /// No more bytes from here; answers can still be read.
    pub(crate) fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// The same socket for another thread, to send while this one reads.
    pub(crate) fn sender(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Sends a request with `Host` and, unless one is among the headers, `Content-Length`.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: till.test\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        let framed = |name: &str| {
            ["Content-Length", "Transfer-Encoding"].iter().any(|one| name.eq_ignore_ascii_case(one))
        };
        if method == "POST" && !headers.iter().any(|(name, _)| framed(name)) {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.send_raw(bytes)
    }

    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], b"")
    }

    pub(crate) fn post(
        &mut self,
        target: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        self.request("POST", target, headers, body.as_ref())
    }

    /// One event to the ingest path, as JSON.
    pub(crate) fn post_event(&mut self, body: impl AsRef<[u8]>) -> Response {
        self.post(INGEST, &[("Content-Type", "application/json")], body)
    }

    /// A whole exchange. Panics on I/O errors.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let sent = self.send(method, target, headers, body);
        let read = if method == "HEAD" { self.read_head() } else { self.read_response() };
        read.unwrap_or_else(|error| panic!("{method} {target}: no answer: {error} (sending: {sent:?})"))
    }

    /// The next answer with its body. `1xx` answers are returned like any other.
    pub(crate) fn read_response(&mut self) -> io::Result<Response> {
        let mut response = self.read_head()?;
        if response.status < 200 {
            return Ok(response);
        }
        let length =
            response.header("Content-Length").ok_or_else(|| wrong("an answer without Content-Length"))?;
        let length: usize = length.parse().map_err(|_| wrong("a Content-Length that is no number"))?;
        if length > BODY_BYTES_MAX {
            return Err(wrong("an answer above the client's limit"));
        }
        while self.unread.len() < length {
            self.fill()?;
        }
        let rest = self.unread.split_off(length);
        response.body = std::mem::replace(&mut self.unread, rest);
        Ok(response)
    }

    /// The next answer's head alone, as for HEAD.
    pub(crate) fn read_head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if self.unread.len() > HEAD_BYTES_MAX {
                return Err(wrong("a head above the client's limit"));
            }
            self.fill()?;
        };
        let rest = self.unread.split_off(end + 4);
        let mut head = std::mem::replace(&mut self.unread, rest);
        head.truncate(end);
        parse_head(&head)
    }

    /// Whether there is something to read within `limit`. The end of the stream counts.
    pub(crate) fn readable_within(&self, limit: Duration) -> bool {
        self.stream.set_read_timeout(Some(limit)).expect("a time limit above zero");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a time limit above zero");
        !self.unread.is_empty() || !matches!(peeked, Err(error) if is_timeout(&error))
    }

    /// Whether the daemon closes without another byte. A reset counts as closed: the daemon may have
    /// had unread bytes of ours. Panics when nothing comes at all.
    pub(crate) fn is_closed(&mut self) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        match self.fill() {
            Ok(()) => false,
            Err(error) if is_timeout(&error) => panic!("neither closed nor answered within {ANSWER_LIMIT:?}"),
            Err(_) => true,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let count = match &mut self.tls {
            None => self.stream.read(&mut buffer)?,
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.stream).read(&mut buffer)?,
        };
        match count {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection was closed")),
            count => {
                self.unread.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }
}

/// A whole exchange on a connection of its own.
pub(crate) fn once(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    Client::connect(addr).request(method, target, headers, body)
}

/// A body in `Transfer-Encoding: chunked`, `size` bytes a chunk.
pub(crate) fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut coded = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(size) {
        coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}

fn parse_head(head: &[u8]) -> io::Result<Response> {
    let head = std::str::from_utf8(head).map_err(|_| wrong("a head that is not UTF-8"))?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once(' '));
    let status = status.filter(|(code, reason)| code.len() == 3 && !reason.is_empty());
    let status = status.and_then(|(code, _)| code.parse().ok()).ok_or_else(|| wrong(status_line))?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| wrong(line))?;
        if name.is_empty() || value.contains(['\r', '\n']) || name.contains(char::is_whitespace) {
            return Err(wrong(line));
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(Response { status, headers, body: Vec::new() })
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not a well-formed answer: {what:?}"))
}

/// What a socket's time limit looks like: either, by platform.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
