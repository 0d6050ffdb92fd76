//! Every cap and time limit that is not a setting, units in their names, relations asserted.

use std::time::Duration;

/// No record is dated before this: 2026-11-01, the month of this release.
pub const RELEASED_MS: i64 = 1_793_491_200_000;

/// Levels of nesting that a body may have, the outermost object being the first.
pub const JSON_DEPTH_MAX: usize = 100;

/// A request head (request line, fields, blank line) in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields in a request head.
pub const HEAD_FIELDS_MAX: usize = 100;
/// `X-Request-ID` is echoed up to this many characters.
pub const REQUEST_ID_HEADER_MAX: usize = 128;

/// A file of API keys: read whole, at start and at each reload.
pub const API_KEYS_FILE_BYTES_MAX: u64 = 512 * 1024;
/// Keys in it. Each request is compared with all of them.
pub const API_KEYS_MAX: usize = 1_000;
/// A shorter key could be guessed.
pub const API_KEY_CHARS_MIN: usize = 16;
/// A longer one has no use.
pub const API_KEY_CHARS_MAX: usize = 256;

const _: () = assert!(API_KEY_CHARS_MAX < HEAD_BYTES_MAX);

/// Events that the producer writes in one round.
pub const BATCH_EVENTS_MAX: usize = 2_000;
/// Bytes that the producer writes in one round, unless a single event is larger.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// With so many events waiting, the next round is begun while the one before is under way. Below it the rounds
/// would only get smaller, at a broker's cost for each.
pub const BEGIN_AHEAD_EVENTS: usize = BATCH_EVENTS_MAX / 4;
/// A request with more events than this is written in several rounds, so that others' events go along with
/// its own. So many of its events, at least, go in each.
pub const SLICE_EVENTS: usize = BATCH_EVENTS_MAX / 2;
/// The same in bytes.
pub const SLICE_BYTES: usize = BATCH_BYTES_MAX / 2;

/// Refused items that the answer to a batch lists; it says how many more there are.
pub const BATCH_ERRORS_MAX: usize = 1_000;
/// The same in bytes.
pub const BATCH_ERRORS_BYTES_MAX: usize = 256 * 1024;
/// Characters of a refused item's `request_id` in that list.
pub const BATCH_ERROR_ID_CHARS_MAX: usize = 128;
/// One read of a batch's body.
pub const BATCH_READ_BYTES: usize = 64 * 1024;
/// A piece of the memory that the events of one batch share: it is held until the last event in it is stored.
pub const BATCH_PIECE_BYTES_MAX: usize = 64 * 1024;
/// And at least, for a body that gzip made small.
pub const BATCH_PIECE_BYTES_MIN: usize = 1024;
/// An event in a body up to this is validated by the worker that took it in, within some 50 us; to wake another
/// one costs some 5.
pub const SHORT_BODY_BYTES: usize = 16 * 1024;
/// Of the workers, one in so many reads batches and nothing else, at least one beside the others.
pub const WORKERS_PER_BATCH_WORKER: usize = 4;

/// The classic Kafka client's reads last 120 s on a host that lost power: this many helper threads
/// may be left behind at once.
pub const CLASSIC_LEFT_BEHIND_MAX: usize = 4;

/// How long the producer waits for the spool's writer. An fsync has no time limit of its own.
pub const SPOOL_DEADLINE: Duration = Duration::from_secs(10);

/// Requests that may wait for the producer: more than the door ever has inside at once.
pub const QUEUE_REQUESTS_MAX: usize = 8_192;
/// `UPSTREAM_CONNECTIONS` at most.
pub const UPSTREAM_CONNECTIONS_MAX: usize = 4_096;

const _: () = assert!(UPSTREAM_CONNECTIONS_MAX < QUEUE_REQUESTS_MAX);

