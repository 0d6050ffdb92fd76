//! The door's pure parts: a request's head and its body's framing. However the bytes are cut, they mean the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| logs_ingest::door::fuzz::request(input.1, usize::from(input.0) + 1));
