//! Mode copy between two real hosts.

mod support;

use serde_json::Value;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use support::{Lab, Ran, fits_schema, in_order};

/// One test at a time: some of them kill whatever of transship runs on a host.
fn lab() -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = LAB.get_or_init(|| Lab::up("cpy", "10.86.0.0/24", "docker-26"));
    Some((turn, lab.as_ref()?))
}

fn copy(lab: &Lab, name: &str, from: &str, to: &str, more: &[&str]) -> Ran {
    let mut args = vec![
        "migrate", name, "--from", from, "--to", to, "--mode", "copy",
    ];
    args.extend(more);
    lab.run(&args)
}

/// Nothing of a migration is left on a host: no folder, no mount, no pending container, no rule.
#[track_caller]
fn clean(lab: &Lab, name: &str) {
    lab.nothing_left(name);
    for host in ["a", "b"] {
        lab.ok(host, "! grep transship/migrate /proc/mounts");
        let pending = lab.ok(host, "ls /run/transship/restore 2>/dev/null; true");
        let ids = lab.ok(host, "docker ps -aq --no-trunc --filter name=never");
        assert_eq!(pending, ids, "pending on {host}");
        let script = format!(
            "pid=$(docker inspect -f '{{{{.State.Pid}}}}' {name} 2>/dev/null) && [ $pid != 0 ] && nsenter -t $pid -n nft list tables; true"
        );
        let tables = lab.ok(host, &script);
        assert!(
            !tables.contains("transship"),
            "its network is locked on {host}: {tables}"
        );
    }
}

/// The counter on `host` has all its numbers, from the first on, and goes on.
#[track_caller]
fn counts(lab: &Lab, host: &str, name: &str) {
    let before = lab.numbers(host, name);
    in_order(&before, 0);
    lab.ok(
        host,
        &format!(
            "until [ $(docker logs {name} | wc -l) -ge {} ]; do sleep 0.1; done",
            before.len() + 2
        ),
    );
    in_order(&lab.numbers(host, name), 0);
}

#[test]
fn a_counter_goes_on_back_and_forth_and_its_log_goes_along() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "fro";
    lab.counter(name, "0.05", "");
    for turn in 0..6 {
        let (from, to) = if turn % 2 == 0 {
            ("a", "b")
        } else {
            ("b", "a")
        };
        let report = copy(lab, name, from, to, &["--json"]).expect(0).json();
        fits_schema(&report, "migrate");
        assert_eq!(
            (&report["outcome"], &report["mode"]),
            (&"migrated".into(), &"copy".into())
        );
        assert_ne!(lab.sh(from, &format!("docker inspect {name}")).code, 0);
        counts(lab, to, name);
    }
    clean(lab, name);
    lab.forget(name);
}

/// Makes every sort of file, in the root and in volumes, and prints what is there.
const FILES: &str = r#"
set -e
mkdir -p /etc/deep/er /tmp/s; echo one > /etc/deep/er/one; ln /etc/deep/er/one /etc/deep/two; ln -s ../nowhere /etc/deep/link
chmod 4750 /etc/deep/er/one; chown 1234:99 /etc/deep; mkfifo /tmp/s/fifo
dd if=/dev/zero of=/tmp/s/sparse bs=1 count=1 seek=50M 2>/dev/null; touch -t 200001020304 /tmp/s/sparse
rm /bin/wget /bin/nc; mkdir /bin/nc; echo replaced > /bin/nc/in
echo 'named' > /named/x; echo anonymous > /anon/y; mkdir /anon/sub; echo z > /anon/sub/z
"#;
const LISTING: &str = r#"
for f in $(find /etc /tmp /bin /named /anon | grep -vE '^/etc/(hosts|hostname|resolv.conf|mtab)$|^/tmp/busy' | sort); do
    stat -c '%n %A %u:%g %s %h' $f; [ -h $f ] || stat -c '%Y' $f; [ ! -f $f ] || md5sum $f
done
"#;

