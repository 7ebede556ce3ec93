//! Ansible's role knows what the profiles know.

use serde_json::Value;
use std::path::Path;
use std::sync::LazyLock;

static VARS: LazyLock<Value> = LazyLock::new(provision::ansible_vars);

/// A role is copied by itself, so it has files of its own; they are ours, unchanged.
#[track_caller]
fn same(file: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../ansible/roles/transship_host")
        .join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == wanted,
        "{file}: run UPDATE_DOCS=1 cargo test -p provision --test ansible"
    );
}

#[test]
fn the_role_has_the_profiles_of_this_program() {
    let wanted = serde_json::to_string_pretty(&*VARS).unwrap() + "\n";
    same("vars/profiles.json", &wanted);
}

#[test]
fn the_role_starts_docker_as_this_program_does() {
    same("files/daemon.sh", include_str!("../src/daemon.sh"));
}

#[test]
fn the_role_takes_the_criu_that_provision_would() {
    let releases = &VARS["transship_host_profiles"]["docker"]["releases"];
    let offers = |release: &str, kernel: &str| {
        let steps = releases[release]["criu"].as_array().unwrap();
        let step = steps.iter().find(|step| step["kernel"] == kernel).unwrap();
        step["offers"].as_str().map(str::to_owned)
    };
    assert_eq!(offers("debian-13", "4.4").as_deref(), Some("4.1.1"));
    assert_eq!(offers("debian-13", "6.16").as_deref(), Some("4.2.1"));
    // No package of Debian 12 fits a kernel whose vDSO has two data areas.
    assert_eq!(offers("debian-12", "6.13"), None);
}
