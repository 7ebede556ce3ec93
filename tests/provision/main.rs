//! `transship provision` in the lab: real apt, real packages, real daemons.

#[path = "../support/archive.rs"]
mod archive;
mod faults;
#[path = "../support/mod.rs"]
mod support;
mod user_data;
mod verified;

use archive::{BARE, debian, fresh, picture, use_archive};
use std::process::Stdio;
use support::{Lab, Ran, fits_schema, transship};

#[test]
fn a_bare_debian_becomes_a_host_that_the_doctor_likes_and_goes_back() {
    let Some(lab) = fresh("prov", "10.88.0.0/25", "docker-26") else {
        return;
    };
    let archive = debian("10.88.0.1", &PODMAN);
    for host in ["a", "b"] {
        use_archive(&lab, host, &archive);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            the_runtime_is_registered_under_running_containers(&lab);
            a_daemon_that_does_not_come_up_for_another_reason_costs_no_configuration(&lab);
            a_bare_host_gets_podman_and_loses_it_again(&lab);
        });
        from_bare_and_back(&lab);
    });

    // Both at once, and then as a pair; a of them from bare.
    lab.run(&["provision", "a", "b", "--profile", "docker", "--yes"])
        .expect(0);
    let doctor = lab.run(&["doctor", "a", "b"]).expect(0);
    assert!(doctor.stdout.contains("Nothing failed"), "{doctor:?}");
    a_migration_waits_for_the_lock(&lab);
    let _ = transship().args(["lab", "down", "--lab", "prov"]).output();
}

