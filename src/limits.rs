//! Every bound and time limit that is not a setting, by room, with units in the names and relations asserted.

use std::time::Duration;

// host: the process and its machine

/// No record is dated before 2026-11-01, the month of this release: an older clock is wrong.
pub const RELEASED_MS: i64 = 1_793_491_200_000;
/// How often the service manager gets the daemon's state, and its watchdog is fed at least.
pub const SYSTEMD_LOOK: Duration = Duration::from_secs(1);
/// SIGHUP reloads at most this often.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// A stop keeps one part in so many of its time for what comes after the last answer.
pub const STOP_RESERVE_SHARE: u32 = 4;
/// A stop gives each part at least this long, even when its deadline is over.
pub const STOP_LOOK: Duration = Duration::from_secs(1);

// wire: what door and http share

/// A longer `traceparent` is not passed on; version 00 has 55 characters.
pub const TRACEPARENT_MAX: usize = 128;
/// A file of API keys; it is read whole, at start and at each reload.
pub const API_KEYS_FILE_BYTES_MAX: u64 = 512 * 1024;
/// Keys in it; each request is compared with all of them.
pub const API_KEYS_MAX: usize = 1_000;
/// A shorter key could be guessed.
pub const API_KEY_CHARS_MIN: usize = 16;
/// A longer key has no use.
pub const API_KEY_CHARS_MAX: usize = 256;
/// `Retry-After` while the first request with the same idempotency key is being stored, in seconds before jitter.
pub const RETRY_AFTER_IN_FLIGHT_S: u32 = 1;
/// `Retry-After` when there is no room, in seconds before jitter.
pub const RETRY_AFTER_FULL_S: u32 = 2;
/// `Retry-After` when the daemon is stopping, in seconds before jitter.
pub const RETRY_AFTER_STOPPING_S: u32 = 5;

const _: () = assert!(API_KEY_CHARS_MAX < HEAD_BYTES_MAX);

// door: client connections

/// Connections that may wait to be accepted.
pub const LISTEN_BACKLOG: i32 = 1_024;
/// Linux allows no longer path for a Unix socket.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Descriptors kept free for everything but connections: spool, brokers, log, listeners.
pub const DESCRIPTORS_RESERVED: usize = 128;
/// Connections above MAX_CONNECTIONS, which are only answered 503.
pub const DOOR_REFUSED_CONNECTIONS_MAX: usize = 64;
/// A request head: request line, fields and blank line.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields in a request head.
pub const HEAD_FIELDS_MAX: usize = 100;
/// Characters of `X-Request-ID` that are echoed.
pub const REQUEST_ID_HEADER_MAX: usize = 128;
/// Empty lines before a request line.
pub const DOOR_EMPTY_LINES_MAX: usize = 8;
/// One read from a connection per turn of the event loop, so that no client starves the others.
pub const DOOR_READ_BYTES: usize = 64 * 1024;
/// Size of each buffer that a connection keeps between requests.
pub const DOOR_BUFFER_BYTES_KEPT: usize = 4 * 1024;
/// Bodies and answers in the door's memory, of all connections together.
pub const DOOR_MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A body that is read only to be dropped.
pub const DOOR_DROPPED_BODY_BYTES_MAX: usize = 16 * 1024;
/// After an answer that came before the end of its request, the rest is read and dropped for this long,
pub const DOOR_LINGER: Duration = Duration::from_secs(1);
/// and up to this many bytes.
pub const DOOR_LINGER_BYTES_MAX: usize = 256 * 1024;
/// Encrypted bytes per connection that wait for a TLS client to take them.
pub const DOOR_TLS_BYTES_MAX: usize = 16 * 1024;
/// A file of certificates or of a key.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// How often the certificate's end is checked, beside each time that it is loaded.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(86_400);
/// A certificate that ends within this is warned about.
pub const CERTIFICATE_WARNING_S: i64 = 30 * 86_400;

const _: () = assert!(DOOR_READ_BYTES > HEAD_BYTES_MAX);
const _: () = assert!(DOOR_DROPPED_BODY_BYTES_MAX <= DOOR_LINGER_BYTES_MAX);

// door: upstream connections, to the inner server

