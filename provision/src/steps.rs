//! The steps: each looks at a host and says what is left to do.

mod apt;
mod daemon;
mod system;

pub use daemon::register;

use crate::change::Change;
use crate::criu;
use crate::plan::{Refusal, Situation};

type Step = fn(&Situation<'_>) -> Result<Vec<Change>, Refusal>;

/// In the order in which they are done. The configuration comes before the engine, which then
/// starts with it.
pub(crate) const ALL: [Step; 12] = [
    apt::interrupted,
    apt::first,
    apt::sources,
    apt::pins,
    // Before the engine is told of it.
    system::binary,
    daemon::configuration,
    apt::index,
    apt::packages,
    apt::holds,
    system::sysctl,
    system::docker_users,
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