/// Log lines that may wait for stderr; more are dropped and counted.
pub const LOG_LINES_MAX: usize = 1_024;
/// A log line is cut here.
pub const LOG_LINE_BYTES_MAX: usize = 4 * 1024;
/// How long the end of the process waits for its last log lines.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Log lines a minute about requests that were refused, of each kind: by the door, for their content, for want of room.
pub const LOG_REFUSED_PER_MINUTE: u32 = 20;

/// How often recovery looks for rows held in Postgres when there were none, and asks for the drainer's lock.
pub const POSTGRES_LOOK: Duration = Duration::from_secs(1);
/// How often old rows are removed from Postgres.
pub const POSTGRES_SWEEP: Duration = Duration::from_secs(60);
/// And while there are more of them.
pub const POSTGRES_SWEEP_PAUSE: Duration = Duration::from_millis(200);
/// Rows that one statement removes: together some 10,000 a second, more than any shop stores.
pub const POSTGRES_SWEEP_ROWS: usize = 2_000;
/// A daemon that has had no connection to Kafka for so long leaves the backlog in Postgres to others.
pub const POSTGRES_YIELD: Duration = Duration::from_secs(10);

/// Between two attempts to connect to a store that does not answer.
pub const CONNECT_BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// And at the most.
pub const CONNECT_BACKOFF_MOST: Duration = Duration::from_secs(2);

/// How often the idle producer looks after its client.
pub const PRODUCER_TICK: Duration = Duration::from_secs(1);
/// How often recovery looks for held events, and tries again when stuck.
pub const RECOVERY_TICK: Duration = Duration::from_millis(250);
/// Held events in one write of recovery's.
pub const RECOVERY_EVENTS_MAX: usize = 500;
/// Bytes in one write of recovery's, unless a single event is larger.
pub const RECOVERY_BYTES_MAX: usize = 1024 * 1024;

/// A `traceparent` longer than this is not passed on; version 00 has 55 characters.
pub const TRACEPARENT_MAX: usize = 128;
/// Characters of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// Keys whose answers are remembered.
pub const IDEMPOTENCY_KEYS_MAX: usize = 100_000;
/// What those answers may take.
pub const IDEMPOTENCY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Services whose worst clock is shown; events of further ones count as one service.
pub const SKEW_SERVICES_MAX: usize = 100;
/// Characters of a service's name there.
pub const SKEW_NAME_CHARS_MAX: usize = 64;
/// `Retry-After` while the first request with a key is still being stored, in seconds, before jitter.
pub const RETRY_AFTER_IN_FLIGHT_S: u32 = 1;
/// `Retry-After` when there is no room, in seconds, before jitter.
pub const RETRY_AFTER_FULL_S: u32 = 2;
/// `Retry-After` when the daemon is stopping, in seconds, before jitter.
pub const RETRY_AFTER_STOPPING_S: u32 = 5;

/// Between two times that SIGHUP is heeded.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// Descriptors kept free for everything but connections: spool, brokers, logs, listeners.
pub const DESCRIPTORS_RESERVED: usize = 128;
/// What a stop grants each part even when its deadline is over.
pub const STOP_LOOK: Duration = Duration::from_secs(1);
/// One wire batch to a Kafka partition. A broker's default limit is 1,048,588.
pub const KAFKA_WIRE_BATCH_BYTES: usize = 1_000_000;
/// What a record adds on the wire to the event's own bytes, generously: framing and names of headers.
pub const KAFKA_WIRE_RECORD_EXTRA_BYTES: usize = 1024;
/// One produce request: more than the largest event that may be configured (16 MiB), so that the
/// broker is the one to judge.
pub const KAFKA_REQUEST_BYTES_MAX: usize = 18 * 1024 * 1024;
/// What the modern client may hold: the batch that it writes, and the one that was begun ahead.
pub const KAFKA_BUFFER_BYTES: usize = 32 * 1024 * 1024;
/// A broker's answer. The largest lists every topic of the cluster.
pub const KAFKA_RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

