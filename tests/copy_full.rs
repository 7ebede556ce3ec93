//! Hosts that run out of something, and agents that die at any moment, in mode copy: exactly one copy of
//! the container runs, it went on, and nothing is left over.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::Lab;
use support::copy::{
    Before, Killed, copy, disturbed, fresh, interrupt, kill, killed, migrated, rolled_back, undo,
    whole,
};

with_each_engine! {
    a_full_disk_on_the_destination
    an_image_that_finds_no_room_or_whose_way_ends
    too_little_memory_for_containers_on_the_destination
    an_agent_dies_at_each_phase_on_either_host
}

/// The hosts are narrowed and widened by one test at a time. Podmans; or Docker 28 and 26, this way round, as
/// `copy_faults.rs` has them the other way round.
fn lab(engine: &str) -> Option<(MutexGuard<'static, ()>, Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = if engine == "podman" {
        Lab::up("cpyp", "10.120.0.0/24", engine)?
    } else {
        Lab::up("full", "10.113.0.0/24", "docker-28,docker-26")?
    };
    widen(&lab);
    Some((turn, lab))
}

/// Where an engine keeps its volumes, where it unpacks an image that it loads, and the control group of its containers.
fn places(lab: &Lab) -> [&'static str; 3] {
    if lab.program == "podman" {
        [
            "/var/lib/containers/storage/volumes",
            "/var/tmp",
            "libpod_parent",
        ]
    } else {
        ["/var/lib/docker/volumes", "/var/lib/docker/tmp", "docker"]
    }
}

/// Takes back what a test narrowed, or an earlier run of it that failed.
fn widen(lab: &Lab) {
    let [volumes, loaded, group] = places(lab);
    lab.ok("a", "tc qdisc del dev eth0 root 2>/dev/null; true");
    lab.ok(
        "b",
        &format!("umount -q {volumes}; umount -q {loaded}; f=/sys/fs/cgroup/memory/{group}/memory.limit_in_bytes; [ ! -e $f ] || echo -1 > $f"),
    );
}

fn a_full_disk_on_the_destination(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let program = lab.program;
    let name = "disk";
    fresh(&lab, name);
    lab.counter(name, "0.05", "-v diskdata:/data");
    lab.ok(
        "a",
        &format!("{program} exec {name} sh -c 'head -c 16m /dev/urandom > /data/f'"),
    );
    let before = Before::of(&lab);
    // Volumes are on a disk that is nearly full.
    lab.ok(
        "b",
        &format!(
            "mount -t tmpfs -o size=2m,mode=701 full {}",
            places(&lab)[0]
        ),
    );
    let ran = copy(&lab, name, "a", "b", &["--json"]);
    widen(&lab);
    assert!(
        ran.stdout.contains("No space left on device"),
        "{}",
        ran.stdout
    );
    rolled_back(&lab, name, &ran, &before, name);
    // With room, it moves.
    let sum = format!("{program} exec {name} md5sum /data/f");
    let there = lab.ok("a", &sum);
    copy(&lab, name, "a", "b", &[]).expect(0);
    assert_eq!(lab.ok("b", &sum), there);
    migrated(&lab, name, "a", "b", &before);
    fresh(&lab, name);
}

fn an_image_that_finds_no_room_or_whose_way_ends(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let program = lab.program;
    let name = "unloaded";
    let forget = || {
        fresh(&lab, name);
        for host in ["a", "b"] {
            lab.sh(host, &format!("{program} rmi -f big:here"));
        }
    };
    forget();
    // All of one layer: else it is tried a second time, with the layers that were left out.
    lab.ok("a", &format!("c=$({program} run -d busybox sh -c 'head -c 16m /dev/urandom > /big'); {program} wait $c; {program} export $c | {program} import - big:here; {program} rm $c; {program} run -d --name {name} big:here sh -c 'i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done'; until [ $({program} logs {name} | wc -l) -ge 2 ]; do sleep 0.1; done"));
    let before = Before::of(&lab);
    lab.ok(
        "b",
        &format!(
            "mkdir -p {at}; mount -t tmpfs -o size=2m full {at}",
            at = places(&lab)[1]
        ),
    );
    let ran = copy(&lab, name, "a", "b", &["--json"]);
    widen(&lab);
    assert!(
        ran.stdout.contains("no space left on device"),
        "{}",
        ran.stdout
    );
    rolled_back(&lab, name, &ran, &before, name);
    // It takes its time now.
    lab.ok(
        "a",
        "tc qdisc replace dev eth0 root tbf rate 16mbit burst 64kb latency 50ms",
    );
    let a_moment = Duration::from_secs(1);
    let (ran, _) = disturbed(&lab, name, "image", |pid| {
        std::thread::sleep(a_moment);
        interrupt(pid);
    });
    assert_eq!(ran.code, 130, "{ran:?}");
    whole(&lab, name, "a", &before);
    for (host, side) in [("a", "save"), ("b", "load")] {
        let (ran, _) = disturbed(&lab, name, "image", |_| {
            kill(&lab, host, &format!("^[^ ]*transship.agent.{side}"));
        });
        rolled_back(&lab, name, &ran, &before, side);
    }
    let Killed { ended } = killed(&lab, name, "image", a_moment);
    assert!(ended.is_none(), "{ended:?}");
    let report = undo(&lab, name).expect(0).json();
    assert_eq!(report["outcome"], "rolled-back", "{report:#}");
    whole(&lab, name, "a", &before);
    widen(&lab);
    // With room, it moves.
    let sum = format!("{program} exec {name} md5sum /big");
    let there = lab.ok("a", &sum);
    copy(&lab, name, "a", "b", &[]).expect(0);
    assert_eq!(lab.ok("b", &sum), there);
    migrated(&lab, name, "a", "b", &before);
    forget();
}

