//! Mode `copy`: the destination is prepared while the source runs, down to an engine that has started
//! the container and waits in our runtime; then freeze, and images and what changed stream straight into
//! the destination's memory. The source stays frozen, alive, until the destination is proven to run.

mod agents;
pub(crate) mod binds;
mod clean;
pub(crate) mod connections;
mod files;
mod flow;
mod freeze;
mod image;
mod lan;
mod layers;
pub(crate) mod lazy;
pub(crate) mod marks;
mod network;
pub(crate) mod pages;
pub(crate) mod rounds;
mod state;
pub(crate) mod subject;
pub(crate) mod tcp;
pub(crate) mod thaw;

use crate::Options;
use crate::pipeline::{Phase, Phases};
use crate::{create::Create, prepare::Prepare, proof::Verify};
use flow::Shared;

/// The phases of this mode, and of those that are like it. In mode `pre-copy` most of the memory is sent
/// ahead. In mode `post-copy`, and after pre-copy if it is asked for, memory stays on the source until the
/// container runs on the destination, and follows before the commit point.
pub(crate) fn phases(options: &Options) -> Phases {
    let flow = &Shared::default();
    let mut before_commit: Vec<Box<dyn Phase>> = vec![Box::new(Prepare), Box::new(image::Image)];
    if options.copy_bind {
        before_commit.push(Box::new(binds::Binds));
    }
    before_commit.push(Box::new(Create));
    before_commit.push(Box::new(files::Files::new(flow)));
    if options.mode.has_rounds() {
        before_commit.push(Box::new(rounds::Rounds::new(flow)));
    }
    let rest: [Box<dyn Phase>; 5] = [
        Box::new(files::Start::new(flow)),
        Box::new(freeze::Freeze::new(flow)),
        Box::new(freeze::Move::new(flow)),
        Box::new(freeze::Restore::new(flow)),
        Box::new(Verify),
    ];
    before_commit.extend(rest);
    if options.leaves_pages() {
        before_commit.push(Box::new(pages::Pages::new(flow)));
    }
    Phases {
        before_commit,
        after_commit: vec![Box::new(clean::Clean::new(flow))],
    }
}
