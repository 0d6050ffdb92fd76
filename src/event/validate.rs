//! Checks every field by its row in the schema and gives its value in the normal form.

use std::borrow::Cow;

use super::members::Members;
use super::numbers;
use super::refusal::{Detail, Loc, Problem};
use super::schema::{FIELDS, Kind, LEVELS, SCHEMA, Spec};
use super::text;
use super::timestamp;

/// A field's value in the normal form.
#[derive(Debug, PartialEq)]
pub(super) enum FieldValue<'a> {
    Absent,
    /// JSON as sent, which is in the normal form already.
    Verbatim(&'a str),
    /// The text of a string that was sent with escapes.
    Text(String),
    Float(f64),
    Integer(i64),
}

/// The values of all fields in schema order, or one item for each wrong one.
pub(super) fn validate<'a>(members: &Members<'a>) -> Result<[FieldValue<'a>; FIELDS], Vec<Detail>> {
    let mut details = Vec::new();
    let mut values = [const { FieldValue::Absent }; FIELDS];
    for ((spec, token), value) in SCHEMA.iter().zip(members.tokens()).zip(&mut values) {
        match judge(spec, token) {
            Ok(judged) => *value = judged,
            Err(problem) => details.push(problem.at(Loc::Field(spec.name))),
        }
    }
    if details.is_empty() { Ok(values) } else { Err(details) }
}

fn judge<'a>(spec: &Spec, token: Option<&'a str>) -> Result<FieldValue<'a>, Problem> {
    let token = match token {
        None if spec.required => return Err(Problem::Missing),
        None => return Ok(FieldValue::Absent),
        Some("null") if !spec.required => return Ok(FieldValue::Verbatim("null")),
        Some(token) => token,
    };
    match spec.kind {
        Kind::Text => string(token, Problem::StringType, |_| Ok(())),
        Kind::Timestamp => string(token, Problem::StringType, |text| {
            timestamp::instant_ms(text).map(drop).ok_or(Problem::NotIso8601)
        }),
        Kind::Level => string(token, Problem::UnknownLevel, |text| {
            if LEVELS.contains(&text) { Ok(()) } else { Err(Problem::UnknownLevel) }
        }),
        Kind::Float => numbers::price(token).map(FieldValue::Float),
        Kind::Integer => numbers::quantity(token).map(FieldValue::Integer),
        Kind::Object if token.starts_with('{') => Ok(FieldValue::Verbatim(token)),
        Kind::Object => Err(Problem::DictType),
    }
}

fn string<'a>(
    token: &'a str,
    no_string: Problem,
    check: impl FnOnce(&str) -> Result<(), Problem>,
) -> Result<FieldValue<'a>, Problem> {
    let text = text::decode(token).ok_or(no_string)?;
    check(&text)?;
    Ok(match text {
        // Without escapes, the token is how the normal form writes the text.
        Cow::Borrowed(_) => FieldValue::Verbatim(token),
        Cow::Owned(text) => FieldValue::Text(text),
    })
}
