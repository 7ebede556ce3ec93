//! Mode copy between two real hosts.

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use support::copy::{clean, copy, counts, disturbed, disturbed_in, interrupt, kill_on};
use support::{Lab, fits_schema};

/// One test at a time: some of them kill whatever of transship runs on a host.
fn lab() -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = LAB.get_or_init(|| Lab::up("cpy", "10.86.0.0/24", "docker-26"));
    Some((turn, lab.as_ref()?))
}

#[test]
fn a_counter_goes_on_back_and_forth_and_its_log_goes_along() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "fro";
    lab.counter(name, "0.05", "");
    // More on demand: make soak.
    let turns = std::env::var("TRANSSHIP_SOAK").map_or(8, |turns| turns.parse().unwrap());
    let mut early = None;
    for turn in 0..turns {
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
        if turn == 3 {
            early = Some(held(lab));
        }
    }
    // Each host was left and come to as often as the other; a thing left by each move would be seen.
    let (early, late) = (early.unwrap(), held(lab));
    let moves = turns - 4;
    for (what, before) in &early {
        assert!(
            late[what] < before + moves / 2,
            "{what}: {before} after 4 moves, {} after {turns}",
            late[what]
        );
    }
    clean(lab, name);
    lab.forget(name);
}

/// What the two hosts hold: the engine's descriptors and threads, mounts, processes, rules, files of ours. Each
/// is the least of several looks, since engines open and start things for a moment.
fn held(lab: &Lab) -> BTreeMap<String, usize> {
    let script = r#"
for i in $(seq 8); do
    for name in dockerd containerd; do
        p=$(pidof $name) || continue
        echo $name-descriptors $(ls /proc/$p/fd | wc -l); echo $name-mounts $(wc -l < /proc/$p/mounts)
    done
    echo processes $(ls -d /proc/[0-9]* | wc -l)
    echo rules $( (nft list ruleset; iptables-save) 2>/dev/null | wc -l)
    echo files $(find /var/lib/transship /run/transship /var/lib/docker/containers /var/lib/docker/volumes -mindepth 1 | wc -l)
    echo layers $(ls /var/lib/docker/overlay2 | wc -l)
    echo groups $(find /sys/fs/cgroup -type d -path '*docker*' | wc -l)
    sleep 0.2
done"#;
    let mut least = BTreeMap::new();
    for host in ["a", "b"] {
        for line in lab.ok(host, script).lines() {
            let (what, count) = line.split_once(' ').unwrap();
            let count: usize = count.parse().unwrap();
            let entry = least.entry(format!("{what} on {host}")).or_insert(count);
            *entry = count.min(*entry);
        }
    }
    least
}

/// Names that a shell would take for something else; without slashes, which a name cannot have.
const ODD: &str = r#"
set -e
for d in /odd '/odd $(touch ${PATH%%[a-z]*}pwned)' /etc/odd; do
    mkdir -p "$d"; cd "$d"
    for n in '$(touch ${PATH%%[a-z]*}pwned)' '`touch ${PATH%%[a-z]*}pwned`' '; touch ${PATH%%[a-z]*}pwned' '| touch ${PATH%%[a-z]*}pwned' -rf 'a  b' "'" '"' '*' '~' '#' '\' "$(printf 'line\nbreak')" "$(printf '\377\001')"; do
        echo x > "./$n"; mkdir "./d$n"; echo y > "./d$n/$n"; ln -s -- "$n" "./l$n"
    done
done"#;

