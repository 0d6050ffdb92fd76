//! `GET /openapi.json`: the API's own description, OpenAPI 3.1, made of the types that are answered and of the
//! table of fields that events are judged by.
//!
//! - `schemas` bodies; `operations` what each path takes and answers
//!
//! Invariant: every route is described, and nothing else: the paths are made of the table of routes.

mod operations;
mod schemas;

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::wire::reply::Reply;

const ABOUT: &str = "Takes JSON log events and answers 202 only when each is stored: in Kafka, in PostgreSQL while Kafka is \
away, or in a local spool, from where it goes to Kafka by itself.\n\n\
**202 means stored**; `X-Stored-In` says where. Everything else means: not stored (a batch: not all of it). Try again after \
no answer, 408, 409 and 5xx, never earlier than `Retry-After` says, and under the same `Idempotency-Key`, so that nothing is \
stored twice.\n\n\
A path that is not described here is answered 404, a known path with another method 405 with `Allow` (HEAD and OPTIONS \
too), both with `{\"detail\":\"...\"}`. Requests whose framing can't be trusted are answered 400 and cut off. `X-Request-ID` \
and a valid `traceparent` come back with every answer.\n\n\
Keys are needed only where the daemon has `API_KEYS_FILE`; its status (`/stats`, `/metrics`, `/`) only with \
`PROTECT_STATUS=on`.";

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
