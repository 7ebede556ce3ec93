//! Kernel parameters and our own program.

use crate::binary::PROGRAM;
use crate::change::{Change, link, note};
use crate::plan::{Refusal, Situation};
use crate::profile::{Engine, SYSCTL};
use host::Cmd;

type Changes = Result<Vec<Change>, Refusal>;

/// Bytes that a pipe may hold: CRIU's page server asks for 4 MiB, and does not look whether it got them.
const PIPE_SIZE: u64 = 16 << 20;
const PARAMETER: &str = "fs.pipe-max-size";

/// Pipes may be as large as CRIU wants them, now and after a reboot.
pub(super) fn sysctl(situation: &Situation<'_>) -> Changes {
    let survey = situation.survey;
    let now: Option<u64> = survey
        .facts
        .sysctls
        .get(PARAMETER)
        .and_then(|text| text.parse().ok());
    let text = format!("# CRIU moves memory through pipes.\n{PARAMETER} = {PIPE_SIZE}\n");
    let enough = now.is_some_and(|now| now >= PIPE_SIZE);
    let kept = survey.state.has_file(SYSCTL, &text);
    if enough && kept {
        return Ok(Vec::new());
    }
    let mut change = Change::new(
        "sysctl",
        format!("{PARAMETER} is {PIPE_SIZE}, after a reboot too"),
    );
    if !kept {
        change = change.write(SYSCTL, &text);
    }
    if !enough {
        if let Some(now) = now {
            change = change.run(note(&[format!("sysctl {PARAMETER} {now}")]));
        }
        change = change.run(Cmd::changes("sysctl").args([
            "-q",
            "-w",
            &format!("{PARAMETER}={PIPE_SIZE}"),
        ]));
    }
    Ok(vec![change])
}

/// Users who asked for it talk to Docker's daemon without sudo.
pub(super) fn docker_users(situation: &Situation<'_>) -> Changes {
    if situation.profile.engine != Engine::Docker {
        return Ok(Vec::new());
    }
    if let Some(user) = situation.survey.state.unknown_users.first() {
        return Err(Refusal {
            what: format!("the host has no user {user}, who is to be in group docker"),
            fix: vec![format!("on the host: adduser {user}")],
        });
    }
    let members = &situation.survey.state.docker_group;
    let new = situation
        .docker_users
        .iter()
        .filter(|user| !members.contains(*user));
    Ok(new
        .map(|user| {
            Change::new(
                "docker-users",
                format!("{user} is in group docker, which is as good as root"),
            )
            .run(note(&[format!("member {user}")]))
            .run(Cmd::changes("usermod").args(["-aG", "docker", user]))
        })
        .collect())
}

/// This very program is on the host, and is the runtime of the engine that uses it.
pub(super) fn binary(situation: &Situation<'_>) -> Changes {
    let Some(binary) = situation.binary else {
        return Ok(Vec::new());
    };
    let state = &situation.survey.state;
    let version = state.versions.contains(binary.version());
    let program = state.binary.as_deref() == Some(binary.hash.as_str());
    let runtime = !situation.profile.runtime || (program && state.runtime);
    if version && program && runtime {
        return Ok(Vec::new());
    }
    let mut links = vec![PROGRAM];
    let mut sentence = format!("{PROGRAM} is this program ({}…)", &binary.hash[..12]);
    if situation.profile.runtime {
        links.push(runtime::PATH);
        sentence.push_str(", and so is the runtime beside it");
    }
    let mut change = Change::new("binary", sentence);
    if !version {
        change = change.run(binary.install());
    }
    Ok(vec![change.run(link(&binary.path(), &links))])
}