/// The largest value of `UPSTREAM_CONNECTIONS`.
pub const UPSTREAM_CONNECTIONS_MAX: usize = 4_096;
/// Upstream connections for everything but events, so that health answers while storage is slow.
pub const DOOR_KEPT_CONNECTIONS: usize = 4;
/// Upstream connections for events that are opened at start and stay open; more are opened on demand.
pub const DOOR_INGEST_CONNECTIONS_MIN: usize = 8;
/// One above that minimum is closed after being idle for this long.
pub const DOOR_UPSTREAM_IDLE: Duration = Duration::from_secs(60);
/// The upstream connections opened at start are ready within this.
pub const DOOR_START_TIMEOUT: Duration = Duration::from_secs(15);
/// Descriptors held back for a new upstream connection: its two ends, the inner server's copy, one to spare.
pub const DOOR_RESERVED_DESCRIPTORS: usize = 4;
/// Requests per lane that wait in the door for a free upstream connection,
pub const DOOR_WAITING_MAX: usize = 4_096;
/// and the bytes of their bodies.
pub const DOOR_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a request waits there.
pub const DOOR_WAIT: Duration = Duration::from_secs(10);
/// An answer of the inner server, head included.
pub const DOOR_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often an idle kept upstream connection is pinged.
pub const DOOR_PING_INTERVAL: Duration = Duration::from_secs(3);
/// A ping, or the first request on a new upstream connection, is answered within this.
pub const DOOR_PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts to open an upstream connection, at first
pub const DOOR_OPEN_RETRY_FIRST: Duration = Duration::from_millis(20);
/// and at most.
pub const DOOR_OPEN_RETRY_MOST: Duration = Duration::from_secs(1);
/// Pause between two requests for a new inner server, at first
pub const DOOR_REBUILD_FIRST: Duration = Duration::from_secs(1);
/// and at most.
pub const DOOR_REBUILD_MOST: Duration = Duration::from_secs(30);

const _: () = assert!(DOOR_WAITING_BYTES_MAX <= DOOR_MEMORY_BYTES_MAX);

// http: workers and endpoints

/// How often an idle worker checks whether its server was replaced.
pub const WORKER_LOOK: Duration = Duration::from_millis(500);
/// One worker in so many reads only batches; there is at least one, beside the others.
pub const WORKERS_PER_BATCH_WORKER: usize = 4;
/// The worker that takes an event of up to this size validates it itself, within 50 us; waking another one costs 5
/// us.
pub const SHORT_BODY_BYTES: usize = 16 * 1024;
/// One read of a batch's body.
pub const BATCH_READ_BYTES: usize = 64 * 1024;
/// Refused items that the answer to a batch lists; for the others it says how many.
pub const BATCH_ERRORS_MAX: usize = 1_000;
/// The same in bytes.
pub const BATCH_ERRORS_BYTES_MAX: usize = 256 * 1024;
/// Characters of a refused item's `request_id` in that list.
pub const BATCH_ERROR_ID_CHARS_MAX: usize = 128;
/// Characters of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// Keys whose answers are remembered.
pub const IDEMPOTENCY_KEYS_MAX: usize = 100_000;
/// The size of those answers together.
pub const IDEMPOTENCY_BYTES_MAX: usize = 64 * 1024 * 1024;

// event: parsing and the normal form

/// Levels of nesting in a body; the outermost object is the first.
pub const JSON_DEPTH_MAX: usize = 100;
/// A piece of the memory that a batch's events share; it is held until the last event in it is stored.
pub const BATCH_PIECE_BYTES_MAX: usize = 64 * 1024;
/// The least size of a piece, for a body that gzip made small.
pub const BATCH_PIECE_BYTES_MIN: usize = 1024;

// delivery: queue and rounds

