//! logs-ingest: takes JSON log events of a shop's tills over HTTP, stores each, and only then answers 202.
//!
//! ```text
//! tills, curl, scripts
//!   │ HTTP
//! door        owns the public sockets; bounded connections, sizes and times
//!   │ private Unix socket, a fixed pool of connections, one request at a time on each
//! http        tiny_http's listener hands requests to a fixed pool of workers: parse, validate (event), queue
//!   │ queue, bounded by events and by bytes; full = 503 at once
//! delivery    producer: one thread, takes what waits as a round, asks each route's switch, writes to
//!   ├─ store/kafka      first choice, acks=all
//!   ├─ store/postgres   while Kafka is down; the events' home where there is no Kafka
//!   └─ store/spool      local SQLite, while both are down; the events' home where neither is configured
//!   │ an outcome per event; only a stored event is answered 202
//! delivery/recovery     one thread: sends what is held to Kafka, paced
//! ```
//!
//! Beside the path of an event: `wire` has the words of HTTP that door and http share, `telemetry` what the daemon
//! reports of itself, `host` the process and its machine, `setting` the kinds of value that each room's settings
//! have, `config` the settings together, `commands` the command line.
//!
//! Invariants, kept by `tests/it/tidy.rs` where a test can see them:
//!
//! - Only `store/kafka` names a Kafka crate or tokio, only `store/postgres` names postgres, only `store/spool` names rusqlite, only `http`
//!   names `tiny_http`, only `door` names mio and httparse,
//!   only `door` and `store/postgres` name rustls, only `commands` names ureq.
//! - An [`event::Event`] is made only by validation, or read back from a row that validation once made.
//! - Nothing behind `http` knows HTTP, and the door does not know `http`; rooms name each other in one direction only.
//! - Every queue, read, wait, retry and log is bounded, by a setting or in [`limits`].
//! - Threads are named, and started in [`host::thread`]: by `essential`, if the daemon cannot do without them. They are
//!   joined, except those that live as long as the process (log, signals) and helpers that a store which hangs has
//!   left behind.
//!
//! # Glossary
//!
//! One word, one meaning, in code, logs and docs.
//!
//! | word | meaning |
//! |---|---|
//! | event | one log record, valid and in normal form |
//! | client | who uses a server: of the daemon, a program that sends requests; of a store, the daemon itself, by the store's client library |
//! | request | one HTTP request of a client, with one event or a batch |
//! | batch | several events together: in one request, or in one write to a store |
//! | refusal | why something is refused for what it is: a request or an event by the daemon, an event by a store |
//! | lane | the requests that share upstream connections: those that wait for a store, or those answered at once |
//! | inner server | tiny_http, which only the door can reach |
//! | upstream | a connection of the door to the inner server |
//! | submission | one request's events in the queue |
//! | round | what the producer takes from the queue and writes as one batch |
//! | slice | the part of a large request that goes in one round |
//! | outcome | what became of one event: stored, and where, or refused by every store, and why |
//! | settle | give what waited its final result, once: a request its outcomes, a held event its acknowledgement, a dead letter its end |
//! | ack | a store's word that an event is safe: acks=all in Kafka, a commit in PostgreSQL, an fsync in the spool |
//! | route | how live events reach one store behind the network: its switch, its link and its client (an HTTP route, in `wire` and `http`: a known path and its method) |
//! | switch | the state machine that says whether a route is used now |
//! | link | the owner's side of a prober |
//! | prober | a thread that makes connected clients of one store, off the path of events |
//! | destination | the store where events are to end: Kafka, else PostgreSQL, else the spool, as configured |
//! | home | an event that is stored in its destination |
//! | held | an event that is stored elsewhere and waits for its destination; all of them are the backlog |
//! | standing | whether a row is held or home |
//! | slot | a numbered place in a table, used again when it is empty |
//! | guard | what decides by its API key who may come in |
//! | recovery | the thread that drains: it sends held events to their destination, until there are none |
//! | dead letter | an event that Kafka refuses for its content, kept with the reason until a person decides |
//! | spool | the local SQLite store, which is always there |
//! | aside | a damaged spool file that was set aside, and its readable rows saved |
//! | ledger | the sum that proves that no event is lost: what came in equals what is stored, waits or is in flight |
//! | verdict | the one judgement on the daemon: well, degraded or down |
//! | essential | a thread whose end ends the process |

pub mod app;
pub mod commands;
pub mod config;
pub mod delivery;
pub mod door;
pub mod event;
pub mod host;
pub mod http;
pub mod limits;
pub mod setting;
pub mod store;
pub mod telemetry;
pub mod wire;
