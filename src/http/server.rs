//! The `tiny_http` server on its private Unix socket, and the fixed pool of workers that it hands
//! requests to. One of them, the lead, waits at the server: it serves short events itself, for to wake
//! another thread costs more than to validate one, and gives what takes longer to the others. Batches go
//! to a few workers of their own, so that no event waits until megabytes are read.
//!
//! The server can be built anew while the workers live: should it stop accepting, the door says so.
//! Its public name is a hard link to the socket that it is bound to, replaced by rename, because a
//! server that is dropped connects to, and removes, the name it was bound to.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use log::{error, warn};
use tiny_http::Server;

use super::Context;
use super::answer::answer;
use super::endpoints;
use super::request::{Effort, Request};
use crate::door::InnerServer;
use crate::host::thread;
use crate::limits::{RETRY_AFTER_FULL_S, WORKER_LOOK, WORKERS_PER_BATCH_WORKER};
use crate::telemetry::stats;
use crate::wire::reply::{Reply, retry_after};

/// Linux takes no longer path for a socket.
const SOCKET_PATH_MAX: usize = 100;
/// Names that are tried in the system's temporary folder.
const PRIVATE_NAMES_MAX: u32 = 8;

struct Shared {
    /// Locked for writing only while a server is replaced.
    server: RwLock<Arc<Server>>,
    folder: PathBuf,
    stopping: AtomicBool,
    context: Arc<Context>,
}

/// The ways to the workers that have the time for what takes longer. Bodies stay with the door until read. Those
/// workers end with the last of these.
#[derive(Clone)]
struct Others {
    /// None: the lead is the only one.
    usual: Option<Sender<Request>>,
    batches: Sender<Request>,
}

