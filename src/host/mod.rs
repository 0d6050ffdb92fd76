//! The process and the machine it runs on: threads, signals, clocks, the service manager, exit codes.
//!
//! Invariant: nothing here knows events, stores or HTTP.

pub mod clock;
pub mod crash;
pub mod exit;
mod options;
pub mod privilege;
pub mod process;
pub mod reload;
pub mod scheduling;
pub mod signals;
pub mod systemd;
pub mod thread;
pub mod throttle;

pub use options::Options;
