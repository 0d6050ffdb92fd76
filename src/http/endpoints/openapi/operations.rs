//! Operations: what each route takes and answers, with an example of each. Paths, methods and access come from the table
//! of routes; statuses, texts and headers of refusals come from the replies themselves.

use serde_json::{Map, Value, json};

use crate::wire::keys::{Access, Denied};
use crate::wire::reply::Reply;
use crate::wire::routes::{Endpoint, File, ROUTES, Route};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Answers that any request may get, mostly from the door, which judges the head alone.
fn anywhere() -> [(u16, Value); 7] {
    [
        refusal(
            "The request's framing is not valid, or its gzip is not.",
            &Reply::bad_request("two different Content-Length"),
        ),
        refusal(
            "The head or the body did not arrive in time. The connection is closed.",
            &Reply::timeout("the request did not arrive in time"),
        ),
        refusal("Larger than the limit in the text.", &Reply::too_large("the event", 400 << 10)),
        refusal("An Expect other than 100-continue. The connection is closed.", &Reply::expectation_failed()),
        refusal(
            "The head is larger than 16 KiB or has more than 100 fields. The connection is closed.",
            &Reply::head_too_large(),
        ),
        refusal("A bug. The daemon's log has the cause.", &Reply::internal()),
        refusal(
            "No room, or the daemon is stopping: send it again later.",
            &Reply::unavailable("the daemon is stopping", 3),
        ),
    ]
}

pub(super) fn example_event() -> Value {
    json!({
        "request_id": "till-7-000123",
        "service": "till-7",
        "env": "shop",
        "timestamp": "2026-01-31T09:15:00.125Z",
        "action": "sale.completed",
        "level": "info",
        "message": "Sale completed",
        "price": 12.5,
        "quantity": 3,
        "raw_data": {"drawer": 2},
    })
}

