//! Card numbers: none is in any store, file, log or answer, wherever a client puts it (F23).

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::http::{BATCH, INGEST};
use crate::support::kafka::{Broker, Version};
use crate::support::postgres::Server;
use crate::support::stores::{TOPIC, rows};

const PUBLISHED: &str = include_str!("../cards.txt");
const LIMIT: Duration = Duration::from_secs(30);

fn published() -> Vec<&'static str> {
    let numbers: Vec<_> = PUBLISHED.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(numbers.len() >= 60);
    numbers
}

/// First six, last four.
fn masked(number: &str) -> String {
    format!("{}{}{}", &number[..6], "*".repeat(number.len() - 10), &number[number.len() - 4..])
}

fn in_fours(number: &str, separator: &str) -> String {
    number.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(separator)
}

/// The ways in which `event` spells a number.
fn spellings(number: &str) -> [String; 3] {
    [number.to_owned(), in_fours(number, " "), in_fours(number, "-")]
}

/// An event with the number in every place and spelling.
fn event(number: &str) -> Value {
    let [plain, blanks, dashes] = spellings(number);
    let mut event = events::event();
    event["message"] = json!(format!("paid with {blanks}, thanks"));
    event["stack"] = json!(format!("at pay({plain})\n{plain}\nat main()"));
    event["user_id"] = json!(plain);
    event["raw_data"] =
        json!({"card": dashes, &plain: [{"deep": [blanks]}], "number": number.parse::<u64>().unwrap()});
    event[&plain] = json!(number.parse::<u64>().unwrap());
    event["receipt"] = json!([format!("{plain};{dashes}")]);
    event
}

/// How often `event` has the number.
const TIMES: u64 = 12;

#[track_caller]
fn assert_no_trace(place: &str, bytes: &[u8], numbers: &[&str]) {
    let text = String::from_utf8_lossy(bytes);
    for number in numbers {
        for spelled in spellings(number) {
            let at = text.find(&spelled);
            let near = at.map(|at| {
                text[text.floor_char_boundary(at.saturating_sub(60))..].chars().take(160).collect::<String>()
            });
            assert_eq!(near, None, "{spelled} is in {place}");
        }
    }
}

/// Every file of the data folder, with the write-ahead log.
fn assert_files_are_clean(daemon: &Daemon, numbers: &[&str]) {
    let mut bytes_seen = 0;
    for entry in fs::read_dir(daemon.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        // Not the private socket.
        let Ok(bytes) = fs::read(&path) else { continue };
        bytes_seen += bytes.len();
        assert_no_trace(&path.display().to_string(), &bytes, numbers);
    }
    assert!(bytes_seen > 10_000);
}

#[test]
fn no_card_number_is_in_the_spools_files_the_log_or_an_answer() {
    let mut daemon = Daemon::builder().env("LOG_LEVEL", "debug").start();
    let numbers = published();
    let mut client = daemon.client();
    for number in &numbers {
        let id = [("X-Request-ID", *number)];
        let answer = client.post(INGEST, &id, event(number).to_string());
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_no_trace("an answer", &answer.body, &numbers);
        let mut wrong = event(number);
        wrong["level"] = json!(number);
        for (target, body) in [
            (INGEST, wrong.to_string()),
            (INGEST, format!("{{\"message\":\"{number}\"")),
            (BATCH, format!("{{\"message\":\"{number}\"}}\n{wrong}\n{number}")),
            (&format!("/{number}"), number.to_string()),
        ] {
            let answer = client.post(target, &id, body);
            assert!([404, 422].contains(&answer.status), "{}", answer.text());
            assert_no_trace("an answer", &answer.body, &numbers);
        }
    }
    let rows = rows(&daemon.data_dir(), "raw_logs");
    assert_eq!(rows.len(), numbers.len());
    for (row, number) in rows.iter().zip(&numbers) {
        let payload: Value = serde_json::from_slice(&row.payload).unwrap();
        let hidden = masked(number);
        assert_eq!((&payload["user_id"], &payload[&hidden]), (&json!(hidden), &json!(hidden)));
        assert_eq!(payload["raw_data"]["number"], json!(hidden));
    }
    let counters = &daemon.stats()["counters"];
    assert_eq!(counters["cards_masked"], TIMES * numbers.len() as u64, "{counters}");
    assert_files_are_clean(&daemon, &numbers);
    assert!(daemon.terminate().success());
    assert_files_are_clean(&daemon, &numbers);
    let log = daemon.log_text();
    assert!(log.contains(&masked(numbers[0])), "the log names requests: {log}");
    assert_no_trace("the log", log.as_bytes(), &numbers);
}

