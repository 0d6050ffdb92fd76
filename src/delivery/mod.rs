//! The path of an event from the queue to a store, and to Kafka from where it had to wait.
//!
//! Invariants: one queue, bounded; one thread writes live events; an event is answered when it is stored, not
//! before; nothing here knows HTTP. Time is a parameter: each loop is a step that says when it is to be called
//! again, and only its thread's `run` waits.

pub mod connect;
pub mod failover;
pub mod link;
pub mod pacing;
pub mod producer;
pub mod queue;
pub mod recovery;
pub mod rounds;
pub mod route;

#[cfg(test)]
mod tests;
