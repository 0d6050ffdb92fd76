//! `GET /metrics`: the figures of `/stats` and `/health`, and how long things took, in Prometheus's text format.
//!
//! All figures are read at each request. Values of labels are from fixed lists, except the names of API keys, which the
//! keys file bounds. docs/metrics.md explains each metric; a test compares the two.

mod page;

use std::sync::atomic::Ordering::Relaxed;

use log::error;
use prometheus::TEXT_FORMAT;

use self::page::Page;
use crate::door;
use crate::host::clock;
use crate::host::process::Process;
use crate::http::Context;
use crate::store::{StoredIn, spool};
use crate::telemetry::health::{self, RemoteState, Vitals};
use crate::telemetry::stats::Snapshot;
use crate::wire::reply::Reply;

pub(super) fn reply(context: &Context) -> Reply {
    let door = context.door.figures();
    let counters = context.stats.snapshot();
    let mut page = Page::default();
    page.gauge("logs_ingest_build_info", "Always 1; the version is the label.")
        .by("version", [(env!("CARGO_PKG_VERSION"), 1_u64)]);
    events(&mut page, &counters);
    refusals(&mut page, &counters, &door);
    stores(&mut page, context);
    backlog(&mut page, &context.spool.figures());
    queue(&mut page, context, &counters);
    connections(&mut page, context, &door);
    page.add(context.timings.collect());
    process(&mut page, context);
    match page.text() {
        Ok(text) => Reply::json(200, text.into_bytes()).with("Content-Type", TEXT_FORMAT),
        Err(problem) => {
            error!("BUG: the metrics cannot be written: {problem}");
            Reply::internal()
        }
    }
}

fn events(page: &mut Page, counters: &Snapshot) {
    // Without `..`, so that a new counter is either shown or left out on purpose.
    let Snapshot {
        // Not a counter: it goes down when no store takes an event. The stored events below are the accepted ones.
        accepted: _,
        // Shown below.
        in_flight: _,
        refused_invalid: _,
        refused_items: _,
        refused_full: _,
        refused_unstored: _,
        internal_errors: _,
        // This is the count of the histogram of batch sizes.
        rounds: _,
        cards_masked,
        repeats_answered,
        repeats_in_flight,
        stored_kafka,
        stored_postgres,
        stored_held,
        stored_home,
        stored_dead_letter,
        recovered,
        recovered_dead_letter,
        recovered_postgres,
        recovered_postgres_dead_letter,
    } = *counters;
    let stored = [
        ("kafka", stored_kafka),
        ("postgres", stored_postgres),
        ("spool_held", stored_held),
        ("spool_home", stored_home),
        ("dead_letter", stored_dead_letter),
    ];
    page.counter("logs_ingest_events_stored_total", "Events answered 202, by where they were stored first.")
        .by("store", stored);
    page.counter(
        "logs_ingest_events_recovered_total",
        "Held events that reached the store they waited for, by where they were held.",
    )
    .by("store", [("spool", recovered), ("postgres", recovered_postgres)]);
    page.counter(
        "logs_ingest_recovered_dead_letters_total",
        "Held events that Kafka refuses as they are, by where they were held.",
    )
    .by("store", [("spool", recovered_dead_letter), ("postgres", recovered_postgres_dead_letter)]);
    page.counter("logs_ingest_cards_masked_total", "Card numbers masked in events.").is(cards_masked);
    page.counter("logs_ingest_repeats_total", "Repeats of requests with an Idempotency-Key, by answer.")
        .by("answer", [("first", repeats_answered), ("conflict", repeats_in_flight)]);
}

fn refusals(page: &mut Page, counters: &Snapshot, door: &door::DoorFigures) {
    let inside = [
        ("invalid", counters.refused_invalid),
        ("queue_full", counters.refused_full),
        ("not_stored", counters.refused_unstored),
        ("internal_error", counters.internal_errors),
    ];
    let at_the_door =
        door::REFUSALS.map(|(status, reason)| (reason, door.refused.get(&status).copied().unwrap_or(0)));
    page.counter("logs_ingest_refused_total", "Requests that were refused, by reason.")
        .by("reason", inside.into_iter().chain(at_the_door));
    page.counter("logs_ingest_refused_items_total", "Items of batches that were refused.")
        .is(counters.refused_items);
}

fn stores(page: &mut Page, context: &Context) {
    let remotes = [("kafka", &context.health.kafka), ("postgres", &context.health.postgres)];
    let configured = remotes.map(|(name, vitals)| (name, vitals, vitals.state()));
    let configured = || configured.iter().filter(|(_, _, state)| *state != RemoteState::Off);
    page.gauge("logs_ingest_store_up", "1 while a configured store works, by store.")
        .by("store", configured().map(|(name, _, state)| (*name, *state == RemoteState::Up)));
    let route = health::next_store(context.health.kafka.state(), context.health.postgres.state());
    page.gauge("logs_ingest_route", "1 for the store to which the next event goes.").by(
        "store",
        [StoredIn::Kafka, StoredIn::Postgres, StoredIn::Spool].map(|store| (store.name(), store == route)),
    );
    let times = |count: fn(&Vitals) -> u64| configured().map(move |(name, vitals, _)| (*name, count(vitals)));
    page.counter("logs_ingest_store_lost_total", "How often live events switched away from a store.")
        .by("store", times(|vitals| vitals.lost.load(Relaxed)));
    page.counter("logs_ingest_store_back_total", "How often live events switched back to a store.")
        .by("store", times(|vitals| vitals.back.load(Relaxed)));
}

