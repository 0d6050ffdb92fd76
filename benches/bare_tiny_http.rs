//! The HTTP limit that the daemon is measured against: `tiny_http` alone, a pool of workers that read
//! the body and answer 202 with it. No door, no validation, no storage.
//!
//! Usage: `bare_tiny_http ADDRESS:PORT WORKERS`

use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().ok_or("usage: bare_tiny_http ADDRESS:PORT WORKERS")?;
    let workers: usize = args.next().ok_or("usage: bare_tiny_http ADDRESS:PORT WORKERS")?.parse()?;
    let server = Arc::new(tiny_http::Server::http(address.as_str())?);
    let mut threads = Vec::new();
    for n in 0..workers {
        let server = Arc::clone(&server);
        threads.push(logs_ingest::host::thread::start(&format!("http-{n}"), move || {
            while let Ok(mut request) = server.recv() {
                let mut body = Vec::with_capacity(request.body_length().unwrap_or(0));
                let _ = request.as_reader().read_to_end(&mut body);
                let _ = request.respond(tiny_http::Response::from_data(body).with_status_code(202));
            }
        })?);
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}
