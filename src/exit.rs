//! Exit codes, the same for all verbs. 2 (wrong usage) is clap's own.

/// Done.
pub const OK: u8 = 0;
/// It did not work; nothing needs repair.
pub const FAILED: u8 = 1;
