//! The spool's settings.

use std::path::PathBuf;
use std::time::Duration;

use crate::setting::{days, size};

/// Where the spool is. Commands need no other setting to find it.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Spool")]
#[group(skip)]
pub struct FolderOptions {
    /// Folder of the spool [default: the service's state directory under systemd, else ./data]
    #[arg(long, env, value_name = "FOLDER", global = true)]
    pub data_dir: Option<PathBuf>,
}

/// What it may hold.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Spool")]
#[group(skip)]
pub struct Options {
    /// Data that the spool may hold [default: 1GiB, or a quarter of a disk of less than 4GiB]
    #[arg(long, env, value_name = "SIZE", value_parser = size(1 << 20..=1 << 44))]
    pub spool_max_bytes: Option<usize>,
    /// Days that events stay which do not wait for Kafka, in the spool or in PostgreSQL. Held events stay until they are
    /// sent
    #[arg(long, env, default_value = "30", value_name = "DAYS", value_parser = days(1..=36_500))]
    pub keep_days: Duration,
}
