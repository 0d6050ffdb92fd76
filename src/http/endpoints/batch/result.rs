//! The answer to a batch: one result for the request, and a bounded list of the refused items and what is wrong with
//! them.
//!
//! Invariant: `accepted` and `rejected` add up to the items of the batch.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::event::{Detail, Form, Refusal, request_id_in};
use crate::host::clock;
use crate::http::endpoints::json;
use crate::limits::{BATCH_ERROR_ID_CHARS_MAX, BATCH_ERRORS_BYTES_MAX, BATCH_ERRORS_MAX};
use crate::wire::reply::Reply;

const RUN_TOGETHER: &str =
    "there are several events on one line: curl -d removes the line ends of a file, use --data-binary";

/// The refused items of a batch that is being read.
#[derive(Default)]
pub(super) struct ItemErrors {
    count: usize,
    listed: usize,
    /// The listed ones as JSON, separated by commas.
    json: String,
    first: Option<String>,
    hint: Option<&'static str>,
}

/// What is known of a batch before its events are stored.
pub(in crate::http::endpoints) struct JudgedBatch {
    refused: usize,
    omitted: usize,
    errors: Box<RawValue>,
    hint: Option<&'static str>,
}

/// A refused item of a batch.
#[derive(Serialize, ToSchema)]
struct ItemError<'a> {
    /// Its index in the batch, from 0; blank lines do not count.
    index: usize,
    /// Null if it has none that can be read.
    request_id: Option<&'a str>,
    /// What is wrong with it.
    #[schema(value_type = Vec<Detail>)]
    detail: &'a Refusal,
}

/// The one result of a batch.
// In the contract's order.
#[derive(Serialize, ToSchema)]
pub(in crate::http::endpoints) struct BatchResult<'a> {
    /// `accepted`: all are stored; `partial`: some were refused, the others are stored; `rejected`: none is stored.
    status: &'static str,
    /// Items that are stored.
    accepted: usize,
    /// Items that are not.
    rejected: usize,
    /// The refused items. The list is bounded.
    #[schema(value_type = Vec<ItemError>)]
    errors: &'a RawValue,
    /// How many refused items are not in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_omitted: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// What the sender may have done wrong.
    hint: Option<&'static str>,
    /// What is wrong with the batch as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a [Detail]>,
    /// Now, in UTC.
    #[schema(format = DateTime)]
    timestamp: String,
}

impl ItemErrors {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// For the log: the index of the first one, and what is wrong with it.
    pub(super) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    pub(super) fn add(&mut self, index: usize, item: &[u8], refusal: &Refusal, form: Form) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(format!("{index}: {refusal}"));
        }
        if index == 0 && form == Form::Lines && refusal.offset().is_some_and(|at| runs_together(item, at)) {
            self.hint = Some(RUN_TOGETHER);
        }
        if self.listed < BATCH_ERRORS_MAX && self.json.len() < BATCH_ERRORS_BYTES_MAX {
            let id: Option<String> =
                request_id_in(item).map(|id| id.chars().take(BATCH_ERROR_ID_CHARS_MAX).collect());
            let error = ItemError { index, request_id: id.as_deref(), detail: refusal };
            if self.listed > 0 {
                self.json.push(',');
            }
            self.json += &serde_json::to_string(&error).unwrap_or_default();
            self.listed += 1;
        }
    }

    pub(super) fn into_judged(self) -> JudgedBatch {
        let errors = RawValue::from_string(format!("[{}]", self.json)).unwrap_or_default();
        JudgedBatch { refused: self.count, omitted: self.count - self.listed, errors, hint: self.hint }
    }
}

impl JudgedBatch {
    /// 202 or 207: all events that were not refused are stored.
    pub(in crate::http::endpoints) fn stored(&self, events: usize, places: String) -> Reply {
        let (status, word) = if self.refused == 0 { (202, "accepted") } else { (207, "partial") };
        json(status, &self.result(word, events, self.refused)).with("X-Stored-In", places)
    }

    /// 422: nothing is stored.
    pub(super) fn none_stored(&self, items: usize) -> Reply {
        json(422, &self.result("rejected", 0, items))
    }

