//! The pool in front of a small server of its own that answers, reads without an answer, or goes.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use mio::{Events, Poll};

use super::*;
use crate::door::Options;
use crate::door::head::{Parsed, parse};
use crate::door::stream::Peer;
use crate::door::tokens::Owner;
use crate::telemetry::timings::Timings;
use crate::wire::keys::Guard;
use crate::wire::routes;

/// The client of every request here.
const CLIENT: usize = 7;

struct Rig {
    poll: Poll,
    inside: Inside,
    listener: UnixListener,
    served: Vec<UnixStream>,
    /// Whether requests are answered, or only read.
    answers: bool,
    rebuild: Receiver<()>,
    notices: Vec<Notice>,
    folder: PathBuf,
}

impl Rig {
    /// Opened as far as at a start.
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("logs-ingest-inside-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("inner.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let second = Duration::from_secs(1);
        let settings = Settings {
            options: Options {
                max_connections: 1,
                max_connections_per_address: 0,
                upstream_connections: DOOR_KEPT_CONNECTIONS + 2,
                head_timeout: second,
                body_timeout: second,
                idle_timeout: second,
            },
            upstream_timeout: second,
            batch_timeout: second,
            body_bytes_max: 1,
            guard: Guard::default(),
            batch_bytes_max: 1,
            answers: Timings::default().request,
        };
        let (ask, rebuild) = bounded(1);
        let poll = Poll::new().unwrap();
        let server = InnerServer { path, rebuild: ask };
        let inside = Inside::new(server, &settings, poll.registry().try_clone().unwrap()).unwrap();
        let (served, notices) = (Vec::new(), Vec::new());
        let mut rig = Self { poll, inside, listener, served, answers: true, rebuild, notices, folder };
        rig.turn_until(|rig| rig.inside.is_open());
        assert!(rig.served.len() == DOOR_KEPT_CONNECTIONS + 2 && rig.inside.has_room(Lane::Ingest));
        rig
    }

    fn turn(&mut self) {
        let mut events = Events::with_capacity(64);
        self.poll.poll(&mut events, Some(Duration::from_millis(1))).unwrap();
        self.inside.begin_turn(Instant::now());
        for event in &events {
            let Owner::Inside(connection) = Owner::of(event.token()) else { panic!() };
            self.inside.on_event(connection, event);
        }
        for notice in std::mem::take(&mut self.notices) {
            match notice {
                Notice::HasMore { connection } => self.inside.go_on(connection),
                other => self.notices.push(other),
            }
        }
        self.inside.on_time();
        self.notices.extend(std::iter::from_fn(|| self.inside.next_notice()));
        self.inside.tend(false);
        self.inside.end_turn();
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).unwrap();
            self.served.push(stream);
        }
        for stream in &mut self.served {
            let mut bytes = [0; 4096];
            if stream.read(&mut bytes).is_ok_and(|count| count > 0) && self.answers {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
            }
        }
    }

    fn turn_until(&mut self, holds: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < Duration::from_secs(20), "waited in vain: {:?}", self.notices);
            self.turn();
        }
    }

    fn send(&mut self) -> (Parcel, Option<usize>) {
        let bytes = b"POST /api/logs/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        let Parsed::Whole(whole) = parse(bytes) else { panic!() };
        let route = routes::find("POST", "/api/logs/ingest").unwrap();
        let mut parcel = Parcel::default();
        parcel.body.extend_from_slice(b"abc");
        parcel.counted = 3;
        let sent_by = SentBy { peer: Peer::Local, name: None };
        parcel.begin(route, &whole.verdict.unwrap(), "", &sent_by);
        parcel.finish(true);
        let connection = self.inside.send(CLIENT, Lane::Ingest, false, &mut parcel);
        self.notices.extend(std::iter::from_fn(|| self.inside.next_notice()));
        (parcel, connection)
    }

    /// The one thing that has happened, once it has.
    fn notice(&mut self) -> Notice {
        self.turn_until(|rig| rig.notices.iter().any(|notice| !matches!(notice, Notice::HasMore { .. })));
        let at = self.notices.iter().position(|notice| !matches!(notice, Notice::HasMore { .. }));
        let notice = self.notices.remove(at.unwrap());
        assert!(self.notices.iter().all(|notice| matches!(notice, Notice::HasMore { .. })));
        notice
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn an_answer_is_reported_once_and_frees_its_connection_when_it_was_taken() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        let (buffers, connection) = rig.send();
        assert!(buffers.len() == 0 && connection.is_some());
        let Notice::Answered { client: CLIENT, connection } = rig.notice() else { panic!() };
        let answer = rig.inside.answer(connection).unwrap();
        assert_eq!((answer.status, answer.body), (200, &b"{}"[..]));
        // Until then whatever comes is not read into it.
        rig.turn();
        assert!(rig.inside.answer(connection).is_some() && rig.inside.held_bytes() == 0);
        rig.inside.release(connection);
        assert!(rig.inside.answer(connection).is_none());
    }
    assert!(rig.notices.is_empty());
}

