//! Judges hosts, pairs of hosts and containers by their facts, and explains failures.

pub mod check;
pub mod hardware;
