//! logs-ingest.
pub mod clock;
pub mod commands;
pub mod door;
pub mod event;
pub mod http;
pub mod limits;
pub mod store;
pub mod thread;
