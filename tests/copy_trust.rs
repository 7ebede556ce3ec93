//! That nothing is lost which somebody still needs: volumes and folders on the destination, what was printed, labels
//! and passwords; and that the command at the end moves a container back.

mod support;

use serde_json::Value;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use support::Lab;
use support::copy::{copy, counts};

/// One test at a time: some look at all volumes or processes of the hosts.
fn lab() -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = LAB.get_or_init(|| Lab::up("trust", "10.131.0.0/24", "docker-26"));
    Some((turn, lab.as_ref()?))
}

/// Removes what a test, or an earlier run of it, left.
fn fresh(lab: &Lab, name: &str) {
    lab.forget(name);
    for host in ["a", "b"] {
        lab.ok(
            host,
            &format!("docker rm -f {name}2 other >/dev/null 2>&1; docker volume rm -f {name}data >/dev/null 2>&1; rm -rf /srv/{name} /var/lib/transship/moved/{name}data /var/lib/transship/moved-folders/srv/{name}"),
        );
    }
}

#[test]
fn what_an_earlier_move_left_is_overwritten_only_while_nobody_used_it() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "stale";
    fresh(lab, name);
    lab.counter(name, "0.1", "-v staledata:/data");
    lab.ok("a", "docker exec stale sh -c 'echo one > /data/f'");
    copy(lab, name, "a", "b", &[]).expect(0);
    // Another one has it now.
    lab.ok(
        "a",
        "docker run -d --name other -v staledata:/d busybox sleep 1000",
    );
    let ran = copy(lab, name, "b", "a", &[]).expect(4);
    assert!(
        ran.stderr.contains("which other uses there"),
        "{}",
        ran.stderr
    );
    // It is gone, and wrote something.
    lab.ok(
        "a",
        "docker exec other sh -c 'echo mine > /d/mine'; docker rm -f other",
    );
    let ran = copy(lab, name, "b", "a", &[]).expect(4);
    assert!(
        ran.stderr.contains("has a volume staledata already"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        lab.ok("a", "cat /var/lib/docker/volumes/staledata/_data/mine"),
        "mine"
    );
    // Made anew under that name.
    lab.ok(
        "a",
        "docker volume rm staledata; docker volume create staledata",
    );
    copy(lab, name, "b", "a", &[]).expect(4);
    lab.ok("a", "docker volume rm staledata");
    copy(lab, name, "b", "a", &[]).expect(0);
    // Untouched, after a failed attempt too.
    let (ran, _) = support::copy::disturbed_in(
        lab,
        name,
        &["--mode", "copy"],
        "move",
        support::copy::interrupt,
    );
    ran.expect(130);
    copy(lab, name, "a", "b", &[]).expect(0);
    assert_eq!(lab.ok("b", "docker exec stale cat /data/f"), "one");
    counts(lab, "b", name);
    fresh(lab, name);
}

#[test]
fn volumes_keep_their_labels_and_what_is_no_plain_volume_is_refused() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "labels";
    fresh(lab, name);
    lab.ok(
        "a",
        "docker volume create --label keep=me --label two=2 labelsdata",
    );
    lab.counter(name, "0.1", "-v labelsdata:/data");
    lab.ok(
        "a",
        "docker run -d --name other -v labelsdata:/d busybox sleep 1000",
    );
    let labels = "docker volume inspect -f '{{json .Labels}}' labelsdata";
    let before = lab.ok("a", labels);
    let report = copy(lab, name, "a", "b", &["--json"]).expect(0).json();
    assert_eq!(lab.ok("b", labels), before);
    let warned = report["warnings"].to_string();
    assert!(warned.contains("is used by other on a too"), "{warned}");
    fresh(lab, name);
    lab.ok(
        "a",
        "docker volume create -o type=none -o o=bind -o device=/srv labelsdata",
    );
    lab.counter(name, "0.1", "-v labelsdata:/data");
    let ran = copy(lab, name, "a", "b", &[]).expect(4);
    assert!(
        ran.stderr.contains("is a mount of something else"),
        "{}",
        ran.stderr
    );
    lab.is_as_before(name);
    fresh(lab, name);
}

#[test]
fn a_network_that_is_missing_is_a_refusal_and_one_that_is_not_locked_a_warning() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "netted";
    fresh(lab, name);
    lab.ok("a", "docker network create lonely 2>/dev/null; true");
    lab.counter(name, "0.1", "--network lonely");
    let ran = copy(lab, name, "a", "b", &[]).expect(4);
    assert!(
        ran.stderr.contains("there is no network lonely on b"),
        "{}",
        ran.stderr
    );
    lab.is_as_before(name);
    lab.counter(name, "0.1", "--network host");
    let report = copy(lab, name, "a", "b", &["--json"]).expect(0).json();
    let warned = report["warnings"].to_string();
    assert!(warned.contains("cannot be locked"), "{warned}");
    counts(lab, "b", name);
    fresh(lab, name);
    lab.ok("a", "docker network rm lonely");
}

