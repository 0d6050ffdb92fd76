//! Why a body is refused: every `type` and `msg` of a 422, byte for byte as in the contract.

use std::fmt;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// What is wrong with a body or a field. Each has exactly one type and one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Missing,
    JsonInvalid,
    NoItems,
    NotAnObject,
    StringType,
    NotIso8601,
    UnknownLevel,
    FloatType,
    FloatParsing,
    FiniteNumber,
    IntType,
    IntParsing,
    IntFromFloat,
    IntParsingSize,
    DictType,
}

impl Problem {
    /// Its `type` and its `msg`.
    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => ("missing", "Field required"),
            Self::JsonInvalid => ("json_invalid", "JSON decode error"),
            Self::NoItems => ("too_short", "List should have at least 1 item after validation, not 0"),
            Self::NotAnObject => (
                "model_attributes_type",
                "Input should be a valid dictionary or object to extract fields from",
            ),
            Self::StringType => ("string_type", "Input should be a valid string"),
            Self::NotIso8601 => ("value_error", "timestamp must be ISO 8601 format"),
            Self::UnknownLevel => ("enum", "Input should be 'debug', 'info', 'warn', 'error' or 'critical'"),
            Self::FloatType => ("float_type", "Input should be a valid number"),
            Self::FloatParsing => {
                ("float_parsing", "Input should be a valid number, unable to parse string as a number")
            }
            Self::FiniteNumber => ("finite_number", "Input should be a finite number"),
            Self::IntType => ("int_type", "Input should be a valid integer"),
            Self::IntParsing => {
                ("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
            }
            Self::IntFromFloat => {
                ("int_from_float", "Input should be a valid integer, got a number with a fractional part")
            }
            Self::IntParsingSize => {
                ("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size")
            }
            Self::DictType => ("dict_type", "Input should be a valid dictionary"),
        }
    }

    /// The item of the answer that reports it.
    pub(super) const fn at(self, loc: Loc) -> Detail {
        let (kind, msg) = self.texts();
        Detail { loc, msg, kind }
    }

    /// The refusal of a whole body for this one fault.
    pub(super) fn refusal(self, loc: Loc) -> Refusal {
        Refusal::Invalid(vec![self.at(loc)])
    }
}

/// Where a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loc {
    /// The body as a whole: `["body"]`.
    Body,
    /// At a character of the body, counted from 0: `["body",17]`.
    Offset(usize),
    /// In a field of the event: `["body","level"]`.
    Field(&'static str),
    /// Outside the body: `["header","idempotency-key"]`.
    Outside(&'static str, &'static str),
}

impl Serialize for Loc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Body => ("body",).serialize(serializer),
            Self::Offset(offset) => ("body", offset).serialize(serializer),
            Self::Field(name) => ("body", name).serialize(serializer),
            Self::Outside(part, name) => (part, name).serialize(serializer),
        }
    }
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("body"),
            Self::Offset(offset) => write!(f, "body[{offset}]"),
            Self::Field(name) => write!(f, "body.{name}"),
            Self::Outside(part, name) => write!(f, "{part}.{name}"),
        }
    }
}

/// One item of a 422.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Detail {
    /// Where: `["body"]`, `["body", <character>]`, `["body", <field>]`, `["query", <name>]` or `["header", <name>]`.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub loc: Loc,
    /// What is wrong, for people.
    pub msg: &'static str,
    /// What is wrong, for programs.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// Why a body is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 422: one item for the whole body, or one for each wrong field in schema order; never empty.
    Invalid(Vec<Detail>),
    /// 413: key, payload and record headers together are larger than the limit of one event.
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
}

impl Refusal {
    /// An empty batch: no bytes, or no items.
    #[must_use]
    pub fn nothing_in_batch(has_bytes: bool) -> Self {
        let problem = if has_bytes { Problem::NoItems } else { Problem::Missing };
        problem.refusal(Loc::Body)
    }

    /// A batch that is not valid JSON from this character on.
    #[must_use]
    pub fn broken_at(offset: usize) -> Self {
        Problem::JsonInvalid.refusal(Loc::Offset(offset))
    }

    /// The character from which the body is not valid JSON, if that is what is wrong.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Invalid(details) => details.iter().find_map(|detail| match detail.loc {
                Loc::Offset(offset) => Some(offset),
                _ => None,
            }),
            Self::TooLarge { .. } => None,
        }
    }

    /// The body of the answer: `{"detail":[...]}` with the items, or `{"detail":"..."}` with the limit.
    #[must_use]
    pub fn detail_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Answer<T> {
            detail: T,
        }
        match self {
            Self::Invalid(detail) => serde_json::to_vec(&Answer { detail }),
            Self::TooLarge { .. } => serde_json::to_vec(&Answer { detail: self.to_string() }),
        }
        .expect("BUG: texts and numbers could not be written as JSON")
    }
}

/// As a list of items, for a batch: there an event that is too large is one more item.
impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct TooLarge {
            loc: [&'static str; 1],
            msg: String,
            r#type: &'static str,
        }
        match self {
            Self::Invalid(details) => details.serialize(serializer),
            Self::TooLarge { .. } => {
                [TooLarge { loc: ["body"], msg: self.to_string(), r#type: "too_large" }].serialize(serializer)
            }
        }
    }
}

/// For people: `body.level: Input should be ...; body.env: Field required`. It never contains a value that was sent.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(details) => details.iter().enumerate().try_for_each(|(index, detail)| {
                let separator = if index == 0 { "" } else { "; " };
                write!(f, "{separator}{}: {}", detail.loc, detail.msg)
            }),
            Self::TooLarge { limit_bytes } => {
                write!(f, "the event is larger than the limit of {limit_bytes} bytes")
            }
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_answer_is_written_as_the_contract_has_it() {
        let text = |refusal: &Refusal| String::from_utf8(refusal.detail_json()).unwrap();
        let missing = Problem::Missing.refusal(Loc::Body);
        assert_eq!(
            text(&missing),
            r#"{"detail":[{"loc":["body"],"msg":"Field required","type":"missing"}]}"#
        );
        assert_eq!(
            text(&Problem::JsonInvalid.refusal(Loc::Offset(17))),
            r#"{"detail":[{"loc":["body",17],"msg":"JSON decode error","type":"json_invalid"}]}"#
        );
        let large = Refusal::TooLarge { limit_bytes: 1024 };
        assert_eq!(text(&large), r#"{"detail":"the event is larger than the limit of 1024 bytes"}"#);
    }

    #[test]
    fn people_read_every_place_and_message() {
        let refusal = Refusal::Invalid(vec![
            Problem::Missing.at(Loc::Field("service")),
            Problem::JsonInvalid.at(Loc::Offset(3)),
        ]);
        assert_eq!(refusal.to_string(), "body.service: Field required; body[3]: JSON decode error");
    }
}
