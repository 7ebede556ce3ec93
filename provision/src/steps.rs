//! The steps: each looks at a host and says what is left to do.

mod apt;
mod daemon;
mod system;

use crate::change::Change;
use crate::criu;
use crate::plan::{Refusal, Situation};

type Step = fn(&Situation<'_>) -> Result<Vec<Change>, Refusal>;

/// In the order in which they are done. The configuration comes before the engine, which then
/// starts with it.
pub(crate) const ALL: [Step; 10] = [
    apt::interrupted,
    apt::sources,
    apt::pins,
    daemon::configuration,
    apt::index,
    apt::packages,
    apt::holds,
    system::sysctl,
    system::binary,
    // Our OCI runtime is registered in daemon.json once there is one: keys of `daemon::RELOADED`
    // are taken over by a running daemon.
    daemon::service,
];

/// What a person should know of this host's profile.
pub(crate) fn notes(situation: &Situation<'_>) -> Vec<String> {
    let facts = &situation.survey.facts;
    let doubtful =
        criu::installed(facts).is_none_or(|version| !criu::objections(facts, &version).is_empty());
    criu::source(facts, situation.release)
        .ok()
        .and_then(|source| source.unjudged.clone())
        .filter(|_| doubtful)
        .into_iter()
        .collect()
}
