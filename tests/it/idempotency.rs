//! `Idempotency-Key`: a repeat gets the first answer and stores nothing; what stores recognise after a restart; a storm of
//! repeats (F17).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::events::Body;
use crate::support::http::{BATCH, Client, INGEST, Response};
use crate::support::kafka::{Broker, Version};
use crate::support::ledger::Ledger;
use crate::support::postgres::Server;
use crate::support::stores::{TOPIC, rows};
use crate::support::{TempDir, poll};

const LIMIT: Duration = Duration::from_secs(30);

fn post(daemon: &Daemon, path: &str, key: &str, body: &str) -> Response {
    daemon.client().post(path, &[("Idempotency-Key", key)], body)
}

fn stored(daemon: &Daemon) -> usize {
    rows(&daemon.data_dir(), "raw_logs").len()
}

/// The same answer, except for headers that differ in every answer.
fn assert_replayed(first: &Response, again: &Response) {
    assert_eq!((again.status, again.text()), (first.status, first.text()));
    for name in ["X-Stored-In", "X-Ingest-Id", "Content-Type"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(
        (first.header("Idempotent-Replayed"), again.header("Idempotent-Replayed")),
        (None, Some("true"))
    );
}

#[test]
fn a_repeat_gets_the_first_answer_and_stores_nothing() {
    let daemon = Daemon::builder().env("IDEMPOTENCY_WINDOW", "1s").start();
    let event = Body::minimal().text();
    let first = post(&daemon, INGEST, "k-1", &event);
    assert_eq!(first.status, 202, "{}", first.text());
    let id = first.header("X-Ingest-Id").unwrap();
    assert_eq!(&id[14..15], "8", "{id}");
    assert_replayed(&first, &post(&daemon, INGEST, "k-1", &event));
    let lines = format!("{event}\nx\n{event}");
    let first = post(&daemon, BATCH, "b-1", &lines);
    assert_eq!(first.status, 207, "{}", first.text());
    assert_replayed(&first, &post(&daemon, BATCH, "b-1", &lines));
    assert_eq!(stored(&daemon), 3);
    let counters = &daemon.stats()["counters"];
    assert_eq!((&counters["repeats_answered"], &counters["accepted"]), (&json!(2), &json!(3)), "{counters}");
    // Forgotten by the daemon, but the store recognises the event by its id.
    poll(LIMIT, "the window to end", || {
        let again = post(&daemon, INGEST, "k-1", &event);
        (again.header("Idempotent-Replayed").is_none())
            .then(|| assert_eq!(again.header("X-Ingest-Id"), Some(id)))
    });
    assert_eq!(stored(&daemon), 3);
    assert!(Ledger::settled(&daemon, LIMIT).balances(), "{}", daemon.stats());
}

#[test]
fn a_key_is_for_one_request() {
    let daemon = Daemon::start();
    let event = Body::minimal().text();
    assert_eq!(post(&daemon, INGEST, "k", &event).status, 202);
    let other = json!([{"loc": ["header", "idempotency-key"], "msg": "Idempotency-Key was used for another request",
                        "type": "value_error"}]);
    for (path, body) in [
        (INGEST, Body::minimal().text()),
        (BATCH, event.clone()),
        (&format!("{BATCH}?atomic=true"), event.clone()),
    ] {
        let response = post(&daemon, path, "k", &body);
        assert_eq!((response.status, &response.json()["detail"]), (422, &other), "{path}");
    }
    assert_eq!(
        post(&daemon, INGEST, "k ", &event).header("Idempotent-Replayed"),
        Some("true"),
        "blanks around it"
    );
    assert_eq!(post(&daemon, INGEST, "K", &event).header("Idempotent-Replayed"), None);
    let long = "k".repeat(256);
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    for headers in
        [&[("Idempotency-Key", "")][..], &[("Idempotency-Key", &long)], &[("Idempotency-Key", "ü")], &twice]
    {
        for path in [INGEST, BATCH] {
            let response = daemon.client().post(path, headers, &event);
            assert_eq!(response.status, 422, "{headers:?}: {}", response.text());
            assert_eq!(response.json()["detail"][0]["loc"], json!(["header", "idempotency-key"]));
        }
    }
    assert_eq!(post(&daemon, INGEST, &long[1..], &event).status, 202);
    assert_eq!(stored(&daemon), 3);
}

#[test]
fn a_refusal_leaves_the_key_free() {
    let daemon = Daemon::start();
    let event = Body::minimal();
    for (path, body) in [(INGEST, "{"), (INGEST, ""), (BATCH, "x"), (BATCH, "[")] {
        assert_eq!(post(&daemon, path, "k", body).status, 422);
    }
    assert_eq!(post(&daemon, INGEST, "k", &event.text()).status, 202);
}

#[test]
fn while_the_first_is_being_stored_a_repeat_is_409_and_later_gets_its_answer() {
    let broker = Broker::start(Version::V3_9);
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).env("KAFKA_DEADLINE", "4s").start();
    daemon.wait_until_up("kafka");
    let event = Body::minimal().text();
    assert_eq!(daemon.client().post_event(&event).status, 202);
    broker.freeze();
    let mut first = daemon.client();
    first.send("POST", INGEST, &[("Idempotency-Key", "k")], event.as_bytes()).unwrap();
    let again = poll(LIMIT, "the first to be in flight", || {
        // Too early, it would be the first itself.
        (daemon.stats()["ledger"]["in_flight"] == 1).then(|| post(&daemon, INGEST, "k", &event))
    });
    assert_eq!(again.status, 409, "{}", again.text());
    let after: u32 = again.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=2).contains(&after) && !again.detail().is_empty());
    assert_eq!(post(&daemon, INGEST, "k", &Body::minimal().text()).status, 422);
    let first = first.read_response().unwrap();
    assert_eq!((first.status, first.header("X-Stored-In")), (202, Some("spool")));
    broker.thaw();
    assert_replayed(&first, &post(&daemon, INGEST, "k", &event));
}

