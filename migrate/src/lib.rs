//! Moving a running container from one host to another.
//!
//! A migration is a list of phases, each with its undo, around one commit point: before it any failure
//! undoes everything and the container goes on at the source; after it nothing fails, it only warns.
//! The modes differ in their phases; [`pipeline`] runs them all.

mod ask;
mod auto;
mod choice;
mod context;
mod copy;
mod create;
mod criu_log;
mod ending;
mod event;
mod failure;
mod inspection;
mod journal;
mod layout;
mod leftover;
mod logs;
mod others;
mod pipeline;
mod policy;
mod prepare;
mod proof;
mod random;
mod report;
mod rounds;
mod sleeper;
mod space;
mod tarball;
mod tool;
mod undo;
mod undumpable;

pub use choice::suits;
use context::FROZEN_TIMEOUT;
pub use context::{LINK_TIMEOUT, Mode, Options};
pub use ending::refuse;
pub use event::{Event, Observer};
pub use failure::{Failure, Kind};
pub use journal::{Reach, Record, home as journal_home};
pub use pipeline::run;
pub use policy::{Choice, ModeFacts};
pub use report::{DowntimeParts, FailureReport, Outcome, PhaseReport, PlannedCommand, Report};
pub use rounds::{PreCopy, Round, Stop};
pub use undo::{Migration, State, Status, status, undo};
