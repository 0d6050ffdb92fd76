//! Many tills at once: each has its own connection and its own clock. What it measures is the time from when an
//! event was due to its answer, so that a till that was kept waiting makes its next events late too (no
//! coordinated omission), and how unequally the tills are served.
//!
//! Usage: `tills ADDRESS:PORT TILLS EVENTS_PER_SECOND SECONDS`; the rate is that of all tills together, 0 means
//! that each sends as fast as it is answered. Prints one line of JSON; times are in milliseconds.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: tills ADDRESS:PORT TILLS EVENTS_PER_SECOND SECONDS";
/// What an answer may take before the till calls it an error.
const PATIENCE: Duration = Duration::from_secs(30);
/// Until all tills are connected.
const STARTS_AFTER: Duration = Duration::from_millis(200);

/// What a till saw.
#[derive(Default)]
struct Seen {
    millis: Vec<f64>,
    errors: usize,
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [addr, tills, rate, seconds] = args.as_slice() else { return Err(USAGE.into()) };
    let (addr, tills): (SocketAddr, u32) = (addr.parse()?, tills.parse()?);
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let every = (rate > 0.0).then(|| Duration::from_secs_f64(f64::from(tills) / rate));
    let connected = Arc::new(Barrier::new(tills as usize));
    let mut threads = Vec::new();
    for till in 0..tills {
        let connected = Arc::clone(&connected);
        let phase = every.map_or(Duration::ZERO, |every| every * till / tills);
        threads.push(logs_ingest::host::thread::start(&format!("till-{till}"), move || {
            run(addr, till, phase, every, Duration::from_secs_f64(seconds), &connected)
        })?);
    }
    let mut seen = Vec::new();
    for thread in threads {
        seen.push(thread.join().map_err(|_| "a till panicked")?);
    }
    report(&mut seen, seconds);
    Ok(())
}

fn run(
    addr: SocketAddr,
    till: u32,
    phase: Duration,
    every: Option<Duration>,
    lasts: Duration,
    connected: &Barrier,
) -> Seen {
    let mut stream = connect(addr);
    connected.wait();
    let (start, mut seen) = (Instant::now() + STARTS_AFTER + phase, Seen::default());
    for n in 0.. {
        let due = every.map_or_else(|| Instant::now().max(start), |every| start + every * n);
        if due >= start + lasts {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        match stream
            .as_mut()
            .map_err(|error| error.to_string().into())
            .and_then(|stream| post(stream, till, n))
        {
            Ok(()) => seen.millis.push(due.elapsed().as_secs_f64() * 1e3),
            Err(_) => {
                seen.errors += 1;
                stream = connect(addr);
            }
        }
    }
    seen
}

fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends one event and reads its answer, which must be one of success.
fn post(stream: &mut TcpStream, till: u32, n: u32) -> Result<(), Failure> {
    let body = format!(
        concat!(
            r#"{{"request_id":"till-{}-{}","service":"pos-checkout","env":"production","timestamp":"2026-01-31T09:15:00.125Z","#,
            r#""action":"sale.completed","level":"info","message":"Sale completed, receipt printed and drawer opened","#,
            r#""user_id":"cashier-17","product_id":"SKU-004711","price":17.99,"quantity":3,"app_version":"4.2.1","#,
            r#""raw_data":{{"till":{},"shift":"am"}}}}"#
        ),
        till, n, till
    );
    let head = format!(
        "POST /api/logs/ingest HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())?;
    let mut read = Vec::with_capacity(1024);
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err("closed".into());
        }
        read.extend_from_slice(&chunk[..count]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = answer.parse(&read)? else { continue };
        let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length: usize = match length {
            Some(header) => std::str::from_utf8(header.value)?.trim().parse()?,
            None => 0,
        };
        if read.len() >= head + length {
            let code = answer.code.unwrap_or_default();
            return if (200..300).contains(&code) { Ok(()) } else { Err(format!("answered {code}").into()) };
        }
    }
}

fn report(seen: &mut [Seen], seconds: f64) {
    let mut all: Vec<f64> = seen.iter().flat_map(|till| till.millis.iter().copied()).collect();
    all.sort_by(f64::total_cmp);
    let mut each: Vec<f64> = seen
        .iter_mut()
        .map(|till| {
            till.millis.sort_by(f64::total_cmp);
            percentile(&till.millis, 0.99)
        })
        .collect();
    each.sort_by(f64::total_cmp);
    println!(
        "{}",
        serde_json::json!({
            "rps": all.len() as f64 / seconds,
            "errors": seen.iter().map(|till| till.errors).sum::<usize>(),
            "p50": percentile(&all, 0.5),
            "p99": percentile(&all, 0.99),
            "p999": percentile(&all, 0.999),
            "max": percentile(&all, 1.0),
            "least": seen.iter().map(|till| till.millis.len()).min(),
            "median_till_p99": percentile(&each, 0.5),
            "slowest_till_p99": percentile(&each, 1.0),
        })
    );
}

/// The value that this part of a sorted list does not exceed; NaN of none.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}
