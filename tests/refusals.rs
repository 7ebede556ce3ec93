//! What is refused, with the fix, and with nothing changed: hosts that cannot do it or be reached, containers that
//! cannot be moved, no room.

mod support;

use std::sync::{Mutex, MutexGuard};
use support::{Lab, transship};

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

/// Starts what was ended.
fn up() {
    assert!(Lab::up("faults", "10.85.0.0/24", "docker-26").is_some());
}

/// An error, word for word, but for what differs from machine to machine.
fn snapshot(what: &str, stderr: &str) {
    let filters = vec![
        (r"SHA256:[A-Za-z0-9+/]+", "<fingerprint>"),
        (r"kernel of ([ab]), \S+", "kernel of $1, <kernel>"),
        (r"[0-9.]+ (bytes|[KMG]iB)", "<size>"),
        // How an address without a host behind it is refused differs from network to network.
        (r"no connection to (\S+): .*", "no connection to $1: <why>"),
        (r"cannot be resolved: .*", "cannot be resolved: <why>"),
        (r"run on a: .*", "run on a: <names>"),
    ];
    let name: String = what
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    insta::with_settings!({filters => filters}, { insta::assert_snapshot!(name, stderr) });
}

/// A migration of `name` is refused: the error with its fix, and that nothing was changed.
#[track_caller]
fn refused(lab: &Lab, name: &str, what: &str, fix: &str) {
    let ran = lab.migrate(name, "a", "b", &[]).expect(4);
    assert!(ran.stderr.contains(what), "{}", ran.stderr);
    assert!(ran.stderr.contains(fix), "{}", ran.stderr);
    snapshot(what, &ran.stderr);
    assert!(
        ran.stderr.contains("state  nothing was changed"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
}

#[test]
fn hosts_that_cannot_do_it_are_refused_with_the_fix() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "refused";
    // The daemon of the source is ended too: what happens to the container then is none of its doing.
    for host in ["a", "b"] {
        lab.live_restore(host, true);
        // Hosts with one engine, as most are.
        lab.ok(host, "mv /usr/bin/podman /usr/bin/podman.away");
    }
    lab.counter(name, "0.1", "");
    for host in ["a", "b"] {
        // As it was called, or it may not reach the host.
        let config = lab.ssh_config().display().to_string();
        let provision = format!("transship --ssh-config {config} provision {host}");
        let refused = |what: &str, fix: &str| refused(&lab, name, what, fix);
        // Not found in PATH, as if it had never been installed.
        lab.ok(host, "mv /usr/sbin/criu /usr/sbin/criu.away");
        refused(&format!("there is no criu on {host}"), &provision);
        lab.ok(host, "mv /usr/sbin/criu.away /usr/sbin/criu");
        // What CRIU 3.17.1 says on a kernel since 6.13 (recorded).
        lab.ok(
            host,
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
            &format!("CRIU 3.17.1 does not work on the kernel of {host}"),
            &provision,
        );
        lab.ok(host, "rm /usr/local/bin/criu");
        lab.ok(host, "mv /usr/bin/docker /usr/bin/docker.away");
        refused(&format!("{host}: Docker is not installed"), &provision);
        lab.ok(host, "mv /usr/bin/docker.away /usr/bin/docker");
        let end =
            "kill $(cat /run/docker.pid); while docker ps >/dev/null 2>&1; do sleep 0.1; done";
        lab.ok(host, end);
        refused(
            &format!("{host}: the Docker daemon does not answer"),
            "systemctl restart docker",
        );
        if host == "a" {
            // Whose container it is cannot be known, where there is another engine.
            lab.ok(host, "mv /usr/bin/podman.away /usr/bin/podman");
            refused(
                "perhaps it is one of an engine that could not be asked",
                "systemctl restart docker",
            );
            lab.ok(host, "mv /usr/bin/podman /usr/bin/podman.away");
        }
        lab.ok(host, r#"sed -i 's/"experimental": *true/"experimental": false/' /etc/docker/daemon.json; grep -q 'experimental": false' /etc/docker/daemon.json"#);
        up();
        refused(
            &format!(
                "{host}: the Docker daemon refuses checkpoints: its experimental features are off"
            ),
            &provision,
        );
        lab.ok(host, &format!(r#"sed -i 's/"experimental": *false/"experimental": true/' /etc/docker/daemon.json; {end}"#));
        up();
        lab.is_as_before(name);
    }
    // One that outlived its daemon is left running by Docker's checkpoints.
    lab.counter(name, "0.1", "");
    lab.migrate(name, "a", "b", &[]).expect(0);
    for host in ["a", "b"] {
        lab.live_restore(host, false);
        lab.ok(host, "mv /usr/bin/podman.away /usr/bin/podman");
    }
    lab.forget(name);
}

#[test]
fn what_the_destination_has_or_lacks_is_refused_with_the_fix() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "lacks";
    let refused = |what: &str, fix: &str| refused(&lab, name, what, fix);
    lab.counter(name, "0.1", "");
    lab.ok("b", &format!("docker create --name {name} busybox true"));
    refused("b has a container lacks already", "docker rm -f lacks");
    lab.ok(
        "b",
        &format!(
            "docker rm {name}; docker tag busybox:latest kept:latest; docker rmi busybox:latest"
        ),
    );
    refused(
        "the image busybox is not on b",
        "docker save busybox | ssh b docker load",
    );
    lab.ok("b", "docker create --name other kept:latest true && docker commit other busybox:latest && docker rm other");
    refused(
        "the image busybox on b is another than on a",
        "docker save busybox",
    );
    lab.ok(
        "b",
        "docker rmi -f busybox:latest; docker tag kept:latest busybox:latest; docker rmi kept:latest",
    );
    lab.is_as_before(name);
    lab.migrate(name, "a", "b", &[]).expect(0);
    lab.forget(name);
}

#[test]
fn containers_that_cannot_be_moved_are_refused_with_the_fix() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "subject";
    let refused = |what: &str, fix: &str| refused(&lab, name, what, fix);
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
    lab.forget(name);
    // From the fifth time on the engine waits for seconds.
    lab.ok(
        "a",
        &format!("docker run -d --name {name} --restart always busybox false; until docker inspect -f '{{{{.State.Status}}}} {{{{.RestartCount}}}}' {name} | grep -q 'restarting [5-9]'; do sleep 0.05; done"),
    );
    refused(
        "subject on a does not stay up",
        "docker logs --tail 20 subject",
    );
    lab.forget(name);
    lab.counter(name, "0.1", "--rm");
    refused("was started with --rm", "without --rm");
    lab.forget(name);
    // In Debian what --init mounts is a link.
    lab.counter(name, "0.1", "--init");
    refused("docker-init mounted, a symbolic link on a", "--mode copy");
    lab.is_as_before(name);
    lab.forget(name);
    lab.ok("a", "docker run -d --name linked busybox sleep 1000");
    lab.counter(name, "0.1", "--link linked:it");
    refused(
        "subject uses the container linked",
        "transship migrate linked --from a --to b",
    );
    lab.is_as_before(name);
    lab.forget(name);
    lab.counter(name, "0.1", "--network container:linked");
    let ran = lab.migrate(name, "a", "b", &[]).expect(4);
    assert!(
        ran.stderr
            .contains("subject shares a namespace of the container"),
        "{ran:?}"
    );
    lab.ok("a", "docker rm -f linked");
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
    for (runtime, fix) in [("transship", " provision b"), ("other", "\"runtimes\"")] {
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
        snapshot(&format!("{what}-{to}"), &ran.stderr);
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
    snapshot("no-space-before", &ran.stderr);
    lab.is_as_before(name);
    // Seen only on the way: the folder of the images alone is small.
    lab.ok("b", "umount /var/lib/transship && mkdir -p /var/lib/transship/migrate && mount -t tmpfs -o size=8k none /var/lib/transship/migrate");
    let ran = lab.migrate(name, "a", "b", &[]).expect(6);
    // Whoever writes ends, which may be noticed while there is still something to send.
    let noticed = ran.stderr.contains("make room below");
    let told = ran.stderr.contains("No space left on device") && ran.stderr.contains("on b: df -h");
    assert!(noticed || told, "{}", ran.stderr);
    lab.is_as_before(name);
    lab.ok("b", "umount /var/lib/transship/migrate");
    lab.forget(name);
}

#[test]
fn a_mere_sleep_is_refused_before_it_is_woken() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "dreams";
    lab.forget(name);
    lab.ok(
        "a",
        &format!("docker run -d --name {name} busybox sleep 9999"),
    );
    let is = format!("docker inspect -f '{{{{.State.Pid}}}}' {name}");
    let before = lab.ok("a", &is);
    let args = |mode| ["migrate", name, "--from", "a", "--to", "b", "--mode", mode];
    for mode in ["tarball", "copy", "post-copy"] {
        let ran = lab.run(&args(mode)).expect(4);
        let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("is a mere sleep (/bin/busybox)"), "{said}");
        assert!(said.contains("tail -f /dev/null"), "{said}");
        assert!(said.contains("nothing was changed"), "{said}");
    }
    let ran = lab.run(&["doctor", "a", "--container", name]);
    assert!(ran.stdout.contains("container.sleep"), "{ran:?}");
    assert_eq!(lab.ok("a", &is), before);
    // What the fix says goes on.
    lab.forget(name);
    lab.ok(
        "a",
        &format!("docker run -d --name {name} busybox tail -f /dev/null"),
    );
    // Not by copy: other tests want hosts that do not know our runtime.
    lab.run(&args("tarball")).expect(0);
    let running = format!("docker inspect -f '{{{{.State.Running}}}}' {name}");
    assert_eq!(lab.ok("b", &running), "true");
    lab.forget(name);
}
