//! `transship doctor` in a lab of real hosts: failures provoked for real are named beforehand where they can be
//! seen, and explained from what they left behind.

mod support;

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
        let lab = Lab::up("doc", "10.89.0.0/24", "docker-26")?;
        image(&lab).then_some(lab)
    });
    Some((lab.as_ref()?, turn))
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
    // Docker removes restore.log as soon as a restore has failed.
    lab.ok(
        "a",
        "mkdir -p /etc/criu; echo log-file /var/log/criu.log >/etc/criu/runc.conf",
    );
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
    let groups = document["container"]["groups"].as_array().unwrap();
    let mut verdicts = groups
        .iter()
        .flat_map(|group| group["verdicts"].as_array().unwrap());
    let verdict = verdicts.find(|verdict| verdict["id"] == id).unwrap();
    let status = verdict["status"].as_str().unwrap().to_owned();
    (status, verdict.to_string())
}

/// Asserts that the first diagnosis is `id`.
#[track_caller]
fn explained(document: &Value, id: &str) {
    fits_schema(document, "explain");
    assert_eq!(document["diagnoses"][0]["id"], id, "{document:#}");
}

/// What `explain --host a --container` says.
fn explain(lab: &Lab, name: &str) -> Value {
    lab.run(&[
        "--json",
        "doctor",
        "explain",
        "--host",
        "a",
        "--container",
        name,
    ])
    .expect(0)
    .json()
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

/// A checkpoint that fails: name, options, mode; the check that says so before, and the rule after.
const DUMPS: [(&str, &str, &str, &str, &str); 7] = [
    ("dtcp", "", "tcp", "container.tcp", "tcp-established-flag"),
    (
        "dghost",
        "",
        "ghost",
        "container.deleted-files",
        "ghost-file-limit",
    ),
    (
        "dinotify",
        "",
        "inotify /tmp",
        "container.inotify",
        "inotify",
    ),
    (
        "during",
        "--security-opt seccomp=unconfined",
        "io_uring",
        "container.kernel-objects",
        "io-uring",
    ),
    ("dlock", "", "lock", "container.file-locks", "file-locks"),
    (
        "dtraced",
        "--cap-add SYS_PTRACE",
        "traced",
        "container.ptrace",
        "ptraced-task",
    ),
    (
        "dfuse",
        "--device /dev/fuse",
        "open /dev/fuse",
        "container.devices",
        "device-file-open",
    ),
];

#[test]
fn what_stops_a_checkpoint_is_named_before_and_after() {
    let Some((lab, _turn)) = lab() else { return };
    for (name, options, mode, check, rule) in DUMPS {
        start(lab, name, options, mode);
        let (status, text) = says(lab, name, check);
        assert_eq!(status, "fail", "{text}");
        let ran = lab.sh("a", &format!("docker checkpoint create {name} c1"));
        assert_ne!(ran.code, 0, "{name} was checkpointed");
        explained(&explain(lab, name), rule);
        lab.forget(name);
    }
}

#[test]
fn a_socket_that_leads_out_is_named_before_and_after() {
    let Some((lab, _turn)) = lab() else { return };
    lab.ok(
        "a",
        "mkdir -p /srv/sock; rm -f /srv/sock/s; (perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(\
         Local => q(/srv/sock/s), Listen => 1); $c = $s->accept; sleep 20' >/dev/null 2>&1 </dev/null &); \
         for i in $(seq 50); do [ -S /srv/sock/s ] && exit; sleep 0.1; done; exit 1",
    );
    start(lab, "dunix", "-v /srv/sock:/sock", "unix /sock/s");
    let (status, text) = says(lab, "dunix", "container.unix-sockets");
    assert_eq!(status, "fail", "{text}");
    let ran = lab.sh("a", "docker checkpoint create dunix c1");
    assert_ne!(ran.code, 0);
    explained(&explain(lab, "dunix"), "external-unix-socket");
    lab.forget("dunix");
}

/// A restore that fails: name, options, mode; what is done to it between (`$ck` is the checkpoint's folder), what
/// is undone afterwards, and the rule.
const RESTORES: [(&str, &str, &str, &str, &str, &str); 6] = [
    (
        "rchanged",
        "-v /srv/data:/data",
        "open /data/f",
        "echo more >>/srv/data/f",
        "",
        "rootfs-file-changed",
    ),
    (
        "rmissing",
        "-v /srv/data:/data",
        "open /data/f",
        "rm /srv/data/f",
        "",
        "rootfs-file-missing",
    ),
    (
        "rtrunc",
        "",
        "idle",
        "truncate -s 100 $ck/core-1.img",
        "",
        "image-truncated",
    ),
    (
        "rgone",
        "",
        "idle",
        "rm $ck/inventory.img",
        "",
        "image-missing",
    ),
    (
        "rpages",
        "",
        "idle",
        "rm $ck/pagemap-1.img",
        "",
        "image-missing",
    ),
    (
        "rpipe",
        "",
        "pipe",
        "cat /proc/sys/fs/pipe-max-size >/tmp/pipe; echo 4096 >/proc/sys/fs/pipe-max-size",
        "cat /tmp/pipe >/proc/sys/fs/pipe-max-size",
        "pipe-size-limit",
    ),
];

#[test]
fn a_failed_restore_is_explained() {
    let Some((lab, _turn)) = lab() else { return };
    for (name, options, mode, damage, mend, rule) in RESTORES {
        lab.ok("a", "mkdir -p /srv/data; echo 12345 >/srv/data/f");
        start(lab, name, options, mode);
        lab.ok("a", &format!("docker checkpoint create {name} c1"));
        // Docker refuses content that containerd's store still holds from the checkpoint: it must differ.
        let ran = lab.sh(
            "a",
            &format!(
                "until [ \"$(docker inspect -f '{{{{.State.Running}}}}' {name})\" = false ]; do sleep 0.1; done; \
                 ck=/var/lib/docker/containers/$(docker inspect -f '{{{{.Id}}}}' {name})/checkpoints/c1; \
                 {damage}; date +%s%N >$ck/unique; docker start --checkpoint c1 {name}"
            ),
        );
        if !mend.is_empty() {
            lab.ok("a", mend);
        }
        assert_ne!(ran.code, 0, "{name} was restored: {ran:?}");
        explained(&explain(lab, name), rule);
        lab.forget(name);
    }
}

/// What the engine itself refuses: what is done, and the rule for its message.
const MESSAGES: [(&str, &str); 9] = [
    (
        "mv /usr/sbin/criu /usr/sbin/criu.away; docker checkpoint create dmsg c1; mv /usr/sbin/criu.away /usr/sbin/criu",
        "criu-missing",
    ),
    (
        "docker checkpoint create --leave-running dmsg c1; docker checkpoint create dmsg c1",
        "checkpoint-exists",
    ),
    (
        "docker stop -t 0 dmsg; docker start --checkpoint c1 --checkpoint-dir /srv dmsg",
        "checkpoint-dir-unsupported",
    ),
    (
        "docker start --checkpoint nope dmsg",
        "checkpoint-not-found",
    ),
    (
        "docker start dmsg; mv /usr/sbin/criu /usr/sbin/criu.away; printf '#!/bin/sh\nexit 1\n' >/usr/sbin/criu; \
         chmod 755 /usr/sbin/criu; docker checkpoint create dmsg c2; mv -f /usr/sbin/criu.away /usr/sbin/criu",
        "criu-version-parse",
    ),
    (
        "docker run -d --name dport1 -p 8078:80 stuck /stuck idle; docker run -d --name dport2 -p 8078:80 stuck /stuck idle; \
         docker rm -f dport1 dport2 >/dev/null",
        "port-in-use",
    ),
    ("docker create --name dmsg stuck /stuck idle", "name-in-use"),
    ("docker checkpoint create nobody c1", "container-missing"),
    (
        "docker run -d --name dfull --entrypoint hog busybox 20 >/dev/null; sleep 1; mkdir -p /srv/tiny; \
         mount -t tmpfs -o size=4m none /srv/tiny; docker checkpoint create --checkpoint-dir /srv/tiny dfull c1; \
         umount /srv/tiny; docker rm -f dfull >/dev/null",
        "no-space",
    ),
];

#[test]
fn what_the_engine_refuses_is_explained_from_its_message() {
    let Some((lab, _turn)) = lab() else { return };
    start(lab, "dmsg", "", "idle");
    for (script, rule) in MESSAGES {
        let ran = lab.sh("a", script);
        explained(
            &explain_text(lab, &format!("{}{}", ran.stdout, ran.stderr)),
            rule,
        );
    }
    lab.forget("dmsg");
}

#[test]
fn what_the_destination_lacks_is_named() {
    let Some((lab, _turn)) = lab() else { return };
    lab.ok("a", "mkdir -p /srv/only-a; echo 1 >/srv/only-a/f; docker network create --subnet 10.66.0.0/24 dnet || true");
    start(
        lab,
        "dplace",
        "-p 8077:80 -v /srv/only-a:/data --network dnet",
        "open /data/f",
    );
    lab.ok(
        "b",
        "docker run -d --name dplace -p 8077:80 stuck /stuck idle",
    );
    for (check, says_so) in [
        ("container.name-free", "already"),
        ("container.ports", "8077"),
        ("container.mounts", "/srv/only-a"),
        ("container.changed-files", "/srv/only-a/f"),
        ("container.networks", "dnet"),
    ] {
        let (status, text) = says(lab, "dplace", check);
        assert_eq!(status, "fail", "{text}");
        assert!(text.contains(says_so), "{text}");
    }
    lab.forget("dplace");
    lab.ok("a", "docker network rm dnet; rm -r /srv/only-a");
}

#[test]
fn a_healthy_pair_has_no_failure_and_doctor_changes_nothing() {
    let Some((lab, _turn)) = lab() else { return };
    start(lab, "dgood", "", "idle");
    // CRIU keeps what it learnt of the kernel in a file of its own.
    let state = |host| {
        lab.ok(
            host,
            "find / -xdev \\( -path /proc -o -path /var/log -o -path /run -o -path /tmp \\) -prune -o \
             -type f -printf '%p %s %T@ %m %U\\n' | sort | sha256sum; ls -A /tmp; docker ps -aq; iptables-save | grep -v '^#' | \
             sed 's/\\[[0-9:]*\\]//' | sha256sum",
        )
    };
    let before = [state("a"), state("b")];
    let ran = lab
        .run(&["--json", "doctor", "a", "b", "--container", "dgood"])
        .expect(0);
    assert_eq!([state("a"), state("b")], before);
    let document = ran.json();
    assert_eq!(document["passed"], true);
    let reports = [
        &document["hosts"][0],
        &document["hosts"][1],
        &document["pair"],
        &document["container"],
    ];
    for report in reports {
        assert_eq!(report["counts"]["fail"], 0, "{report:#}");
    }
    assert_eq!(
        document["pair"]["counts"]["warn"], 0,
        "{:#}",
        document["pair"]
    );
    assert_eq!(
        document["container"]["counts"]["warn"], 0,
        "{:#}",
        document["container"]
    );
    assert_eq!(document["link"]["direct"], true);
    assert!(document["link"]["throughput"].as_f64().unwrap() > 1e6);

    // Strict: what is ignored does not count, the rest does.
    let warned: Vec<String> = reports[..2]
        .iter()
        .flat_map(|report| report["groups"].as_array().unwrap())
        .flat_map(|group| group["verdicts"].as_array().unwrap())
        .filter(|verdict| verdict["status"] == "warn")
        .map(|verdict| verdict["id"].as_str().unwrap().to_owned())
        .collect();
    let mut args = vec!["doctor", "a", "b", "--strict"];
    lab.run(&args).expect(if warned.is_empty() { 0 } else { 4 });
    for id in &warned {
        args.extend(["--ignore", id]);
    }
    lab.run(&args).expect(0);
    lab.forget("dgood");
}

#[test]
fn people_read_it_in_80_columns() {
    let Some((lab, _turn)) = lab() else { return };
    let ran = lab.run(&["doctor", "a", "b"]).expect(0);
    let indented = ran.stdout.lines().filter(|line| line.starts_with(' '));
    for line in indented.filter(|line| !line.contains(" fix ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(ran.stdout.contains("a → b"), "{}", ran.stdout);
}

#[test]
fn hosts_and_containers_that_are_not_there() {
    let Some((lab, _turn)) = lab() else { return };
    let ran = lab
        .run(&["--json", "doctor", "a", "nobody.invalid"])
        .expect(3);
    let document = ran.json();
    assert_eq!(document["unreachable"][0]["host"], "nobody.invalid");
    assert_eq!(document["hosts"][0]["subject"], "a");
    let ran = lab.run(&["doctor", "a", "--container", "nobody"]).expect(4);
    assert!(
        ran.stdout.contains("there is no container nobody"),
        "{ran:?}"
    );
    lab.run(&[
        "doctor",
        "explain",
        "--host",
        "a",
        "--container",
        "nobody.here",
    ]);
    let ran = lab.run(&["--json", "doctor", "hardware", "a"]).expect(0);
    fits_schema(&ran.json(), "hardware");
}
