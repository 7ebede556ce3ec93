//! Packages: where they come from, which versions, and that they stay.

use crate::change::{Change, apt_get, note};
use crate::criu;
use crate::plan::{Refusal, Situation};
use crate::profile::{CriuSource, From, Pinned, SUITE_PIN, SUITE_SOURCE, VERSION_PIN};
use crate::state::State;
use host::Cmd;
use std::time::Duration;

type Changes = Result<Vec<Change>, Refusal>;

/// CRIU's source, where one is needed.
fn wanted_criu<'r>(situation: &Situation<'r>) -> Result<Option<&'r CriuSource>, Refusal> {
    let facts = &situation.survey.facts;
    if let Some(version) = criu::installed(facts) {
        // libcriu is a package of its own, which crun needs.
        let source = situation.release.criu.iter().find(|source| {
            source
                .packages
                .iter()
                .all(|package| situation.survey.state.packages.contains_key(package))
        });
        let fits = criu::objections(facts, &version).is_empty();
        let by_hand = fits
            && facts
                .criu
                .as_ref()
                .is_some_and(|criu| criu.package.is_none());
        let taken = source.is_some_and(|source| source.unjudged.is_some());
        if by_hand || taken || (fits && source.is_some()) {
            return Ok(None);
        }
    }
    criu::source(facts, situation.release).map(Some)
}

