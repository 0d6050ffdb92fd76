//! Everything that is there only because `tiny_http` cannot be exposed: the pool of connections to the inner server,
//! a request's way in and its answer's way back, and the replacement of a server that does not answer.

pub(super) mod answer;
mod forward;
mod renew;
pub(super) mod upstream;
