//! A healthy pair, and that looking at it changes nothing.

use super::support::Lab;
use super::{lab, pipe, start, verdicts};
use serde_json::Value;

/// Warnings that are true of hosts of the lab, by their ids, and what the machine must be like for that.
fn true_warnings(lab: &Lab) -> Vec<&'static str> {
    let yes = |script: &str| lab.sh("a", script).code == 0;
    let mut true_ones = Vec::new();
    // CAP_SYS_RESOURCE is bit 24.
    if yes(
        "caps=0x$(sed -n 's/^CapEff:[^0-9a-f]*//p' /proc/self/status); [ $((caps >> 24 & 1)) = 0 ]",
    ) {
        true_ones.push("system.capabilities");
    }
    if !yes("criu check --feature mem_dirty_track") {
        true_ones.push("kernel.soft-dirty");
    }
    if !yes("docker info --format '{{json .Runtimes}}' | grep -q transship") {
        true_ones.push("engine.docker-runtime");
    }
    if yes("[ $(stat -fc %T /sys/fs/cgroup) = tmpfs ]") {
        true_ones.push("engine.podman-cgroup");
    }
    true_ones
}

fn warned(report: &Value) -> Vec<&str> {
    let warned = verdicts(report).filter(|verdict| verdict["status"] == "warn");
    warned
        .map(|verdict| verdict["id"].as_str().unwrap())
        .collect()
}

#[test]
fn a_healthy_pair_has_no_failure_and_no_warning_that_is_not_true() {
    let Some((lab, _turn)) = lab() else { return };
    start(lab, "dgood", "", "idle");
    let args = ["--json", "doctor", "a", "b", "--container", "dgood"];
    let document = lab.run(&args).expect(0).json();
    assert_eq!(document["passed"], true);
    let expected = true_warnings(lab);
    for host in [&document["hosts"][0], &document["hosts"][1]] {
        assert_eq!(host["counts"]["fail"], 0, "{host:#}");
        assert_eq!(warned(host), expected, "{host:#}");
    }
    for report in [&document["pair"], &document["container"]] {
        assert_eq!(report["counts"]["fail"], 0, "{report:#}");
        assert_eq!(warned(report), [""; 0], "{report:#}");
    }
    assert_eq!(document["link"]["direct"], true);
    assert_eq!(document["link"]["throughput_direct"], true);
    assert!(document["link"]["throughput"].as_f64().unwrap() > 1e6);

    // How much and how long is told, not only that it is good.
    let args = ["doctor", "a", "b", "--container", "dgood"];
    let told = lab.run(&args).expect(0).stdout;
    for id in ["memory", "dirty-rate", "downtime"] {
        assert!(told.contains(&format!("[container.{id}]")), "{told}");
    }

    // Strict: what is ignored does not count, the rest does.
    let mut args = vec!["doctor", "a", "b", "--strict"];
    lab.run(&args)
        .expect(if expected.is_empty() { 0 } else { 4 });
    for id in &expected {
        args.extend(["--ignore", id]);
    }
    lab.run(&args).expect(0);
    lab.forget("dgood");
}

#[test]
fn it_is_one_round_trip_for_facts_and_one_for_criu() {
    let Some((lab, _turn)) = lab() else { return };
    let ran = lab.run(&["doctor", "a", "-v"]).expect(0);
    let commands: Vec<&str> = ran
        .stderr
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("a$ "))
        .collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(
        commands[0].contains("transship-facts") && commands[1].contains("transship-criu"),
        "{commands:?}"
    );
}

/// All that a host has on disk and in memory: names, kinds, sizes, times, modes, owners, and hashes where it is quick.
const STATE: &str = "for folder in / /run /tmp /dev/shm /var/lib/docker /var/lib/containers; do \
     find $folder -xdev \\( -path /proc -o -path /sys -o -path /var/log \\) -prune -o -printf '%p %y %s %T@ %m %U\\n'; \
     done 2>/dev/null | sort -u; \
     find /etc /root /tmp /run -xdev -type f -size -1000k -exec sha256sum {} + 2>/dev/null | sort; \
     docker ps -aq; [ -e /var/lib/containers/storage ] && podman ps -aq 2>/dev/null; iptables-save | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'; cat /proc/self/mounts";

/// What others change while the doctor looks: folders in memory in which CRIU's own checks make and remove files, CRIU's
/// cache, and what sshd tells of each login.
const OTHERS: [&str; 8] = [
    "/run d",
    "/tmp d",
    "/dev/shm d",
    "/run/criu.kdat",
    // Each command of Podman's writes its number there, the one above among them.
    "/storage/storage.lock",
    "/run/motd.dynamic",
    // Docker removes those of ended containers up to a minute later.
    "/run/docker/netns",
    // Pipes of a container's output have the time of its last line.
    "-stdout p",
];

