//! STAND-IN until `crate::event::Columns` is merged: delete this file and use that one in `row.rs`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

/// The schema fields of a payload, for people.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) event_timestamp: Option<Cow<'a, str>>,
    pub(super) request_id: Option<Cow<'a, str>>,
    pub(super) service: Option<Cow<'a, str>>,
    pub(super) env: Option<Cow<'a, str>>,
    pub(super) action: Option<Cow<'a, str>>,
    pub(super) level: Option<Cow<'a, str>>,
    pub(super) message: Option<Cow<'a, str>>,
    pub(super) user_id: Option<Cow<'a, str>>,
    pub(super) product_id: Option<Cow<'a, str>>,
    pub(super) price: Option<f64>,
    pub(super) quantity: Option<i64>,
    pub(super) error_code: Option<Cow<'a, str>>,
    pub(super) stack: Option<Cow<'a, str>>,
    pub(super) app_version: Option<Cow<'a, str>>,
    pub(super) raw_data: Option<Cow<'a, str>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(payload: &'a [u8]) -> Self {
        let Ok(fields) = serde_json::from_slice::<HashMap<String, &'a RawValue>>(payload) else {
            return Self::default();
        };
        let raw = |name: &str| fields.get(name).map(|value| value.get()).filter(|raw| *raw != "null");
        let text = |name: &str| {
            let raw = raw(name)?;
            match serde_json::from_str::<&'a str>(raw) {
                Ok(borrowed) => Some(Cow::Borrowed(borrowed)),
                Err(_) => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
            }
        };
        Self {
            event_timestamp: text("timestamp"),
            request_id: text("request_id"),
            service: text("service"),
            env: text("env"),
            action: text("action"),
            level: text("level"),
            message: text("message"),
            user_id: text("user_id"),
            product_id: text("product_id"),
            price: raw("price").and_then(|raw| raw.parse().ok()),
            quantity: raw("quantity").and_then(|raw| raw.parse().ok()),
            error_code: text("error_code"),
            stack: text("stack"),
            app_version: text("app_version"),
            raw_data: raw("raw_data").map(Cow::Borrowed),
        }
    }
}
