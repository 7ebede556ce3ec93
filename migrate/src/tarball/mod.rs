//! Mode `tarball`: the workflow of the thesis "Towards Docker Live Migration", step by step.
//!
//! checkpoint into a folder of its own, `tar -cz`, transfer, unpack, `docker create` with the whole
//! configuration, start from the checkpoint, verify, remove what was made on the way. It moves the
//! processes' memory and nothing else: neither files that the container wrote nor its volumes.

mod archive;
mod back;
mod clean;
mod engine_phases;
pub(crate) mod links;
mod transfer;
pub(crate) mod workflow;

use crate::pipeline::Phases;
use crate::{create::Create, prepare::Prepare, proof::Verify};

/// The phases of this mode.
pub(crate) fn phases() -> Phases {
    Phases {
        before_commit: vec![
            Box::new(Prepare),
            Box::new(engine_phases::Checkpoint),
            Box::new(archive::Archive),
            Box::new(transfer::Transfer),
            Box::new(archive::Unpack),
            Box::new(Create),
            Box::new(engine_phases::Restore),
            Box::new(Verify),
        ],
        after_commit: vec![Box::new(clean::Clean)],
    }
}