/// Requests that may wait for the producer: more than the door can have inside at once.
pub const QUEUE_REQUESTS_MAX: usize = 8_192;
/// Events in one round.
pub const ROUND_EVENTS_MAX: usize = 2_000;
/// Bytes in one round, unless a single event is larger.
pub const ROUND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// With so many events waiting, the next round begins before the last is acknowledged; with fewer, rounds would only
/// get smaller.
pub const BEGIN_AHEAD_EVENTS: usize = ROUND_EVENTS_MAX / 4;
/// A request with more events is written in several rounds, so many at least in each, so that others' events go with
/// them.
pub const SLICE_EVENTS: usize = ROUND_EVENTS_MAX / 2;
/// The same in bytes.
pub const SLICE_BYTES: usize = ROUND_BYTES_MAX / 2;
/// While a store's first connection is being made, the producer looks this often whether it failed.
pub const CONNECT_LOOK: Duration = Duration::from_millis(20);
/// How often the idle producer looks whether the store that it prefers is back.
pub const PRODUCER_LOOK: Duration = Duration::from_millis(200);
/// How often the idle producer drives its client.
pub const PRODUCER_TICK: Duration = Duration::from_secs(1);

// delivery: connections to stores

/// Pause between two attempts to connect to a store that does not answer, at first
pub const CONNECT_BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// and at most.
pub const CONNECT_BACKOFF_MOST: Duration = Duration::from_secs(2);
/// Log lines per minute about a store that is lost or back, about drains, and about dead letters.
pub const LOG_EDGES_PER_MINUTE: u32 = 2;

// delivery: recovery

/// How often recovery looks for held events, and tries again when it is stuck.
pub const RECOVERY_TICK: Duration = Duration::from_millis(250);
/// Held events in one write.
pub const RECOVERY_EVENTS_MAX: usize = 500;
/// Bytes in one write, unless a single event is larger.
pub const RECOVERY_BYTES_MAX: usize = 1024 * 1024;
/// Keys of held events that one pass leaves behind; with more, the pass begins again.
pub const RECOVERY_BLOCKED_MAX: usize = 1_000;
/// How often recovery looks for rows held in PostgreSQL when there were none, and asks for the drainer's lock.
pub const POSTGRES_LOOK: Duration = Duration::from_secs(1);
/// A daemon without a connection to Kafka for this long leaves the backlog in PostgreSQL to others.
pub const POSTGRES_YIELD: Duration = Duration::from_secs(10);
/// How often old rows are removed from PostgreSQL,
pub const POSTGRES_SWEEP: Duration = Duration::from_secs(60);
/// and how often while there are more of them.
pub const POSTGRES_SWEEP_PAUSE: Duration = Duration::from_millis(200);
/// Rows that one statement removes: together some 10,000 per second, more than any shop stores.
pub const POSTGRES_SWEEP_ROWS: usize = 2_000;
/// How often PostgreSQL's rows are counted for `/health`,
pub const POSTGRES_COUNT_EVERY: Duration = Duration::from_secs(10);
/// and how often after a count that missed its deadline.
pub const POSTGRES_COUNT_AGAIN: Duration = Duration::from_secs(30);

// store: Kafka

/// One record batch for a partition. A broker's default limit is 1,048,588.
pub const KAFKA_WIRE_BATCH_BYTES: usize = 1_000_000;
/// What a record adds to the event's own bytes at most: framing and names of headers.
pub const KAFKA_WIRE_RECORD_EXTRA_BYTES: usize = 1024;
/// One produce request: above the largest configurable event (16 MiB), so that the broker decides.
pub const KAFKA_REQUEST_BYTES_MAX: usize = 18 * 1024 * 1024;
/// Memory of the modern client: the round that it writes, and the one that was begun ahead.
pub const KAFKA_BUFFER_BYTES: usize = 32 * 1024 * 1024;
/// A broker's answer; the largest lists every topic of the cluster.
pub const KAFKA_RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often the topic's settings are read again: an administrator may have changed its retention.
pub const KAFKA_TOPIC_SETTINGS_EVERY: Duration = Duration::from_secs(3_600);
/// Helper threads that may be left behind: a read of the classic client lasts 120 s when its host lost power.
pub const CLASSIC_LEFT_BEHIND_MAX: usize = 4;

const _: () = assert!(KAFKA_REQUEST_BYTES_MAX <= KAFKA_BUFFER_BYTES);
const _: () = assert!(KAFKA_WIRE_BATCH_BYTES < KAFKA_REQUEST_BYTES_MAX);

// store: PostgreSQL

