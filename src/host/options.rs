//! The process's settings.

use std::time::Duration;

use crate::setting::duration;

/// What an administrator can set of the process.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Process")]
#[group(skip)]
pub struct Options {
    /// Name of this daemon in stored rows [default: the host's name]
    #[arg(long, env, value_name = "NAME")]
    pub instance: Option<String>,
    /// Time to store and answer what has been received when the daemon stops
    #[arg(long, env, default_value = "10s", value_name = "DURATION", value_parser = duration(1_000..=600_000))]
    pub shutdown_timeout: Duration,
}
