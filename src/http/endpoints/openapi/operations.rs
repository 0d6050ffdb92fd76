//! Paths: what each takes and answers, with an example of each.

use serde_json::{Map, Value, json};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// What any request may be answered: by the door, before anybody has looked at what it means.
const ANYWHERE: [(u16, &str, &str, &[&str]); 6] = [
    (
        400,
        "The request's framing can't be trusted, or its gzip is broken.",
        "two different Content-Length",
        &[],
    ),
    (
        408,
        "The head or the body did not come in time. The connection is closed.",
        "the request did not arrive in time",
        &[],
    ),
    (417, "An Expect other than 100-continue.", "only 'Expect: 100-continue' is supported", &[]),
    (
        431,
        "More than 16 KiB or 100 fields of head.",
        "the request head is larger than 16 KiB or has more than 100 fields",
        &[],
    ),
    (500, "A bug. The daemon's log has the cause.", "Internal Server Error", &[]),
    (503, "No room, or stopping: come back.", "the daemon is stopping", &["Retry-After"]),
];
const KEYED: (u16, &str, &str, &[&str]) = (
    401,
    "An API key is needed, or the one that was sent is not known.",
    "the API key is not known",
    &["WWW-Authenticate"],
);
const TOO_LARGE: (u16, &str, &str, &[&str]) =
    (413, "Larger than the limit that is named.", "the event is larger than the limit of 409600 bytes", &[]);

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Open,
    Keyed,
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
        "X-Stored-In": header("Where it is: kafka, postgres, spool, or dead-letter (kept, but no broker will have it as it is); of a batch, all of them.", "kafka"),
        "X-Ingest-Id": {"description": "The event's own id, the same wherever it travels.", "schema": {"type": "string", "format": "uuid"}, "example": "019c13c1-2d6d-7bd5-8c5f-0c1d2e3f4a5b"},
        "Idempotent-Replayed": header("`true`: the first answer to this Idempotency-Key, again.", "true"),
        "Retry-After": {"description": "Seconds to wait at least.", "schema": {"type": "string", "pattern": "^[0-9]+$"}, "example": "3"},
        "WWW-Authenticate": header("How to show a key.", "Bearer"),
        "Accept-Encoding": header("What a body may be encoded in.", "gzip, identity"),
    })
}

/// `#/paths`
pub(super) fn paths() -> Value {
    let state = |tag: &str, id: &str, summary: &str, access, answers: Vec<(u16, Value)>| json!({"get": operation(tag, id, summary, access, answers)});
    let page = |about: &str| answer(about, &[("text/html", json!({"type": "string"}), None)], &[]);
    let probe = |about: &str, status: &str| {
        answer(about, &[(JSON, reference("Probe"), Some(json!({"status": status})))], &[])
    };
    let failing = |about: &str, status: &str, why: &str| {
        let example = json!({"status": status, "detail": why});
        answer(about, &[(JSON, reference("Probe"), Some(example))], &["Retry-After"])
    };
    let body = |about: &str, name: &str| answer(about, &[(JSON, reference(name), None)], &[]);
    json!({
        "/api/logs/ingest": {"post": single()},
        "/api/logs/ingest/batch": {"post": batch()},
        "/health": state("state", "health", "State of the stores", Access::Open, vec![(200, body("The process serves.", "Health"))]),
        "/livez": state("state", "livez", "Do the daemon's loops move?", Access::Open, vec![
            (200, probe("They do.", "alive")),
            (503, failing("They do not: restart it.", "stuck", "the producer has not moved for 40 s")),
        ]),
        "/readyz": state("state", "readyz", "Could the next event be stored?", Access::Open, vec![
            (200, probe("It could.", "ready")),
            (503, failing("It could not.", "not ready", "the spool is full")),
        ]),
        "/stats": state("state", "stats", "Counters since start, and the ledger", Access::Keyed, vec![(200, body("As JSON.", "Stats"))]),
        "/metrics": state("state", "metrics", "The same and more for Prometheus", Access::Keyed, vec![
            (200, answer("Prometheus's text format.", &[("text/plain", json!({"type": "string"}), None)], &[])),
        ]),
        "/status.json": state("state", "overview", "What the status page shows", Access::Keyed, vec![(200, body("Now.", "Overview"))]),
        "/": state("state", "status_page", "The status page, for everybody in the shop", Access::Keyed, vec![(200, page("A page."))]),
        "/openapi.json": state("description", "openapi", "This description", Access::Open, vec![
            (200, answer("OpenAPI 3.1.", &[(JSON, json!({"type": "object"}), None)], &[])),
        ]),
        "/docs": state("description", "docs", "This description, to be browsed and tried", Access::Open, vec![(200, page("A page."))]),
    })
}

fn single() -> Value {
    let accepted = json!({
        "status": "accepted", "request_id": "till-7-000123",
        "message": "Log ingested and queued for processing", "timestamp": "2026-01-31T09:15:00.250Z",
    });
    let wrong = json!({"detail": [
        {"loc": ["body", "service"], "msg": "Field required", "type": "missing"},
        {"loc": ["body", "level"], "msg": "Input should be 'debug', 'info', 'warn', 'error' or 'critical'", "type": "enum"},
    ]});
    let mut operation = operation(
        "events",
        "ingest",
        "Send one event",
        Access::Keyed,
        vec![
            (
                202,
                answer(
                    "Stored.",
                    &[(JSON, reference("Accepted"), Some(accepted))],
                    &["X-Stored-In", "X-Ingest-Id", "Idempotent-Replayed"],
                ),
            ),
            (409, in_flight()),
            (415, encoding()),
            (
                422,
                answer(
                    "The body, a field or the Idempotency-Key is wrong: nothing is stored.",
                    &[(JSON, reference("Refusal"), Some(wrong))],
                    &[],
                ),
            ),
        ],
    );
    operation["description"] = "The body is read as JSON whatever its Content-Type says; with `Content-Encoding: gzip` it may be packed.".into();
    operation["parameters"] = json!([idempotency_key(), request_id(), traceparent()]);
    operation["requestBody"] = json!({
        "required": true,
        "content": {JSON: {"schema": reference("Event"), "example": example_event()}},
    });
    operation
}

