//! Whole worlds: shops with real daemons, on shared clusters and servers that are played, and with people.
//!
//! - `outside` what is outside the daemons; `cluster` Kafka, `server` Postgres
//! - `shop` one machine with its daemon; `town` all of them, and the time that passes
//! - `book` what was promised; `verdict` what people read, beside the facts
//! - `moves` what can happen; `faults` what is known to go wrong
//! - `general` worlds in which everything happens; `by_number` those in which a known fault must be found
//!
//! Three promises are checked after each move: every event that was answered 202 is where it gets to its destination
//! from, at it, or a dead letter for its own sake; it goes nowhere else; and what people read is never kinder than the
//! facts.

mod book;
mod by_number;
mod cluster;
mod faults;
mod general;
mod moves;
mod outside;
mod server;
mod shop;
mod town;
mod verdict;
