//! The typed columns of a stored event, for people who query a store in SQL.

use std::borrow::Cow;

use super::members::Members;
use super::numbers;
use super::schema::Field;
use super::text;

/// The fields of the schema as columns. A field that is absent or null is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields are the event's, under the names that the contract explains")]
pub struct Columns<'a> {
    pub request_id: Option<Cow<'a, str>>,
    pub service: Option<Cow<'a, str>>,
    pub env: Option<Cow<'a, str>>,
    /// The event's `timestamp`, as sent.
    pub event_timestamp: Option<Cow<'a, str>>,
    pub action: Option<Cow<'a, str>>,
    pub level: Option<Cow<'a, str>>,
    pub message: Option<Cow<'a, str>>,
    pub user_id: Option<Cow<'a, str>>,
    pub product_id: Option<Cow<'a, str>>,
    pub price: Option<f64>,
    pub quantity: Option<i64>,
    pub error_code: Option<Cow<'a, str>>,
    pub stack: Option<Cow<'a, str>>,
    pub app_version: Option<Cow<'a, str>>,
    /// Its JSON, verbatim.
    pub raw_data: Option<Cow<'a, str>>,
}

impl<'a> Columns<'a> {
    /// The columns of a payload in its normal form. For any other bytes, such as those of a damaged row, all are `None`.
    #[must_use]
    pub fn of(payload: &'a [u8]) -> Self {
        Members::of(payload).and_then(|members| Self::of_members(&members)).unwrap_or_default()
    }

    /// `None`: validation would not accept some field.
    pub(super) fn of_members(members: &Members<'a>) -> Option<Self> {
        let value = |field| members.token(field).filter(|&token| token != "null");
        let text = |field| value(field).map_or(Some(None), |token| text::decode(token).map(Some));
        Some(Self {
            request_id: text(Field::RequestId)?,
            service: text(Field::Service)?,
            env: text(Field::Env)?,
            event_timestamp: text(Field::Timestamp)?,
            action: text(Field::Action)?,
            level: text(Field::Level)?,
            message: text(Field::Message)?,
            user_id: text(Field::UserId)?,
            product_id: text(Field::ProductId)?,
            price: value(Field::Price)
                .map(numbers::price)
                .transpose()
                .ok()?
                .filter(|price| price.is_finite()),
            quantity: value(Field::Quantity).map(numbers::quantity).transpose().ok()?,
            error_code: text(Field::ErrorCode)?,
            stack: text(Field::Stack)?,
            app_version: text(Field::AppVersion)?,
            raw_data: value(Field::RawData).map(Cow::Borrowed),
        })
    }
}

/// Two fields of a payload by which events are counted, found without reading all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels<'a> {
    /// The event's service.
    pub service: Option<Cow<'a, str>>,
    /// The event's level.
    pub level: Option<Cow<'a, str>>,
}

impl<'a> Labels<'a> {
    /// Those of a payload in its normal form.
    #[must_use]
    pub fn of(payload: &'a [u8]) -> Self {
        Self { service: text_after(payload, b",\"service\":"), level: text_after(payload, b",\"level\":") }
    }
}

/// The text after the first `label`, a comma and a member's name: in the normal form a quote inside a string always
/// follows a backslash, so this is no part of a string, and fields of the schema come before all others.
pub(super) fn text_after<'a>(payload: &'a [u8], label: &[u8]) -> Option<Cow<'a, str>> {
    let start = memchr::memmem::find(payload, label)? + label.len();
    text::decode_first(str::from_utf8(&payload[start..]).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::event::tests::arrival;
    use proptest::prelude::*;

    const FULL: &str = concat!(
        r#"{"request_id":"r\n1","service":"till","env":"prod","timestamp":"2025-11-18","action":"sale","#,
        r#""level":"info","message":"m","user_id":"u","product_id":null,"price":12.5,"quantity":3,"#,
        r#""error_code":"E1","stack":"s","app_version":"1.2","raw_data":{"a": [1, 2.50]},"shop":7}"#
    );

    #[test]
    fn every_column_is_found() {
        let text = |value| Some(Cow::Borrowed(value));
        assert_eq!(
            Columns::of(FULL.as_bytes()),
            Columns {
                request_id: text("r\n1"),
                service: text("till"),
                env: text("prod"),
                event_timestamp: text("2025-11-18"),
                action: text("sale"),
                level: text("info"),
                message: text("m"),
                user_id: text("u"),
                product_id: None,
                price: Some(12.5),
                quantity: Some(3),
                error_code: text("E1"),
                stack: text("s"),
                app_version: text("1.2"),
                raw_data: text(r#"{"a": [1, 2.50]}"#),
            }
        );
    }

    #[test]
    fn labels_are_those_of_the_columns() {
        let nested = r#"{"request_id":"r","service":"a\",\"level\":\"x","level":"warn","raw_data":{"service":"b","level":"c"}}"#;
        for payload in [FULL, nested] {
            let columns = Columns::of(payload.as_bytes());
            let labels = Labels { service: columns.service, level: columns.level };
            assert_eq!(Labels::of(payload.as_bytes()), labels, "{payload}");
        }
        assert_eq!(Labels::of(b"{\"a"), Labels::default());
    }

    #[test]
    fn texts_without_escapes_are_borrowed() {
        let columns = Columns::of(FULL.as_bytes());
        assert!(matches!(columns.service, Some(Cow::Borrowed(_))));
        assert!(matches!(columns.request_id, Some(Cow::Owned(_))));
    }

    #[test]
    fn of_damaged_bytes_there_are_no_columns() {
        let deep = "[".repeat(200_000);
        for payload in [
            &b""[..],
            b"\xff\xfe",
            b"null",
            b"[]",
            b"{\"service\":\"a\"",
            b"{\"service\":1}",
            br#"{"env":"\ud800"}"#,
            br#"{"service":"a","quantity":3.5}"#,
            br#"{"service":"a","price":"x"}"#,
            b"{\"raw_data\":",
            deep.as_bytes(),
        ] {
            let shown = String::from_utf8_lossy(payload);
            assert_eq!(Columns::of(payload), Columns::default(), "{shown}");
            let row = Event::from_row(arrival(), payload.to_vec().into());
            assert!(row.is_none(), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn no_damage_panics(at in 0..FULL.len(), byte: u8, cut in 0..FULL.len()) {
            let mut payload = FULL.as_bytes().to_vec();
            payload[at] = byte;
            let _ = Columns::of(&payload);
            let _ = Columns::of(&payload[..cut]);
        }
    }
}
