//! The words of HTTP that the door and the workers share: `routes` (paths, and what each takes), `reply` (statuses and
//! bodies), `keys` (who may do what), `traceparent`.
//!
//! Invariant: nothing here knows a socket or a server. All of it is pure, except that `keys` reads its file.

pub mod keys;
pub mod reply;
pub mod routes;
pub mod traceparent;
