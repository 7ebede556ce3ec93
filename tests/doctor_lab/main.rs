//! `transship doctor` in a lab of real hosts: failures provoked for real are named beforehand where they can be
//! seen, and explained from what they left behind.

mod absent;
mod activity;
#[path = "../support/archive.rs"]
mod archive;
mod broken;
mod dumps;
mod engine;
mod healthy;
mod place;
mod podman;
mod restores;
#[path = "../support/mod.rs"]
mod support;
mod versions;

use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};
use support::{Lab, Ran, fits_schema};

/// The lab, for one test at a time: they take CRIU away, and change what the kernel allows.
fn lab() -> Option<(&'static Lab, MutexGuard<'static, ()>)> {
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|broken| broken.into_inner());
    let lab = LAB.get_or_init(|| {
        let lab = up()?;
        image(&lab).then_some(lab)
    });
    Some((lab.as_ref()?, turn))
}

/// Brings the lab up, and daemons in it that were ended.
fn up() -> Option<Lab> {
    Lab::up("doc", "10.89.0.0/24", "docker-26")
}

/// Builds the workload and loads it into both hosts as the image `stuck`; also keeps CRIU's last log.
fn image(lab: &Lab) -> bool {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tmp")).unwrap();
    let built = Command::new("gcc")
        .args(["-static", "-O1", "-o"])
        .arg(folder.path().join("stuck"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/workloads/stuck.c"
        ))
        .status();
    if !built.is_ok_and(|status| status.success()) {
        assert!(
            std::env::var_os(support::MUST).is_none(),
            "no gcc that links statically"
        );
        eprintln!("SKIPPED: no gcc that links statically");
        return false;
    }
    let tar = Command::new("tar")
        .arg("-C")
        .arg(folder.path())
        .args(["-c", "stuck", "tmp"])
        .output()
        .unwrap();
    pipe(lab, "a", "docker import - stuck:latest", &tar.stdout);
    let image = Command::new("ssh")
        .arg("-F")
        .arg(lab.ssh_config())
        .args(["a", "docker save stuck:latest"])
        .output()
        .unwrap();
    pipe(lab, "b", "docker load", &image.stdout);
    // What Podman has of an earlier build is another image.
    for host in ["a", "b"] {
        lab.ok(
            host,
            "[ ! -e /var/lib/containers/storage ] || podman rmi -f stuck || true",
        );
    }
    // Docker removes restore.log as soon as a restore has failed.
    for host in ["a", "b"] {
        lab.ok(
            host,
            "mkdir -p /etc/criu; echo log-file /var/log/criu.log >/etc/criu/runc.conf",
        );
    }
    true
}

/// Runs a command in a host with standard input.
fn pipe(lab: &Lab, host: &str, script: &str, input: &[u8]) {
    let mut child = Command::new("ssh")
        .arg("-F")
        .arg(lab.ssh_config())
        .args([host, script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Starts the workload on `a` and waits until it is in its state.
fn start(lab: &Lab, name: &str, options: &str, mode: &str) {
    lab.sh("b", &format!("docker rm -f {name}"));
    lab.ok(
        "a",
        &format!(
            "docker rm -f {name} >/dev/null 2>&1; docker run -d --name {name} {options} stuck /stuck {mode} && \
             for i in $(seq 50); do docker logs {name} | grep -q ready && exit; sleep 0.1; done; docker logs {name}; exit 1"
        ),
    );
}

/// What `doctor a b --container` says of a check: its status and all of its text.
fn says(lab: &Lab, name: &str, id: &str) -> (String, String) {
    let document = lab
        .run(&["--json", "doctor", "a", "b", "--container", name])
        .json();
    fits_schema(&document, "doctor");
    of(&document["container"], id)
}

/// Status and text of a check in a report.
fn of(report: &Value, id: &str) -> (String, String) {
    let found = verdicts(report).find(|verdict| verdict["id"] == id);
    let verdict = found.unwrap_or_else(|| panic!("no {id} in {report:#}"));
    let status = verdict["status"].as_str().unwrap().to_owned();
    (status, verdict.to_string())
}

/// All checks of a report.
fn verdicts(report: &Value) -> impl Iterator<Item = &Value> {
    let groups = report["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["verdicts"].as_array().unwrap())
}

/// Asserts that the first diagnosis is `id`.
#[track_caller]
fn explained(document: &Value, id: &str) {
    fits_schema(document, "explain");
    assert_eq!(document["diagnoses"][0]["id"], id, "{document:#}");
}

/// What `explain --host a --container` says.
fn explain(lab: &Lab, name: &str) -> Value {
    explain_on(lab, "a", name)
}

/// What `explain --host HOST --container` says.
fn explain_on(lab: &Lab, host: &str, name: &str) -> Value {
    let fetch = ["explain", "--host", host, "--container", name];
    let args: Vec<&str> = ["--json", "doctor"].into_iter().chain(fetch).collect();
    lab.run(&args).expect(0).json()
}

/// What `explain` says of a message alone.
fn explain_text(lab: &Lab, text: &str) -> Value {
    let mut child = lab
        .transship(&["--json", "doctor", "explain", "--engine", "docker=26.1.5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    Ran::of(child.wait_with_output().unwrap()).expect(0).json()
}
