//! Bodies: answers from their types, an event from its table of fields.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::event::{Detail, Kind, LEVELS, SCHEMA, Spec};
use crate::http::endpoints::{batch, health, ingest, liveness, overview, stats};
use crate::wire::reply;

/// `#/components/schemas/`
pub(super) fn all() -> Value {
    let mut found = Vec::new();
    add::<ingest::AcceptedBody<'_>>(&mut found);
    add::<batch::BatchResult<'_>>(&mut found);
    add::<Detail>(&mut found);
    add::<reply::ProblemBody<'_>>(&mut found);
    add::<health::HealthBody>(&mut found);
    add::<liveness::LivenessBody>(&mut found);
    add::<stats::StatsBody>(&mut found);
    add::<overview::OverviewBody>(&mut found);
    let mut schemas: Map<String, Value> = found
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default()))
        .collect();
    schemas.insert("Event".into(), event());
    schemas.insert(
        "Refusal".into(),
        json!({
            "type": "object",
            "description": "What is wrong with a request: one item for the whole body, or one for each wrong field.",
            "required": ["detail"],
            "properties": {"detail": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Detail"}}},
        }),
    );
    Value::Object(schemas)
}

fn add<T: ToSchema>(found: &mut Vec<(String, RefOr<Schema>)>) {
    found.push((T::name().into_owned(), <T as PartialSchema>::schema()));
    T::schemas(found);
}

/// Exactly the events that the daemon accepts, including what it coerces.
fn event() -> Value {
    let required: Vec<&str> = SCHEMA.iter().filter(|spec| spec.required).map(|spec| spec.name).collect();
    let properties: Map<String, Value> =
        SCHEMA.iter().map(|spec| (spec.name.to_owned(), field(spec))).collect();
    json!({
        "type": "object",
        "description": "One log event, at most 100 levels deep and MAX_EVENT_BYTES (400 KiB by default) large. Unknown \
                        members are kept and forwarded. Card numbers are masked before anything is stored.",
        "required": required,
        "properties": properties,
        "additionalProperties": true,
        "examples": [super::operations::example_event()],
    })
}

fn field(spec: &Spec) -> Value {
    const NUMBER: &str = "^ *[+-]?([0-9]{1,200}\\.?[0-9]{0,20}|\\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})? *$";
    const WHOLE: &str = "^ *[+-]?[0-9]{1,18}(\\.0{1,20})? *$";
    match spec.kind {
        Kind::Text if spec.required => json!({"type": "string"}),
        Kind::Text => json!({"type": ["string", "null"]}),
        Kind::Timestamp => json!({
            "type": "string",
            "format": "iso-8601",
            "description": "ISO 8601: a date (2026-01-31, 20260131, 2026-W05-6), or a date, T or one space, and a time \
                            (09, 09:15, 09:15:00, 09:15:00.125, 091500) with Z, an offset (+01, +0100, +01:00) or none, which \
                            means UTC.",
            "examples": ["2026-01-31T09:15:00.125Z"],
        }),
        Kind::Level => json!({"type": "string", "enum": LEVELS}),
        Kind::Float => json!({
            "description": "A number, true (1), false (0), or a string with a number.",
            "anyOf": [
                {"type": "number", "minimum": f64::MIN, "maximum": f64::MAX},
                {"type": "string", "pattern": NUMBER},
                {"type": ["boolean", "null"]},
            ],
            "examples": [12.5],
        }),
        Kind::Integer => json!({
            "description": "A whole number of 64 bits, true (1), false (0), or a string with a whole number.",
            "anyOf": [
                {"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX},
                {"type": "string", "pattern": WHOLE},
                {"type": ["boolean", "null"]},
            ],
            "examples": [3],
        }),
        Kind::Object => json!({
            "type": ["object", "null"],
            "description": "Any other data, kept byte for byte.",
            "additionalProperties": true,
        }),
    }
}