#[test]
fn a_repeat_after_a_crash_is_known_to_every_store_that_knows_ids() {
    let server = Server::start();
    // At home in Postgres, at home in the spool, held in the spool.
    let settings =
        [Some(("POSTGRES_URL", server.url())), None, Some(("KAFKA_BROKERS", "127.0.0.1:9".into()))];
    for setting in settings {
        let name = setting.as_ref().map_or("", |(name, _)| name);
        let builder = Daemon::builder();
        let mut daemon = match &setting {
            Some((name, value)) => builder.env(name, value).start(),
            None => builder.start(),
        };
        let send = |daemon: &Daemon, event: &str, lines: &str| {
            if name == "POSTGRES_URL" {
                daemon.wait_until_up("postgres");
            }
            let event = post(daemon, INGEST, "k", event);
            let batch = post(daemon, BATCH, "b", lines);
            assert_eq!((event.status, batch.status), (202, 202), "{} {}", event.text(), batch.text());
            assert_eq!(event.header("Idempotent-Replayed"), None);
            event.header("X-Ingest-Id").unwrap().to_owned()
        };
        let event = Body::minimal().text();
        let lines = format!("{}\n{event}\n", Body::minimal().text());
        let id = send(&daemon, &event, &lines);
        daemon.kill9();
        daemon.restart();
        assert_eq!(send(&daemon, &event, &lines), id);
        let in_postgres: usize = server.value("SELECT count(*) FROM raw_logs").parse().unwrap();
        let in_spool = if name == "POSTGRES_URL" { 0 } else { 3 };
        assert_eq!((in_postgres, stored(&daemon)), (3, in_spool), "{name}");
        daemon.wait_for("/stats", LIMIT, |stats| stats["ledger"]["in_flight"] == 0);
        assert_eq!(daemon.stats()["ledger"]["balanced"], true, "{}", daemon.stats());
    }
}

