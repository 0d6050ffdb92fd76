//! Reading the spool for people, beside a running daemon or without one.