/// The running server and its workers.
pub struct HttpServer {
    shared: Arc<Shared>,
    rebuild: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl HttpServer {
    /// Listens in a private folder below `data_dir` and starts `workers` threads, and those for batches. The door
    /// sends at most `requests` at once.
    ///
    /// Errors: no folder, socket or thread to be had.
    pub fn start(
        data_dir: &Path,
        workers: usize,
        requests: usize,
        context: Arc<Context>,
    ) -> io::Result<Self> {
        let folder = private_folder(data_dir)?;
        let server = RwLock::new(Arc::new(listen(&folder)?));
        let shared = Arc::new(Shared { server, folder, stopping: AtomicBool::new(false), context });
        let batch_workers = (workers / WORKERS_PER_BATCH_WORKER).max(1);
        let mut threads = Vec::with_capacity(workers + batch_workers + 1);
        let mut pool = |name: &str, numbers: Range<usize>| {
            let (sender, requests) = crossbeam_channel::bounded::<Request>(requests);
            for n in numbers {
                let (shared, requests) = (Arc::clone(&shared), requests.clone());
                let work = move || requests.into_iter().for_each(|request| shared.serve(request));
                // Essential, as the lead and the keeper are: a panic of a request's is caught in `serve`.
                threads.push(thread::essential(&format!("{name}-{n}"), work)?);
            }
            Ok::<_, io::Error>(sender)
        };
        let usual = if workers > 1 { Some(pool("http", 1..workers)?) } else { None };
        let others = Others { usual, batches: pool("batch", 0..batch_workers)? };
        let (lead, own) = (Arc::clone(&shared), others.clone());
        threads.push(thread::essential("http-0", move || lead.lead(&own))?);
        let (rebuild, wishes) = crossbeam_channel::bounded(1);
        let keeper = Arc::clone(&shared);
        threads.push(thread::essential("http-keeper", move || keeper.keep(&wishes, &others))?);
        Ok(Self { shared, rebuild, threads })
    }

    /// For the door.
    #[must_use]
    pub fn inner(&self) -> InnerServer {
        InnerServer { path: public_name(&self.shared.folder), rebuild: self.rebuild.clone() }
    }

    /// Stops the workers. The door must be closed already. False: some did not end in time.
    #[must_use]
    pub fn stop(self, within: Duration) -> bool {
        self.shared.stopping.store(true, Ordering::Release);
        drop(self.rebuild);
        self.shared.current().unblock();
        let until = Instant::now() + within;
        let mut ended = true;
        for handle in self.threads {
            ended &= thread::join_within(handle, until.saturating_duration_since(Instant::now())).is_some();
        }
        let _ = fs::remove_dir_all(&self.shared.folder);
        ended
    }
}

impl Shared {
    fn current(&self) -> Arc<Server> {
        Arc::clone(&self.server.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lead: takes every request, from whichever server is the current one.
    fn lead(&self, others: &Others) {
        while !self.stopping.load(Ordering::Acquire) {
            let server = self.current();
            // The time limit is for a server that was replaced; a failed accept is the door's to notice.
            while let Ok(Some(request)) = server.recv_timeout(WORKER_LOOK) {
                self.receive(Request::read(request), others);
            }
        }
    }

    /// Serves a request, or leaves it to those who have the time.
    fn receive(&self, request: Request, others: &Others) {
        let to = match request.effort() {
            Effort::Short => None,
            Effort::Usual => others.usual.as_ref(),
            Effort::Batch => Some(&others.batches),
        };
        let Some(to) = to else { return self.serve(request) };
        if let Err(refused) = to.try_send(request) {
            let after = retry_after(RETRY_AFTER_FULL_S);
            answer(refused.into_inner(), &Reply::unavailable("too many requests wait to be read", after));
        }
    }

    /// A panic costs its request and nothing else: the server answers 500 for a request that is dropped.
    fn serve(&self, request: Request) {
        if catch_unwind(AssertUnwindSafe(|| self.handle(request))).is_err() {
            stats::add(&self.context.stats.internal_errors, 1);
            error!("BUG: a request made a worker panic, it is answered 500");
        }
    }

    fn handle(&self, mut request: Request) {
        match endpoints::handle(&self.context, &mut request) {
            endpoints::Handled::Answer(reply) => answer(request, &reply),
            endpoints::Handled::Waits(accepted) => endpoints::submit(&self.context, request, accepted),
        }
    }

    /// Builds the server anew whenever the door finds that it does not answer.
    fn keep(&self, wishes: &Receiver<()>, others: &Others) {
        while wishes.recv().is_ok() {
            match listen(&self.folder) {
                Ok(server) => {
                    let mut place = self.server.write().unwrap_or_else(PoisonError::into_inner);
                    let old = std::mem::replace(&mut *place, Arc::new(server));
                    drop(place);
                    // What it had taken in but not handed out yet.
                    while let Ok(Some(request)) = old.recv_timeout(WORKER_LOOK) {
                        self.receive(Request::read(request), others);
                    }
                    warn!("the inner http server did not answer and was built anew");
                }
                Err(error) => {
                    error!("the inner http server can't be built anew cause={:?}", error.to_string())
                }
            }
        }
    }
}

fn public_name(folder: &Path) -> PathBuf {
    folder.join("http.sock")
}

/// A folder that only this user may enter: below the data, or below the system's temporary folder
/// where the path would be too long for a socket.
fn private_folder(data_dir: &Path) -> io::Result<PathBuf> {
    let data_dir = fs::canonicalize(data_dir)?;
    if data_dir.as_os_str().len() + 40 <= SOCKET_PATH_MAX {
        return fresh_folder(data_dir.join("private"));
    }
    // Named after the data, so that a start finds what a killed daemon left; another user may have taken the name.
    let name = format!("logs-ingest-{:08x}", crc32fast::hash(data_dir.as_os_str().as_encoded_bytes()));
    let mut names = (1..=PRIVATE_NAMES_MAX).map(|n| std::env::temp_dir().join(format!("{name}-{n}")));
    names.find_map(|folder| fresh_folder(folder).ok()).ok_or_else(|| {
        let folder = std::env::temp_dir().join(name);
        io::Error::other(format!("can't make {}-1 or its like for a socket", folder.display()))
    })
}

/// Whatever a killed daemon left there goes; the spool's lock proves that it is ours.
fn fresh_folder(folder: PathBuf) -> io::Result<PathBuf> {
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

fn listen(folder: &Path) -> io::Result<Server> {
    let taken = |n: &u32| !folder.join(format!("http-{n}.sock")).exists();
    let n = (0..u32::MAX).find(taken).unwrap_or_default();
    let own = folder.join(format!("http-{n}.sock"));
    let listener = UnixListener::bind(&own)?;
    let linked = folder.join("http.new");
    fs::hard_link(&own, &linked)?;
    fs::rename(&linked, public_name(folder))?;
    Server::from_listener(listener, None).map_err(|error| io::Error::other(error.to_string()))
}
