//! What goes wrong on the way, in a lab of its own whose hosts are broken on purpose: whatever it is,
//! exactly one copy of the container runs, and it went on.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard};
use support::{Lab, Ran, fits_schema, in_order, transship};

/// The hosts are broken and mended by one test at a time; each begins with whole ones.
fn lab() -> Option<(MutexGuard<'static, ()>, Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed leaves the lock poisoned and its hosts broken.
    let turn = TURN.lock().unwrap_or_else(|poisoned| {
        let _ = transship()
            .args(["lab", "down", "--lab", "faults"])
            .output();
        poisoned.into_inner()
    });
    Some((turn, Lab::up("faults", "10.85.0.0/24", "docker-26")?))
}

/// Starts a migration of `name` and does something as soon as a phase begins.
fn at_phase(lab: &Lab, name: &str, phase: &str, action: impl FnOnce(u32)) -> Ran {
    let mut child = lab
        .transship(&[
            "migrate", name, "--from", "a", "--to", "b", "--mode", "tarball", "--json",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut talk = String::new();
    let mut action = Some(action);
    while stderr.read_line(&mut talk).unwrap() > 0 {
        let begun = talk
            .lines()
            .last()
            .unwrap()
            .starts_with(&format!("{phase} "));
        if begun && let Some(action) = action.take() {
            action(child.id());
        }
    }
    assert!(action.is_none(), "phase {phase} did not begin: {talk}");
    let mut ran = Ran::of(child.wait_with_output().unwrap());
    ran.stderr = talk;
    ran
}

/// An error, word for word, but for what differs from machine to machine.
fn snapshot(what: &str, stderr: &str) {
    let filters = vec![
        (r"SHA256:[A-Za-z0-9+/]+", "<fingerprint>"),
        (r"kernel of b, \S+", "kernel of b, <kernel>"),
        (r"run on a: .*", "run on a: <names>"),
    ];
    let name: String = what
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    insta::with_settings!({filters => filters}, { insta::assert_snapshot!(name, stderr) });
}

fn signal(pid: u32, signal: &str) {
    let status = std::process::Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn ctrl_c_at_each_phase_undoes_everything() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "ctrlc";
    lab.counter(name, "0.1", "--restart unless-stopped");
    for phase in [
        "check",
        "prepare",
        "checkpoint",
        "archive",
        "transfer",
        "unpack",
        "create",
        "restore",
        "verify",
    ] {
        let ran = at_phase(&lab, name, phase, |pid| signal(pid, "-INT")).expect(130);
        let report = ran.json();
        fits_schema(&report, "migrate");
        assert_eq!(report["outcome"], "rolled-back", "{phase}");
        assert!(
            report["state"].as_str().unwrap().contains("runs on a"),
            "{phase}: {report:#}"
        );
        lab.is_as_before(name);
        let policy = lab.ok(
            "a",
            &format!("docker inspect -f '{{{{.HostConfig.RestartPolicy.Name}}}}' {name}"),
        );
        assert_eq!(policy, "unless-stopped", "{phase}");
    }
    // After the commit point there is nothing to undo: the migration ends.
    at_phase(&lab, name, "clean", |pid| signal(pid, "-INT")).expect(0);
    lab.forget(name);
}

#[test]
fn a_destination_whose_dockerd_dies_during_the_restore() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "daemondies";
    lab.counter(name, "0.1", "");
    // The first `docker start` on b kills the daemon under itself.
    lab.ok(
        "b",
        r#"cat > /usr/local/bin/docker <<'X'
#!/bin/sh
[ "$1" = start ] && { rm /usr/local/bin/docker; (sleep 0.15; kill -9 $(cat /run/docker.pid)) & }
exec /usr/bin/docker "$@"
X
chmod +x /usr/local/bin/docker"#,
    );
    let ran = lab.migrate(name, "a", "b", &["--json"]).expect(6);
    let report = ran.json();
    assert_eq!(report["outcome"], "rolled-back");
    assert_eq!(report["failure"]["phase"], "restore");
    assert!(
        report["state"]
            .as_str()
            .unwrap()
            .contains("from its checkpoint"),
        "{report:#}"
    );
    assert_eq!(
        lab.ok(
            "a",
            &format!("docker inspect -f '{{{{.State.Running}}}}' {name}")
        ),
        "true"
    );
    let on_b = lab.ok("b", "ps -eo pid,ppid,args | grep '[e]xpr $i'; true");
    assert_eq!(on_b, "", "a second copy runs on b: {report:#}");
    in_order(&lab.numbers("a", name), 0);
    // What could not be removed from b is said, with the command.
    assert!(
        report["warnings"].to_string().contains("docker rm --force"),
        "{report:#}"
    );
    Lab::up("faults", "10.85.0.0/24", "docker-26");
    assert_ne!(
        lab.ok("b", &format!("docker ps -q --filter name={name} | wc -l")),
        "1"
    );
    lab.forget(name);
}

#[test]
fn a_link_cut_during_the_transfer_and_a_host_that_vanishes() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "cut";
    lab.counter(name, "0.1", "");
    let ran = at_phase(&lab, name, "unpack", |_| {
        let status = std::process::Command::new("ip")
            .args(["link", "set", "ts-faults-b", "down"])
            .status();
        assert!(status.unwrap().success());
    })
    .expect(6);
    let report = ran.json();
    assert!(report["failure"]["host"] == "b", "{report:#}");
    assert!(
        report["warnings"]
            .to_string()
            .contains("/var/lib/transship/migrate/cut"),
        "{report:#}"
    );
    assert_eq!(
        lab.ok(
            "a",
            &format!("docker inspect -f '{{{{.State.Running}}}}' {name}")
        ),
        "true"
    );
    in_order(&lab.numbers("a", name), 0);
    let status = std::process::Command::new("ip")
        .args(["link", "set", "ts-faults-b", "up"])
        .status();
    assert!(status.unwrap().success());
    lab.forget(name);
}

