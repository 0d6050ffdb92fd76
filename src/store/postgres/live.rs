//! PostgreSQL on the live path: the second choice, or the events' home.

use std::sync::Arc;

use super::{Postgres, Settings, connect};
use crate::event::Event;
use crate::store::{Batch, Connected, Standing, Store, StoreError, WriteResult};

struct Live {
    postgres: Postgres,
    standing: Standing,
}

impl Store for Live {
    fn write(&mut self, batch: &Batch) -> Vec<WriteResult> {
        let reason = match self.standing {
            Standing::Held => "kafka is down",
            Standing::Home => "postgres is its home",
        };
        self.postgres.append(batch, self.standing, reason)
    }

    fn keep_letters(&mut self, letters: &[(Event, Arc<str>)]) -> WriteResult {
        self.postgres.keep_letters(letters)
    }
}

/// Connects for live events, which are held there for Kafka or have their home there.
///
/// # Errors
/// As [`connect`].
pub fn connect_live(settings: &Settings, standing: Standing) -> Result<Connected, StoreError> {
    let super::Connected { store: postgres, notes } = connect(settings)?;
    Ok(Connected { store: Box::new(Live { postgres, standing }), client: "postgres", notes })
}
