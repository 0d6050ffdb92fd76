//! The pure parts on one core: from a body to an event (parse, validate, mask, normal form), masking alone,
//! timestamps, a batch cut into its items, a step of failover. `cargo bench --bench event`.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logs_ingest::delivery::failover::Switch;
use logs_ingest::event::{Arrival, Columns, Event, Items, Rules, instant_ms, mask_text};
use uuid::Uuid;

const RULES: Rules = Rules { max_event_bytes: 400 << 10, redact_pan: true };
const OFF: Rules = Rules { redact_pan: false, ..RULES };

/// An event with this stack and raw_data.
fn body(stack: &str, raw_data: &str) -> String {
    format!(
        concat!(
            r#"{{"request_id": "till-7-000123", "service": "till", "env": "prod", "#,
            r#""timestamp": "2025-11-18T17:21:35.750Z", "action": "sale", "level": "info", "#,
            r#""message": "Sold to a customer at the counter", "user_id": "cashier-3", "product_id": "sku-4711", "#,
            r#""price": 12.50, "quantity": 3, "app_version": "2.7.1", "stack": "{}", "raw_data": {}}}"#
        ),
        stack, raw_data
    )
}

/// The bodies measured: what they are, and the body.
fn bodies() -> Vec<(&'static str, String)> {
    let frame = r"at com.shop.till.Sale.close(Sale.java:214)\n\tat com.shop.till.Main.run(Main.java:17)\n\t";
    let uuids =
        r#"{"id":"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b","at":1763486495750123456,"ean":"4006381333931"},"#;
    let cards = r#"{"pan":"4111 1111 1111 1111","ref":5555555555554444,"note":"3782-822463-10005"},"#;
    let list = |item: &str, times: usize| format!(r#"{{"all":[{}0]}}"#, item.repeat(times));
    vec![
        ("350 B", body("", r#"{"lane": 4, "offline": false}"#)),
        ("4 KB, a stack", body(&frame.repeat(40), "{}")),
        ("4 KB, many digits", body("", &list(uuids, 38))),
        ("4 KB, with cards", body("", &list(cards, 44))),
    ]
}

fn arrival() -> Arrival {
    Arrival::new(Uuid::nil(), 0)
}

fn from_body(c: &mut Criterion) {
    let mut group = c.benchmark_group("from_body");
    for (what, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        for (how, rules) in [("masking", RULES), ("masking off", OFF)] {
            group.bench_function(format!("{what}, {how}"), |b| {
                b.iter(|| {
                    Event::from_body(black_box(body.as_bytes()), arrival(), rules).expect("a good body")
                });
            });
        }
    }
    group.finish();
}

/// A body that is in the normal form already beside one whose fields are to be ordered, coerced and told from unknown
/// ones: everything else costs both the same.
fn normal_form(c: &mut Criterion) {
    let mut group = c.benchmark_group("normal_form");
    let (_, body) = bodies().swap_remove(0);
    let event = Event::from_body(body.as_bytes(), arrival(), RULES).expect("a good body");
    let normal = std::str::from_utf8(event.payload()).expect("JSON is UTF-8").to_owned();
    let (first, rest) = normal[1..].split_once(',').expect("several fields");
    let rest =
        rest.strip_suffix('}').expect("an object").replace("12.5", "\"12.50\"").replace(":3,", ":\"3\",");
    let odd = format!("{{\"lane\": 4, {rest}, \"register\": [1, 2], {first}}}");
    assert!(odd.contains("\"12.50\"") && odd.contains("\"3\""), "two numbers are to be coerced: {odd}");
    for (what, body) in
        [("350 B in it already", normal), ("350 B, reordered, coerced, with unknown fields", odd)]
    {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(what, |b| {
            b.iter(|| Event::from_body(black_box(body.as_bytes()), arrival(), RULES).expect("a good body"));
        });
    }
    group.finish();
}

/// What the log pays a line, and a body for the first look.
fn masking(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask_text");
    for (what, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(what, |b| b.iter(|| mask_text(black_box(&body)).len()));
    }
    group.finish();
}

/// The forms that tills send.
fn timestamps(c: &mut Criterion) {
    let mut group = c.benchmark_group("timestamp");
    for text in ["2025-11-18T17:21:35.750Z", "20251118T172135+0100", "2025-W47-2"] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(text, |b| b.iter(|| instant_ms(black_box(text)).expect("a timestamp")));
    }
    group.finish();
}

/// A thousand events cut out of a body.
fn items(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    let events = vec![bodies().swap_remove(0).1; 1_000];
    for (form, body) in [("lines", events.join("\n")), ("an array", format!("[{}]", events.join(",")))] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(form, |b| {
            b.iter(|| {
                let mut items = Items::open(black_box(body.as_bytes()), false).expect("a slice");
                let mut count = 0;
                while items.next_item().expect("a good body").is_some() {
                    count += 1;
                }
                assert_eq!(count, events.len());
            });
        });
    }
    group.finish();
}

/// What a round asks and tells the switch while the store works, and while it is down.
fn failover(c: &mut Criterion) {
    let mut group = c.benchmark_group("failover");
    let start = Instant::now();
    let mut up = Switch::new(start, Duration::ZERO);
    up.succeeded(start);
    let mut down = Switch::new(start, Duration::ZERO);
    down.failed(start);
    group.throughput(Throughput::Elements(1));
    group.bench_function("a round that is stored", |b| {
        b.iter(|| (black_box(&mut up).advise(start, true, false), black_box(&mut up).succeeded(start)));
    });
    group.bench_function("a round that passes it by", |b| {
        b.iter(|| black_box(&mut down).advise(start, false, true));
    });
    group.finish();
}

/// What is refused: the timestamp is the last thing that is looked at before the answer is made.
fn refusal(c: &mut Criterion) {
    let mut group = c.benchmark_group("refusal");
    let (_, good) = bodies().swap_remove(0);
    let wrong = good.replace("2025-11-18T17:21:35.750Z", "2025-11-18T17:21:35.750X");
    group.throughput(Throughput::Bytes(wrong.len() as u64));
    group.bench_function("350 B, a wrong timestamp", |b| {
        b.iter(|| Event::from_body(black_box(wrong.as_bytes()), arrival(), RULES).expect_err("a bad body"));
    });
    group.finish();
}

/// What the stores pay for the columns of a row.
fn columns(c: &mut Criterion) {
    let mut group = c.benchmark_group("columns");
    for (what, body) in bodies() {
        let event = Event::from_body(body.as_bytes(), arrival(), RULES).expect("a good body");
        group.throughput(Throughput::Bytes(event.payload().len() as u64));
        group.bench_function(what, |b| b.iter(|| Columns::of(black_box(event.payload())).quantity));
    }
    group.finish();
}

/// What a held row costs on its way back to an event: its JSON is read once, for the key and the skew.
fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("from_row");
    for (what, body) in bodies() {
        let event = Event::from_body(body.as_bytes(), arrival(), RULES).expect("a good body");
        group.throughput(Throughput::Bytes(event.payload().len() as u64));
        group.bench_function(what, |b| {
            b.iter(|| Event::from_row(arrival(), black_box(event.payload()).clone()).expect("a good row"));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = from_body, normal_form, masking, refusal, timestamps, items, columns, rows, failover
}
criterion_main!(benches);