fn from_bare_and_back(lab: &Lab) {
    lab.ok("a", BARE);
    let before = picture(lab, "a");

    let plan = lab
        .run(&["provision", "a", "--plan", "--json"])
        .expect(5)
        .json();
    fits_schema(&plan, "provision");
    assert_eq!(picture(lab, "a"), before, "a plan changes nothing");
    lab.run(&["provision", "a"]).expect(2);
    assert_eq!(
        picture(lab, "a"),
        before,
        "without a yes nothing is changed"
    );

    // A mirror that cannot be reached is said so, and the next run goes on from there.
    let sources = lab.ok("a", "cat /etc/apt/sources.list");
    lab.ok(
        "a",
        "echo 'deb http://127.0.0.1:9/debian trixie main' >/etc/apt/sources.list",
    );
    let dead = lab.run(&["provision", "a", "--yes"]).expect(1);
    assert!(dead.stderr.contains("Failed to fetch"), "{dead:?}");
    assert!(
        dead.stderr
            .contains("see that the host reaches its package mirror"),
        "{dead:?}"
    );
    assert!(!dead.stdout.contains("up to date"), "{dead:?}");
    lab.run(&["provision", "--undo", "a", "--yes"]).expect(0);
    lab.ok("a", &format!("echo '{sources}' >/etc/apt/sources.list"));

    let done = two_runs_at_once(lab);
    fits_schema(&done, "provision");
    let host = &done["hosts"][0];
    assert_eq!(host["outcome"], "changed", "{host:#}");
    assert_eq!(host["doctor"], serde_json::json!([]));
    // The plan that was shown is the one that was run.
    let lines = |document: &serde_json::Value| -> Vec<serde_json::Value> {
        let changes = document["hosts"][0]["changes"].as_array().unwrap();
        changes
            .iter()
            .map(|change| change["commands"].clone())
            .collect()
    };
    assert_eq!(lines(&plan), lines(&done));
    // CRIU alone is of testing, since this kernel needs it.
    let versions = lab.ok(
        "a",
        "dpkg-query -W -f '${Package} ${Version}\n' criu runc nftables docker.io",
    );
    assert!(versions.contains("criu 4.2"), "{versions}");
    assert!(versions.contains("docker.io 26.1.5"), "{versions}");
    let policy = lab.ok("a", "apt-get -s dist-upgrade");
    assert!(policy.contains("0 upgraded"), "{policy}");
    assert_eq!(
        lab.ok("a", "docker version -f '{{.Server.Experimental}}'"),
        "true"
    );
    lab.ok("a", "criu check");

    let after = picture(lab, "a");
    let again = lab.run(&["-v", "provision", "a", "--yes"]).expect(0);
    assert!(
        again.stdout.contains("ok=12 changed=0 failed=0"),
        "{again:?}"
    );
    assert_eq!(picture(lab, "a"), after);
    // It only looked.
    let commands = again.stderr.lines().filter(|line| line.contains("a$ "));
    let changing: Vec<&str> = commands
        .filter(|line| !line.contains("a$ sh -s transship-"))
        .collect();
    assert!(
        again.stderr.contains("a$ sh -s transship-facts"),
        "{again:?}"
    );
    assert_eq!(changing, [""; 0]);

    // The user's own keys stay; what a running daemon does not take over needs a restart.
    let pid = lab.ok("a", "cat /run/docker.pid");
    lab.ok(
        "a",
        r#"printf '{"labels":["x=y"],"experimental":false}' >/etc/docker/daemon.json"#,
    );
    lab.run(&["provision", "a", "--yes"]).expect(0);
    let text = lab.ok("a", "cat /etc/docker/daemon.json");
    assert!(
        text.contains("x=y") && text.contains("\"experimental\": true"),
        "{text}"
    );
    assert_ne!(
        lab.ok("a", "cat /run/docker.pid"),
        pid,
        "experimental needs a restart"
    );

    // A daemon that does not come up gets its old configuration back, and runs.
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.toml");
    let profile = std::fs::read_to_string("provision/profiles/docker.toml").unwrap();
    std::fs::write(
        &wrong,
        profile.replace("[daemon]", "[daemon]\nnonsense = true"),
    )
    .unwrap();
    let wrong = wrong.to_str().unwrap();
    let failed = lab
        .run(&["provision", "a", "--profile", wrong, "--yes"])
        .expect(1);
    assert!(
        failed.stderr.contains("did not come up with the new"),
        "{failed:?}"
    );
    assert!(failed.stderr.contains("nonsense"), "{failed:?}");
    assert_eq!(lab.ok("a", "cat /etc/docker/daemon.json"), text);
    lab.ok("a", "docker version");
    lab.run(&["provision", "a", "--plan"]).expect(0);

    // What is no JSON is refused with its place, and nothing is done.
    lab.ok("a", r#"cp /etc/docker/daemon.json /root/good; printf '{\n "labels": [,]\n}' >/etc/docker/daemon.json"#);
    let refused = lab.run(&["provision", "a", "--yes"]).expect(4);
    assert!(refused.stderr.contains("line 2, column"), "{refused:?}");
    lab.ok("a", "mv /root/good /etc/docker/daemon.json");

    // What the user made of a file of ours is not lost.
    lab.ok("a", "echo '# mine' >>/etc/sysctl.d/60-transship.conf");
    let undone = lab.run(&["provision", "--undo", "a", "--yes"]).expect(0);
    let kept =
        "what you made of it since is kept as /etc/sysctl.d/60-transship.conf.transship-undone";
    assert!(undone.stdout.contains(kept), "{undone:?}");
    assert_eq!(
        undone.stdout.matches("what you made of it").count(),
        1,
        "{undone:?}"
    );
    lab.ok("a", "grep -qx '# mine' /etc/sysctl.d/60-transship.conf.transship-undone && rm /etc/sysctl.d/*.transship-undone");
    assert_eq!(lab.ok("a", "ls /etc/transship /etc/apt/preferences.d /etc/apt/sources.list.d 2>&1 | grep transship- || true"), "");
    assert_eq!(lab.sh("a", "which dockerd criu transship").code, 1);
    lab.run(&["provision", "--undo", "a", "--plan"]).expect(0);
}

/// Two runs at once on a bare host: one does everything; the other is told who is at work, or waits and finds nothing to do.
fn two_runs_at_once(lab: &Lab) -> serde_json::Value {
    let run = || {
        let mut command = lab.transship(&["provision", "a", "--yes", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let first = run();
    lab.ok(
        "a",
        "until [ -s /run/lock/transship-provision ]; do sleep 0.1; done",
    );
    let process = format!("process {}, since", first.id());
    let second = Ran::of(run().wait_with_output().unwrap());
    let first = Ran::of(first.wait_with_output().unwrap());
    let told = second.json()["hosts"][0].clone();
    match second.code {
        0 => assert_eq!(told["changed"], 0, "{second:?}"),
        _ => {
            let what = told["failure"]["what"].as_str().unwrap();
            assert!(
                what.contains("another transship is at work") && what.contains(&process),
                "{second:?}"
            );
        }
    }
    assert_eq!(lab.ok("a", "cat /run/lock/transship-provision"), "");
    assert_eq!(lab.ok("a", "dpkg --audit"), "");
    lab.run(&["provision", "a", "--plan"]).expect(0);

    // Where little is to be done the second waits for the first, and both end well.
    lab.ok("a", "rm /etc/sysctl.d/60-transship.conf");
    let both = [run(), run()].map(|run| Ran::of(run.wait_with_output().unwrap()).expect(0).json());
    let changed = both.map(|told| told["hosts"][0]["changed"].as_u64().unwrap());
    assert_eq!(changed.iter().sum::<u64>(), 1);
    first.expect(0).json()
}

/// A migration that makes its runtime known waits for whoever is at work on the host's configuration.
fn a_migration_waits_for_the_lock(lab: &Lab) {
    let forget = "printf '{\"experimental\": true, \"runtimes\": {\"other\": {\"path\": \"/usr/sbin/runc\"}}}' >/etc/docker/daemon.json && kill -HUP $(cat /run/docker.pid) && \
        while docker info -f '{{json .Runtimes}}' | grep -q transship; do sleep 0.1; done; \
        rm -f /root/waited; setsid flock /run/lock/transship-provision sh -c 'n=0; \
            until grep -qs [t]ransship-lock /proc/[0-9]*/cmdline; do sleep 0.1; n=$((n + 1)); [ $n -lt 600 ] || exit; done; \
            sleep 1; grep -q transship-runtime /etc/docker/daemon.json || touch /root/waited' >/dev/null 2>&1 &";
    lab.ok("a", forget);
    // The lab's image went with an earlier Docker.
    lab.ok(
        "b",
        "mkdir -p /root/image/bin && cp /usr/bin/busybox /root/image/bin/sh && ln -s sh /root/image/bin/sleep && \
         tar -C /root/image -c . | docker import - counter && \
         docker run -d --name moves counter /bin/sh -c 'while :; do sleep 1; done'",
    );
    lab.run(&[
        "migrate", "moves", "--from", "b", "--to", "a", "--mode", "copy",
    ])
    .expect(0);
    lab.ok(
        "a",
        "[ -e /root/waited ] && docker inspect -f '{{.State.Running}}' moves | grep true",
    );
    lab.ok(
        "a",
        "grep -q transship-runtime /etc/docker/daemon.json && docker rm -f moves",
    );
}

fn a_daemon_that_does_not_come_up_for_another_reason_costs_no_configuration(lab: &Lab) {
    let args = ["provision", "b", "--profile", "docker", "--yes"];
    lab.run(&args).expect(0);
    // Some earlier run was cut off once, and left what it had kept; the user has had a hand in it since.
    lab.ok(
        "b",
        "mkdir -p /etc/transship/before && echo '{}' >/etc/transship/before/old && sha256sum /etc/docker/daemon.json >/etc/transship/before/written; \
         sed -i '1a \"labels\": [\"x=y\"],' /etc/docker/daemon.json; \
         kill $(cat /run/docker.pid); while [ -e /run/docker.pid ]; do sleep 0.1; done; \
         mv /usr/sbin/dockerd /usr/sbin/dockerd.real; printf '#!/bin/sh\necho out of order >&2; exit 1\n' >/usr/sbin/dockerd; chmod 755 /usr/sbin/dockerd",
    );
    let before = lab.ok("b", "cat /etc/docker/daemon.json");
    let failed = lab.run(&args).expect(1);
    for text in ["/etc/docker/daemon.json was left as it is", "out of order"] {
        assert!(failed.stderr.contains(text), "{failed:?}");
    }
    assert_eq!(lab.ok("b", "cat /etc/docker/daemon.json"), before);
    lab.ok("b", "mv /usr/sbin/dockerd.real /usr/sbin/dockerd");
    lab.run(&args).expect(0);
    assert_eq!(
        lab.ok(
            "b",
            "cat /etc/docker/daemon.json; ls -d /etc/transship/before 2>/dev/null; true"
        ),
        before
    );
    lab.run(&["provision", "--undo", "b", "--yes"]).expect(0);
    lab.ok("b", "rm -f /etc/docker/daemon.json.transship-undone");
}

/// What Podman consists of.
const PODMAN: [&str; 7] = [
    "aardvark-dns",
    "conmon",
    "crun",
    "golang-github-containers-common",
    "libcriu2",
    "netavark",
    "podman",
];

fn a_bare_host_gets_podman_and_loses_it_again(lab: &Lab) {
    lab.ok(
        "b",
        &format!(
            "{BARE} && apt-get purge -y -q {} >/dev/null 2>&1; ! which podman conmon",
            PODMAN.join(" ")
        ),
    );
    let args = ["provision", "b", "--profile", "podman", "--yes"];
    let done = lab.run(&[&args[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(done["hosts"][0]["outcome"], "changed", "{done:#}");
    assert_eq!(done["hosts"][0]["doctor"], serde_json::json!([]));
    let versions = lab.ok(
        "b",
        "dpkg-query -W -f '${Package} ${Version}\n' criu libcriu2 podman",
    );
    assert!(versions.contains("libcriu2 4.2"), "{versions}");
    let doctor = lab.run(&["doctor", "b"]).expect(0);
    assert!(doctor.stdout.contains("Nothing failed"), "{doctor:?}");
    // By itself it knows that this is a host of Podman's.
    let again = lab.run(&["provision", "b", "--plan"]).expect(0);
    assert!(again.stdout.contains("podman: nothing to do"), "{again:?}");
    lab.run(&["provision", "--undo", "b", "--yes"]).expect(0);
    assert_eq!(lab.sh("b", "which podman criu transship").code, 1);
}

fn the_runtime_is_registered_under_running_containers(lab: &Lab) {
    lab.ok("b", "docker run -d --name stays busybox sleep 600");
    let pids = "cat /run/docker.pid; docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' stays";
    let before = lab.ok("b", pids);
    let warned = lab.run(&["doctor", "b"]).expect(0);
    assert!(
        warned.stdout.contains("does not know transship's runtime"),
        "{warned:?}"
    );
    lab.run(&["provision", "b", "--yes"]).expect(0);
    let runtimes = lab.ok("b", "docker info -f '{{json .Runtimes.transship.Path}}'");
    assert_eq!(runtimes, "\"/usr/local/bin/transship-runtime\"");
    assert_eq!(lab.ok("b", pids), before);
    let good = lab.run(&["doctor", "b"]).expect(0);
    assert!(!good.stdout.contains("transship's runtime"), "{good:?}");

    lab.ok(
        "b",
        "docker rm -f stays; docker run -d --name ours --runtime transship busybox sleep 600",
    );
    let refused = lab.run(&["provision", "--undo", "b", "--yes"]).expect(4);
    assert!(refused.stderr.contains("take away: ours"), "{refused:?}");
    lab.ok("b", "docker exec ours true && docker rm -f ours");
    lab.run(&["provision", "--undo", "b", "--yes"]).expect(0);
    assert_eq!(
        lab.ok("b", "ls -A /usr/local/bin; ls -d /usr/local/lib/transship /etc/transship 2>/dev/null; docker info -f '{{json .Runtimes}}' | grep -o transship-runtime; true"),
        ""
    );
}
