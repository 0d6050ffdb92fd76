//! Stored events as people ask for them: which ones are wanted, and the form in which every store returns them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Standing;
use crate::event::{Columns, Event};

/// Where a stored event stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// It waits for Kafka.
    Held,
    /// It is at its destination.
    Home,
    /// Kafka has it, and its row in PostgreSQL is kept for a while.
    Forwarded,
}

impl RowState {
    /// All of them, by their names.
    pub const NAMES: [&str; 3] = [Self::Held.as_str(), Self::Home.as_str(), Self::Forwarded.as_str()];

    /// As commands and their output have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => Standing::Held.as_str(),
            Self::Home => Standing::Home.as_str(),
            Self::Forwarded => "forwarded",
        }
    }
}

/// As its name stands in a bookmark of `replay`.
impl fmt::Debug for RowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl From<Standing> for RowState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Held => Self::Held,
            Standing::Home => Self::Home,
        }
    }
}

impl FromStr for RowState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Held, Self::Home, Self::Forwarded];
        all.into_iter().find(|state| state.as_str() == text).ok_or("use held, home or forwarded")
    }
}

/// Which events are wanted; an empty part lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only events with this `request_id`.
    pub request_id: Option<String>,
    /// Only events of this service.
    pub service: Option<String>,
    /// Only events of these levels.
    pub levels: Vec<String>,
    /// Only rows in this state.
    pub state: Option<RowState>,
    /// Only events received then or later, milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Only events received before.
    pub to_ms: Option<i64>,
}

impl Wanted {
    /// Whether an event in this state is wanted, for events that no store has picked already.
    #[must_use]
    pub fn takes(&self, event: &Event, state: Option<RowState>) -> bool {
        (self.state.is_none() || state == self.state)
            && self.takes_row(Some(event.received_at_ms()), event.payload())
    }

    /// The same for a row whose state is wanted. None: its time cannot be read.
    #[must_use]
    pub fn takes_row(&self, received_at_ms: Option<i64>, payload: &[u8]) -> bool {
        if self.from_ms.is_some_and(|from| received_at_ms.is_none_or(|at| at < from))
            || self.to_ms.is_some_and(|to| received_at_ms.is_none_or(|at| at >= to))
        {
            return false;
        }
        if self.request_id.is_none() && self.service.is_none() && self.levels.is_empty() {
            return true;
        }
        let columns = Columns::of(payload);
        let is =
            |wanted: &Option<String>, value: Option<&str>| wanted.is_none() || wanted.as_deref() == value;
        is(&self.request_id, columns.request_id.as_deref())
            && is(&self.service, columns.service.as_deref())
            && (self.levels.is_empty()
                || self.levels.iter().any(|level| columns.level.as_deref() == Some(level)))
    }
}

/// A row of a store, its event checked.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its number in the store's order.
    pub seq: i64,
    /// As it stands in the column: a damaged row's may not be an id.
    pub ingest_id: String,
    /// What the row is kept for.
    pub state: RowState,
    /// Why it is there.
    pub reason: String,
    /// The event, or what is wrong with the row.
    pub event: Result<Event, Arc<str>>,
}

/// A dead letter: an event that Kafka refuses as it is, or a damaged row.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The row.
    pub kept: Kept,
    /// When it became a dead letter, RFC 3339.
    pub failed_at: String,
    /// Why Kafka refuses it, or what is wrong with the row.
    pub error: String,
    /// What is left of the payload of a damaged row.
    pub remains: Option<Vec<u8>>,
}

impl AsRef<Kept> for Kept {
    fn as_ref(&self) -> &Kept {
        self
    }
}

impl AsRef<Kept> for Letter {
    fn as_ref(&self) -> &Kept {
        &self.kept
    }
}

/// Some rows, and where the next ones begin.
#[derive(Clone, Debug)]
pub struct Page<Row, At> {
    /// Those that are wanted, in order.
    pub rows: Vec<Row>,
    /// Behind the last row that was read. `None`: there are no more.
    pub next: Option<At>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Arrival;

    #[test]
    fn every_part_of_the_filter_must_hold() {
        let arrival = Arrival::new(uuid::Uuid::nil(), 1_000);
        let payload = r#"{"request_id":"r","service":"till","level":"warn"}"#;
        let event = Event::restored(arrival, "r".into(), payload.into());
        let text = |text: &str| Some(text.to_owned());
        let all = Wanted {
            request_id: text("r"),
            service: text("till"),
            levels: vec!["error".into(), "warn".into()],
            state: Some(RowState::Home),
            from_ms: Some(1_000),
            to_ms: Some(1_001),
        };
        assert!(Wanted::default().takes(&event, Some(RowState::Held)));
        assert!(Wanted::default().takes(&event, None) && !all.takes(&event, None));
        assert!(all.takes(&event, Some(RowState::Home)));
        for (part, wanted) in [
            ("request_id", Wanted { request_id: text("R"), ..all.clone() }),
            ("service", Wanted { service: text(""), ..all.clone() }),
            ("levels", Wanted { levels: vec!["info".into()], ..all.clone() }),
            ("state", Wanted { state: Some(RowState::Held), ..all.clone() }),
            ("from", Wanted { from_ms: Some(1_001), ..all.clone() }),
            ("to", Wanted { to_ms: Some(1_000), ..all.clone() }),
        ] {
            assert!(!wanted.takes(&event, Some(RowState::Home)), "{part}");
        }
    }
}
