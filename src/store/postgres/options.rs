//! PostgreSQL's settings.

use std::path::PathBuf;
use std::time::Duration;

use crate::setting::{Secret, days, duration, size};

/// What an administrator can set of PostgreSQL.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "PostgreSQL")]
#[group(skip)]
pub struct Options {
    /// Database that events go to while Kafka is down, or for good without Kafka:
    /// postgres://user:password@host:port/database?sslmode=verify-full. Better in a file: see POSTGRES_URL_FILE
    #[arg(long, env, hide_env_values = true, value_name = "URL", value_parser = url)]
    pub postgres_url: Option<Secret>,
    /// File that holds POSTGRES_URL, so that its password is in no environment. A systemd credential named POSTGRES_URL is
    /// used too
    #[arg(long, env, value_name = "FILE")]
    pub postgres_url_file: Option<PathBuf>,
    /// Longest wait for PostgreSQL before events go to the spool
    #[arg(long, env, default_value = "3s", value_name = "DURATION", value_parser = duration(500..=60_000))]
    pub postgres_deadline: Duration,
    /// Days that rows stay in PostgreSQL after Kafka has them
    #[arg(long, env, default_value = "7", value_name = "DAYS", value_parser = days(0..=36_500))]
    pub forwarded_keep_days: Duration,
    /// Data that the table in PostgreSQL may hold, roughly. Beyond it the oldest events are removed that do not wait for
    /// Kafka; held events are never removed. 0 is unlimited
    #[arg(long, env, default_value = "0", value_name = "SIZE", value_parser = size(0..=1 << 44))]
    pub postgres_max_bytes: usize,
}

/// What is wrong with the URL is said without what may be its password.
fn url(text: &str) -> Result<Secret, String> {
    super::describe(text).map(|_| Secret::from(text.to_owned()))
}
