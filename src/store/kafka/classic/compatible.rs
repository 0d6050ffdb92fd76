//! One question, with time limits, before the classic client, which has none, connects to a broker.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Whether the broker still takes the classic client's produce request (version 0), asked with an empty one. `false`: it
/// closed the connection instead.
///
/// Errors: no connection, no answer in time, an answer that is not Kafka's.
pub(super) fn is_compatible(broker: &str, limit: Duration) -> io::Result<bool> {
    let mut stream = dial(broker, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(&empty_produce_request())?;
    let mut head = [0_u8; 8];
    match stream.read_exact(&mut head) {
        Ok(()) => is_produce_answer(head).then_some(true).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "what answers there does not speak Kafka")
        }),
        Err(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Ok(false),
            io::ErrorKind::WouldBlock => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
            _ => Err(error),
        },
    }
}

/// Tries the addresses of a name in turn: `localhost` may have two.
fn dial(broker: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in broker.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

const PROBE_CORRELATION: i32 = 0x1065;

/// Length, key 0 (produce), version 0, correlation, client id, acks, milliseconds, no topics.
fn empty_produce_request() -> Vec<u8> {
    let client = b"logs-ingest";
    let mut body = Vec::new();
    body.extend_from_slice(&0_i16.to_be_bytes());
    body.extend_from_slice(&0_i16.to_be_bytes());
    body.extend_from_slice(&PROBE_CORRELATION.to_be_bytes());
    body.extend_from_slice(&i16::try_from(client.len()).unwrap_or(0).to_be_bytes());
    body.extend_from_slice(client);
    body.extend_from_slice(&(-1_i16).to_be_bytes());
    body.extend_from_slice(&1_000_i32.to_be_bytes());
    body.extend_from_slice(&0_i32.to_be_bytes());
    let mut request = i32::try_from(body.len()).unwrap_or(0).to_be_bytes().to_vec();
    request.extend_from_slice(&body);
    request
}

/// The answer to it is 8 bytes long, correlation and an empty list, after its own length.
fn is_produce_answer(head: [u8; 8]) -> bool {
    let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let correlation = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    length == 8 && correlation == PROBE_CORRELATION
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use super::*;
    use crate::host::thread;

    const LIMIT: Duration = Duration::from_millis(300);

    /// Asks a peer that reads the request, sends `answer` and closes or, with `None`, stays silent.
    fn ask(answer: Option<Vec<u8>>) -> io::Result<bool> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peer = thread::start("t-peer", move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; empty_produce_request().len()];
            stream.read_exact(&mut request).unwrap();
            if let Some(answer) = answer {
                stream.write_all(&answer).unwrap();
                let _ = stream.shutdown(Shutdown::Both);
            }
            stream
        })
        .unwrap();
        let compatible = is_compatible(&address, LIMIT);
        drop(peer.join().unwrap());
        compatible
    }

    #[test]
    fn a_broker_answers_with_an_empty_list() {
        let answer = [8_i32.to_be_bytes(), PROBE_CORRELATION.to_be_bytes(), 0_i32.to_be_bytes()].concat();
        assert!(ask(Some(answer)).unwrap());
    }

    #[test]
    fn a_broker_that_no_longer_takes_it_closes() {
        assert!(!ask(Some(Vec::new())).unwrap());
    }

    #[test]
    fn another_protocol_is_an_error_whatever_it_answers() {
        let http = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        let huge = [i32::MAX.to_be_bytes(), PROBE_CORRELATION.to_be_bytes()].concat();
        for answer in [http, huge, vec![0xff; 64]] {
            assert_eq!(ask(Some(answer)).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(ask(None).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