#[test]
fn requests_beyond_the_free_connections_stay_with_their_clients() {
    let mut rig = Rig::new();
    rig.answers = false;
    assert!(rig.send().1.is_some() && rig.send().1.is_some());
    assert!(!rig.inside.has_room(Lane::Ingest) && rig.inside.has_room(Lane::Kept));
    let (kept, connection) = rig.send();
    assert_eq!((kept.body, kept.counted, connection), (b"abc".to_vec(), 3, None));
}

#[test]
fn a_request_that_no_byte_was_taken_of_comes_back_untouched_a_few_times() {
    let mut rig = Rig::new();
    rig.served.clear();
    rig.send();
    let Notice::Returned { client: CLIENT, mut parcel } = rig.notice() else { panic!() };
    assert_eq!((parcel.from(0).1, parcel.counted, rig.inside.held_bytes()), (&b"abc"[..], 3, 0));
    for is_last in [false, false, true] {
        rig.turn_until(|rig| rig.inside.has_room(Lane::Ingest));
        rig.served.clear();
        assert!(rig.inside.send(CLIENT, Lane::Ingest, false, &mut parcel).is_some());
        match rig.inside.next_notice() {
            Some(Notice::Returned { parcel: back, .. }) if !is_last => parcel = back,
            Some(Notice::Lost { client: CLIENT }) if is_last => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_request_that_was_taken_and_not_answered_is_lost_unless_its_client_is_gone() {
    for is_gone in [false, true] {
        let mut rig = Rig::new();
        rig.answers = false;
        let connection = rig.send().1.unwrap();
        rig.turn();
        if is_gone {
            rig.inside.forget(connection);
        }
        rig.served.clear();
        rig.answers = true;
        if is_gone {
            rig.turn_until(|rig| rig.inside.lost > 0 && rig.inside.is_open());
            assert!(rig.notices.iter().all(|notice| matches!(notice, Notice::HasMore { .. })));
        } else {
            assert!(matches!(rig.notice(), Notice::Lost { client: CLIENT }));
        }
        assert_eq!(rig.inside.held_bytes(), 0);
    }
}

#[test]
fn a_server_that_is_gone_is_asked_for_again() {
    let mut rig = Rig::new();
    rig.served.clear();
    std::fs::remove_file(&rig.inside.server.path).unwrap();
    rig.turn_until(|rig| rig.rebuild.try_recv().is_ok());
    rig.listener = UnixListener::bind(&rig.inside.server.path).unwrap();
    rig.listener.set_nonblocking(true).unwrap();
    rig.turn_until(|rig| rig.inside.is_open());
    assert!(rig.inside.rebuilds > 0 && rig.inside.generation > 0 && !rig.inside.is_in_doubt);
}
