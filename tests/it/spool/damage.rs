//! Damaged files, files of other versions and other programs.