#[test]
fn transship_itself_is_killed_and_the_next_run_says_how_to_go_on() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "killed";
    lab.counter(name, "0.1", "");
    let ran = at_phase(&lab, name, "archive", |pid| signal(pid, "-KILL"));
    assert_eq!(ran.code, -1);
    // Where the journal is, the next run names the command that undoes; elsewhere, those to paste.
    let ran = lab.migrate(name, "a", "b", &["--json"]).expect(4);
    let fix = ran.json()["failure"]["fix"][0].as_str().unwrap().to_owned();
    assert!(fix.starts_with("transship migrate undo killed-"), "{fix}");
    let elsewhere = tempfile::tempdir().unwrap();
    let fix = |host: &str, before: &str| -> String {
        let mut command = lab.transship(&["migrate", name, "--from", "a", "--to", "b", "--json"]);
        command.env("XDG_STATE_HOME", elsewhere.path());
        let report = Ran::of(command.output().unwrap()).expect(4).json();
        assert_eq!(report["failure"]["host"], host);
        let fixes = report["failure"]["fix"].as_array().unwrap().iter();
        let mut lines = fixes.filter_map(|fix| fix.as_str()?.split_once(before));
        lines.next().unwrap().1.to_owned()
    };
    let restart = fix("a", "from that checkpoint, on a: ");
    lab.ok("a", &restart);
    // It runs again; the folders are still there, and the next run says how to remove them.
    for host in ["a", "b"] {
        let line = fix(host, &format!(", on {host}: "));
        lab.ok(host, &line);
    }
    lab.ok(
        "a",
        "rm -rf /var/lib/docker/containers/*/checkpoints/transship",
    );
    lab.is_as_before(name);
    lab.migrate(name, "a", "b", &[]).expect(0);
    lab.forget(name);
}

#[test]
fn transship_itself_is_killed_and_undo_brings_the_container_back() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "undone";
    lab.counter(name, "0.1", "--restart always");
    for phase in ["checkpoint", "archive", "restore"] {
        let ran = at_phase(&lab, name, phase, |pid| signal(pid, "-KILL"));
        assert_eq!(ran.code, -1);
        let ran = lab.migrate(name, "a", "b", &["--json"]).expect(4);
        let fix = ran.json()["failure"]["fix"][0].as_str().unwrap().to_owned();
        let id = fix.rsplit_once(' ').unwrap().1.to_owned();
        let report = lab
            .run(&["migrate", "undo", &id, "--json"])
            .expect(0)
            .json();
        fits_schema(&report, "migrate");
        assert_eq!(report["outcome"], "rolled-back", "{phase}: {report:#}");
        lab.is_as_before(name);
        let policy = lab.ok(
            "a",
            &format!("docker inspect -f '{{{{.HostConfig.RestartPolicy.Name}}}}' {name}"),
        );
        assert_eq!(policy, "always", "{phase}");
    }
    lab.forget(name);
}

