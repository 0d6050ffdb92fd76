//! The helper's side: one connection, set up so that the server gives up before the owner does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::types::ToSql;
use postgres::{Client, Error, Row, Statement};

use super::errors::Server;
use super::rows::Charset;
use super::url::Target;
use super::{schema, tls};
use crate::limits::{POSTGRES_KEEPALIVE_IDLE, POSTGRES_KEEPALIVE_INTERVAL, POSTGRES_KEEPALIVE_RETRIES};
use crate::store::{Cause, Destination, StoreError};

const FACTS: &str = "SELECT current_setting('transaction_read_only'), current_setting('server_encoding'), \
     current_setting('fsync')";

/// One connection and what it knows.
pub(super) struct Session {
    client: Client,
    pub(super) at: Server,
    pub(super) instance: Arc<str>,
    pub(super) destination: Option<Destination>,
    pub(super) charset: Charset,
    pub(super) is_drainer: bool,
    statements: Vec<(&'static str, Statement)>,
    /// `statement_timeout` as it is now, and at the start of a job.
    limit: Duration,
    limit_at_start: Duration,
}

impl Session {
    /// Connects, sets the session up and brings the tables to this program's version. The texts are notes for the
    /// administrator.
    pub(super) fn open(
        target: Target,
        at: Server,
        instance: Arc<str>,
        destination: Option<Destination>,
        deadline: Duration,
    ) -> Result<(Self, Vec<String>), StoreError> {
        let tls = tls::connector(&target.trust).map_err(|why| at.unavailable(Cause::BadSetting, &why))?;
        let mut client = target.config.connect(tls).map_err(|error| at.failed("connect", &error))?;
        let limit = sooner(deadline);
        let setting_up = |error| at.failed("set up the session", &error);
        client.batch_execute(&settings(limit, deadline)).map_err(setting_up)?;
        let facts = client.query_one(FACTS, &[]).map_err(setting_up)?;
        let is = |index: usize, value: &str| facts.get::<_, &str>(index) == value;
        if is(0, "on") {
            return Err(at.unavailable(
                Cause::Refused,
                "the server takes no writes (transaction_read_only is on): name the primary, or look at \
                 default_transaction_read_only",
            ));
        }
        let mut notes = Vec::new();
        let charset = Charset::of(facts.get(1));
        if charset == Charset::Ascii {
            notes.push(format!(
                "the database's encoding is {}: characters beyond ASCII show as '?' in the text columns; payload \
                 has them exactly; a database with ENCODING 'UTF8' shows them",
                facts.get::<_, &str>(1)
            ));
        }
        if is(2, "off") {
            notes.push(
                "the server runs with fsync=off: what it has committed does not survive a power cut; set fsync=on"
                    .to_owned(),
            );
        }
        notes.extend(schema::ensure(&mut client, &at)?);
        let session = Self {
            client,
            at,
            instance,
            destination,
            charset,
            is_drainer: false,
            statements: Vec::new(),
            limit,
            limit_at_start: limit,
        };
        Ok((session, notes))
    }

    /// The client, and `sql`, prepared once per connection. The server gives up before `until`.
    pub(super) fn prepared(
        &mut self,
        sql: &'static str,
        until: Instant,
    ) -> Result<(&mut Client, Statement), Error> {
        self.bound(until)?;
        if let Some((_, statement)) = self.statements.iter().find(|(known, _)| *known == sql) {
            return Ok((&mut self.client, statement.clone()));
        }
        let statement = self.client.prepare(sql)?;
        self.statements.push((sql, statement.clone()));
        Ok((&mut self.client, statement))
    }

    /// The rows of a statement.
    pub(super) fn rows(
        &mut self,
        sql: &'static str,
        until: Instant,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let (client, statement) = self.prepared(sql, until)?;
        client.query(&statement, parameters)
    }

    /// The only row of a statement.
    pub(super) fn row(
        &mut self,
        sql: &'static str,
        until: Instant,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Error> {
        let (client, statement) = self.prepared(sql, until)?;
        client.query_one(&statement, parameters)
    }

    /// The number of rows that a statement changed.
    pub(super) fn changed(
        &mut self,
        sql: &'static str,
        until: Instant,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        let (client, statement) = self.prepared(sql, until)?;
        client.execute(&statement, parameters)
    }

    /// Later statements of a job have less time than the first.
    fn bound(&mut self, until: Instant) -> Result<(), Error> {
        let left = sooner(until.saturating_duration_since(Instant::now())).min(self.limit_at_start);
        if left > self.limit || left < self.limit / 4 * 3 {
            self.client.batch_execute(&format!("SET statement_timeout = {}", millis(left)))?;
            self.limit = left;
        }
        Ok(())
    }
}

/// So that the server reports the result while the owner still waits.
fn sooner(limit: Duration) -> Duration {
    limit - limit / 10
}

/// As a setting takes it, where 0 would mean no limit.
fn millis(limit: Duration) -> u128 {
    limit.as_millis().max(1)
}

/// The settings of a connection. The server sends keepalives too, so that the locks of a daemon whose machine lost power
/// are free again in seconds; `synchronous_commit` is never weaker than the administrator's. Every statement has its
/// index: a plan made while the tables were small would read all of them when they are large.
pub(super) fn settings(limit: Duration, deadline: Duration) -> String {
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
         SET tcp_keepalives_idle = {}; SET tcp_keepalives_interval = {}; SET tcp_keepalives_count = {}; \
         SET default_transaction_isolation = 'read committed'; SET enable_seqscan = off; SET enable_bitmapscan = off; \
         SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')",
        millis(limit),
        millis(deadline / 2),
        millis(deadline * 2),
        POSTGRES_KEEPALIVE_IDLE.as_secs(),
        POSTGRES_KEEPALIVE_INTERVAL.as_secs(),
        POSTGRES_KEEPALIVE_RETRIES,
    )
}