/// `#/components/headers/`
pub(super) fn headers() -> Value {
    let header = |about: &str, example: &str| json!({"description": about, "schema": {"type": "string"}, "example": example});
    json!({
        "X-Stored-In": header("Where the event is stored: kafka, postgres, spool, or dead-letter (kept, but Kafka refuses it as it is). For a batch, all of these.", "kafka"),
        "X-Ingest-Id": {"description": "The event's own id, the same wherever it goes.", "schema": {"type": "string", "format": "uuid"}, "example": "019c13c1-2d6d-7bd5-8c5f-0c1d2e3f4a5b"},
        "Idempotent-Replayed": header("`true`: the first answer to this Idempotency-Key, again.", "true"),
        "Retry-After": {"description": "Wait at least this many seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}, "example": "3"},
        "WWW-Authenticate": header("How to send a key.", "Bearer"),
        "Accept-Encoding": header("The encodings that a body may have.", "gzip, identity"),
    })
}

/// `#/paths`
pub(super) fn paths() -> Value {
    let described = ROUTES.iter().filter_map(|route| {
        let operation = describe(route)?;
        Some((route.path.to_owned(), json!({route.method.to_lowercase(): operation})))
    });
    Value::Object(described.collect())
}

/// What a route takes and answers. `None`: a file that a page needs is not part of the API.
fn describe(route: &Route) -> Option<Value> {
    let state = |id, summary, answers| operation(route.access, "state", id, summary, answers);
    let about = |id, summary, answers| operation(route.access, "description", id, summary, answers);
    let page = || vec![answer(200, "A page.", "text/html", json!({"type": "string"}), Value::Null, &[])];
    let body = |about, name| vec![answer(200, about, JSON, reference(name), Value::Null, &[])];
    let well =
        |about, status: &str| answer(200, about, JSON, reference("Probe"), json!({"status": status}), &[]);
    let unwell = |about, status: &str, why: &str| {
        let example = json!({"status": status, "detail": why});
        answer(503, about, JSON, reference("Probe"), example, &["Retry-After"])
    };
    Some(match route.endpoint {
        Endpoint::Ingest => single(route.access),
        Endpoint::Batch => batch(route.access),
        Endpoint::Health => state("health", "State of the stores", body("The process is running.", "Health")),
        Endpoint::Livez => {
            let stuck =
                unwell("They do not: restart the daemon.", "stuck", "the producer has not moved for 40 s");
            state("livez", "Whether the daemon's loops move", vec![well("They do.", "alive"), stuck])
        }
        Endpoint::Readyz => {
            let full = unwell("It could not.", "not ready", "the spool is full");
            state("readyz", "Whether the next event could be stored", vec![well("It could.", "ready"), full])
        }
        Endpoint::Stats => state("stats", "Counters since start, and the ledger", body("As JSON.", "Stats")),
        Endpoint::Metrics => {
            let text = json!({"type": "string"});
            let text = answer(200, "Prometheus's text format.", "text/plain", text, Value::Null, &[]);
            state("metrics", "The same and more for Prometheus", vec![text])
        }
        Endpoint::Overview => state("overview", "What the status page shows", body("Now.", "Overview")),
        Endpoint::OpenApi => {
            let document = answer(200, "OpenAPI 3.1.", JSON, json!({"type": "object"}), Value::Null, &[]);
            about("openapi", "This description", vec![document])
        }
        Endpoint::Page(File::Status) => {
            state("status_page", "The status page, for everyone in the shop", page())
        }
        Endpoint::Page(File::Docs) => about("docs", "This description as a page, to read and try", page()),
        Endpoint::Page(_) => return None,
    })
}

fn single(access: Access) -> Value {
    let accepted = json!({
        "status": "accepted", "request_id": "till-7-000123",
        "message": "Log ingested and queued for processing", "timestamp": "2026-01-31T09:15:00.250Z",
    });
    let wrong = json!({"detail": [
        {"loc": ["body", "service"], "msg": "Field required", "type": "missing"},
        {"loc": ["body", "level"], "msg": "Input should be 'debug', 'info', 'warn', 'error' or 'critical'", "type": "enum"},
    ]});
    let stored = ["X-Stored-In", "X-Ingest-Id", "Idempotent-Replayed"];
    let refused = "The body, a field or the Idempotency-Key is wrong: nothing is stored.";
    let answers = vec![
        answer(202, "Stored.", JSON, reference("Accepted"), accepted, &stored),
        in_flight(),
        encoding(),
        answer(422, refused, JSON, reference("Refusal"), wrong, &[]),
    ];
    let mut operation = operation(access, "events", "ingest", "Send one event", answers);
    operation["description"] = "The body is read as JSON whatever its Content-Type says; with `Content-Encoding: gzip` it may be compressed.".into();
    operation["parameters"] = json!([idempotency_key(), request_id(), traceparent()]);
    operation["requestBody"] = json!({
        "required": true,
        "content": {JSON: {"schema": reference("Event"), "example": example_event()}},
    });
    operation
}

fn batch(access: Access) -> Value {
    let time = "2026-01-31T09:15:00.250Z";
    let error = json!({"index": 1, "request_id": "r-2", "detail": [{"loc": ["body", "env"], "msg": "Field required", "type": "missing"}]});
    let outcome = |status: &str, accepted: u32, rejected: u32, errors: Value| json!({"status": status, "accepted": accepted, "rejected": rejected, "errors": errors, "timestamp": time});
    let stored = ["X-Stored-In", "Idempotent-Replayed"];
    let result =
        |status, about, example| answer(status, about, JSON, reference("BatchResult"), example, &stored);
    // A wrong header or query has the usual body, a wrong batch its result.
    let wrong = json!({"anyOf": [reference("BatchResult"), reference("Refusal")]});
    let none = "None is stored: all were refused, or one was and `atomic` is true, or the batch is empty, or the array is not valid JSON.";
    let answers = vec![
        result(202, "All are stored.", outcome("accepted", 2, 0, json!([]))),
        result(207, "Some were refused, the others are stored.", outcome("partial", 1, 1, json!([error]))),
        in_flight(),
        encoding(),
        answer(422, none, JSON, wrong, outcome("rejected", 0, 1, json!([error])), &[]),
    ];
    let mut operation = operation(access, "events", "ingest_batch", "Send many events", answers);
    operation["description"] = "One event on each line (NDJSON), or one JSON array. A body that does not begin with `[` is lines, and so \
        is everything sent as application/x-ndjson. A line that is not valid JSON is refused alone. At most MAX_BATCH_EVENTS (10,000) events \
        and MAX_BATCH_BYTES (8 MiB, both compressed and decompressed). After a 503 some may be stored: send the whole batch again, under the same \
        Idempotency-Key.".into();
    operation["parameters"] = json!([
        {"name": "atomic", "in": "query", "required": false, "description": "true: if one item is refused, none is stored.",
         "schema": {"type": "string", "enum": ["true", "false", "1", "0", "yes", "no", "on", "off", "t", "f", "y", "n"], "default": "false"}},
        idempotency_key(), request_id(), traceparent(),
    ]);
    let lines = format!("{}\n{}\n", example_event(), example_event());
    operation["requestBody"] = json!({
        "required": true,
        "content": {
            JSON: {"schema": {"type": "array", "minItems": 1, "items": reference("Event")}, "example": [example_event(), example_event()]},
            LINES: {"schema": {"type": "string", "description": "One Event per line."}, "example": lines},
        },
    });
    operation
}

fn operation(access: Access, tag: &str, id: &str, summary: &str, answers: Vec<(u16, Value)>) -> Value {
    let (security, denied) = match access {
        Access::Open => (json!([]), None),
        Access::Keyed | Access::Status => {
            let about = "An API key is needed, or the key is not known.";
            let denied = refusal(about, &Reply::unauthorized(Denied::Unknown, access));
            (json!([{}, {"bearer": []}, {"key": []}]), Some(denied))
        }
    };
    let mut responses = Map::new();
    for (status, answer) in anywhere().into_iter().chain(denied).chain(answers) {
        let status = status.to_string();
        // An endpoint with a 503 of its own may also get the door's.
        let answer = match responses.get(&status) {
            Some(door) => either(answer, door),
            None => answer,
        };
        responses.insert(status, answer);
    }
    json!({"tags": [tag], "operationId": id, "summary": summary, "security": security, "responses": responses})
}

fn either(mut own: Value, door: &Value) -> Value {
    let at = "/content/application~1json/schema";
    if let (Some(mine), Some(other)) = (own.pointer(at).cloned(), door.pointer(at)) {
        own["content"][JSON]["schema"] = json!({"anyOf": [mine, other]});
    }
    own
}

/// An answer and its status. `null`: no example.
fn answer(
    status: u16,
    about: &str,
    kind: &str,
    schema: Value,
    example: Value,
    headers: &[&str],
) -> (u16, Value) {
    let mut answer = json!({"description": about, "content": {kind: {"schema": schema}}});
    if !example.is_null() {
        answer["content"][kind]["example"] = example;
    }
    if !headers.is_empty() {
        let named = headers
            .iter()
            .map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")})));
        answer["headers"] = Value::Object(named.collect());
    }
    (status, answer)
}

/// A refusal as an answer, from its reply.
fn refusal(about: &str, reply: &Reply) -> (u16, Value) {
    let headers: Vec<&str> = reply.headers().iter().map(|(name, _)| *name).collect();
    let example = json!({"detail": reply.why()});
    answer(reply.status(), about, JSON, reference("Problem"), example, &headers)
}

fn in_flight() -> (u16, Value) {
    refusal("The request with this Idempotency-Key is still being stored.", &Reply::in_flight(3))
}

fn encoding() -> (u16, Value) {
    refusal(
        "A Content-Encoding other than gzip and identity.",
        &Reply::unsupported_encoding("gzip, identity"),
    )
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn header(name: &str, about: &str, schema: Value) -> Value {
    json!({"name": name, "in": "header", "required": false, "description": about, "schema": schema})
}

fn idempotency_key() -> Value {
    let about = "New for each request, the same for its repeats: a repeat gets the first answer again, and nothing is stored twice. \
                 1 to 255 printable ASCII characters.";
    header(
        "Idempotency-Key",
        about,
        json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
    )
}

fn request_id() -> Value {
    let about = "The client's own name of its request: echoed, logged, and in the Kafka record's headers.";
    header("X-Request-ID", about, json!({"type": "string"}))
}

fn traceparent() -> Value {
    let about = "A W3C trace context. A valid one is echoed, logged, and in the Kafka record's headers.";
    header("traceparent", about, json!({"type": "string"}))
}