#[test]
fn no_card_number_is_in_kafka_in_postgres_or_among_the_dead_letters() {
    let mut broker = Broker::start(Version::V3_9);
    broker.create_topic(TOPIC, 1, &[("max.message.bytes", "20000")]);
    let mut server = Server::start();
    let daemon = Daemon::builder()
        .env("KAFKA_BROKERS", broker.address())
        .env("POSTGRES_URL", server.url())
        .env("LOG_LEVEL", "debug")
        .start();
    for store in ["kafka", "postgres"] {
        daemon.wait_until_up(store);
    }
    let numbers = &published()[..12];
    let send = |large: bool, place: &str| {
        for number in numbers {
            let mut event = event(number);
            if large {
                event["filler"] = json!("x".repeat(50_000));
            }
            let answer = daemon.client().post_event(event.to_string());
            assert_eq!(
                (answer.status, answer.header("X-Stored-In")),
                (202, Some(place)),
                "{}",
                answer.text()
            );
        }
    };
    send(false, "kafka");
    let records = broker.read_all(TOPIC);
    assert_eq!(records.len(), numbers.len());
    for (record, number) in records.iter().zip(numbers) {
        assert_no_trace("Kafka", &record.value, numbers);
        assert!(String::from_utf8_lossy(&record.value).contains(&masked(number)));
    }
    send(true, "dead-letter");
    let letters = rows(&daemon.data_dir(), "dead_letters");
    assert_eq!(letters.len(), numbers.len());
    letters.iter().for_each(|letter| assert_no_trace("a dead letter", &letter.payload, numbers));

    broker.kill();
    send(false, "postgres");
    let stored =
        server.sql("SELECT convert_from(payload, 'UTF8'), raw_logs::text FROM raw_logs ORDER BY seq");
    assert_eq!(stored.len(), numbers.len());
    for (columns, number) in stored.iter().zip(numbers) {
        assert!(columns.iter().all(|text| text.contains(&masked(number))), "{columns:?}");
        assert_no_trace("Postgres", columns.concat().as_bytes(), numbers);
    }
    server.kill();
    send(false, "spool");
    assert_files_are_clean(&daemon, numbers);
    assert_no_trace("the log", daemon.log_text().as_bytes(), numbers);
}

#[test]
fn masking_can_be_turned_off_for_events_and_never_for_the_log() {
    let daemon = Daemon::builder().env("REDACT_PAN", "off").env("LOG_LEVEL", "debug").start();
    daemon.wait_for_log("REDACT_PAN=off", LIMIT);
    let number = "4111111111111111";
    let mut sent = events::minimal_event();
    sent["message"] = json!(number);
    let answer = daemon.client().post(INGEST, &[("X-Request-ID", number)], sent.to_string());
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("X-Request-ID"), Some(number));
    let stored: Value = serde_json::from_slice(&rows(&daemon.data_dir(), "raw_logs")[0].payload).unwrap();
    assert_eq!(stored, sent);
    assert_eq!(daemon.stats()["counters"]["cards_masked"], 0);
    daemon.wait_for_log("x_request_id=\"411111******1111\"", LIMIT);
    assert_no_trace("the log", daemon.log_text().as_bytes(), &[number]);
}