    fn result(&self, status: &'static str, accepted: usize, rejected: usize) -> BatchResult<'_> {
        BatchResult {
            status,
            accepted,
            rejected,
            errors: &self.errors,
            errors_omitted: Some(self.omitted).filter(|&omitted| omitted > 0),
            hint: self.hint,
            detail: None,
            timestamp: clock::rfc3339(clock::record_ms()),
        }
    }
}

/// 422: the batch as a whole is wrong.
pub(super) fn whole(refusal: &Refusal) -> Reply {
    let judged = ItemErrors::default().into_judged();
    let detail = match refusal {
        Refusal::Invalid(details) => Some(&details[..]),
        Refusal::TooLarge { .. } => None,
    };
    json(422, &BatchResult { detail, ..judged.result("rejected", 0, 0) }).because(refusal.to_string())
}

/// Whether another object begins where the line is not valid JSON any more.
fn runs_together(item: &[u8], offset: usize) -> bool {
    let Ok(text) = std::str::from_utf8(item) else { return false };
    let Some((at, next)) = text.char_indices().nth(offset) else { return false };
    next == '{' && text[..at].trim_end().ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_LARGE: Refusal = Refusal::TooLarge { limit_bytes: 1_024 };

    fn text(reply: &Reply) -> String {
        let text = String::from_utf8(reply.body().to_vec()).unwrap();
        let (body, time) = text.split_once(r#""timestamp":""#).unwrap();
        assert_eq!((time.len(), &time[23..]), (26, "Z\"}"));
        body.to_owned()
    }

    #[test]
    fn an_answer_has_the_contracts_members_in_their_order() {
        let judged = ItemErrors::default().into_judged();
        let reply = judged.stored(2, "kafka".into());
        assert_eq!((reply.status(), &reply.headers()[0]), (202, &("X-Stored-In", "kafka".into())));
        assert_eq!(text(&reply), r#"{"status":"accepted","accepted":2,"rejected":0,"errors":[],"#);
        let mut errors = ItemErrors::default();
        errors.add(3, br#"{"request_id":"r-3","level":1}"#, &TOO_LARGE, Form::Lines);
        errors.add(4, b"x", &Refusal::broken_at(0), Form::Lines);
        let list = concat!(
            r#""errors":[{"index":3,"request_id":"r-3","detail":[{"loc":["body"],"#,
            r#""msg":"the event is larger than the limit of 1024 bytes","type":"too_large"}]},"#,
            r#"{"index":4,"request_id":null,"detail":[{"loc":["body",0],"msg":"JSON decode error","type":"json_invalid"}]}],"#
        );
        assert_eq!(errors.first(), Some("3: the event is larger than the limit of 1024 bytes"));
        let judged = errors.into_judged();
        let reply = judged.stored(3, "spool".into());
        assert_eq!(reply.status(), 207);
        assert_eq!(text(&reply), format!(r#"{{"status":"partial","accepted":3,"rejected":2,{list}"#));
        let reply = judged.none_stored(5);
        assert_eq!(reply.status(), 422);
        assert_eq!(text(&reply), format!(r#"{{"status":"rejected","accepted":0,"rejected":5,{list}"#));
    }

    #[test]
    fn a_batch_that_is_wrong_as_a_whole_says_why() {
        let reply = whole(&Refusal::nothing_in_batch(true));
        assert_eq!(reply.status(), 422);
        let expected = concat!(
            r#"{"status":"rejected","accepted":0,"rejected":0,"errors":[],"detail":[{"loc":["body"],"#,
            r#""msg":"List should have at least 1 item after validation, not 0","type":"too_short"}],"#
        );
        assert_eq!(text(&reply), expected);
    }

    #[test]
    fn the_list_is_bounded_in_items_and_bytes_and_says_so() {
        let long = format!(r#"{{"request_id":"{}"}}"#, "ü".repeat(1_000));
        for (item, most) in [("x", BATCH_ERRORS_MAX), (&long, BATCH_ERRORS_BYTES_MAX / 256)] {
            let mut errors = ItemErrors::default();
            for index in 0..2_000 {
                errors.add(index, item.as_bytes(), &TOO_LARGE, Form::Array);
            }
            let reply = errors.into_judged().none_stored(2_000);
            let body: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
            let listed = body["errors"].as_array().unwrap().len();
            assert!(listed <= most && listed > most / 3, "{listed}");
            assert_eq!(body["errors_omitted"], 2_000 - listed);
            assert!(reply.body().len() < BATCH_ERRORS_BYTES_MAX + 1_024);
        }
    }

    #[test]
    fn a_file_whose_lines_ran_together_is_recognised() {
        for (item, offset, is) in [
            (r#"{"a":"é"}{"b":1}"#, 9, true),
            (r#"{"a":1} {"b":1}"#, 8, true),
            (r#"{"a":{{"b":1}"#, 6, false),
            (r#"{"a":1}x"#, 7, false),
            ("{}", 2, false),
        ] {
            assert_eq!(runs_together(item.as_bytes(), offset), is, "{item}");
        }
    }
}
