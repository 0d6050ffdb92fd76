//! `POST /api/logs/ingest/batch`: many events, as lines or as one array. They are validated one by one while the body
//! is read, and offered to the queue together. There is one answer, which lists the refused items.

mod result;

use std::io::{self, BufReader};

use uuid::Uuid;

use super::keyed::{self, RequestKind};
use super::submit::{Accepted, Sent};
use super::{Handled, ingest, refuse, report_refused};
use crate::event::{
    Arrival, BatchBuffer, Detail, Event, Form, Items, ItemsError, Loc, Refusal, Rules, is_one_value,
};
use crate::http::Context;
use crate::http::body::{self, RequestBody};
use crate::http::idempotency::Digest;
use crate::http::request::Request;
use crate::limits::BATCH_READ_BYTES;
use crate::telemetry::stats;
use crate::wire::reply::Reply;

use result::ItemErrors;
pub(super) use result::{BatchResult, JudgedBatch};

/// Reads the batch and validates every item.
pub(super) fn handle(context: &Context, request: &mut Request) -> Handled {
    let read = is_atomic(request.query()).and_then(|atomic| {
        let key = keyed::key(request)?;
        let batch = read(context, request, key.is_some())?;
        Ok((atomic, key, batch))
    });
    // The rest of a refused body must be read, because the next request follows it on the connection.
    let _ = io::copy(request.body(), &mut io::sink());
    let (atomic, key, batch) = match read {
        Ok(read) => read,
        Err(reply) => return refuse(context, request, reply),
    };
    let Batch { events, errors, digest } = batch;
    stats::add(&context.stats.refused_items, errors.count());
    let items = events.len() + errors.count();
    let none = events.is_empty() || (atomic && errors.count() > 0);
    if let Some(first) = errors.first() {
        let why = format!("{} of {items} items are wrong, the first is {first}", errors.count());
        report_refused(request, if none { 422 } else { 207 }, &why);
    }
    let judged = errors.into_judged();
    if none {
        stats::add(&context.stats.refused_invalid, 1);
        return Handled::Answer(judged.none_stored(items));
    }
    let (Some(key), Some(digest)) = (key, digest) else {
        return Handled::Waits(Accepted { events, sent: Sent::Batch(judged), ticket: None });
    };
    match key.claim(context, if atomic { RequestKind::Atomic } else { RequestKind::Batch }, &digest, events) {
        Ok((events, ticket)) => {
            Handled::Waits(Accepted { events, sent: Sent::Batch(judged), ticket: Some(ticket) })
        }
        Err(reply) => Handled::Answer(reply),
    }
}

/// The content of a body.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    errors: ItemErrors,
    /// Of the body, for a request with an Idempotency-Key.
    digest: Option<Digest>,
}

/// # Errors
/// The reply to a body that is refused as a whole.
fn read(context: &Context, request: &mut Request, hashed: bool) -> Result<Batch, Reply> {
    let limit = context.batch.max_batch_bytes;
    let only_lines = request.is_ndjson();
    let arrival = ingest::arrival(context, request);
    let body_bytes = request.body_bytes();
    let has_bytes = body_bytes > 0;
    let body = RequestBody::of(request, limit)?;
    let mut body = if hashed { body.hashed() } else { body };
    let unreadable = |error: &io::Error| body::refusal(error, limit);
    let reader = BufReader::with_capacity(BATCH_READ_BYTES, &mut body);
    let mut items = Items::open(reader, only_lines).map_err(|error| unreadable(&error))?;
    let (mut batch, mut buffer) = (Batch::default(), BatchBuffer::new(body_bytes));
    loop {
        let form = items.form();
        let item = match items.next_item() {
            Ok(Some(item)) => item,
            Ok(None) if batch.items() == 0 => {
                return Err(result::whole(&Refusal::nothing_in_batch(has_bytes)));
            }
            Ok(None) => {
                drop(items);
                return Ok(Batch { digest: body.digest(), ..batch });
            }
            Err(ItemsError::Read(error)) => return Err(unreadable(&error)),
            Err(ItemsError::Broken(at)) => return Err(result::whole(&Refusal::broken_at(at))),
        };
        if batch.items() == context.batch.max_batch_events {
            return Err(Reply::too_many(context.batch.max_batch_events));
        }
        let arrival = Arrival { ingest_id: Uuid::now_v7(), ..arrival.clone() };
        if let Err(offset) = batch.take(item, form, arrival, context.rules, &mut buffer) {
            return Err(result::whole(&Refusal::broken_at(items.offset_in_body(offset))));
        }
    }
}

impl Batch {
    fn items(&self) -> usize {
        self.events.len() + self.errors.count()
    }

    /// # Errors
    /// The character of the item from which the array around it is not valid JSON.
    fn take(
        &mut self,
        item: &[u8],
        form: Form,
        arrival: Arrival,
        rules: Rules,
        buffer: &mut BatchBuffer,
    ) -> Result<(), usize> {
        match Event::from_item(item, arrival, rules, buffer) {
            Ok(event) => self.events.push(event),
            Err(refusal) => {
                let offset = refusal.offset().filter(|_| form == Form::Array && !is_one_value(item));
                if let Some(offset) = offset {
                    return Err(offset);
                }
                self.errors.add(self.items(), item, &refusal, form);
            }
        }
        Ok(())
    }
}

/// `?atomic=true`, in any spelling that Pydantic accepts. The last one counts.
///
/// # Errors
/// 422 for any other value.
fn is_atomic(query: &str) -> Result<bool, Reply> {
    let mut given = query.split('&').filter_map(|pair| match pair.split_once('=') {
        Some(("atomic", value)) => Some(value),
        None if pair == "atomic" => Some(""),
        _ => None,
    });
    match given.next_back().map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0" | "off" | "f" | "n" | "no") => Ok(false),
        Some("true" | "1" | "on" | "t" | "y" | "yes") => Ok(true),
        Some(_) => {
            let detail = Detail {
                loc: Loc::Outside("query", "atomic"),
                msg: "Input should be a valid boolean, unable to interpret input",
                kind: "bool_parsing",
            };
            Err(ingest::refusal_reply(&Refusal::Invalid(vec![detail])))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atomic_is_a_word_for_yes_or_no() {
        for (query, is) in [
            ("", Some(false)),
            ("a=b&atom=true", Some(false)),
            ("atomic=true", Some(true)),
            ("a=b&atomic=1&c", Some(true)),
            ("atomic=True", Some(true)),
            ("atomic=true&atomic=no", Some(false)),
            ("atomic", None),
            ("atomic=", None),
            ("atomic=2", None),
            ("atomic=maybe", None),
        ] {
            let found = is_atomic(query);
            assert_eq!(found.as_ref().ok(), is.as_ref(), "{query}");
        }
        let reply = is_atomic("atomic=x").unwrap_err();
        let body = r#"{"detail":[{"loc":["query","atomic"],"msg":"Input should be a valid boolean, unable to interpret input","type":"bool_parsing"}]}"#;
        assert_eq!((reply.status(), std::str::from_utf8(reply.body()).unwrap()), (422, body));
    }
}