/// Runs what a report says is to be typed next, as it stands there.
fn back(lab: &Lab, report: &Value) {
    for line in report["next"].as_array().unwrap() {
        let line = line.as_str().unwrap();
        if let Some((host, command)) = line.strip_prefix("on ").and_then(|it| it.split_once(": ")) {
            lab.ok(host, command);
            continue;
        }
        assert!(line.starts_with("transship "), "{line}");
        // As a person would, in a shell.
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_transship"));
        let path = format!("{}:{}", program.parent().unwrap().display(), env!("PATH"));
        let ran = std::process::Command::new("sh")
            .args(["-c", line])
            .env("PATH", path)
            .env("XDG_STATE_HOME", lab.journals())
            .output()
            .unwrap();
        support::Ran::of(ran).expect(0);
    }
}

#[test]
fn the_command_at_the_end_moves_it_back_whatever_the_options_were() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "boomerang";
    for options in [
        &[][..],
        &["--name", "boomerang2"],
        &["--copy-bind"],
        &["--keep-source"],
    ] {
        fresh(lab, name);
        lab.ok(
            "a",
            "mkdir -p /srv/boomerang/deep; echo here > /srv/boomerang/deep/f",
        );
        if !options.contains(&"--copy-bind") {
            lab.ok("b", "mkdir -p /srv/boomerang");
        }
        lab.counter(name, "0.1", "-v boomerangdata:/data -v /srv/boomerang:/b");
        lab.ok("a", "docker exec boomerang sh -c 'echo kept > /data/f'");
        let mut more = vec!["--json"];
        more.extend(options);
        // Also where it is called by its id, which is another on the destination.
        let id = lab.ok("a", &format!("docker inspect -f '{{{{.Id}}}}' {name}"));
        let called = if options.is_empty() { &id[..12] } else { name };
        let report = copy(lab, called, "a", "b", &more).expect(0).json();
        let there = report["name"].as_str().unwrap();
        if options.contains(&"--copy-bind") {
            assert_eq!(lab.ok("b", "cat /srv/boomerang/deep/f"), "here");
            lab.ok("b", "echo there > /srv/boomerang/deep/f");
        }
        lab.ok(
            "b",
            &format!("docker exec {there} sh -c 'echo more >> /data/f'"),
        );
        back(lab, &report);
        assert_eq!(
            lab.ok("a", "docker exec boomerang cat /data/f"),
            "kept\nmore",
            "{options:?}"
        );
        if options.contains(&"--copy-bind") {
            assert_eq!(lab.ok("a", "cat /srv/boomerang/deep/f"), "there");
        }
        counts(lab, "a", name);
        fresh(lab, name);
    }
}

#[test]
fn file_systems_in_memory_move_too_and_count_as_memory() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "airy";
    fresh(lab, name);
    lab.counter(name, "0.1", "--tmpfs /fast:size=300m --shm-size 100m");
    lab.ok(
        "a",
        "docker exec airy sh -c 'head -c 200m /dev/urandom > /fast/noise; head -c 20m /dev/urandom > /dev/shm/noise'",
    );
    let sums = "docker exec airy md5sum /fast/noise /dev/shm/noise";
    let before = lab.ok("a", sums);
    copy(lab, name, "a", "b", &[]).expect(0);
    assert_eq!(lab.ok("b", sums), before);
    counts(lab, "b", name);
    fresh(lab, name);
}

/// Prints hundreds of kilobytes a second, all numbers from 1 on.
const CHATTY: &str =
    "i=1; while true; do seq $i $(expr $i + 19999); i=$(expr $i + 20000); sleep 0.1; done";

/// Waits until the log of a container has so many lines. `docker logs` does not come to the end of one that grows so fast.
fn printed(lab: &Lab, host: &str, name: &str, lines: u64) {
    let script = format!(
        "log=$(docker inspect -f '{{{{.LogPath}}}}' {name}); until [ $(wc -l <$log) -ge {lines} ]; do sleep 0.1; done"
    );
    lab.ok(host, &script);
}