/// Connections left behind in a server that does not answer: after one, no more are made.
pub const POSTGRES_LEFT_BEHIND_MAX: usize = 1;
/// How often a statement is repeated after a deadlock or a conflict with another session.
pub const POSTGRES_CONFLICT_RETRIES: u32 = 4;
/// The pause before the first repeat; it doubles for each further one.
pub const POSTGRES_CONFLICT_PAUSE: Duration = Duration::from_millis(25);
/// Both ends probe a silent connection after this,
pub const POSTGRES_KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// then this often,
pub const POSTGRES_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// and give up after so many probes without an answer.
pub const POSTGRES_KEEPALIVE_RETRIES: u32 = 3;
/// How long the owner of a connection waits for its orderly end.
pub const POSTGRES_CLOSE_WAIT: Duration = Duration::from_millis(250);
/// Rows per state that are counted for people; above it they see "or more". Rows are wide and a cold disk is slow.
pub const POSTGRES_COUNT_MAX: u32 = 100_000;

// store: spool

/// How long a caller waits for the spool's writer: an fsync has no time limit of its own.
pub const SPOOL_DEADLINE: Duration = Duration::from_secs(10);
/// Commands that wait for the writer; further callers wait to send theirs.
pub const SPOOL_COMMANDS_MAX: usize = 64;
/// Commands that share one transaction.
pub const SPOOL_GROUP_MAX: usize = 16;
/// How long the spool waits for another program's lock on its file.
pub const SPOOL_BUSY: Duration = Duration::from_secs(2);
/// How often the idle writer wakes.
pub const SPOOL_TICK: Duration = Duration::from_secs(1);
/// How often the idle writer checks the age of rows.
pub const SPOOL_KEEP_EVERY: Duration = Duration::from_secs(60);
/// Disk room kept for deletes on a full disk: a write-ahead log and its checkpoint.
pub const SPOOL_RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// About this much is written to the write-ahead log before it is copied into the spool's file.
pub const SPOOL_CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// A larger write-ahead log is warned about: a program that never ends its read keeps it from being reset.
pub const SPOOL_LOG_REPORT_BYTES: u64 = 16 * SPOOL_CHECKPOINT_BYTES;
/// A spool up to this size is checked whole at start; a larger one by its ends and its rows' checksums.
pub const SPOOL_CHECK_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Rows that one transaction removes to keep the spool within its age or size.
pub const SPOOL_REMOVE_ROWS: usize = 500;
/// Pages that the idle writer returns to the disk in one transaction.
pub const SPOOL_GIVE_BACK_PAGES: u64 = 256;
/// Free pages that stay in the file for the next rows.
pub const SPOOL_SPARE_PAGES: u64 = 1024;
/// Rows that are appended before the spool's counts are noted in it: at most so many are counted at a start.
pub const SPOOL_NOTE_ROWS: i64 = 10_000;
/// Rows of an older release's spool that one transaction moves to the new tables,
pub const SPOOL_MOVE_ROWS: usize = 500;
/// and about how many bytes of them.
pub const SPOOL_MOVE_BYTES: usize = 1 << 20;
/// How often a long repair or update of the spool logs how far it is.
pub const SPOOL_PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Events that may have been committed although their commit failed.
pub const SPOOL_TURNED_UP_MAX: usize = 2 * ROUND_EVENTS_MAX;
/// Rows that a search in the spool reads at once.
pub const SPOOL_SEARCH_ROWS: usize = 500;
/// Damaged files that one run of the daemon sets aside.
pub const SPOOL_RESCUES_MAX: u32 = 3;
/// Damaged files that are kept, the youngest, while they take no more room than the spool may.
pub const SPOOL_ASIDE_MAX: usize = 4;
/// The spool's default size where the disk is large enough;
pub const SPOOL_DEFAULT_BYTES: u64 = 1 << 30;
/// of a smaller disk it may fill one part in so many.
pub const SPOOL_DISK_SHARE: u64 = 4;
/// Rows are removed for their age once the wall clock has run evenly for so long.
pub const SPOOL_CLOCK_TRUSTED_AFTER: Duration = Duration::from_secs(3_600);
/// A wall clock that is off by more than this was set.
pub const SPOOL_CLOCK_JUMP: Duration = Duration::from_secs(60);
/// How often the spool's size is noted, to forecast when it will be full,
pub const SPOOL_SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// for the last ten minutes;
pub const SPOOL_SAMPLES_MAX: usize = 120;
/// there is no forecast from a shorter time than this.
pub const SPOOL_SAMPLES_SPAN_MIN: Duration = Duration::from_secs(10);

