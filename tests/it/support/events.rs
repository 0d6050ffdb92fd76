//! Sample events. Every `request_id` is used once in a run, so that a stored row is found by it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// The schema in its order, and whether a field must be there.
pub(crate) const FIELDS: [(&str, bool); 15] = [
    ("request_id", true),
    ("service", true),
    ("env", true),
    ("timestamp", true),
    ("action", true),
    ("level", true),
    ("message", true),
    ("user_id", false),
    ("product_id", false),
    ("price", false),
    ("quantity", false),
    ("error_code", false),
    ("stack", false),
    ("app_version", false),
    ("raw_data", false),
];

/// A `request_id` that no other event of this run has.
pub(crate) fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("till-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A valid event with every field of the schema.
pub(crate) fn event() -> Value {
    let mut event = minimal_event();
    for (field, value) in [
        ("user_id", json!("cashier-3")),
        ("product_id", json!("sku-4711")),
        ("price", json!(12.5)),
        ("quantity", json!(3)),
        ("error_code", json!("E42")),
        ("stack", json!("at sale()\nat main()")),
        ("app_version", json!("2.7.1")),
        ("raw_data", json!({"lane": 4, "offline": false})),
    ] {
        event[field] = value;
    }
    event
}

/// A valid event with the required fields alone.
pub(crate) fn minimal_event() -> Value {
    json!({
        "request_id": request_id(),
        "service": "till",
        "env": "test",
        "timestamp": "2025-11-18T17:21:35.750Z",
        "action": "sale",
        "level": "info",
        "message": "sold",
    })
}

/// A body as text, each value a JSON token as it shall stand in it: what `serde_json::Value` cannot
/// hold (1e400, duplicate keys, odd escapes) can be written too. Starts from [`minimal_event`].
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) request_id: String,
    members: Vec<(String, String)>,
}

impl Body {
    pub(crate) fn minimal() -> Self {
        let event = minimal_event();
        let token = |field: &str| (field.to_owned(), event[field].to_string());
        let members =
            FIELDS.iter().filter(|(_, required)| *required).map(|(field, _)| token(field)).collect();
        Self { request_id: event["request_id"].as_str().expect("a string").to_owned(), members }
    }

    /// Puts a token in the place of a field's, or at the end.
    pub(crate) fn with(mut self, field: &str, token: &str) -> Self {
        match self.members.iter_mut().find(|(name, _)| name == field) {
            Some((_, old)) => token.clone_into(old),
            None => self.members.push((field.to_owned(), token.to_owned())),
        }
        self
    }

    /// Adds a member even when there is one of that name already. `name` is written as it is.
    pub(crate) fn and(mut self, name: &str, token: &str) -> Self {
        self.members.push((name.to_owned(), token.to_owned()));
        self
    }

    pub(crate) fn without(mut self, field: &str) -> Self {
        self.members.retain(|(name, _)| name != field);
        self
    }

    pub(crate) fn text(&self) -> String {
        let members: Vec<String> =
            self.members.iter().map(|(name, token)| format!("\"{name}\":{token}")).collect();
        format!("{{{}}}", members.join(","))
    }
}