#[test]
fn no_line_is_lost_of_what_a_container_prints_however_much_it_is() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "chatty";
    for terminal in ["", "-t"] {
        fresh(lab, name);
        lab.ok(
            "a",
            &format!("docker run -d {terminal} --name {name} busybox sh -c '{CHATTY}'"),
        );
        printed(lab, "a", name, 100_000);
        copy(lab, name, "a", "b", &[]).expect(0);
        printed(lab, "b", name, 200_000);
        lab.ok("b", &format!("docker pause {name}; sleep 1"));
        // The first number that is not the one after that before it.
        let script = format!(
            "docker logs {name} 2>&1 | tr -d '\\r' | awk 'NF && $1 != NR {{ print NR, $0; exit 1 }} END {{ print NR > \"/dev/stderr\" }}'"
        );
        let ran = lab.sh("b", &script);
        assert_eq!(ran.stdout, "", "{terminal}: {ran:?}");
        let lines: u64 = ran.stderr.trim().parse().unwrap();
        assert!(lines >= 200_000, "{terminal}: {lines}");
        lab.ok("b", &format!("docker unpause {name}"));
    }
    fresh(lab, name);
}

#[test]
fn what_was_printed_and_cannot_move_is_kept_and_said() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "keeper";
    for options in [
        "--log-driver local",
        "--log-opt max-size=1k --log-opt max-file=3",
    ] {
        fresh(lab, name);
        lab.counter(name, "0.02", options);
        // With the second of them more than there is room for.
        lab.ok(
            "a",
            "until [ $(docker logs keeper | tail -1) -ge 60 ]; do sleep 0.1; done",
        );
        let last: u64 = lab.ok("a", "docker logs keeper | tail -1").parse().unwrap();
        let report = copy(lab, name, "a", "b", &["--json"]).expect(0).json();
        let warning = report["warnings"][0].as_str().unwrap();
        let path = warning
            .split_whitespace()
            .find(|word| word.starts_with("/var/lib/transship/logs/keeper-"))
            .unwrap()
            .trim_end_matches(':');
        let kept = support::numbers(&lab.ok("a", &format!("cat {path}")));
        support::in_order(&kept, kept[0]);
        assert!(*kept.last().unwrap() >= last, "{options}: {kept:?}");
        assert_eq!(lab.ok("a", &format!("stat -c %a {path}")), "600");
    }
    fresh(lab, name);
}

#[test]
fn no_password_is_in_a_list_of_processes() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "secret";
    fresh(lab, name);
    // With lines in it, and beside a profile that comes through standard input too.
    lab.ok(
        "a",
        "printf '{\"defaultAction\": \"SCMP_ACT_ALLOW\"}' > /tmp/profile.json",
    );
    lab.counter(
        name,
        "0.1",
        "-e PLAIN=marker-one -e \"KEY=$(printf 'marker-two\\nmarker-three')\" --security-opt seccomp=/tmp/profile.json",
    );
    let environment = "docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}{{.HostConfig.SecurityOpt}}' secret | sort";
    let before = lab.ok("a", environment);
    let found = std::thread::scope(|scope| {
        let watch = "for i in $(seq 400); do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep 'marker-' ; sleep 0.01; done; true";
        let watches = ["a", "b"].map(|host| scope.spawn(move || lab.ok(host, watch)));
        copy(lab, name, "a", "b", &[]).expect(0);
        watches.map(|watch| watch.join().unwrap())
    });
    // What looks for it has it in its own line.
    for line in found.iter().flat_map(|text| text.lines()) {
        assert!(line.contains("grep") || line == "marker-", "{line}");
    }
    assert_eq!(lab.ok("b", environment), before);
    assert_eq!(
        lab.ok("b", "docker exec secret sh -c 'echo \"$KEY\"'"),
        "marker-two\nmarker-three"
    );
    counts(lab, "b", name);
    fresh(lab, name);
}

#[test]
fn a_second_migration_while_the_first_is_under_way_is_refused() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "twice";
    fresh(lab, name);
    lab.counter(name, "0.1", "");
    let signal = |pid: u32, signal: &str| {
        let pid = pid.to_string();
        let killed = std::process::Command::new("kill")
            .args([signal, &pid])
            .status();
        assert!(killed.unwrap().success());
    };
    let (ran, report) = support::copy::disturbed(lab, name, "create", |pid| {
        signal(pid, "-STOP");
        let second = copy(lab, name, "a", "b", &[]);
        signal(pid, "-CONT");
        let second = second.expect(4);
        assert!(
            second
                .stderr
                .contains("is being moved from a to b at this moment"),
            "{}",
            second.stderr
        );
    });
    ran.expect(0);
    assert_eq!(report["outcome"], "migrated");
    counts(lab, "b", name);
    fresh(lab, name);
}