/// Two tills may use the same keys.
#[test]
fn a_key_belongs_to_the_client_that_its_api_key_names() {
    let folder = TempDir::new();
    let file = folder.path().join("keys");
    std::fs::write(&file, "till-1 first-secret-of-till-one\ntill-2 second-secret-of-till-two\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let daemon = Daemon::builder().env("API_KEYS_FILE", file.display()).start();
    let event = Body::minimal().text();
    let ids = ["first-secret-of-till-one", "second-secret-of-till-two"].map(|secret| {
        let headers = [("X-API-Key", secret), ("Idempotency-Key", "1")];
        let response = daemon.client().post(INGEST, &headers, &event);
        assert_eq!(
            (response.status, response.header("Idempotent-Replayed")),
            (202, None),
            "{}",
            response.text()
        );
        response.header("X-Ingest-Id").unwrap().to_owned()
    });
    assert_ne!(ids[0], ids[1]);
    assert_eq!(stored(&daemon), 2);
}

#[test]
fn a_lost_answer_costs_nothing_and_kafka_has_the_event_once() {
    let broker = Broker::start(Version::V3_9);
    let daemon = Daemon::builder().env("KAFKA_BROKERS", broker.address()).start();
    daemon.wait_until_up("kafka");
    let event = Body::minimal().text();
    let mut impatient = daemon.client();
    impatient.send("POST", INGEST, &[("Idempotency-Key", "k")], event.as_bytes()).unwrap();
    drop(impatient);
    poll(LIMIT, "the event to be stored", || (daemon.stats()["ledger"]["sent_to_kafka"] == 1).then_some(()));
    let again = post(&daemon, INGEST, "k", &event);
    assert_eq!((again.status, again.header("Idempotent-Replayed")), (202, Some("true")));
    let records = broker.read_all(TOPIC);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].header("ingest_id").as_deref(), again.header("X-Ingest-Id"));
}

/// F17: tills that were disconnected send everything at once, half of it for the second time.
#[test]
fn in_a_storm_of_repeats_each_gets_the_first_answer() {
    const TILLS: usize = 64;
    let each: usize = if std::env::var_os("LOGS_INGEST_LONG").is_some() { 1_000 } else { 100 };
    let daemon = Daemon::builder().env("MAX_CONNECTIONS", 256).start();
    let answers: Arc<Mutex<HashMap<String, String>>> = Arc::default();
    let tills: Vec<_> = (0..TILLS)
        .map(|till| {
            let (addr, answers) = (daemon.addr(), Arc::clone(&answers));
            let work =
                move || (0..each).for_each(|n| repeated(addr, &format!("{till}-{n}"), n % 2 == 0, &answers));
            logs_ingest::host::thread::start(&format!("till-{till}"), work).unwrap()
        })
        .collect();
    tills.into_iter().for_each(|till| till.join().unwrap());
    assert_eq!(answers.lock().unwrap().len(), TILLS * each);
    assert_eq!(stored(&daemon), TILLS * each);
    assert!(Ledger::settled(&daemon, LIMIT).balances());
    assert!(daemon.peak_rss_kib() < 128 * 1024, "{} KiB", daemon.peak_rss_kib());
}

/// Sends an event under its key until it is answered 202, and perhaps once more.
fn repeated(addr: std::net::SocketAddr, key: &str, twice: bool, answers: &Mutex<HashMap<String, String>>) {
    let event = Body::minimal().text();
    let mut client = Client::connect(addr);
    for _ in 0..if twice { 2 } else { 1 } {
        let answer = poll(LIMIT, "a 202", || {
            let response = client.post(INGEST, &[("Idempotency-Key", key)], &event);
            assert!([202, 409, 503].contains(&response.status), "{}", response.text());
            (response.status == 202).then_some(response)
        });
        let said = format!("{} {}", answer.header("X-Ingest-Id").unwrap(), answer.text());
        let first = answers.lock().unwrap().insert(key.to_owned(), said.clone());
        assert!(first.is_none_or(|first| first == said), "{key}");
    }
}
