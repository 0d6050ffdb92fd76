//! What a server reports of itself, for `check-config`. Read-only: no table is made or changed.

use std::time::Instant;

use postgres::{Client, Error};

use super::errors::Server;
use super::session;
use super::url::Target;
use super::{LEFT_BEHIND, Settings, schema, tls};
use crate::store::helper::Helper;
use crate::store::{Cause, StoreError};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The server's version.
    pub server: String,
    /// It takes no writes: a standby, or set so.
    pub read_only: bool,
    /// Its setting `fsync`.
    pub fsync: bool,
    /// The database's encoding.
    pub encoding: String,
    /// The connection is encrypted.
    pub encrypted: bool,
    /// Version of the tables; 0: there are none yet.
    pub tables: i32,
    /// The version that this program makes.
    pub tables_known: i32,
    /// The role may make tables in the first schema of its search_path. None: there is no such schema.
    pub may_create: Option<bool>,
    /// Rights that the role lacks on tables that are there.
    pub lacks: Vec<String>,
}

const FACTS: &str = "SELECT current_setting('server_version'), current_setting('transaction_read_only') = 'on', \
     current_setting('fsync') = 'on', current_setting('server_encoding'), \
     coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false), \
     has_schema_privilege(current_schema(), 'CREATE')";

const LACKS: &str = "SELECT privilege || ' on ' || name FROM unnest(ARRAY['raw_logs', 'dead_letters']) name, \
     unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege \
     WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege) ORDER BY 1";

/// Asks. Blocks for at most the deadline.
///
/// # Errors
/// Always `Unavailable`; the text says what failed and what to do.
pub fn inspect(settings: &Settings) -> Result<Inspection, StoreError> {
    let target = Target::parse(&settings.url, settings.deadline)
        .map_err(|why| StoreError::unavailable(Cause::BadSetting, format!("POSTGRES_URL: {why}")))?;
    let at = Server::new(&target.address);
    let (deadline, server) = (settings.deadline, at.clone());
    let build = move || {
        let until = Instant::now() + deadline;
        let tls = tls::connector(&target.trust).map_err(|why| server.unavailable(Cause::BadSetting, &why))?;
        let mut client = target.config.connect(tls).map_err(|error| server.failed("connect", &error))?;
        let left = until.saturating_duration_since(Instant::now());
        client
            .batch_execute(&session::settings(left, deadline))
            .and_then(|()| ask(&mut client))
            .map(|found| (|()| (), found))
            .map_err(|error| server.failed("read the server's settings", &error))
    };
    match Helper::<(), ()>::start("postgres-check", &LEFT_BEHIND, deadline, build) {
        Ok(Ok((_helper, found))) => Ok(found),
        Ok(Err(error)) => Err(error),
        Err(gone) => Err(at.gone("read the server's settings", gone)),
    }
}

fn ask(client: &mut Client) -> Result<Inspection, Error> {
    let facts = client.query_one(FACTS, &[])?;
    let tables = schema::version(client)?;
    let lacks = client.query(LACKS, &[])?;
    Ok(Inspection {
        server: facts.get(0),
        read_only: facts.get(1),
        fsync: facts.get(2),
        encoding: facts.get(3),
        encrypted: facts.get(4),
        tables,
        tables_known: schema::VERSION,
        may_create: facts.get(5),
        lacks: lacks.iter().map(|row| row.get(0)).collect(),
    })
}