#[track_caller]
fn same_lines(one: &str, other: &str) {
    let differ: Vec<_> = one
        .lines()
        .zip(other.lines())
        .filter(|(a, b)| a != b)
        .collect();
    assert!(
        differ.is_empty() && one.lines().count() == other.lines().count(),
        "{differ:#?}"
    );
}

#[test]
fn what_it_wrote_moves_with_it() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "wrote";
    // What an earlier run of this test may have left.
    lab.forget(name);
    for host in ["a", "b"] {
        lab.ok(
            host,
            "docker volume rm -f named; rm -f /var/lib/transship/moved/named",
        );
    }
    lab.counter(name, "0.1", "-v named:/named -v /anon");
    lab.ok(
        "a",
        &format!(
            "docker exec {name} sh -c '{}'",
            FILES.replace('\'', r#"'"'"'"#)
        ),
    );
    let list = |host: &str| {
        lab.ok(
            host,
            &format!(
                "docker exec {name} sh -c '{}'",
                LISTING.replace('\'', r#"'"'"'"#)
            ),
        )
    };
    let before = list("a");
    assert!(
        before.contains("/named/x") && !before.contains("/bin/wget"),
        "{before}"
    );
    copy(lab, name, "a", "b", &[]).expect(0);
    same_lines(&list("b"), &before);
    counts(lab, "b", name);
    // Back: the volume that stayed on a is known to be old, and is replaced.
    lab.ok(
        "b",
        &format!("docker exec {name} sh -c 'rm /named/x; echo new > /named/n'"),
    );
    let before = list("b");
    copy(lab, name, "b", "a", &[]).expect(0);
    same_lines(&list("a"), &before);
    clean(lab, name);
    lab.forget(name);
    for host in ["a", "b"] {
        lab.ok(
            host,
            "docker volume rm -f named; rm -f /var/lib/transship/moved/named",
        );
    }
}

#[test]
fn a_volume_of_somebody_else_is_never_overwritten() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "theirs";
    lab.counter(name, "0.2", "-v precious:/p");
    lab.ok("b", "docker volume create precious");
    let ran = copy(lab, name, "a", "b", &[]).expect(4);
    assert!(
        ran.stderr.contains("has a volume precious already"),
        "{}",
        ran.stderr
    );
    lab.is_as_before(name);
    lab.forget(name);
    for host in ["a", "b"] {
        lab.ok(host, "docker volume rm precious");
    }
}

#[test]
fn the_image_is_moved_where_it_is_missing() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "imaged";
    lab.forget(name);
    lab.ok("b", "docker rmi -f only:here 2>/dev/null; true");
    lab.ok("a", "printf 'FROM busybox\nRUN echo layer > /layer\n' > /tmp/Dockerfile; c=$(docker create busybox true); docker commit -c 'ENV X=y' $c only:here; docker rm $c");
    lab.ok("a", &format!("docker run -d --name {name} only:here sh -c 'i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.1; done'; sleep 0.5"));
    copy(lab, name, "a", "b", &[]).expect(0);
    counts(lab, "b", name);
    assert_eq!(
        lab.ok("a", "docker image inspect -f '{{.Id}}' only:here"),
        lab.ok("b", "docker image inspect -f '{{.Id}}' only:here")
    );
    lab.forget(name);
}

#[test]
fn life_goes_on_underneath() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "lives";
    lab.counter(
        name,
        "0.1",
        "--restart on-failure:2 -p 8088:80 --memory 100m",
    );
    copy(lab, name, "a", "b", &[]).expect(0);
    let show = |what: &str| lab.ok("b", &format!("docker inspect -f '{{{{{what}}}}}' {name}"));
    assert_eq!(show(".HostConfig.Runtime"), "transship");
    assert_eq!(show(".HostConfig.RestartPolicy.Name"), "on-failure");
    for command in [
        "pause",
        "unpause",
        "exec NAME true",
        "update --memory 120m",
        "top NAME",
        "restart -t 0",
        "kill",
        "start",
        "stop -t 0",
        "start",
    ] {
        let command = if command.contains("NAME") {
            command.replace("NAME", name)
        } else {
            format!("{command} {name}")
        };
        lab.ok("b", &format!("docker {command}"));
    }
    // A fresh start begins anew, as anywhere.
    assert_eq!(show(".State.Running"), "true");
    lab.forget(name);
}