fn too_little_memory_for_containers_on_the_destination(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let program = lab.program;
    let name = "narrow";
    fresh(&lab, name);
    let on_v1 = lab.sh("b", "test -e /sys/fs/cgroup/memory/cgroup.procs");
    if on_v1.code != 0 {
        eprintln!("SKIPPED: the memory of control group v1 is not in the lab");
        return;
    }
    // The counter's shell holds 32 MiB.
    let count = "big=$(head -c 32m /dev/zero | tr '\\0' x); i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done";
    lab.ok(
        "a",
        &format!("{program} run -d --name {name} busybox sh -c \"$(cat <<'END'\n{count}\nEND\n)\" && until [ $({program} logs {name} | wc -l) -ge 2 ]; do sleep 0.1; done"),
    );
    let before = Before::of(&lab);
    let group = format!("/sys/fs/cgroup/memory/{}", places(&lab)[2]);
    lab.ok(
        "b",
        &format!("mkdir -p {group}; echo 16M > {group}/memory.limit_in_bytes"),
    );
    let ran = copy(&lab, name, "a", "b", &["--json"]);
    widen(&lab);
    rolled_back(&lab, name, &ran, &before, name);
    copy(&lab, name, "a", "b", &[]).expect(0);
    migrated(&lab, name, "a", "b", &before);
    fresh(&lab, name);
}

#[test]
fn what_a_killed_criu_leaves_mounted_is_taken_away_and_not_entered() {
    let Some((_turn, lab)) = lab("docker") else {
        return;
    };
    let name = "yard";
    fresh(&lab, name);
    lab.counter(name, "0.05", "");
    let before = Before::of(&lab);
    // As CRIU mounts the host's control groups, in a folder of memory in its work folder.
    let leave = r#"
at=$(echo /run/transship/restore/*/work)/.criu.cgyard.left; mkdir $at && mount -t tmpfs none $at && mkdir $at/groups && mount --bind /sys/fs/cgroup $at/groups
kill -KILL $(cat /var/lib/transship/migrate/yard/agent)"#;
    let (ran, _) = disturbed(&lab, name, "freeze", |_| {
        lab.ok("b", leave);
    });
    rolled_back(&lab, name, &ran, &before, name);
    assert_eq!(ran.json()["warnings"], serde_json::json!([]));
    fresh(&lab, name);
}

fn an_agent_dies_at_each_phase_on_either_host(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "agents";
    fresh(&lab, name);
    lab.counter(name, "0.05", "-v agentsdata:/data");
    let mut before = Before::of(&lab);
    let kill = format!(
        "f=/var/lib/transship/migrate/{name}/agent; for i in $(seq 200); do [ -s $f ] && kill -KILL $(cat $f) && exit; sleep 0.01; done; true"
    );
    for phase in ["files", "start", "freeze", "move", "restore"] {
        for host in ["a", "b"] {
            let (ran, _) = disturbed(&lab, name, phase, |_| {
                lab.ok(host, &kill);
            });
            let what = format!("{phase}, agent on {host}");
            if ran.stdout.contains("transship migrate undo") {
                panic!("{what}: it is not through: {ran:?}");
            }
            match ran.code {
                // It was through before.
                0 if phase != "files" => {
                    migrated(&lab, name, "a", "b", &before);
                    copy(&lab, name, "b", "a", &[]).expect(0);
                    // It is another container now.
                    before = Before::of(&lab);
                }
                6 => {}
                other => panic!("{what}: {other}: {ran:?}"),
            }
            whole(&lab, name, "a", &before);
        }
    }
    fresh(&lab, name);
}