#[test]
fn no_space_before_and_during() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "space";
    lab.counter(name, "0.1", "");
    lab.ok(
        "b",
        "mkdir -p /var/lib/transship && mount -t tmpfs -o size=64k none /var/lib/transship",
    );
    let ran = lab.migrate(name, "a", "b", &[]).expect(4);
    assert!(
        ran.stderr.contains("not enough space on b") && ran.stderr.contains("fix"),
        "{}",
        ran.stderr
    );
    lab.is_as_before(name);
    // Seen only on the way: the folder of the images alone is small.
    lab.ok("b", "umount /var/lib/transship && mkdir -p /var/lib/transship/migrate && mount -t tmpfs -o size=8k none /var/lib/transship/migrate");
    let ran = lab.migrate(name, "a", "b", &[]).expect(6);
    assert!(
        ran.stderr.contains("No space left on device") || ran.stderr.contains("make room"),
        "{}",
        ran.stderr
    );
    lab.is_as_before(name);
    lab.ok("b", "umount /var/lib/transship/migrate");
    lab.forget(name);
}

#[test]
fn hosts_that_cannot_do_it_are_refused_with_the_fix() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "refused";
    lab.counter(name, "0.1", "");
    let refused = |code: i32, what: &str, fix: &str| {
        let ran = lab.migrate(name, "a", "b", &[]).expect(code);
        assert!(ran.stderr.contains(what), "{}", ran.stderr);
        assert!(ran.stderr.contains(fix), "{}", ran.stderr);
        snapshot(what, &ran.stderr);
        assert!(
            ran.stderr.contains("state  nothing was changed"),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    };
    // Not found in PATH, as if it had never been installed.
    lab.ok("b", "mv /usr/sbin/criu /usr/sbin/criu.away");
    refused(4, "there is no criu on b", "transship provision b");
    lab.ok("b", "mv /usr/sbin/criu.away /usr/sbin/criu");
    // What CRIU 3.17.1 says on a kernel since 6.13 (recorded).
    lab.ok(
        "b",
        r#"cat > /usr/local/bin/criu <<'X'
#!/bin/sh
case $1 in
    --version) echo "Version: 3.17.1" ;;
    *) echo "Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds" >&2; exit 1 ;;
