//! `GET /openapi.json`: the API's own description, OpenAPI 3.1, made from the types of the answers and from the tables
//! of routes and of an event's fields.
//!
//! - `schemas`: bodies; `operations`: what each path takes and answers
//!
//! Invariant: every route is described, and nothing else, because the paths come from the table of routes.

mod operations;
mod schemas;

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::wire::reply::Reply;

const ABOUT: &str = "Takes JSON log events and answers 202 only when each is stored: in Kafka, in PostgreSQL while Kafka is \
down, or in a local spool. From there, events go to Kafka by themselves.\n\n\
**202 means stored**; `X-Stored-In` says where. Any other answer means: not stored (a batch: not all of it). After no \
answer, 408, 409 and 5xx, send it again, not before the time in `Retry-After`, and with the same `Idempotency-Key`, so that \
nothing is stored twice.\n\n\
A path that is not described here is answered 404, a known path with another method 405 with `Allow` (HEAD and OPTIONS \
too), both with `{\"detail\":\"...\"}`. A request with invalid framing is answered 400 and its connection is closed. `X-Request-ID` \
and a valid `traceparent` come back with every answer.\n\n\
Keys are needed only if `API_KEYS_FILE` is set; for the status (`/stats`, `/metrics`, `/`) only if `PROTECT_STATUS=on` is \
set, too.";

static DOCUMENT: LazyLock<Vec<u8>> = LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default());

pub(super) fn reply() -> Reply {
    Reply::json(200, &DOCUMENT[..]).with("Cache-Control", "no-cache")
}

fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "logs-ingest",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Log events of tills, stored before they are acknowledged",
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "./", "description": "This daemon"}],
        "tags": [
            {"name": "events", "description": "For tills and scripts"},
            {"name": "state", "description": "For people, supervisors and monitoring"},
            {"name": "description", "description": "This description"},
        ],
        "paths": operations::paths(),
        "components": {
            "schemas": schemas::all(),
            "headers": operations::headers(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key of API_KEYS_FILE"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same"},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, whole: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(to) = members.get("$ref").and_then(Value::as_str) {
                        assert!(whole.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                    }
                    members.values().for_each(|value| walk(value, whole));
                }
                Value::Array(values) => values.iter().for_each(|value| walk(value, whole)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document);
    }
}