const _: () = assert!(BATCH_BYTES_MAX <= KAFKA_REQUEST_BYTES_MAX);
const _: () = assert!(BATCH_ERRORS_BYTES_MAX < DOOR_ANSWER_BYTES_MAX);
const _: () = assert!(KAFKA_REQUEST_BYTES_MAX <= KAFKA_BUFFER_BYTES);
const _: () = assert!(KAFKA_WIRE_BATCH_BYTES < KAFKA_REQUEST_BYTES_MAX);
/// PostgreSQL connections left behind in a server that does not answer: one, then no more are made.
pub const POSTGRES_LEFT_BEHIND_MAX: usize = 1;
/// How often a statement is tried again that met a deadlock or lost to another session.
pub const POSTGRES_CONFLICT_RETRIES: u32 = 4;
/// The wait before the first of these, doubled before each further one.
pub const POSTGRES_CONFLICT_PAUSE: Duration = Duration::from_millis(25);
/// A silent PostgreSQL connection is asked for a sign of life after this, by both ends,
pub const POSTGRES_KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// then this often,
pub const POSTGRES_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// and given up after so many without one.
pub const POSTGRES_KEEPALIVE_RETRIES: u32 = 3;
/// How long the owner of a PostgreSQL connection waits for its orderly end.
pub const POSTGRES_CLOSE_WAIT: Duration = Duration::from_millis(250);
/// Rows of a state that are counted for people; beyond that "so many or more" is all they are told. Rows
/// are wide: a cold disk has time for so many within the deadline.
pub const POSTGRES_COUNT_MAX: u32 = 100_000;

/// Commands that wait for the spool's writer; callers beyond that wait at the door of the queue.
pub const SPOOL_COMMANDS_MAX: usize = 64;
/// Commands that share one transaction of the spool.
pub const SPOOL_GROUP_MAX: usize = 16;
/// How long the spool waits for another program's lock on its file.
pub const SPOOL_BUSY: Duration = Duration::from_secs(2);
/// Disk room kept so that deletes still work on a full disk: a write-ahead log and its checkpoint.
pub const SPOOL_RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// Written to the write-ahead log, roughly, before it is brought into the spool's file.
pub const SPOOL_CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// A spool up to this size is checked whole at start; a larger one by its ends and its rows' checksums.
pub const SPOOL_CHECK_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Rows that one transaction removes to keep the spool within its age or size.
pub const SPOOL_REMOVE_ROWS: usize = 500;
/// Pages that the idle writer gives back to the disk in one transaction, and free pages that it leaves.
pub const SPOOL_GIVE_BACK_PAGES: u64 = 256;
/// Free pages below this number stay in the file for the next rows.
pub const SPOOL_SPARE_PAGES: u64 = 1024;
/// The idle writer looks at rows' age this often.
pub const SPOOL_KEEP_EVERY: Duration = Duration::from_secs(60);
/// Damaged files that one run of the daemon sets aside.
pub const SPOOL_RESCUES_MAX: u32 = 3;
/// Damaged files that are kept, the youngest, while they take no more room than the spool itself may.
pub const SPOOL_ASIDE_MAX: usize = 4;
/// What the spool may hold where no setting says so and the disk is large enough.
pub const SPOOL_DEFAULT_BYTES: u64 = 1 << 30;
/// Of a smaller disk it may hold this share.
pub const SPOOL_DISK_SHARE: u64 = 4;
/// A write-ahead log of this size is worth a line: a program that reads for ever keeps it from starting anew.
pub const SPOOL_LOG_SAY_BYTES: u64 = 16 * SPOOL_CHECKPOINT_BYTES;
/// Rows are removed for their age once the wall clock has run evenly for so long.
pub const SPOOL_CLOCK_SETTLES: Duration = Duration::from_secs(3_600);
/// A wall clock that is so far from where it should be was set.
pub const SPOOL_CLOCK_JUMP: Duration = Duration::from_secs(60);
/// The idle writer wakes this often.
pub const SPOOL_TICK: Duration = Duration::from_secs(1);