fn backlog(page: &mut Page, spool: &spool::Figures) {
    let age_ms = spool.oldest_held_ms.map_or(0, |at| (clock::record_ms() - at).max(0));
    page.gauge("logs_ingest_backlog_events", "Events in the spool that wait for their store.").is(spool.held);
    page.gauge("logs_ingest_backlog_oldest_age_seconds", "How long the oldest of them has waited.")
        .is(age_ms as f64 / 1e3);
    page.gauge("logs_ingest_spool_home_events", "Events whose home is the spool.").is(spool.home);
    page.gauge("logs_ingest_spool_dead_letters", "Dead letters in the spool.").is(spool.dead_letters);
    page.gauge("logs_ingest_spool_bytes", "Data in the spool.").is(spool.bytes);
    page.gauge("logs_ingest_spool_max_bytes", "The limit of the spool.").is(spool.max_bytes);
    page.gauge("logs_ingest_spool_disk_free_bytes", "Free space on the spool's disk.").is(spool.disk_free);
    let full_in = spool.full_in.map_or(f64::INFINITY, |left| left.as_secs_f64());
    page.gauge(
        "logs_ingest_spool_full_in_seconds",
        "Time until the spool is full, at the rate of the last minutes.",
    )
    .is(full_in);
    page.gauge("logs_ingest_spool_writable", "1 when the spool's last write reached the disk.")
        .is(spool.writable);
    page.gauge("logs_ingest_spool_full", "1 while the spool refuses events because it is full.")
        .is(spool.full);
    page.counter("logs_ingest_spool_damaged_rows_total", "Rows of the spool lost to damage.")
        .is(spool.damaged);
    page.counter("logs_ingest_spool_lost_events_total", "Held events lost with a damaged spool.")
        .is(spool.lost);
    page.counter("logs_ingest_spool_removed_total", "Home events removed because of age or size.")
        .is(spool.removed);
}

fn queue(page: &mut Page, context: &Context, counters: &Snapshot) {
    page.gauge("logs_ingest_queue_events", "Events in the queue.").is(context.gauge.events());
    page.gauge("logs_ingest_queue_bytes", "Bytes in the queue.").is(context.gauge.bytes());
    page.gauge("logs_ingest_queue_max_events", "The limit of events in the queue.")
        .is(context.inlet.events_max());
    page.gauge("logs_ingest_queue_max_bytes", "The limit of bytes in the queue.")
        .is(context.inlet.bytes_max());
    page.gauge("logs_ingest_in_flight_events", "Events accepted and not yet stored.").is(counters.in_flight);
}

fn connections(page: &mut Page, context: &Context, door: &door::DoorFigures) {
    page.gauge("logs_ingest_connections", "Client connections.").is(door.connections);
    page.gauge("logs_ingest_max_connections", "The limit of client connections.").is(context.max_connections);
    page.counter("logs_ingest_connections_accepted_total", "Client connections since start.")
        .is(door.accepted);
    page.counter("logs_ingest_connections_evicted_total", "Idle connections closed to make room.")
        .is(door.evicted);
    page.counter("logs_ingest_accept_errors_total", "Connections that could not be accepted.")
        .is(door.accept_errors);
    page.counter(
        "logs_ingest_connections_refused_total",
        "Connections refused because their address had too many.",
    )
    .is(door.refused_by_address);
    page.counter("logs_ingest_tls_handshakes_total", "TLS handshakes, by result.")
        .by("result", [("done", door.tls_handshakes), ("failed", door.tls_failures)]);
    page.gauge(
        "logs_ingest_tls_certificate_end_time_seconds",
        "When the TLS certificate expires, in seconds since 1970; 0 without TLS.",
    )
    .is(door.tls_certificate_ends_s);
    page.counter("logs_ingest_requests_total", "Requests with a complete head.").is(door.requests);
    page.gauge("logs_ingest_requests_waiting", "Requests in the door that wait for a worker.")
        .is(door.waiting);
    page.gauge("logs_ingest_door_memory_bytes", "Memory of bodies and answers in the door.")
        .is(door.memory_bytes);
    let requests = context.guard.requests();
    page.counter("logs_ingest_client_requests_total", "Requests admitted with an API key, by its name.")
        .by("client", requests.iter().map(|(name, count)| (&**name, *count)));
}

fn process(page: &mut Page, context: &Context) {
    let started_ms = clock::record_ms() as f64 - context.health.uptime().as_secs_f64() * 1e3;
    page.gauge("process_start_time_seconds", "When the process started, in seconds since 1970.")
        .is((started_ms / 1e3).floor());
    let Some(process) = Process::look() else { return };
    page.counter("process_cpu_seconds_total", "CPU time used.").is(process.cpu_s);
    page.gauge("process_resident_memory_bytes", "Resident memory.").is(process.resident_bytes);
    page.gauge("process_threads", "Threads.").is(process.threads);
    page.gauge("process_open_fds", "Open file descriptors.").is(process.descriptors);
    page.gauge("process_max_fds", "The limit of open file descriptors.").is(process.descriptors_max);
}
