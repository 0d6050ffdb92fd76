//! The broker's limit that recovery is measured against: the daemon's own Kafka client alone, one write after
//! the other, nothing read, nothing marked.
//!
//! Usage: `bare_produce BROKER TOPIC EVENTS EVENTS_A_WRITE`

use std::time::{Duration, Instant};

use logs_ingest::event::{Arrival, Event};
use logs_ingest::store::Batch;
use logs_ingest::store::kafka::{ClientChoice, Settings, connect};
use uuid::Uuid;

/// Events that are in memory at once.
const KEPT_EVENTS: usize = 50_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [broker, topic, events, a_write] = &args[..] else {
        return Err("usage: bare_produce BROKER TOPIC EVENTS EVENTS_A_WRITE".into());
    };
    let (events, a_write): (usize, usize) = (events.parse()?, a_write.parse()?);
    let mut connected = connect(&Settings {
        brokers: vec![broker.clone()],
        topic: topic.clone(),
        client: ClientChoice::Modern,
        deadline: Duration::from_secs(10),
        max_event_bytes: 400 * 1024,
        embed_id: false,
        security: Default::default(),
        destination: None,
    })?;
    let event = |number: usize| {
        let arrival = Arrival::new(Uuid::now_v7(), logs_ingest::host::clock::record_ms());
        let key = format!("till-0-{number:05}-0a1b2c3d");
        let (second, price) = (number % 60, number % 256);
        // As benches/harness/load.py has it, so that the broker gets the same records.
        let payload = format!(
            r#"{{"request_id":"{key}","service":"pos-checkout","env":"production","timestamp":"2026-01-31T09:15:{second:02}.125Z","action":"sale.completed","level":"info","message":"Sale completed, receipt printed and drawer opened","user_id":"cashier-17","product_id":"SKU-004711","price":{price}.99,"quantity":3,"app_version":"4.2.1","raw_data":{{"till":0,"shift":"am"}}}}"#
        );
        Event::restored(arrival, key.into(), payload.into())
    };
    // New ones each time, as a daemon has them; only the writing is timed.
    let (writes, mut took) = (events / a_write, Duration::ZERO);
    let mut left = writes;
    while left > 0 {
        let some = left.min((KEPT_EVENTS / a_write).max(1));
        let batches: Vec<Batch> = (0..some).map(|_| (0..a_write).map(event).collect()).collect();
        let began = Instant::now();
        for batch in &batches {
            connected.store.write(batch).into_iter().collect::<Result<(), _>>()?;
        }
        took += began.elapsed();
        left -= some;
    }
    println!("{:.0}", (writes * a_write) as f64 / took.as_secs_f64());
    Ok(())
}