#[test]
fn names_of_files_and_folders_reach_no_shell() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "odd-.name_";
    let fresh = || {
        lab.forget(name);
        for host in ["a", "b"] {
            lab.ok(
                host,
                "docker volume rm -f odd.-_vol; rm -f /var/lib/transship/moved/odd.-_vol",
            );
        }
    };
    fresh();
    lab.counter(
        name,
        "0.1",
        r#"-v odd.-_vol:/odd -v '/odd $(touch ${PATH%%[a-z]*}pwned)' -e 'X=$(touch /pwned); `touch /pwned`' -l 'y=$(touch /pwned)" '"#,
    );
    lab.ok("a", &format!("docker exec -i {name} sh <<'X'\n{ODD}\nX"));
    let list = |host: &str| {
        lab.ok(
            host,
            &format!(
                "docker exec {name} find /odd '/odd $(touch ${{PATH%%[a-z]*}}pwned)' /etc/odd -print0 | tr '\\0\\n' '\\n?' | LC_ALL=C sort | od -An -c -w16; docker inspect -f '{{{{json .Config.Env}}}} {{{{json .Config.Labels}}}}' {name}"
            ),
        )
    };
    let before = list("a");
    assert!(
        before.contains("touch /pwned") && before.lines().count() > 150,
        "{before}"
    );
    copy(lab, name, "a", "b", &[]).expect(0);
    same_lines(&list("b"), &before);
    for host in ["a", "b"] {
        lab.ok(
            host,
            "! find / /root -xdev -maxdepth 1 -name '*pwned*' | grep .",
        );
    }
    lab.ok("b", &format!("! docker exec {name} ls -d /pwned"));
    counts(lab, "b", name);
    clean(lab, name);
    fresh();
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
fn bind_mounts_are_copied_along_where_nothing_would_be_lost() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "bound";
    lab.forget(name);
    for host in ["a", "b"] {
        lab.ok(
            host,
            "rm -rf '/srv/b 1' /srv/b2; ln -sfn /etc/os-release /srv/link",
        );
    }
    lab.ok("a", "mkdir -p '/srv/b 1/deep' /srv/b2; echo one > '/srv/b 1/deep/x'; chown 12:34 '/srv/b 1'; ln -s nowhere /srv/b2/link");
    let counter =
        "i=0; while true; do echo $i; echo $i >> /one/log; i=$(expr $i + 1); sleep 0.1; done";
    lab.ok("a", &format!("docker run -d --name {name} --init -v /srv/link:/link:ro -v '/srv/b 1:/one' --mount type=bind,source=/srv/b2,target=/two busybox sh -c '{counter}'; until [ $(docker logs {name} | wc -l) -ge 5 ]; do sleep 0.1; done"));

    let ran = copy(lab, name, "a", "b", &[]).expect(4);
    assert!(ran.stderr.contains("--copy-bind"), "{}", ran.stderr);
    lab.ok("b", "mkdir -p /srv/b2; touch /srv/b2/precious");
    let ran = copy(lab, name, "a", "b", &["--copy-bind"]).expect(4);
    assert!(
        ran.stderr.contains("/srv/b2 on b is not empty"),
        "{}",
        ran.stderr
    );
    lab.ok("b", "rm /srv/b2/precious");
    lab.is_as_before(name);

    // What was copied goes again when it is undone, at whichever phase.
    let mode = ["--mode", "copy", "--copy-bind"];
    for phase in ["create", "move"] {
        let (ran, _) = disturbed_in(lab, name, &mode, phase, interrupt);
        assert_eq!(ran.code, 130, "{phase}: {ran:?}");
        lab.is_as_before(name);
        assert_eq!(
            lab.ok("b", "find '/srv/b 1' /srv/b2 -mindepth 1"),
            "",
            "{phase}"
        );
    }

    // The folder of the file that is being written gets the time of its last pass.
    let list = |host: &str| {
        lab.ok(host, "cd /srv; find 'b 1' b2 ! -name log -printf '%p %M %U:%G %l %T@\\n' | sed '/^b 1 /s/ [^ ]*$//' | sort; cat 'b 1/deep/x'")
    };
    let before = list("a");
    copy(lab, name, "a", "b", &["--copy-bind"]).expect(0);
    assert_eq!(list("b"), before);
    counts(lab, "b", name);
    lab.ok("b", &format!("docker exec {name} grep -q ID=debian /link"));
    let log = support::numbers(&lab.ok("b", "cat '/srv/b 1/log'"));
    support::in_order(&log, 0);
    clean(lab, name);
    lab.forget(name);
}

#[test]
fn a_terminal_goes_on() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "tty";
    lab.forget(name);
    lab.ok("a", &format!("docker run -dit --name {name} busybox sh -c 'tty; stty size; while read line; do echo got $line; done'"));
    let say = |host: &str, word: &str| {
        let attach = format!("docker attach --detach-keys=ctrl-x {name}");
        lab.ok(
            host,
            &format!("(sleep 0.5; echo {word}; sleep 0.5; printf '\\030') | script -qec '{attach}' /dev/null; until docker logs {name} | grep 'got {word}'; do sleep 0.1; done"),
        );
    };
    say("a", "first");
    for (from, to, word) in [("a", "b", "second"), ("b", "a", "third")] {
        copy(lab, name, from, to, &[]).expect(0);
        say(to, word);
        lab.ok(
            to,
            &format!("docker exec {name} sh -c '[ -t 0 ] || stty -F /dev/console size'"),
        );
    }
    let log = lab.ok("a", &format!("docker logs {name}"));
    for word in ["first", "second", "third"] {
        assert_eq!(log.matches(&format!("got {word}")).count(), 1, "{log}");
    }
    clean(lab, name);
    lab.forget(name);
}

#[test]
fn the_image_is_moved_where_it_is_missing() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "imaged";
    lab.forget(name);
    lab.ok("b", "docker rmi -f only:here 2>/dev/null; true");
    // A layer that no compressor makes smaller.
    lab.ok("a", "c=$(docker create busybox sh -c 'head -c 4194304 /dev/urandom >/layer'); docker start -a $c; docker commit -c 'ENV X=y' $c only:here; docker rm $c");
    lab.ok("a", &format!("docker run -d --name {name} only:here sh -c 'i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.1; done'; sleep 0.5"));
    let report = copy(lab, name, "a", "b", &["--json"]).expect(0).json();
    assert!(report["bytes_sent"].as_u64() > Some(4 << 20), "{report:#}");
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
    // A pause stops it: what it printed stays as much.
    let lines = format!("docker logs {name} | wc -l");
    lab.ok("b", &format!("docker pause {name}; for i in $(seq 50); do had=$({lines}); sleep 0.5; [ $({lines}) = $had ] && docker unpause {name} && exit; done; exit 1"));
    counts(lab, "b", name);
    // A new limit is the kernel's.
    lab.ok("b", &format!("docker update --memory 120m {name}"));
    let limit = lab.ok(
        "b",
        r#"g=$(sed -n 's/^[0-9]*:\(memory\|\)://p' /proc/$(docker inspect -f '{{.State.Pid}}' lives)/cgroup | head -1); cat /sys/fs/cgroup/memory$g/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup$g/memory.max"#,
    );
    assert_eq!(limit, (120 << 20).to_string());
    for command in [
        "exec NAME true",
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
        "a runc",
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
