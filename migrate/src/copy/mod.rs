//! Mode `copy`: the destination is prepared while the source runs, down to an engine that has started
//! the container and waits in our runtime; then freeze, and images and what changed stream straight into
//! the destination's memory. The source stays frozen, alive, until the destination is proven to run.

mod clean;
mod files;
mod flow;
mod freeze;
mod image;
mod network;
mod prepare;
pub(crate) mod subject;

use crate::pipeline::Phases;
use crate::tarball::{engine_phases::Create, proof::Verify};
use flow::Shared;

/// The phases of this mode.
pub(crate) fn phases() -> Phases {
    let flow = Shared::default();
    Phases {
        before_commit: vec![
            Box::new(prepare::Prepare::new(&flow)),
            Box::new(image::Image),
            Box::new(Create::default()),
            Box::new(files::Files::new(&flow)),
            Box::new(files::Start::new(&flow)),
            Box::new(freeze::Freeze::new(&flow)),
            Box::new(freeze::Move::new(&flow)),
            Box::new(freeze::Restore::new(&flow)),
            Box::new(Verify),
        ],
        after_commit: vec![Box::new(clean::Clean::new(&flow))],
    }
}
