//! Docker's daemon: its configuration, and that it runs with it.

use crate::change::{Change, daemon, pending};
use crate::merge::{MergeError, Merged, merge};
use crate::plan::{Refusal, Situation};
use crate::profile::{DAEMON_JSON, Engine, PENDING, runtime_keys};
use host::facts::engines::DockerServer;

type Changes = Result<Vec<Change>, Refusal>;

const RELOAD: &str = "reload\n";
const RESTART: &str = "restart\n";

/// Keys that a running daemon takes over at SIGHUP (dockerd's manual, "Configuration reload behavior").
const RELOADED: [&str; 4] = ["debug", "labels", "live-restore", "runtimes"];

fn server<'a>(situation: &Situation<'a>) -> Option<&'a DockerServer> {
    situation.survey.facts.docker.as_ref()?.server.as_ref()
}

fn keys(situation: &Situation<'_>) -> serde_json::Map<String, serde_json::Value> {
    situation.profile.daemon_keys(situation.binary.is_some())
}

fn merged(situation: &Situation<'_>) -> Result<Option<Merged>, Refusal> {
    if situation.profile.engine != Engine::Docker {
        return Ok(None);
    }
    let text = situation
        .survey
        .state
        .files
        .get(DAEMON_JSON)
        .map_or("", String::as_str);
    merge(text, &keys(situation)).map_err(|error| Refusal {
        what: format!("{DAEMON_JSON} is no JSON object: {error}"),
        fix: vec![format!("mend it (docker does not start with it either), or move it away: mv {DAEMON_JSON} {DAEMON_JSON}.broken")],
    })
}

/// daemon.json has the profile's keys, and those that it had.
pub(super) fn configuration(situation: &Situation<'_>) -> Changes {
    let Some(merged) = merged(situation)? else {
        return Ok(Vec::new());
    };
    let wanted = keys(situation);
    let keys: Vec<String> = merged
        .changed
        .iter()
        .map(|key| format!("{key} {}", wanted[key]))
        .collect();
    let sentence = format!("{DAEMON_JSON} says {}", keys.join(", "));
    Ok(vec![written(sentence, &merged)])
}

/// The mark comes first: a run that is cut off between the two leaves the restart to the next one.
fn written(sentence: String, merged: &Merged) -> Change {
    Change::new("daemon.json", sentence)
        .run(pending(PENDING, how(merged).trim_end()))
        .write(DAEMON_JSON, &merged.text)
}

/// Makes a running Docker know our runtime, without a restart: what a migration does where provision was
/// not. `text` is what its daemon.json holds now.
///
/// # Errors
/// Where that is no JSON object.
pub fn register(text: &str) -> Result<Change, MergeError> {
    let sentence = "Docker knows transship's runtime; containers go on".to_owned();
    let reload = daemon(RELOAD.trim_end());
    Ok(match merge(text, &runtime_keys())? {
        Some(merged) => written(sentence, &merged).run(reload),
        None => Change::new("daemon.json", sentence).run(reload),
    })
}

fn how(merged: &Merged) -> &'static str {
    let light = merged
        .changed
        .iter()
        .all(|key| RELOADED.contains(&key.as_str()));
    if light { RELOAD } else { RESTART }
}

/// The daemon runs with that configuration and in that version; it is disturbed only where it must be.
pub(super) fn service(situation: &Situation<'_>) -> Changes {
    if situation.profile.engine != Engine::Docker {
        return Ok(Vec::new());
    }
    let change =
        |how: &str, sentence: &str| Ok(vec![Change::new("service", sentence).run(daemon(how))]);
    let Some(server) = server(situation) else {
        let installed = situation.survey.facts.docker.is_some();
        // Where it is installed and does not answer, something half-dead may be in the way.
        return change(
            if installed { "restart" } else { "start" },
            "Docker's daemon runs",
        );
    };
    let wanted = |key: &str| {
        situation
            .profile
            .daemon
            .get(key)
            .and_then(serde_json::Value::as_bool)
    };
    let old_version = situation.release.pinned.iter().any(|pin| {
        pin.package == "docker-ce" && host::version::lenient(&pin.version) != server.version
    });
    if old_version {
        return change(
            "restart",
            "Docker's daemon runs in the version that is installed",
        );
    }
    let left = situation
        .survey
        .state
        .files
        .get(PENDING)
        .map(String::as_str);
    let mut wanted_now = merged(situation)?.as_ref().map(how);
    // Someone wrote it into the file, and did not tell the daemon.
    if wanted_now.is_none()
        && keys(situation).contains_key("runtimes")
        && !server.runtimes.contains_key(runtime::REGISTERED)
    {
        wanted_now = Some(RELOAD);
    }
    let off = wanted("experimental") == Some(true) && !server.experimental;
    match (left, wanted_now) {
        (None | Some(RELOAD), None | Some(RELOAD)) if !off => {
            if left.or(wanted_now).is_some() {
                return change(
                    "reload",
                    "Docker's daemon has read its configuration; containers go on",
                );
            }
        }
        _ => {
            return change(
                "restart",
                "Docker's daemon runs with this configuration (restarted: containers without live-restore stop)",
            );
        }
    }
    if situation
        .survey
        .state
        .unit
        .as_deref()
        .is_some_and(|unit| unit != "enabled")
    {
        return change("start", "Docker's daemon starts with the host");
    }
    Ok(Vec::new())
}
