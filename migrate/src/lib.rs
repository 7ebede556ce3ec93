//! Moving a running container from one host to another.
//!
//! A migration is a list of phases, each with its undo, around one commit point: before it any failure
//! undoes everything and the container goes on at the source; after it nothing fails, it only warns.
//! The modes differ in their phases; [`pipeline`] runs them all.

mod ask;
mod context;
mod copy;
mod criu_log;
mod event;
mod failure;
mod inspection;
mod layout;
mod leftover;
mod pipeline;
mod report;
mod space;
mod tarball;
mod tool;

pub use context::{Mode, Options};
pub use event::{Event, Observer};
pub use failure::{Failure, Kind};
pub use pipeline::{refuse, run};
pub use report::{FailureReport, Outcome, PhaseReport, PlannedCommand, Report};