esac
X
chmod +x /usr/local/bin/criu"#,
    );
    refused(
        4,
        "CRIU 3.17.1 does not work on the kernel of b",
        "transship provision b",
    );
    lab.ok("b", "rm /usr/local/bin/criu");
    lab.ok("b", "mv /usr/bin/docker /usr/bin/docker.away");
    refused(4, "b: Docker is not installed", "transship provision b");
    lab.ok("b", "mv /usr/bin/docker.away /usr/bin/docker");
    lab.ok(
        "b",
        "kill $(cat /run/docker.pid); while docker ps >/dev/null 2>&1; do sleep 0.1; done",
    );
    refused(
        4,
        "b: the Docker daemon does not answer",
        "systemctl restart docker",
    );
    lab.ok("b", r#"sed -i 's/"experimental": *true/"experimental": false/' /etc/docker/daemon.json; grep -q 'experimental": false' /etc/docker/daemon.json"#);
    Lab::up("faults", "10.85.0.0/24", "docker-26");
    refused(
        4,
        "its experimental features are off",
        "transship provision b",
    );
    lab.ok("b", r#"sed -i 's/"experimental": *false/"experimental": true/' /etc/docker/daemon.json; kill $(cat /run/docker.pid); while docker ps >/dev/null 2>&1; do sleep 0.1; done"#);
    Lab::up("faults", "10.85.0.0/24", "docker-26");
    lab.ok("b", &format!("docker create --name {name} busybox true"));
    refused(
        4,
        "b has a container refused already",
        "docker rm -f refused",
    );
    lab.ok(
        "b",
        &format!(
            "docker rm {name}; docker tag busybox:latest kept:latest; docker rmi busybox:latest"
        ),
    );
    refused(
        4,
        "the image busybox is not on b",
        "docker save busybox | ssh b docker load",
    );
    lab.ok("b", "docker create --name other kept:latest true && docker commit other busybox:latest && docker rm other");
    refused(
        4,
        "the image busybox on b is another than on a",
        "docker save busybox",
    );
    lab.ok(
        "b",
        "docker rmi -f busybox:latest; docker tag kept:latest busybox:latest",
    );
    lab.migrate(name, "a", "b", &[]).expect(0);
    lab.forget(name);
}

#[test]
fn containers_that_cannot_be_moved_are_refused_with_the_fix() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "subject";
    let refused = |what: &str, fix: &str| {
        let ran = lab.migrate(name, "a", "b", &[]).expect(4);
        snapshot(what, &ran.stderr);
        assert!(ran.stderr.contains(fix), "{}", ran.stderr);
    };
    lab.forget(name);
    refused(
        "there is no container subject on a",
        "containers that run on a:",
    );
    lab.counter(name, "0.1", "");
    lab.ok("a", &format!("docker pause {name}"));
    refused("subject on a is paused", "docker unpause subject");
    lab.ok("a", &format!("docker unpause {name}; docker kill {name}"));
    refused("subject on a is not running", "docker start subject");
    lab.counter(name, "0.1", "--rm");
    refused("was started with --rm", "without --rm");
    lab.forget(name);
    // Runtimes that only the source's engine knows; what mode copy brought has the one of ours.
    let knows = |runtimes: &str, yes: bool| {
        lab.ok(
            "a",
            &format!("cd /etc/docker; sed -i.before '1s|^{{|{{\"runtimes\":{{{runtimes}}},|' daemon.json; kill -HUP $(cat /run/docker.pid); for i in $(seq 300); do docker info -f '{{{{json .Runtimes}}}}' | grep -q other && now=true || now=false; [ $now = {yes} ] && break; sleep 0.1; done; mv daemon.json.before daemon.json; [ $now = {yes} ]"),
        );
    };
    knows(
        r#""transship":{"path":"runc"},"other":{"path":"runc"}"#,
        true,
    );
    for (runtime, fix) in [
        ("transship", "transship provision b"),
        ("other", "\"runtimes\""),
    ] {
        lab.counter(name, "0.1", &format!("--runtime {runtime}"));
        refused(&format!("subject has the OCI runtime {runtime}"), fix);
        lab.is_as_before(name);
    }
    lab.forget(name);
    // What is not set is left as it is.
    knows("", false);
}

#[test]
fn hosts_out_of_reach_and_keys_that_changed() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "reach";
    lab.counter(name, "0.1", "");
    let refused = |code: i32, to: &str, more: &[&str], what: &str, fix: &str| {
        let mut args = vec!["--timeout", "3"];
        args.extend(more);
        let ran = lab.migrate(name, "a", to, &args).expect(code);
        // How an address without a host behind it is refused differs from network to network.
        if !what.contains("10.85.0.77") && !what.contains("cannot be resolved") {
            snapshot(&format!("{what}-{to}"), &ran.stderr);
        }
        assert!(
            ran.stderr.contains(what) && ran.stderr.contains(fix),
            "{}",
            ran.stderr
        );
    };
    refused(
        3,
        "root@10.85.0.77",
        &[],
        "no connection to 10.85.0.77:22",
        "Try: ssh -F",
    );
    refused(
        3,
        "no-such-host.invalid",
        &[],
        "cannot be resolved",
        "getent hosts",
    );
    refused(
        3,
        "nobody@b",
        &[],
        "does not let user `nobody` in",
        "ssh-copy-id",
    );
    refused(2, "a", &[], "are the same host", "--to");
    refused(2, "root@a", &[], "are the same host", "--to");
    let ours = lab.ssh_config();
    let known = ours.with_file_name("known_hosts");
    let text = std::fs::read_to_string(&known).unwrap();
    std::fs::write(&known, "").unwrap();
    refused(
        3,
        "b",
        &[],
        "host key is not known here",
        "--accept-new-host-keys",
    );
    // Another key is known for b than the one that it shows.
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let status = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(status.unwrap().success());
    let other = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let a = text
        .lines()
        .find(|line| line.contains("10.85.0.2"))
        .unwrap();
    std::fs::write(&known, format!("{a}\nb,10.85.0.3 {other}")).unwrap();
    refused(
        3,
        "b",
        &["--accept-new-host-keys"],
        "its host key HAS CHANGED",
        "ssh-keygen -R",
    );
    std::fs::write(&known, text).unwrap();
    lab.is_as_before(name);
    lab.forget(name);
}
