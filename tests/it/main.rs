//! Black-box tests of the real binary with real brokers.
//!
//! An index: what each room of the tests is about.
#![allow(clippy::unwrap_used)]

/// The kit: the daemon as a child process, real brokers, a strict client, a load generator, a fault proxy.
mod support;

/// Batches and gzip: forms, limits, one result for many events, on all stores.
mod batch;
/// The daemon beside the FastAPI service that it stands in for, on thousands of generated requests.
mod differential;
/// Events that must be taken: coercions, odd bodies, every legal way to send one; what is stored.
mod valid;
/// Events that must be refused: every error row, byte for byte; golden answers.
mod validation;

/// `ledger`: the stores counted and compared with the daemon's figures.
mod books;
/// Card numbers in any place, in any store, file, log or answer (F23).
mod cards;
/// The commands beside the daemon, on real stores.
mod commands;
/// The API's own description: true by schemathesis, and browsable in a real browser.
mod description;
/// Health, readiness, counters; 404, 405, how a target is read.
mod endpoints;
/// What is refused before a body is judged: sizes, times, other framings; no room.
mod errors;
/// Requests whose framing cannot be trusted, smuggling among them: 400 and the end (F16).
mod framing;
/// Idempotency-Key: first answers again, crashes between, a storm of repeats (F17).
mod idempotency;
/// API keys: the order of checks, keys that change, and that none is ever shown.
mod keys;
/// `/metrics`, its documentation and the alert rules, by Prometheus's own tool.
mod metrics;
/// The README's commands, `events`, and everything below scripts/ that people run.
mod scripts;
/// README, sample file, `--help`, `init` and `check-config` tell of the same settings.
mod settings;
/// Bad settings, and what else ends the daemon at once: the exit code and the text.
mod startup;

/// Wall clocks that jump, and tills whose clocks are years off (F18).
mod clock;
/// The consumer of the guide, on a topic that has events twice.
mod consumer;
/// kill -9 at any moment (F1), and stopping on request (F19).
mod crash;
/// Kafka refuses, dies, hangs or comes back (F4, F5, F13).
mod failover;
/// Postgres between Kafka and the spool (F9): who takes over, and that everything comes back.
mod fallback;
/// Brokers, servers and networks at their worst, on real ones (F6, F7, F8, F9, F11, F19), and a cluster whose
/// brokers come and go.
mod faults;
/// Clients that are slow, many, broken or hostile, against the whole daemon (F14 to F17), and its own producer (F20).
mod hostile;
/// Events that Kafka refuses for their own sake, wherever it learns of them (F13).
mod letters;
/// Outages longer than the spool: what is kept, in which order it is drained (F10).
mod outage;
/// The status page in a real browser, through an outage.
mod page;
/// Events on their way to Kafka: key, value, headers, order, and the topic.
mod path;
/// What other users of the machine may see: files, cores, passwords.
mod privilege;
/// Kafka behind TLS, passwords, certificates and access lists.
mod secured;
/// Under a service manager: ready, how it is, sockets handed over; the units by systemd's own tools.
mod systemd;
/// HTTPS and the Unix socket, with curl and openssl as shops have them.
mod tls;

/// What travels with an event: trace contexts, how far clocks are off, ids inside the value.
mod tracing;

/// The door before a real `tiny_http`: framing, limits, bursts, stalls, descriptors (F14, F15, F16).
mod door;
/// store/kafka on real brokers of three generations.
mod kafka_clients;
/// The Debian package by the real dpkg, manual pages, completions, the image's recipe.
mod package;
/// store/postgres on real servers (F9, F13): rows, draining, versions, faults, TLS.
mod postgres;
/// Steady load and random faults of every part; an hour in the long form (F21).
mod soak;
/// The spool itself: rows, order, bounds, damage, kill -9, power cuts, versions (F1, F2, F3, F12, F22).
mod spool;
/// The spool's upkeep as the daemon tells of it: bounds, damage, versions (F3, F22).
mod upkeep;

/// Source rules: who may name which crate, lengths, words that have no place here.
mod tidy;
