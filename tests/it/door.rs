//! The door in front of a real `tiny_http` server on a Unix socket. Each test is one thing that it has to withstand, while
//! a healthy client goes on being served.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod faults;
mod inner;
mod limits;
mod traffic;
