//! Ansible's role knows what the profiles know.

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

static VARS: LazyLock<Value> = LazyLock::new(provision::ansible_vars);

/// A role is copied by itself, so it has files of its own; they are ours, unchanged.
#[track_caller]
fn same(file: &str, wanted: impl AsRef<[u8]>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../ansible/roles/transship_host")
        .join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted.as_ref()).unwrap();
    }
    let there = std::fs::read(&path).unwrap_or_default();
    assert!(
        there == wanted.as_ref(),
        "{file}: run UPDATE_DOCS=1 cargo test -p provision --test ansible"
    );
}

#[test]
fn the_role_has_the_profiles_of_this_program() {
    let wanted = serde_json::to_string_pretty(&*VARS).unwrap() + "\n";
    same("vars/profiles.json", wanted);
}

/// The key as old versions of apt read it, which the profiles carry in its armour.
#[test]
fn the_role_has_the_key_of_dockers_repository() {
    let armour = include_str!("../profiles/docker.asc");
    let body: String = armour
        .lines()
        .skip(2)
        .take_while(|line| !line.starts_with('='))
        .collect();
    let mut decode = Command::new("base64");
    decode
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = decode.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(body.as_bytes())
        .unwrap();
    same(
        "files/docker.gpg",
        &child.wait_with_output().unwrap().stdout,
    );
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