const _: () = assert!(SPOOL_BUSY.as_millis() < SPOOL_DEADLINE.as_millis());
const _: () = assert!(SPOOL_RESERVE_BYTES >= 2 * SPOOL_CHECKPOINT_BYTES);
/// Upstream connections that serve everything but ingest, so that health answers while storage is slow.
pub const DOOR_KEPT_CONNECTIONS: usize = 4;
/// Ingest connections opened at start and never closed for being idle. More are opened on demand.
pub const DOOR_INGEST_CONNECTIONS_MIN: usize = 8;
/// Requests of a lane that wait in the door for a free upstream connection.
pub const DOOR_WAITING_MAX: usize = 4_096;
/// Bytes of the bodies of those.
pub const DOOR_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long one waits there.
pub const DOOR_WAIT: Duration = Duration::from_secs(10);
/// Bodies and answers in the door's memory, all connections together.
pub const DOOR_MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Encrypted bytes that wait for a TLS client to take them, of one connection.
pub const DOOR_TLS_BYTES_MAX: usize = 16 * 1024;
/// A file of certificates or of a key.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// How often a certificate is looked at, beside each time that it is read.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(86_400);
/// A certificate that ends within this is warned about.
pub const CERTIFICATE_WARNING_S: i64 = 30 * 86_400;
/// Linux takes no longer path for a socket.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// One read from a connection in a turn of the event loop.
pub const DOOR_READ_BYTES: usize = 64 * 1024;
/// A connection between requests keeps buffers up to this size each.
pub const DOOR_BUFFER_BYTES_KEPT: usize = 4 * 1024;
/// An answer of the inner server, head included.
pub const DOOR_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A body that is read only to be dropped.
pub const DOOR_DROPPED_BODY_BYTES_MAX: usize = 16 * 1024;
/// Empty lines before a request line.
pub const DOOR_EMPTY_LINES_MAX: usize = 8;
/// After an answer that came before its request's end: how long the rest is read and thrown away.
pub const DOOR_LINGER: Duration = Duration::from_secs(1);
/// And how much of it.
pub const DOOR_LINGER_BYTES_MAX: usize = 256 * 1024;
/// Connections beyond the setting's, only to be told 503.
pub const DOOR_REFUSED_CONNECTIONS_MAX: usize = 64;
/// An idle kept upstream connection is asked for a sign of life this often.
pub const DOOR_PING_INTERVAL: Duration = Duration::from_secs(3);
/// A ping, or the first request on a new upstream connection, is answered within this.
pub const DOOR_PING_TIMEOUT: Duration = Duration::from_secs(5);
/// An ingest upstream connection beyond the minimum is closed after being idle for this.
pub const DOOR_UPSTREAM_IDLE: Duration = Duration::from_secs(60);
/// Between two attempts to open an upstream connection.
pub const DOOR_OPEN_RETRY_FIRST: Duration = Duration::from_millis(20);
/// And at the most.
pub const DOOR_OPEN_RETRY_MOST: Duration = Duration::from_secs(1);
/// Between two requests for a new inner server.
pub const DOOR_REBUILD_FIRST: Duration = Duration::from_secs(1);
/// And at the most.
pub const DOOR_REBUILD_MOST: Duration = Duration::from_secs(30);
/// The upstream connections opened at start are there within this.
pub const DOOR_START_TIMEOUT: Duration = Duration::from_secs(15);
/// Descriptors held back for opening an upstream connection: its two ends, the inner server's copy, one to spare.
pub const DOOR_RESERVED_DESCRIPTORS: usize = 4;

const _: () = assert!(DOOR_WAITING_BYTES_MAX <= DOOR_MEMORY_BYTES_MAX);
const _: () = assert!(DOOR_READ_BYTES > HEAD_BYTES_MAX);
const _: () = assert!(DOOR_DROPPED_BODY_BYTES_MAX <= DOOR_LINGER_BYTES_MAX);

/// Connections that may wait to be accepted.
pub const LISTEN_BACKLOG: i32 = 1_024;

