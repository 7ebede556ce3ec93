//! Putting back what provision did to a host, by the host's own journal.

use crate::change::{Change, JOURNAL, UNDONE, apt_get, daemon, restore};
use crate::plan::{Plan, Refusal};
use crate::profile::DAEMON_JSON;
use crate::state::Survey;
use host::Cmd;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is to be done so that a host is as it was before provision: the last thing first.
///
/// # Errors
/// Where containers need our runtime: without it they could neither be stopped nor started.
pub fn undo(survey: &Survey) -> Result<Plan, Refusal> {
    let state = &survey.state;
    let mut lines: Vec<&str> = Vec::new();
    for line in state.journal().rev() {
        // User-data that a machine was given twice notes its files twice.
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let runtime = lines.iter().any(|line| {
        line.split_once(' ')
            .is_some_and(|(_, path)| path == runtime::PATH)
    });
    if runtime && !state.containers.is_empty() {
        return Err(Refusal {
            what: format!(
                "containers here are started by transship's runtime, which this would take away: {}",
                state.containers.join(", ")
            ),
            fix: vec![
                "migrate them away, or remove them where they are no longer needed (docker rm NAME); then run this again".to_owned(),
            ],
        });
    }
    let mut changes = Vec::new();
    let held_before: Vec<&str> = words(&lines, "held-before");
    let held: Vec<&str> = words(&lines, "held")
        .into_iter()
        .filter(|package| !held_before.contains(package))
        .collect();
    if !held.is_empty() {
        changes.push(
            Change::new("holds", format!("no longer held: {}", held.join(", ")))
                .run(Cmd::changes("apt-mark").arg("unhold").args(held)),
        );
    }
    // Before its own tool goes.
    for ppa in words(&lines, "ppa") {
        let remove = Cmd::changes("add-apt-repository").args(["-y", "--remove", ppa]);
        changes.push(
            Change::new("sources", format!("apt forgets {ppa}"))
                .run(remove.timeout(Duration::from_secs(300))),
        );
    }
    // The first version is that of before; what was cut off half-way was noted once more, as if it were new.
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    for (package, version) in lines
        .iter()
        .filter_map(|line| line.strip_prefix("version ")?.split_once(' '))
    {
        before.insert(package, version);
    }
    let gone: Vec<&str> = words(&lines, "installed")
        .into_iter()
        .filter(|package| state.packages.contains_key(*package) && !before.contains_key(package))
        .collect();
    if !gone.is_empty() {
        let args: Vec<&str> = ["remove"].into_iter().chain(gone.iter().copied()).collect();
        changes.push(
            Change::new("packages", format!("removed: {}", gone.join(", "))).run(apt_get(&args)),
        );
    }
    let mut files = Change::new("files", String::new());
    let mut named = Vec::new();
    let mut configured = false;
    for line in &lines {
        let Some((how @ ("changed" | "created"), path)) = line.split_once(' ') else {
            continue;
        };
        // Before the sources go: what had another version comes back from them.
        configured |= path == DAEMON_JSON;
        let mut sentence = if how == "changed" {
            format!("{path} is as it was")
        } else {
            format!("{path} is gone")
        };
        if state.edited.contains(path) {
            sentence.push_str(&format!(
                " (what you made of it since is kept as {path}{UNDONE})"
            ));
        }
        named.push(sentence);
        files = files.run(restore(how, path));
    }
    let older: Vec<String> = before
        .iter()
        .filter(|(package, version)| {
            let now = state.packages.get(**package);
            now.is_some_and(|now| now != *version)
        })
        .map(|(package, version)| format!("{package}={version}"))
        .collect();
    if !named.is_empty() {
        files.sentence = named.join("; ");
        changes.push(files);
    }
    if !older.is_empty() {
        let mut args = vec![
            "install",
            "--no-install-recommends",
            "--allow-downgrades",
            "--allow-change-held-packages",
        ];
        args.extend(older.iter().map(String::as_str));
        changes.push(
            Change::new("packages", format!("installed: {}", older.join(", ")))
                .run(apt_get(&["update"]))
                .run(apt_get(&args)),
        );
    }
    if !held_before.is_empty() {
        changes.push(
            Change::new(
                "holds",
                format!("held again, as before: {}", held_before.join(", ")),
            )
            .run(Cmd::changes("apt-mark").arg("hold").args(held_before)),
        );
    }
    for line in &lines {
        if let Some((name, value)) = line
            .strip_prefix("sysctl ")
            .and_then(|rest| rest.split_once(' '))
        {
            changes.push(
                Change::new("sysctl", format!("{name} is {value}"))
                    .run(Cmd::changes("sysctl").args(["-q", "-w", &format!("{name}={value}")])),
            );
        } else if let Some(user) = line.strip_prefix("member ")
            && state.docker_group.contains(user)
        {
            changes.push(
                Change::new("docker-users", format!("{user} is not in group docker"))
                    .run(Cmd::changes("gpasswd").args(["-d", user, "docker"])),
            );
        }
    }
    let engine_goes = gone
        .iter()
        .any(|package| matches!(*package, "docker.io" | "docker-ce"));
    if configured && !engine_goes && survey.facts.docker.is_some() {
        changes.push(
            Change::new("service", "Docker's daemon runs with the configuration of before (restarted: containers without live-restore stop)")
                .run(daemon("restart")),
        );
    }
    if !lines.is_empty() {
        changes.push(
            Change::new("journal", "nothing is left to be put back")
                .run(Cmd::changes("rm").args(["-rf", "/etc/transship"])),
        );
    }
    Ok(Plan {
        profile: "undo".to_owned(),
        why: format!("{JOURNAL} on the host tells what was done"),
        ok: 0,
        changes,
        notes: Vec::new(),
    })
}

/// The second words of the lines that begin with this one.
fn words<'l>(lines: &[&'l str], first: &str) -> Vec<&'l str> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(first)?.strip_prefix(' '))
        .collect()
}