fn state(lab: &Lab, host: &str) -> Vec<String> {
    let text = lab.ok(host, STATE);
    let own = |line: &&str| {
        !OTHERS.iter().any(|other| {
            line.starts_with(&format!("{other} ")) || line.contains(other) && !other.ends_with(" d")
        })
    };
    text.lines().filter(own).map(str::to_owned).collect()
}

/// Lines of one list that are not in the other.
fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let only = |one: &[String], other: &[String], sign: &str| {
        let lines = one.iter().filter(|line| !other.contains(line));
        lines
            .map(|line| format!("{sign} {line}"))
            .collect::<Vec<_>>()
    };
    [only(before, after, "-"), only(after, before, "+")].concat()
}

#[test]
fn the_doctor_changes_nothing() {
    let Some((lab, _turn)) = lab() else { return };
    start(lab, "dsame", "", "idle");
    // CRIU writes its cache once.
    lab.run(&["doctor", "a", "b"]).expect(0);
    let before = [state(lab, "a"), state(lab, "b")];
    assert!(before[0].len() > 5000, "{}", before[0].len());
    lab.run(&["doctor", "a", "b", "--container", "dsame"])
        .expect(0);
    lab.run(&["doctor", "explain", "--host", "a", "--container", "dsame"]);
    lab.run(&["doctor", "hardware", "a"]).expect(0);
    for (host, before) in ["a", "b"].into_iter().zip(&before) {
        let changed = differences(before, &state(lab, host));
        assert!(changed.is_empty(), "{host}: {changed:#?}");
    }
    lab.forget("dsame");
}

#[test]
fn the_doctor_changes_nothing_where_no_engine_ran_before() {
    let Some((lab, _turn)) = lab() else { return };
    // As after the installation: Podman has no store yet, and only CRIU has written its cache.
    lab.ok(
        "b",
        "podman rm -fa -t 0 >/dev/null 2>&1; umount /var/lib/containers/storage/overlay 2>/dev/null; \
         rm -rf /var/lib/containers/storage /run/containers /run/libpod /run/crun /run/runc /run/lock/netavark.lock /dev/shm/libpod_lock; \
         criu check",
    );
    // It has answered once, so that sshd has written what it writes at a login.
    lab.run(&["doctor", "hardware", "b"]).expect(0);
    let before = state(lab, "b");
    let document = lab.run(&["--json", "doctor", "b"]).expect(0).json();
    let (status, text) = super::of(&document["hosts"][0], "engine.podman");
    assert_eq!(status, "ok", "{text}");
    let changed = differences(&before, &state(lab, "b"));
    assert!(changed.is_empty(), "{changed:#?}");
}

#[test]
fn the_doctor_works_where_everything_is_read_only() {
    let Some((lab, _turn)) = lab() else { return };
    start(lab, "dread", "", "idle");
    let binary = std::fs::read(env!("CARGO_BIN_EXE_transship")).unwrap();
    pipe(
        lab,
        "a",
        "cat >/root/transship && chmod 755 /root/transship",
        &binary,
    );
    // In a namespace of its own every mount is read-only; only the sockets of the engines still answer.
    let script = "mount --make-rprivate / && \
         for at in $(cut -d' ' -f2 /proc/self/mounts | grep -v ^/proc); do mount -o remount,bind,ro \"$at\" || exit 8; done; \
         for at in / /root /tmp /run /etc /var/lib/docker /var/lib/containers /dev/shm /sys/fs/cgroup/pids; do \
         if touch $at/x || ! [ -d $at ]; then exit 9; fi; done; \
         /root/transship --json doctor local --container dread";
    lab.run(&["doctor", "a"]).expect(0);
    let before = state(lab, "a");
    let ran = lab.sh(
        "a",
        &format!("unshare -m sh -c '{}'", script.replace('\'', "'\\''")),
    );
    let changed = differences(&before, &state(lab, "a"));
    assert!(changed.is_empty(), "{changed:#?}");
    lab.ok("a", "rm /root/transship");
    let document = ran.expect(0).json();
    for report in [&document["hosts"][0], &document["container"]] {
        assert_eq!(report["counts"]["fail"], 0, "{report:#}");
    }
    // Podman cannot answer where it cannot take its own lock.
    let mut expected = true_warnings(lab);
    expected.retain(|id| *id != "engine.podman-cgroup");
    expected.push("engine.podman");
    assert_eq!(
        warned(&document["hosts"][0]),
        expected,
        "{:#}",
        document["hosts"][0]
    );
    lab.forget("dread");
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
    // What is true of both hosts is told once.
    for id in true_warnings(lab) {
        assert_eq!(
            ran.stdout.matches(&format!("[{id}]")).count(),
            2,
            "{}",
            ran.stdout
        );
    }
    // Where the fix names the host, it is told of each.
    let per_host = |id: &&&str| **id == "engine.docker-runtime";
    let warnings = true_warnings(lab);
    assert_eq!(
        ran.stdout.matches("because").count(),
        warnings.len() + warnings.iter().filter(per_host).count(),
        "{}",
        ran.stdout
    );
}
