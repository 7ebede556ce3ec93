//! Mode `tarball`: the workflow of the thesis "Towards Docker Live Migration", step by step.
//!
//! checkpoint into a folder of its own, `tar -cz`, transfer, unpack, `docker create` with the whole
//! configuration, start from the checkpoint, verify, remove what was made on the way. It moves the
//! processes' memory and nothing else: neither files that the container wrote nor its volumes.

mod archive;
mod clean;
pub(crate) mod engine_phases;
pub(crate) mod prepare;
pub(crate) mod proof;
mod transfer;

use crate::pipeline::Phases;

/// The phases of this mode.
pub(crate) fn phases() -> Phases {
    Phases {
        before_commit: vec![
            Box::new(prepare::Prepare::default()),
            Box::new(engine_phases::Checkpoint::default()),
            Box::new(archive::Archive),
            Box::new(transfer::Transfer),
            Box::new(archive::Unpack),
            Box::new(engine_phases::Create::default()),
            Box::new(engine_phases::Restore::default()),
            Box::new(proof::Verify),
        ],
        after_commit: vec![Box::new(clean::Clean)],
    }
}
