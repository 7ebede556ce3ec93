//! Exit codes, the same for all verbs. A migration's report brings its own.

/// Done.
pub const OK: u8 = 0;
/// It did not work; nothing needs repair.
pub const FAILED: u8 = 1;
/// What was asked for makes no sense; clap's own code.
pub const USAGE: u8 = 2;
/// A host could not be reached or examined.
pub const UNREACHABLE: u8 = 3;
/// Checks failed.
pub const CHECKS_FAILED: u8 = 4;
