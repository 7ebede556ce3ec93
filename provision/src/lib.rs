//! From a bare host to one that containers can be moved from and to.
//!
//! A host is looked at ([`Survey`]), a profile says what it is to become, and the difference is a
//! [`Plan`]: changes, each a sentence and the commands that make it true. The plan that is shown,
//! its JSON, cloud-init's and the one that is run are the same object. After a run the host is
//! looked at again, and must need nothing more.

mod ansible;
mod apply;
mod binary;
mod change;
mod choice;
mod cloud_init;
mod criu;
mod lock;
mod merge;
mod plan;
mod profile;
mod report;
mod state;
mod steps;
mod undo;

pub use ansible::ansible_vars;
pub use apply::{Event, Work, apply, judge};
pub use binary::Binary;
pub use change::{Action, BACKUP, Change, File, JOURNAL, UNDONE};
pub use choice::{Choice, Name};
pub use cloud_init::cloud_init;
pub use lock::{Unlocked, lock};
pub use merge::{MergeError, Merged, merge};
pub use plan::{Plan, Refusal, Wanted, plan};
pub use profile::{CriuSource, DAEMON_JSON, Engine, From, Pinned, Profile, Release, Repository};
pub use report::{ChangeReport, CommandReport, FailureReport, HostReport, Outcome, Report, Status};
pub use state::{Mirror, State, Survey};
pub use steps::register;
pub use undo::undo;
