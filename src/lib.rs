//! logs-ingest: takes JSON log events of a shop's tills over HTTP, stores each, and only then answers 202.
//!
//! ```text
//! tills, curl, scripts
//!   │ HTTP
//! door        owns the public sockets; bounded connections, sizes and times
//!   │ private Unix socket, a fixed pool of connections, one request at a time on each
//! http        tiny_http's listener hands requests to a fixed pool of workers: parse, validate (event), offer
//!   │ queue, bounded by events and by bytes; full = 503 at once
//! delivery    producer: one thread, takes what is there as a batch, asks failover for the route, writes to
//!   ├─ store/kafka      first choice, acks=all
//!   ├─ store/postgres   while Kafka is away; the events' home where there is no Kafka
//!   └─ store/spool      local SQLite while both are away; the events' home where neither is configured
//!   │ an outcome an event; only a stored one is answered 202
//! delivery/recovery     one thread: brings what is held back to Kafka, paced
//! ```
//!
//! Beside the way of an event: `wire` has the words of HTTP that door and http share, `telemetry` what the daemon says of
//! itself, `host` the process and its machine, `config` the settings, `commands` the command line.
//!
//! Invariants, kept by `tests/it/tidy.rs` where a test can see them:
//!
//! - Only `store/kafka` names a Kafka crate or tokio, only `store/postgres` names postgres, only `store/spool` names rusqlite, only `http`
//!   names `tiny_http`, only `door` names mio and httparse,
//!   only `door` and `store/postgres` name rustls, only `commands` names ureq.
//! - An [`event::Event`] is made only by validation, or read back from a row that validation once made.
//! - Nothing behind `http` knows HTTP, and the door does not know `http`; rooms name each other in one direction only.
//! - Every queue, read, wait, retry and log is bounded, by a setting or in [`limits`].
//! - Threads are named, started by [`host::thread::start`], and joined, but for those that live as long as the process
//!   (logs, signals) and helpers that a store which hangs has left behind.

pub mod app;
pub mod commands;
pub mod config;
pub mod delivery;
pub mod door;
pub mod event;
pub mod host;
pub mod http;
pub mod limits;
pub mod store;
pub mod telemetry;
pub mod wire;