const _: () = assert!(SPOOL_BUSY.as_millis() < SPOOL_DEADLINE.as_millis());
const _: () = assert!(SPOOL_RESERVE_BYTES >= 2 * SPOOL_CHECKPOINT_BYTES);

// telemetry: the log and the status page

/// Log lines that may wait for stderr; more are dropped and counted.
pub const LOG_LINES_MAX: usize = 1_024;
/// A longer log line is cut.
pub const LOG_LINE_BYTES_MAX: usize = 4 * 1024;
/// How long the end of the process waits for its last log lines.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Log lines per minute about refused requests, for each kind: by the door, for their content, for lack of room.
pub const LOG_REFUSED_PER_MINUTE: u32 = 20;
/// Services whose worst clock is shown; the events of further ones count as one service.
pub const SKEW_SERVICES_MAX: usize = 100;
/// Characters of a service's name there.
pub const SKEW_NAME_CHARS_MAX: usize = 64;
/// The status page's plot has a point per so many seconds,
pub const HISTORY_SLOT_S: u64 = 10;
/// for one hour.
pub const HISTORY_SLOTS: usize = 360;
/// Refused requests that the status page shows,
pub const REFUSED_SHOWN: usize = 20;
/// and characters of each one's reason.
pub const REFUSED_CHARS_SHOWN: usize = 300;
/// Refused requests per minute that are remembered for it.
pub const REFUSED_KEPT_PER_MINUTE: u32 = 120;

// commands

/// Bytes of events that a command reads at once, unless a single event is larger.
pub const EXPORT_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// An exported event's line: the largest configurable event, and what stands beside it.
pub const EXPORT_LINE_BYTES_MAX: usize = 18 * 1024 * 1024;
/// A replay gives up when Kafka takes nothing for this long.
pub const REPLAY_PATIENCE: Duration = Duration::from_secs(60);
/// Lines that `send` reads ahead; each is at most a batch long.
pub const SEND_LINES_AHEAD: usize = 64;
/// What `send` puts into one request, before gzip.
pub const SEND_BATCH_BYTES: usize = 1024 * 1024;
/// A line is sent at most this long after it was read, even when its batch has room.
pub const SEND_LINGER: Duration = Duration::from_millis(200);
/// After an interruption `send` waits this long for a line that may still be in memory.
pub const SEND_STOP_WAIT: Duration = Duration::from_millis(200);
/// How long `send` waits after the first failure; it doubles for each further one,
pub const SEND_WAIT_FIRST: Duration = Duration::from_millis(500);
/// up to this.
pub const SEND_WAIT_MOST: Duration = Duration::from_secs(30);
/// Dead letters that a command settles at once: one transaction of the spool.
pub const SETTLE_LETTERS_MAX: usize = 500;
/// A request over the control socket, or its answer: an id has some 40 bytes, a reason some 200.
pub const CONTROL_BYTES_MAX: u64 = 256 * 1024;
/// A peer of the control socket may be silent for this long.
pub const CONTROL_PEER_LIMIT: Duration = Duration::from_secs(2);
/// A command waits this long for the daemon's answer.
pub const CONTROL_ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How often the control thread checks whether it should end.
pub const CONTROL_LOOK: Duration = Duration::from_millis(250);

const _: () = assert!(CONTROL_ANSWER_LIMIT.as_millis() > SPOOL_DEADLINE.as_millis());
const _: () = assert!(SETTLE_LETTERS_MAX as u64 * 400 < CONTROL_BYTES_MAX);

// relations between rooms

const _: () = assert!(UPSTREAM_CONNECTIONS_MAX < QUEUE_REQUESTS_MAX);
const _: () = assert!(ROUND_BYTES_MAX <= KAFKA_REQUEST_BYTES_MAX);
const _: () = assert!(BATCH_ERRORS_BYTES_MAX < DOOR_ANSWER_BYTES_MAX);
