//! The fixed pool of workers behind the inner server. One of them, the lead, waits at the server: it serves short events
//! itself, because to wake another thread costs more than to validate one, and gives what takes longer to the others.
//! Batches go to a few workers of their own, so that no event waits until megabytes are read.

use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use log::{error, warn};

use super::Context;
use super::endpoints;
use super::replaceable::ReplaceableServer;
use super::request::{Effort, Request};
use super::write_reply::write_reply;
use crate::door::InnerServer;
use crate::host::thread;
use crate::limits::{RETRY_AFTER_FULL_S, WORKER_LOOK, WORKERS_PER_BATCH_WORKER};
use crate::telemetry::stats;
use crate::wire::reply::{Reply, retry_after};

/// What the workers share.
struct ServerState {
    server: ReplaceableServer,
    stopping: AtomicBool,
    context: Arc<Context>,
}

/// The ways to the workers for requests that take longer. Bodies stay with the door until they are read. These workers end
/// when the last of these is dropped.
#[derive(Clone)]
struct Others {
    /// `None`: the lead is the only worker.
    usual: Option<Sender<Request>>,
    batches: Sender<Request>,
}

/// The running server and its workers.
pub struct HttpServer {
    shared: Arc<ServerState>,
    rebuild: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl HttpServer {
    /// Listens below `data_dir` and starts `workers` threads, and those for batches. The door sends at most `requests`
    /// at once.
    ///
    /// # Errors
    /// A folder, a socket or a thread cannot be made.
    pub fn start(
        data_dir: &Path,
        workers: usize,
        requests: usize,
        context: Arc<Context>,
    ) -> io::Result<Self> {
        let server = ReplaceableServer::start(data_dir)?;
        let shared = Arc::new(ServerState { server, stopping: AtomicBool::new(false), context });
        let batch_workers = (workers / WORKERS_PER_BATCH_WORKER).max(1);
        let mut threads = Vec::with_capacity(workers + batch_workers + 1);
        let mut pool = |name: &str, numbers: Range<usize>| {
            let (sender, requests) = crossbeam_channel::bounded::<Request>(requests);
            for n in numbers {
                let (shared, requests) = (Arc::clone(&shared), requests.clone());
                let work = move || requests.into_iter().for_each(|request| shared.serve(request));
                // Essential, as the lead and the keeper are: `serve` catches the panic of a request.
                threads.push(thread::essential(&format!("{name}-{n}"), work)?);
            }
            Ok::<_, io::Error>(sender)
        };
        let usual = if workers > 1 { Some(pool("http", 1..workers)?) } else { None };
        let others = Others { usual, batches: pool("batch", 0..batch_workers)? };
        let (lead, own) = (Arc::clone(&shared), others.clone());
        threads.push(thread::essential("http-0", move || lead.lead(&own))?);
        let (rebuild, asked) = crossbeam_channel::bounded(1);
        let keeper = Arc::clone(&shared);
        threads.push(thread::essential("http-keeper", move || keeper.keep(&asked, &others))?);
        Ok(Self { shared, rebuild, threads })
    }

    /// For the door.
    #[must_use]
    pub fn inner(&self) -> InnerServer {
        InnerServer { path: self.shared.server.path(), rebuild: self.rebuild.clone() }
    }

    /// Stops the workers. The door must be closed already. `false`: some did not end in time.
    #[must_use]
    pub fn stop(self, within: Duration) -> bool {
        self.shared.stopping.store(true, Ordering::Release);
        drop(self.rebuild);
        self.shared.server.current().unblock();
        let until = Instant::now() + within;
        let mut ended = true;
        for handle in self.threads {
            ended &= thread::join_within(handle, until.saturating_duration_since(Instant::now())).is_some();
        }
        self.shared.server.remove();
        ended
    }
}

impl ServerState {
    /// The lead: takes every request, from whichever server is the current one.
    fn lead(&self, others: &Others) {
        while !self.stopping.load(Ordering::Acquire) {
            let server = self.server.current();
            // The time limit is for a server that was replaced. The door notices an accept that failed.
            while let Ok(Some(request)) = server.recv_timeout(WORKER_LOOK) {
                self.receive(Request::read(request), others);
            }
        }
    }

    /// Serves a request, or leaves it to another worker.
    fn receive(&self, request: Request, others: &Others) {
        let to = match request.effort() {
            Effort::Short => None,
            Effort::Usual => others.usual.as_ref(),
            Effort::Batch => Some(&others.batches),
        };
        let Some(to) = to else { return self.serve(request) };
        if let Err(refused) = to.try_send(request) {
            let after = retry_after(RETRY_AFTER_FULL_S);
            write_reply(
                refused.into_inner(),
                &Reply::unavailable("too many requests wait to be read", after),
            );
        }
    }

    /// A panic costs its request and nothing else: the server answers 500 for a request that is dropped.
    fn serve(&self, request: Request) {
        if catch_unwind(AssertUnwindSafe(|| self.handle(request))).is_err() {
            stats::add(&self.context.stats.internal_errors, 1);
            error!("BUG: a request made a worker panic: it is answered 500");
        }
    }

    fn handle(&self, mut request: Request) {
        match endpoints::handle(&self.context, &mut request) {
            endpoints::Handled::Answer(reply) => write_reply(request, &reply),
            endpoints::Handled::Waits(accepted) => endpoints::submit(&self.context, request, accepted),
        }
    }

    /// Replaces the server whenever the door asks for it.
    fn keep(&self, asked: &Receiver<()>, others: &Others) {
        while asked.recv().is_ok() {
            match self.server.replace() {
                Ok(old) => {
                    while let Ok(Some(request)) = old.recv_timeout(WORKER_LOOK) {
                        self.receive(Request::read(request), others);
                    }
                    warn!("the inner server did not answer and was replaced");
                }
                Err(error) => error!("cannot replace the inner server cause={:?}", error.to_string()),
            }
        }
    }
}
