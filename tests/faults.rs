//! What goes wrong on the way, in a lab of its own whose hosts are broken on purpose: whatever it is,
//! exactly one copy of the container runs, and it went on.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
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
    let command = lab.transship(&[
        "migrate", name, "--from", "a", "--to", "b", "--mode", "tarball", "--json",
    ]);
    at_phase_of(command, phase, action)
}

fn at_phase_of(mut command: Command, phase: &str, action: impl FnOnce(u32)) -> Ran {
    let mut child = command
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

fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill")
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
fn a_lost_terminal_undoes_it_unless_nohup_was_said() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "hangup";
    lab.counter(name, "0.1", "");
    for signal_name in ["-HUP", "-TERM"] {
        let ran = at_phase(&lab, name, "archive", |pid| signal(pid, signal_name)).expect(130);
        assert_eq!(ran.json()["outcome"], "rolled-back", "{signal_name}");
        lab.is_as_before(name);
    }
    let plain = lab.transship(&[
        "migrate", name, "--from", "a", "--to", "b", "--mode", "tarball", "--json",
    ]);
    let mut nohup = Command::new("nohup");
    nohup.arg(plain.get_program()).args(plain.get_args());
    for (key, value) in plain.get_envs() {
        if let Some(value) = value {
            nohup.env(key, value);
        }
    }
    at_phase_of(nohup, "archive", |pid| signal(pid, "-HUP")).expect(0);
    lab.nothing_left(name);
    lab.forget(name);
}

#[test]
fn a_checkpoint_of_that_name_that_was_left_over_is_not_what_it_goes_on_from() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "leftover";
    lab.counter(name, "0.1", "");
    // Where an engine that restores no folder but the container's own would find it.
    let old = format!("docker checkpoint create --leave-running {name} transship");
    lab.ok("a", &old);
    lab.ok(
        "a",
        &format!("until [ $(docker logs {name} | wc -l) -ge 20 ]; do sleep 0.1; done"),
    );
    // Back at the source: every number once, none of those since then again.
    at_phase(&lab, name, "restore", |pid| signal(pid, "-INT")).expect(130);
    lab.is_as_before(name);
    lab.ok("a", &old);
    lab.migrate(name, "a", "b", &["--json"]).expect(0);
    lab.nothing_left(name);
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
    let filters = vec![
        (r"killed-[a-z0-9]{6}", "killed-<id>"),
        (r"[0-9a-f]{64}", "<id>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "<time>"),
        (r"[\w.-]+@[\w.-]+", "<user>"),
    ];
    insta::with_settings!({filters => filters}, {
        for (what, journals) in [("begun-here", None), ("begun-elsewhere", Some(elsewhere.path()))] {
            let mut command = lab.transship(&["migrate", name, "--from", "a", "--to", "b"]);
            command.envs(journals.map(|journals| ("XDG_STATE_HOME", journals)));
            let ran = Ran::of(command.output().unwrap()).expect(4);
            insta::assert_snapshot!(what, ran.stderr);
        }
    });
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
