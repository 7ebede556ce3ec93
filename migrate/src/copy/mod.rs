//! Mode `copy`: the destination is prepared while the source runs, down to an engine that has started
//! the container and waits in our runtime; then freeze, and images and what changed stream straight into
//! the destination's memory. The source stays frozen, alive, until the destination is proven to run.

pub(crate) mod binds;
mod clean;
mod files;
mod flow;
mod freeze;
mod image;
mod layers;
pub(crate) mod lazy;
mod network;
pub(crate) mod pages;
pub(crate) mod subject;
pub(crate) mod tcp;
pub(crate) mod thaw;

use crate::pipeline::{Phase, Phases};
use crate::{create::Create, prepare::Prepare, proof::Verify};
use flow::Shared;

/// The phases of this mode.
pub(crate) fn phases(copy_bind: bool) -> Phases {
    of(&Shared::default(), copy_bind)
}

/// The phases of mode `post-copy`: as above, but the memory stays on the source until the container runs
/// on the destination, and follows before the commit point.
pub(crate) fn post_copy(copy_bind: bool) -> Phases {
    let flow = Shared::default();
    let mut phases = of(&flow, copy_bind);
    phases
        .before_commit
        .push(Box::new(pages::Pages::new(&flow)));
    phases
}

fn of(flow: &Shared, copy_bind: bool) -> Phases {
    let mut before_commit: Vec<Box<dyn Phase>> = vec![Box::new(Prepare), Box::new(image::Image)];
    if copy_bind {
        before_commit.push(Box::new(binds::Binds));
    }
    let rest: [Box<dyn Phase>; 7] = [
        Box::new(Create),
        Box::new(files::Files::new(flow)),
        Box::new(files::Start::new(flow)),
        Box::new(freeze::Freeze::new(flow)),
        Box::new(freeze::Move::new(flow)),
        Box::new(freeze::Restore::new(flow)),
        Box::new(Verify),
    ];
    before_commit.extend(rest);
    Phases {
        before_commit,
        after_commit: vec![Box::new(clean::Clean::new(flow))],
    }
}