fn batch() -> Value {
    let time = "2026-01-31T09:15:00.250Z";
    let error = json!({"index": 1, "request_id": "r-2", "detail": [{"loc": ["body", "env"], "msg": "Field required", "type": "missing"}]});
    let outcome = |status: &str, accepted: u32, rejected: u32, errors: Value| json!({"status": status, "accepted": accepted, "rejected": rejected, "errors": errors, "timestamp": time});
    let result = |about: &str, example: Value, headers: &[&str]| {
        answer(about, &[(JSON, reference("BatchResult"), Some(example))], headers)
    };
    let stored = ["X-Stored-In", "Idempotent-Replayed"];
    // A wrong header or query is told as everywhere, a wrong batch by its result.
    let wrong = json!({"anyOf": [reference("BatchResult"), reference("Refusal")]});
    let mut operation = operation(
        "events",
        "ingest_batch",
        "Send many events",
        Access::Keyed,
        vec![
            (202, result("All are stored.", outcome("accepted", 2, 0, json!([])), &stored)),
            (
                207,
                result(
                    "Some were refused, the others are stored.",
                    outcome("partial", 1, 1, json!([error])),
                    &stored,
                ),
            ),
            (409, in_flight()),
            (415, encoding()),
            (
                422,
                answer(
                    "None is stored: all were refused, or one was and `atomic` is true, or there is no event, or the array is no JSON.",
                    &[(JSON, wrong, Some(outcome("rejected", 0, 1, json!([error]))))],
                    &[],
                ),
            ),
        ],
    );
    operation["description"] = "One event on each line (NDJSON), or one JSON array. A body that does not begin with `[` is lines, and so \
        is everything sent as application/x-ndjson. A line that is no JSON costs only that line. At most MAX_BATCH_EVENTS (10,000) events \
        and MAX_BATCH_BYTES (8 MiB), gzip undone. After a 503 some may be stored: send the whole batch again, under the same \
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
            LINES: {"schema": {"type": "string", "description": "An Event a line."}, "example": lines},
        },
    });
    operation
}

fn operation(tag: &str, id: &str, summary: &str, access: Access, answers: Vec<(u16, Value)>) -> Value {
    let refusals = ANYWHERE.into_iter().chain([TOO_LARGE]).chain((access == Access::Keyed).then_some(KEYED));
    let mut responses: Map<String, Value> = refusals
        .map(|(status, about, detail, headers)| {
            (
                status.to_string(),
                answer(about, &[(JSON, reference("Problem"), Some(json!({"detail": detail})))], headers),
            )
        })
        .collect();
    for (status, own) in answers {
        let status = status.to_string();
        // Where a 503 has a body of its own, the door's is possible too.
        let own = match responses.get(&status) {
            Some(door) => either(own, door),
            None => own,
        };
        responses.insert(status, own);
    }
    let security = match access {
        Access::Open => json!([]),
        Access::Keyed => json!([{}, {"bearer": []}, {"key": []}]),
    };
    json!({"tags": [tag], "operationId": id, "summary": summary, "security": security, "responses": responses})
}

fn either(mut own: Value, door: &Value) -> Value {
    let at = "/content/application~1json/schema";
    if let (Some(mine), Some(other)) = (own.pointer(at).cloned(), door.pointer(at)) {
        own["content"][JSON]["schema"] = json!({"anyOf": [mine, other]});
    }
    own
}

fn answer(about: &str, contents: &[(&str, Value, Option<Value>)], headers: &[&str]) -> Value {
    let content: Map<String, Value> = contents
        .iter()
        .map(|(kind, schema, example)| {
            let mut media = json!({"schema": schema});
            if let Some(example) = example {
                media["example"] = example.clone();
            }
            ((*kind).to_owned(), media)
        })
        .collect();
    let mut answer = json!({"description": about, "content": content});
    if !headers.is_empty() {
        let named = headers
            .iter()
            .map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")})));
        answer["headers"] = Value::Object(named.collect());
    }
    answer
}

fn problem(about: &str, detail: &str, headers: &[&str]) -> Value {
    answer(about, &[(JSON, reference("Problem"), Some(json!({"detail": detail})))], headers)
}

fn in_flight() -> Value {
    let detail = "the request with this Idempotency-Key is still being stored: ask again";
    problem("The request with this Idempotency-Key is still being stored.", detail, &["Retry-After"])
}

fn encoding() -> Value {
    problem(
        "A Content-Encoding other than gzip and identity.",
        "Content-Encoding is not supported",
        &["Accept-Encoding"],
    )
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn header(name: &str, about: &str, schema: Value) -> Value {
    json!({"name": name, "in": "header", "required": false, "description": about, "schema": schema})
}

fn idempotency_key() -> Value {
    let about = "New for each request and the same for its repeats: a repeat gets the first answer again, and nothing is stored twice. \
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
    let about =
        "A W3C trace context: echoed, logged, and in the Kafka record's headers, if it is a valid one.";
    header("traceparent", about, json!({"type": "string"}))
}
