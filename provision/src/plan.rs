//! From what a host is and what it shall be to what is to be done.

use crate::binary::Binary;
use crate::change::Change;
use crate::choice::Choice;
use crate::profile::{Profile, Release};
use crate::state::Survey;
use crate::steps;

/// Why a host cannot be prepared; nothing was done to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// What stands in the way.
    pub what: String,
    /// The way out.
    pub fix: Vec<String>,
}

/// What hosts are to become.
#[derive(Clone)]
pub struct Wanted {
    /// The profile.
    pub choice: Choice,
    /// This program; `None` where it stays away (cloud-init).
    pub binary: Option<Binary>,
    /// Users of the host that are to be in group docker, which is as good as root.
    pub docker_users: Vec<String>,
}

/// What is to be done to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The profile's name; `undo` where things are put back.
    pub profile: String,
    /// Why this one, and why its versions.
    pub why: String,
    /// How many steps have nothing to do.
    pub ok: usize,
    /// What is to be done, in order.
    pub changes: Vec<Change>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// All that a step looks at.
pub(crate) struct Situation<'a> {
    pub(crate) survey: &'a Survey,
    pub(crate) profile: &'a Profile,
    pub(crate) release: &'a Release,
    pub(crate) binary: Option<&'a Binary>,
    pub(crate) docker_users: &'a [String],
}

/// What is to be done to a host so that it becomes what is wanted.
///
/// # Errors
/// Where it cannot become that: another system, not root, no CRIU for its kernel, a configuration
/// that cannot be read.
pub fn plan(survey: &Survey, wanted: &Wanted) -> Result<Plan, Refusal> {
    let facts = &survey.facts;
    let (profile, why) = wanted.choice.for_host(facts);
    let name = &profile.name;
    let Some(release) = profile.release_for(facts) else {
        let system = facts
            .os
            .as_ref()
            .map_or("an unknown system", |os| os.name.as_str());
        let known: Vec<String> = profile
            .release
            .iter()
            .map(|r| format!("{} {}", r.id, r.version))
            .collect();
        return Err(Refusal {
            what: format!(
                "profile {name} does not know {system}; it knows {}",
                known.join(", ")
            ),
            fix: vec![
                "use one of these systems, or prepare the host by hand and see `transship doctor`"
                    .to_owned(),
            ],
        });
    };
    if facts.identity.uid.is_some_and(|uid| uid != 0) {
        let user = facts.identity.user.as_deref().unwrap_or("this user");
        return Err(Refusal {
            what: format!(
                "{user} is not root and may not use sudo without a password there; packages and configuration are root's"
            ),
            fix: vec![
                format!(
                    "on the host: echo '{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/{user}"
                ),
                "or log in as root: root@HOST, with your key in /root/.ssh/authorized_keys"
                    .to_owned(),
            ],
        });
    }
    let machine = facts.kernel.as_ref().map(|kernel| kernel.machine.as_str());
    if let (Some(machine), Some(_)) = (machine, &wanted.binary)
        && machine != std::env::consts::ARCH
    {
        return Err(Refusal {
            what: format!(
                "the host is {machine} and this program is built for {}",
                std::env::consts::ARCH
            ),
            fix: vec![format!("run transship from a {machine} machine")],
        });
    }
    let situation = Situation {
        survey,
        profile: &profile,
        release,
        binary: wanted.binary.as_ref(),
        docker_users: &wanted.docker_users,
    };
    let mut plan = Plan {
        profile: name.clone(),
        why: format!("{why}. {}", release.why),
        ok: 0,
        changes: Vec::new(),
        notes: steps::notes(&situation),
    };
    for step in steps::ALL {
        let changes = step(&situation)?;
        if changes.is_empty() {
            plan.ok += 1;
        }
        plan.changes.extend(changes);
    }
    Ok(plan)
}