#[test]
fn a_dry_run_shows_the_commands_and_changes_nothing() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "drycopy";
    lab.counter(name, "0.2", "");
    let report = copy(lab, name, "a", "b", &["--dry-run", "--json"])
        .expect(0)
        .json();
    let lines: Vec<String> = report["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            format!(
                "{} {}",
                c["host"].as_str().unwrap(),
                c["line"].as_str().unwrap()
            )
        })
        .collect();
    for expected in [
        "b docker create",
        "a docker pause",
        "a flock",
        "b docker start",
        "a docker rm",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(expected)),
            "{expected} in {lines:#?}"
        );
    }
    lab.is_as_before(name);
    lab.forget(name);
}

/// Runs a migration, and does something to it when a phase begins.
fn disturbed(lab: &Lab, name: &str, phase: &str, disturb: impl FnOnce(u32)) -> (Ran, Value) {
    use std::io::{BufRead, BufReader, Read};
    let mut child = lab
        .transship(&[
            "migrate", name, "--from", "a", "--to", "b", "--mode", "copy", "--json",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let mut said = String::new();
    while !line.starts_with(phase) {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "no phase {phase}: {said}"
        );
        said.push_str(&line);
    }
    disturb(child.id());
    lines.read_to_string(&mut said).unwrap();
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    let code = child.wait().unwrap().code().unwrap_or(-1);
    let ran = Ran {
        code,
        stdout,
        stderr: said,
    };
    let json = ran.json();
    (ran, json)
}

fn interrupt(pid: u32) {
    std::process::Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .unwrap();
}

#[test]
fn ctrl_c_at_each_phase_leaves_the_container_where_it_was() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "ctrlc";
    lab.counter(name, "0.05", "-v /data");
    for phase in [
        "prepare", "image", "create", "files", "start", "freeze", "move", "restore", "verify",
    ] {
        let (ran, report) = disturbed(lab, name, phase, interrupt);
        assert_eq!(ran.code, 130, "{phase}: {ran:?}");
        assert_eq!(report["outcome"], "rolled-back", "{phase}");
        lab.is_as_before(name);
        clean(lab, name);
    }
    lab.forget(name);
}

/// Kills, in a host, the process whose command line matches, as soon as there is one.
fn kill_on(lab: &Lab, host: &str, pattern: &str) {
    let script = format!(
        "for i in $(seq 2000); do for p in /proc/[0-9]*; do [ $p != /proc/$$ ] || continue; if tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -qE '{pattern}'; then kill -KILL ${{p#/proc/}} && exit 0; fi; done; sleep 0.005; done; exit 1"
    );
    lab.ok(host, &script);
}

#[test]
fn whoever_is_killed_the_container_goes_on_at_the_source() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "killed";
    lab.counter(name, "0.05", "-v /data");
    for (phase, host, pattern) in [
        ("start", "b", "^[^ ]*transship-runtime .* create "),
        ("start", "b", "^[^ ]*transship agent receive"),
        ("start", "a", "^[^ ]*transship agent send"),
        ("files", "b", "^docker start "),
    ] {
        let (ran, report) = disturbed(lab, name, phase, |_| kill_on(lab, host, pattern));
        assert_eq!(
            (ran.code, &report["outcome"]),
            (6, &Value::from("rolled-back")),
            "{pattern}: {ran:?}"
        );
        lab.is_as_before(name);
        clean(lab, name);
    }
    std::thread::sleep(Duration::from_millis(100));
    copy(lab, name, "a", "b", &[]).expect(0);
    counts(lab, "b", name);
    lab.forget(name);
}
