//! Spool.
