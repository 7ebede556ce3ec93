//! Judgement: what on a host, between two hosts or in a container stands in the way of a migration, and what a
//! failed one says about its cause.

pub mod check;
pub mod document;
pub mod explain;
pub mod hardware;
