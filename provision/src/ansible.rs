//! The profiles as Ansible's role reads them.

use crate::choice::all;
use crate::criu;
use crate::profile::{CriuSource, Release, Repository, SUITE_PIN, SUITE_SOURCE, VERSION_PIN};
use serde_json::{Map, Value, json};

/// Versions of Linux that distributions kept for long, and all since 6.0: CRIU is asked about each.
const KERNELS: &str = "3.10 4.4 4.9 4.14 4.15 4.18 4.19 5.3 5.4 5.10 5.13 5.14 5.15 5.18 5.19 \
    6.0 6.1 6.2 6.3 6.4 6.5 6.6 6.7 6.8 6.9 6.10 6.11 6.12 6.13 6.14 6.15 6.16 6.17 6.18 6.19 \
    7.0 7.1 7.2 7.3 7.4 7.5 7.6 7.7 7.8 7.9";

/// All profiles, with what each step would find out put into words that need no doctor: which CRIU
/// fits from which kernel on.
#[must_use]
pub fn ansible_vars() -> Value {
    let profiles = all().into_iter().map(|profile| {
        let releases: Map<String, Value> = profile
            .release
            .iter()
            .map(|one| (one.name(), release(one)))
            .collect();
        let value = json!({
            "engine": profile.engine,
            "runtime": profile.runtime,
            "daemon": profile.daemon_keys(true),
            "releases": releases,
        });
        (profile.name, value)
    });
    let profiles: Map<String, Value> = profiles.collect();
    json!({ "transship_host_profiles": profiles })
}

fn file(path: &str, contents: &str) -> Value {
    json!({ "path": path, "contents": contents })
}

fn release(release: &Release) -> Value {
    let mut files = Vec::new();
    let mut address = None;
    if let Some(repository) = &release.repository {
        files.push(file(&repository.list(), &repository.line()));
        address = repository.source.split(' ').next();
    }
    let held: Vec<&str> = release
        .pinned
        .iter()
        .map(|pin| pin.package.as_str())
        .collect();
    let pinned: Vec<String> = release
        .pinned
        .iter()
        .map(|pin| format!("{}={}", pin.package, pin.version))
        .collect();
    let pins = match pinned.as_slice() {
        [] => Vec::new(),
        _ => vec![file(VERSION_PIN, &release.version_pin())],
    };
    json!({
        "repository": address,
        "repository_key": release.repository.as_ref().map(Repository::key_file),
        "repository_files": files,
        "pin_files": pins,
        "pinned": pinned,
        "held": held,
        "packages": release.packages,
        "first": release.first,
        "criu": by_kernel(release),
    })
}

/// What the doctor thinks best from a kernel on, each kernel with another answer once.
fn by_kernel(release: &Release) -> Vec<Value> {
    let mut answers: Vec<Value> = Vec::new();
    let mut before = None;
    for kernel in KERNELS.split_whitespace() {
        let facts = release.facts(Some(&format!("{kernel}.0")));
        let source = criu::source(&facts, release).ok();
        let version = source.map(|source| source.offers.as_str());
        if before != Some(version) {
            answers.push(answer(kernel, source));
        }
        before = Some(version);
    }
    answers
}

fn answer(kernel: &str, source: Option<&CriuSource>) -> Value {
    let Some(source) = source else {
        return json!({ "kernel": kernel, "packages": [] });
    };
    let suite = source.suite.as_ref().map(|suite| {
        json!({
            "name": suite,
            "source_path": SUITE_SOURCE,
            "pin_path": SUITE_PIN,
            "pin": source.suite_pin(suite),
        })
    });
    json!({
        "kernel": kernel,
        "offers": source.offers,
        "packages": source.packages,
        "suite": suite,
        "ppa": source.ppa,
        "unjudged": source.unjudged,
    })
}
