//! Checks of one host.

mod criu;
mod engine;
mod features;
mod kernel;
mod options;
mod podman;
mod security;
mod space;
mod system;
mod table;

use super::catalogue::Check;
use super::subject::Subject;

pub use kernel::memory_is_tracked;
pub(super) use system::read;

/// All checks of one host but the rules about known faults, which are data.
pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    let mut checks = system::checks();
    checks.extend(kernel::checks());
    checks.extend(options::checks());
    checks.extend(criu::checks());
    checks.extend(features::checks());
    checks.extend(engine::checks());
    checks.extend(podman::checks());
    checks.extend(security::checks());
    checks.extend(space::checks());
    checks
}
