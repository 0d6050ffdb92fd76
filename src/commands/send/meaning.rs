//! What an answer to a batch means for its events, and when to come again. Pure.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::commands::daemon::Answer;
use crate::delivery::failover::doubled;
use crate::limits::{SEND_WAIT_FIRST, SEND_WAIT_MOST};

/// See the module.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// Each event was judged: all are stored but these, by their place in the batch and with what is wrong.
    Judged(Vec<(usize, String)>),
    /// The daemon cannot take them now.
    Later(String),
    /// More than it takes at once.
    TooLarge(String),
    /// It will never take them as they are.
    Never(String),
}

#[derive(Deserialize)]
struct BatchAnswer {
    accepted: usize,
    rejected: usize,
    errors: Vec<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    index: usize,
    detail: Vec<ItemDetail>,
}

#[derive(Deserialize)]
struct ItemDetail {
    loc: Vec<Value>,
    msg: String,
}

/// Of a batch of so many events.
pub(super) fn of(answer: &Answer, events: usize) -> Meaning {
    let said = || {
        let detail = &answer.json["detail"];
        let text = detail.as_str().map_or_else(|| detail.to_string(), str::to_owned);
        format!("it answers {}: {text}", answer.status)
    };
    match answer.status {
        202 | 207 | 422 => match BatchAnswer::deserialize(&answer.json) {
            Ok(outcome) if outcome.accepted + outcome.rejected == events => {
                Meaning::Judged(outcome.refused(events))
            }
            _ => Meaning::Never(said()),
        },
        408 | 409 | 425 | 429 | 500 | 502 | 503 | 504 => Meaning::Later(said()),
        413 => Meaning::TooLarge(said()),
        401 => Meaning::Never(format!("{}: name the file with the key by --api-key-file", said())),
        _ => Meaning::Never(said()),
    }
}

impl BatchAnswer {
    /// The daemon cuts a long list off: which events after its end were refused is unknown.
    fn refused(self, events: usize) -> Vec<(usize, String)> {
        let listed = self.errors.len();
        let after = self.errors.last().map_or(0, |last| last.index + 1);
        let mut refused: Vec<_> = self.errors.into_iter().map(|error| (error.index, error.text())).collect();
        if listed < self.rejected {
            let why = "one of those that may have been refused: the answer does not list them all";
            refused.extend((after..events).map(|index| (index, why.to_owned())));
        }
        refused
    }
}

impl ItemError {
    fn text(&self) -> String {
        let one = |detail: &ItemDetail| {
            let place: Vec<String> = detail
                .loc
                .iter()
                .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
                .collect();
            format!("{}: {}", place.join("."), detail.msg)
        };
        self.detail.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// Before the next attempt, after `failures` in a row. `chance` is from 0 to 1: many senders must not come back
/// together.
pub(super) fn wait(failures: u32, retry_after: Option<u64>, chance: f64) -> Duration {
    let own = doubled(SEND_WAIT_FIRST, failures.saturating_sub(1), SEND_WAIT_MOST);
    let asked = Duration::from_secs(retry_after.unwrap_or(0)).min(SEND_WAIT_MOST);
    own.mul_f64(0.5 + chance / 2.0).max(asked.mul_f64(1.0 + chance / 4.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, json: Value) -> Answer {
        Answer { status, retry_after: None, json }
    }

    fn outcome(accepted: usize, rejected: usize, errors: &Value) -> Value {
        json!({"status": "x", "accepted": accepted, "rejected": rejected, "errors": errors})
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let one = json!([{"index": 1, "request_id": null, "detail": [{"loc": ["body", "level"], "msg": "no", "type": "enum"}, {"loc": ["body", 3], "msg": "bad"}]}]);
        let refused = vec![(1, "body.level: no; body.3: bad".to_owned())];
        assert_eq!(of(&answer(202, outcome(2, 0, &json!([]))), 2), Meaning::Judged(vec![]));
        assert_eq!(of(&answer(207, outcome(1, 1, &one)), 2), Meaning::Judged(refused.clone()));
        let Meaning::Judged(cut) = of(&answer(207, outcome(1, 3, &one)), 4) else { panic!() };
        assert_eq!(cut.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(cut[0], refused[0]);
        // Events are missing in it, or it is not a result of a batch.
        assert!(matches!(of(&answer(202, outcome(1, 0, &json!([]))), 2), Meaning::Never(_)));
        assert!(matches!(of(&answer(422, json!({"detail": []})), 2), Meaning::Never(_)));
        for (status, meaning) in [
            (503, "Later"),
            (409, "Later"),
            (502, "Later"),
            (413, "TooLarge"),
            (401, "Never"),
            (404, "Never"),
        ] {
            let found = of(&answer(status, json!({"detail": "why"})), 2);
            assert!(
                format!("{found:?}").starts_with(meaning) && format!("{found:?}").contains("why"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn waits_grow_have_an_end_and_are_spread() {
        let ms = |failures, asked, chance| wait(failures, asked, chance).as_millis();
        assert_eq!((ms(1, None, 0.0), ms(1, None, 1.0)), (250, 500));
        assert_eq!((ms(2, None, 1.0), ms(3, None, 1.0), ms(99, None, 1.0)), (1_000, 2_000, 30_000));
        assert_eq!((ms(1, Some(4), 0.0), ms(1, Some(4), 1.0)), (4_000, 5_000));
        assert_eq!(ms(1, Some(86_400), 0.0), 30_000);
    }
}
