//! The HTTP side behind the door: routes, replies, the `tiny_http` listener and its workers.
//!
//! Invariant: nothing behind this room knows HTTP.

pub mod reply;
pub mod routes;
