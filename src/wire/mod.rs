//! The words of HTTP that the door and the workers share: paths, answers, keys, trace ids.
//!
//! Invariant: pure, but for the file of API keys. Nothing here knows a socket or a server.

pub mod keys;
pub mod reply;
pub mod routes;
pub mod traceparent;
