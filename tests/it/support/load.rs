//! Many tills at once, for a count of requests or until told to stop. What goes wrong on a
//! connection is counted and tried again on a new one: the daemon may be killed under it.
//!
//! Invariant: bounded in clients, in answers kept, and in time (every exchange has its limit).

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use logs_ingest::host::thread;

use super::events;
use super::http::{Client, INGEST, Place, Response};

const CLIENTS_MAX: usize = 512;
/// Answers that one client keeps; it stops there.
const ANSWERS_MAX: usize = 1_000_000;
/// After a connection failed, as a till would pause, only shorter.
const RECONNECT_AFTER: Duration = Duration::from_millis(5);

/// Between two events of a till.
const PAUSE_BETWEEN: Duration = Duration::from_millis(10);

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// So many requests were answered or given up, all clients together.
    Count(usize),
    /// So much time has passed.
    Elapsed(Duration),
    /// [`Load::stop`] is called.
    Stopped,
}

/// One request that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) request_id: String,
    pub(crate) status: u16,
    pub(crate) ingest_id: Option<String>,
    pub(crate) stored_in: Option<String>,
    pub(crate) latency: Duration,
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) answers: Vec<Answer>,
    /// Requests sent, or partly sent, whose answer never came: stored or not, nobody knows.
    pub(crate) unanswered: Vec<String>,
    /// Connections that could not be made or that broke.
    pub(crate) connection_errors: usize,
}

impl Report {
    /// The answers that promise that the event is stored.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| answer.status == 202)
    }

    pub(crate) fn with_status(&self, status: u16) -> usize {
        self.answers.iter().filter(|answer| answer.status == status).count()
    }

    /// The latency that the given share of all answers did not exceed: 0.5 is the median.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        assert!((0.0..=1.0).contains(&share), "{share} is no share");
        assert!(!self.answers.is_empty(), "no answers, no percentile: {self:?}");
        let mut latencies: Vec<Duration> = self.answers.iter().map(|answer| answer.latency).collect();
        latencies.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
        let rank = (latencies.len() as f64 * share).ceil() as usize;
        latencies[rank.max(1) - 1]
    }

    /// What came of another load, too.
    pub(crate) fn add(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.unanswered.extend(other.unanswered);
        self.connection_errors += other.connection_errors;
    }
}

/// Makes the nth request of a client: its `request_id` and body.
pub(crate) trait MakeBody: Fn(usize) -> (String, Vec<u8>) + Send + Sync + 'static {}
impl<F: Fn(usize) -> (String, Vec<u8>) + Send + Sync + 'static> MakeBody for F {}

/// A full valid event each.
pub(crate) fn valid_events(_: usize) -> (String, Vec<u8>) {
    let event = events::event();
    let request_id = event["request_id"].as_str().expect("a string").to_owned();
    (request_id, event.to_string().into_bytes())
}

/// The same, at the pace of a till and not of a benchmark.
pub(crate) fn paced_events(n: usize) -> (String, Vec<u8>) {
    super::pause(PAUSE_BETWEEN);
    valid_events(n)
}

/// A running load.
#[derive(Debug)]
pub(crate) struct Load {
    clients: Vec<JoinHandle<Report>>,
    /// Dropped to stop: every client sees it at once, also in a pause.
    stop: Sender<()>,
}

struct Till<M> {
    place: Place,
    until: Until,
    make_body: Arc<M>,
    stopped: Receiver<()>,
    started: Instant,
    report: Report,
}

impl Load {
    /// Runs a load to its end.
    pub(crate) fn run(
        place: impl Into<Place>,
        clients: usize,
        until: Until,
        make_body: impl MakeBody,
    ) -> Report {
        assert!(!matches!(until, Until::Stopped), "a load without an end: use Load::start");
        let load = Self::start(place, clients, until, make_body);
        let mut total = Report::default();
        for client in load.clients {
            total.add(client.join().expect("a client does not panic"));
        }
        total
    }

    /// Starts a load beside the test.
    pub(crate) fn start(
        place: impl Into<Place>,
        clients: usize,
        until: Until,
        make_body: impl MakeBody,
    ) -> Self {
        let place = place.into();
        assert!((1..=CLIENTS_MAX).contains(&clients), "{clients} clients: 1 to {CLIENTS_MAX} are possible");
        let (stop, stopped) = bounded(0);
        let make_body = Arc::new(make_body);
        let start_client = |number: usize| {
            let until = match until {
                // The first clients take what does not divide evenly.
                Until::Count(count) => Until::Count(count / clients + usize::from(number < count % clients)),
                other => other,
            };
            let till = Till {
                place: place.clone(),
                until,
                make_body: Arc::clone(&make_body),
                stopped: stopped.clone(),
                started: Instant::now(),
                report: Report::default(),
            };
            thread::start(&format!("till-{number}"), move || till.run()).expect("the system gives a thread")
        };
        Self { clients: (0..clients).map(start_client).collect(), stop }
    }

    /// Ends it: requests under way are finished.
    pub(crate) fn stop(self) -> Report {
        drop(self.stop);
        let mut total = Report::default();
        for client in self.clients {
            total.add(client.join().expect("a client does not panic"));
        }
        total
    }
}

impl<M: MakeBody> Till<M> {
    fn run(mut self) -> Report {
        let mut connection = None;
        for number in 0.. {
            if self.is_over(number) {
                break;
            }
            let (request_id, body) = (self.make_body)(number);
            let sent = Instant::now();
            match exchange(&mut connection, &self.place, &body) {
                Ok(response) => self.report.answers.push(Answer {
                    request_id,
                    status: response.status,
                    ingest_id: response.header("X-Ingest-Id").map(str::to_owned),
                    stored_in: response.header("X-Stored-In").map(str::to_owned),
                    latency: sent.elapsed(),
                }),
                Err(Failed::Connecting(_)) => {
                    self.report.connection_errors += 1;
                    self.pause();
                }
                Err(Failed::Midway(_)) => {
                    self.report.connection_errors += 1;
                    self.report.unanswered.push(request_id);
                }
            }
        }
        self.report
    }

    fn is_over(&self, number: usize) -> bool {
        let until = match self.until {
            Until::Count(count) => number >= count,
            Until::Elapsed(limit) => self.started.elapsed() >= limit,
            Until::Stopped => self.stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected),
        };
        until || self.report.answers.len() >= ANSWERS_MAX || self.report.unanswered.len() >= ANSWERS_MAX
    }

    fn pause(&self) {
        // Nothing is ever sent: this ends by time, or at once when the load is stopped.
        let ended = self.stopped.recv_timeout(RECONNECT_AFTER);
        debug_assert!(matches!(ended, Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)));
    }
}

enum Failed {
    /// Not a byte was sent.
    Connecting(io::Error),
    Midway(io::Error),
}

fn exchange(connection: &mut Option<Client>, place: &Place, body: &[u8]) -> Result<Response, Failed> {
    let mut client = match connection.take() {
        Some(client) => client,
        None => Client::try_connect(place.clone()).map_err(Failed::Connecting)?,
    };
    let headers = [("Content-Type", "application/json")];
    // An answer may be there although sending failed: an early refusal.
    let sent = client.send("POST", INGEST, &headers, body);
    let response = client.read_response().map_err(|error| Failed::Midway(sent.err().unwrap_or(error)))?;
    if !response.closes() {
        *connection = Some(client);
    }
    Ok(response)
}
