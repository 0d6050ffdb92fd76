//! The daemon's lifecycle on one screen.
fn main() {}