/// An installation that was cut off is finished first.
pub(super) fn interrupted(situation: &Situation<'_>) -> Changes {
    if !situation.survey.state.interrupted {
        return Ok(Vec::new());
    }
    let configure = Cmd::changes("dpkg")
        .args(["--configure", "-a", "--force-confold"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .timeout(Duration::from_secs(900));
    // What was cut off while it was unpacked has to be unpacked anew.
    Ok(vec![
        Change::new("dpkg", "an installation that was cut off is finished")
            .run(configure)
            .run(apt_get(&["install", "--fix-broken"])),
    ])
}

/// What apt needs to read the sources that are added is there before them: without it apt would not even
/// read its own.
pub(super) fn first(situation: &Situation<'_>) -> Changes {
    let state = &situation.survey.state;
    let first = situation.release.first.iter();
    let missing: Vec<&str> = first
        .filter(|package| !state.packages.contains_key(*package))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let notes: Vec<String> = missing
        .iter()
        .map(|package| format!("installed {package}"))
        .collect();
    let mut args = vec!["install", "--no-install-recommends"];
    args.extend(&missing);
    let sentence = format!(
        "apt has what it reads other sources with: {}",
        missing.join(", ")
    );
    Ok(vec![
        Change::new("first", sentence)
            .run(update())
            .run(note(&notes))
            .run(apt_get(&args)),
    ])
}

/// apt knows where the packages come from.
pub(super) fn sources(situation: &Situation<'_>) -> Changes {
    let state = &situation.survey.state;
    let mut changes = Vec::new();
    if let Some(repository) = &situation.release.repository {
        let (list, key) = (repository.list(), repository.key_file());
        let ours =
            state.has_file(&key, &repository.key()) && state.has_file(&list, &repository.line());
        if !ours && !state.has_source(&repository.source, &list) {
            changes.push(
                Change::new(
                    "sources",
                    format!("apt knows the repository {} and its key", repository.source),
                )
                .write(&key, &repository.key())
                .write(&list, &repository.line()),
            );
        }
    }
    let Some(source) = wanted_criu(situation)? else {
        return Ok(changes);
    };
    match (source.from, &source.suite, &source.ppa) {
        (From::Suite, Some(suite), _) => {
            let Some(mirror) = &state.mirror else {
                return Err(Refusal {
                    what: "the host's apt sources name no Debian mirror".to_owned(),
                    fix: vec!["add one to /etc/apt/sources.list, then run this again".to_owned()],
                });
            };
            // A mirror may be a snapshot whose index is past its date; the signature is checked all the same.
            let signed = mirror
                .signed_by
                .as_ref()
                .map_or(String::new(), |key| format!(" signed-by={key}"));
            let line = format!(
                "deb [check-valid-until=no{signed}] {} {suite} main\n",
                mirror.uri
            );
            let pin = source.suite_pin(suite);
            if !state.has_file(SUITE_SOURCE, &line) || !state.has_file(SUITE_PIN, &pin) {
                // The pin first: without it the whole host would move to the other suite.
                changes.push(
                    Change::new(
                        "sources",
                        format!(
                            "apt takes {} from {suite}, and nothing else",
                            source.of_suite().join(", ")
                        ),
                    )
                    .write(SUITE_PIN, &pin)
                    .write(SUITE_SOURCE, &line),
                );
            }
        }
        (From::Ppa, _, Some(ppa)) => {
            let address = ppa.trim_start_matches("ppa:");
            if !state.sources.contains(address) {
                changes.push(
                    Change::new("sources", format!("apt knows {ppa}"))
                        .run(note(&[format!("ppa {ppa}")]))
                        .run(
                            Cmd::changes("add-apt-repository")
                                .args(["-y", ppa])
                                .timeout(Duration::from_secs(300)),
                        ),
                );
            }
        }
        _ => {}
    }
    Ok(changes)
}

/// Versions that the profile names stay.
pub(super) fn pins(situation: &Situation<'_>) -> Changes {
    let pinned = &situation.release.pinned;
    let text = situation.release.version_pin();
    if pinned.is_empty() || situation.survey.state.has_file(VERSION_PIN, &text) {
        return Ok(Vec::new());
    }
    let names: Vec<String> = pinned
        .iter()
        .map(|pin| format!("{} at {}", pin.package, pin.version))
        .collect();
    Ok(vec![
        Change::new("pins", format!("apt keeps {}", names.join(", "))).write(VERSION_PIN, &text),
    ])
}

fn pinned_is_there(state: &State, pin: &Pinned) -> bool {
    let version = state.packages.get(&pin.package);
    version.is_some_and(|version| pin.allows(version))
}

/// What is missing: packages as apt-get is told them, those of the profile first.
fn missing(situation: &Situation<'_>) -> Result<Vec<String>, Refusal> {
    let state = &situation.survey.state;
    let release = situation.release;
    let mut missing: Vec<String> = Vec::new();
    for pin in &release.pinned {
        if !pinned_is_there(state, pin) {
            missing.push(format!("{}={}", pin.package, pin.version));
        }
    }
    let any = release.packages.iter();
    missing.extend(
        any.filter(|package| !state.packages.contains_key(*package))
            .cloned(),
    );
    if let Some(source) = wanted_criu(situation)? {
        // Whoever held it wants it left alone: apt would refuse, and so do we, before anything is changed.
        let held = source.packages.iter().find_map(|package| {
            let version = state.packages.get(package)?;
            state.holds.contains(package).then_some((package, version))
        });
        if let Some((package, version)) = held {
            return Err(Refusal {
                what: format!(
                    "{package} is held at {version}, and this kernel needs {} or later",
                    source.offers
                ),
                fix: vec![format!("apt-mark unhold {package}")],
            });
        }
        missing.extend(source.packages.iter().cloned());
    }
    Ok(missing)
}

/// Reads apt's index. By itself apt calls it a success when no source could be reached.
fn update() -> Cmd {
    apt_get(&["-o", "APT::Update::Error-Mode=any", "update"])
}

/// apt's index is read where something is to be installed.
pub(super) fn index(situation: &Situation<'_>) -> Changes {
    if missing(situation)?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![
        Change::new("index", "apt's index of packages is up to date").run(update()),
    ])
}

/// The packages are there.
pub(super) fn packages(situation: &Situation<'_>) -> Changes {
    let missing = missing(situation)?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let state = &situation.survey.state;
    let mut notes = Vec::new();
    for package in &missing {
        let name = package.split('=').next().unwrap_or_default();
        match state.packages.get(name) {
            Some(version) => notes.push(format!("version {name} {version}")),
            None => notes.push(format!("installed {name}")),
        }
        // A hold of the user's own, which another version takes away.
        if state.holds.contains(name) && !state.journal().any(|line| line == format!("held {name}"))
        {
            notes.push(format!("held-before {name}"));
        }
    }
    let mut args = vec!["install", "--no-install-recommends"];
    // A version that the profile names may be older than what is there, and what is there be held.
    if missing.iter().any(|package| package.contains('=')) {
        args.extend(["--allow-downgrades", "--allow-change-held-packages"]);
    }
    args.extend(missing.iter().map(String::as_str));
    let mut sentence = format!("installed: {}", missing.join(", "));
    if let Some(source) = wanted_criu(situation)? {
        sentence.push_str(&format!(
            "; CRIU {} or later is {}",
            source.offers, source.why
        ));
    }
    Ok(vec![
        Change::new("packages", sentence)
            .run(note(&notes))
            .run(apt_get(&args)),
    ])
}

/// What has one version is held, so that an upgrade leaves it.
pub(super) fn holds(situation: &Situation<'_>) -> Changes {
    let state = &situation.survey.state;
    // Another version of a held package lets go of it.
    let free: Vec<&str> = situation
        .release
        .pinned
        .iter()
        .filter(|pin| !state.holds.contains(&pin.package) || !pinned_is_there(state, pin))
        .map(|pin| pin.package.as_str())
        .collect();
    if free.is_empty() {
        return Ok(Vec::new());
    }
    let notes: Vec<String> = free
        .iter()
        .map(|package| format!("held {package}"))
        .collect();
    Ok(vec![
        Change::new("holds", format!("held: {}", free.join(", ")))
            .run(note(&notes))
            .run(Cmd::changes("apt-mark").arg("hold").args(free)),
    ])
}