/// How often the service manager is told how the daemon is, and its watchdog is fed at least.
pub const SYSTEMD_LOOK: Duration = Duration::from_secs(1);
/// What the status page's plot has a point for, in seconds.
pub const HISTORY_SLOT_S: u64 = 10;
/// An hour of them.
pub const HISTORY_SLOTS: usize = 360;
/// Refused requests that the status page shows.
pub const REFUSED_SHOWN: usize = 20;
/// Of a flood of them, so many a minute are remembered for that.
pub const REFUSED_KEPT_PER_MINUTE: u32 = 120;
/// How much of a reason it shows.
pub const REFUSED_CHARS_SHOWN: usize = 300;
/// How often an idle worker looks whether its server was replaced.
pub const WORKER_LOOK: Duration = Duration::from_millis(500);
/// Of the time for a stop, this share is kept for what comes after the last answer.
pub const STOP_RESERVE_SHARE: u32 = 4;
/// Log lines a minute about one store lost and back, about drains, and about dead letters.
pub const LOG_EDGES_PER_MINUTE: u32 = 2;
/// Keys of held events that one pass of recovery leaves behind; more, and it begins anew.
pub const RECOVERY_BLOCKED_MAX: usize = 1_000;
/// Bytes of events that a command reads at once, unless a single event is larger.
pub const EXPORT_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// An exported event's line: the largest event that may be configured, and what stands beside it.
pub const EXPORT_LINE_BYTES_MAX: usize = 18 * 1024 * 1024;
/// A replay gives up when Kafka takes nothing for this long.
pub const REPLAY_PATIENCE: Duration = Duration::from_secs(60);

/// Lines that `send` reads ahead; each is at most a batch long.
pub const SEND_LINES_AHEAD: usize = 64;
/// What `send` puts into one request, before it is made smaller by gzip.
pub const SEND_BATCH_BYTES: usize = 1024 * 1024;
/// A line is sent this long after it was read at the latest, though its batch has room.
pub const SEND_LINGER: Duration = Duration::from_millis(200);
/// And after an interruption it waits so long for a line that may still be in memory.
pub const SEND_STOP_WAIT: Duration = Duration::from_millis(200);
/// How long `send` waits after the first failure, doubled for each further one, and at the most.
pub const SEND_WAIT_FIRST: Duration = Duration::from_millis(500);
/// See above.
pub const SEND_WAIT_MOST: Duration = Duration::from_secs(30);

/// Dead letters that a command settles at once: one transaction of the spool.
pub const SETTLE_LETTERS_MAX: usize = 500;
/// A question over the control socket, or its answer: an id has some 40 bytes, a reason some 200.
pub const CONTROL_BYTES_MAX: u64 = 256 * 1024;
/// A peer of the control socket may be silent for this long.
pub const CONTROL_PEER_LIMIT: Duration = Duration::from_secs(2);
/// A command waits this long for the daemon's answer.
pub const CONTROL_ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How often the control socket's thread looks whether it should end.
pub const CONTROL_LOOK: Duration = Duration::from_millis(250);

const _: () = assert!(CONTROL_ANSWER_LIMIT.as_millis() > SPOOL_DEADLINE.as_millis());
const _: () = assert!(SETTLE_LETTERS_MAX as u64 * 400 < CONTROL_BYTES_MAX);

/// How often the spool's size is noted for telling when it will be full.
pub const SPOOL_SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// The last ten minutes.
pub const SPOOL_SAMPLES_MAX: usize = 120;
/// Nothing is told from a shorter time.
pub const SPOOL_SAMPLES_SPAN_MIN: Duration = Duration::from_secs(10);
/// How often PostgreSQL's rows are counted for `/health`.
pub const POSTGRES_COUNT_EVERY: Duration = Duration::from_secs(10);
/// The same when the last count was not done within its deadline.
pub const POSTGRES_COUNT_AGAIN: Duration = Duration::from_secs(30);
