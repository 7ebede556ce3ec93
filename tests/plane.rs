//! How bytes go from host to host in mode copy: directly or through SSH, as they are or compressed. What
//! arrives is the same, and only the way that was meant carries it.

mod support;

use serde_json::Value;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use support::copy::{copy, disturbed};
use support::{Lab, fits_schema};

/// MiB of the process that moves, half of them noise to a compressor.
const MIB: u64 = 64;
/// MiB of text that it wrote.
const TEXT: u64 = 32;

/// One test at a time: they change the link between the hosts.
fn lab() -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = LAB.get_or_init(|| Lab::up("plane", "10.107.0.0/24", "docker-26"));
    let lab = lab.as_ref()?;
    open_again(lab);
    Some((turn, lab))
}

/// Takes back what a test did to the link, or an earlier run of it that failed.
fn open_again(lab: &Lab) {
    for host in ["a", "b"] {
        lab.ok(
            host,
            "rm -f /usr/local/bin/tar; tc qdisc del dev eth0 root 2>/dev/null; nft delete table ip closed 2>/dev/null; true",
        );
    }
}

/// A process that watches over its own pages, and a file of text in its root.
fn hog(lab: &Lab, name: &str) {
    hog_with(lab, name, "");
}

/// One that writes to so many MiB of them each second.
fn hog_with(lab: &Lab, name: &str, changing: &str) {
    lab.forget(name);
    lab.ok(
        "a",
        &format!(
            "docker run -d --name {name} busybox hog {MIB} {changing} >/dev/null; until docker logs {name} | grep -q .; do sleep 0.1; done; docker exec {name} sh -c 'seq 99999999 | head -c {TEXT}m > /text'"
        ),
    );
}

fn text(lab: &Lab, host: &str, name: &str) -> String {
    lab.ok(host, &format!("docker exec {name} md5sum /text"))
}

/// All its pages are what they were.
#[track_caller]
fn whole(lab: &Lab, host: &str, name: &str) {
    let count = format!("docker logs {name} | grep -cE 'checked|corrupt'");
    let said = lab.ok(
        host,
        &format!(
            "had=$({count}); docker kill -s USR1 {name} >/dev/null; until [ $({count}) -gt $had ]; do docker inspect -f '{{{{.State.Running}}}}' {name} | grep -q true || exit 1; sleep 0.1; done; docker logs {name} | grep -E 'checked|corrupt' | tail -1"
        ),
    );
    assert_eq!(said, format!("checked {} pages", MIB * 256));
}

/// Moves it, compares, and says what the report says.
#[track_caller]
fn moved(lab: &Lab, name: &str, from: &str, to: &str) -> Value {
    let before = text(lab, from, name);
    let report = copy(lab, name, from, to, &["--json"]).expect(0).json();
    fits_schema(&report, "migrate");
    assert_eq!(text(lab, to, name), before);
    whole(lab, to, name);
    lab.nothing_left(name);
    report
}

/// Bytes that a phase of a migration moved, before compression.
fn of_phase(report: &Value, name: &str) -> u64 {
    let phases = report["phases"].as_array().unwrap();
    let phase = phases.iter().find(|phase| phase["name"] == name).unwrap();
    phase["bytes"].as_u64().unwrap()
}

/// Bytes of files and memory that a migration moved, before compression.
fn moved_bytes(report: &Value) -> u64 {
    of_phase(report, "files") + of_phase(report, "move")
}

#[test]
fn memory_goes_before_the_freeze_and_after_it_what_changed() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "ahead";
    for changing in ["", "4"] {
        hog_with(lab, name, changing);
        let report = moved(lab, name, "a", "b");
        assert!(of_phase(&report, "files") > MIB << 20, "{report:#}");
        let after = of_phase(&report, "move");
        // The text was written just now, so that it may go a second time.
        let changed = changing.parse::<u64>().unwrap_or(0);
        let most = if changed > 0 { MIB / 2 } else { 4 };
        assert!(after < (TEXT + most) << 20, "{report:#}");
        assert!(after > changed << 14, "{report:#}");
    }
    lab.forget(name);
}

#[test]
fn a_slow_link_is_given_compressed_bytes() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "slow";
    hog(lab, name);
    // Slower than any compressor, though builds for tests have a slow one.
    lab.ok(
        "a",
        "tc qdisc replace dev eth0 root tbf rate 100mbit burst 64kb latency 50ms",
    );
    let report = moved(lab, name, "a", "b");
    let (bytes, sent) = (moved_bytes(&report), report["bytes_sent"].as_u64().unwrap());
    assert!(bytes > (MIB + TEXT) << 20, "{report:#}");
    assert!(sent < bytes * 4 / 5, "{sent} of {bytes}: {report:#}");
    open_again(lab);
    // Back without a limit: whatever it decides, the same arrives.
    let report = moved(lab, name, "b", "a");
    assert!(moved_bytes(&report) > (MIB + TEXT) << 20, "{report:#}");
    lab.forget(name);
}

#[test]
fn ctrl_c_is_heard_while_files_go_through_a_slow_link() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "patient";
    lab.forget(name);
    lab.ok(
        "a",
        "docker volume rm -f patientdata; docker volume create patientdata",
    );
    lab.counter(name, "0.1", "-v patientdata:/data");
    lab.ok(
        "a",
        &format!("docker exec {name} sh -c 'head -c {MIB}m /dev/urandom > /data/noise'"),
    );
    let rate = 4;
    lab.ok(
        "a",
        &format!("tc qdisc replace dev eth0 root tbf rate {rate}mbit burst 64kb latency 50ms"),
    );
    // Directly, and through SSH.
    for way in ["direct", "ssh"] {
        if way == "ssh" {
            close(lab, "b", "10.107.0.2");
        }
        let mut begun = std::time::Instant::now();
        let (ran, report) = disturbed(lab, name, "files", |pid| {
            std::thread::sleep(std::time::Duration::from_secs(3));
            begun = std::time::Instant::now();
            support::copy::interrupt(pid);
        });
        // Far sooner than the files can be through.
        let through = MIB * 8 / rate;
        assert!(
            begun.elapsed().as_secs() < through / 2,
            "{way}: {:?}",
            begun.elapsed()
        );
        ran.expect(130);
        assert_eq!(report["outcome"], "rolled-back", "{way}: {report:#}");
        lab.is_as_before(name);
        assert_eq!(lab.ok("b", "docker volume ls -q"), "", "{way}");
    }
    open_again(lab);
    lab.forget(name);
    lab.ok("a", "docker volume rm -f patientdata");
}

#[test]
fn a_terminal_shows_how_quickly_it_goes_and_how_long_it_will_take() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "shown";
    lab.forget(name);
    lab.counter(name, "0.1", "");
    lab.ok(
        "a",
        &format!("docker exec {name} sh -c 'head -c 6m /dev/urandom > /noise'; tc qdisc replace dev eth0 root tbf rate 8mbit burst 64kb latency 50ms"),
    );
    let command = lab.transship(&[
        "migrate", name, "--from", "a", "--to", "b", "--mode", "copy",
    ]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let line = format!("stty cols 80; {}", line.join(" "));
    let output = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(std::process::Stdio::null())
        .env("XDG_STATE_HOME", lab.journals())
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let ran = support::Ran::of(output).expect(0);
    let shown: Vec<&str> = ran
        .stdout
        .split(['\r', '\n', '\u{1b}'])
        .filter(|line| line.contains("files  ") && line.contains("/s, ") && line.ends_with(" left"))
        .collect();
    assert!(shown.len() >= 2, "{ran:?}");
    assert!(shown.iter().all(|line| line.len() < 80), "{shown:?}");
    assert!(shown[0].contains(" of 6."), "{shown:?}");
    open_again(lab);
    lab.forget(name);
}

/// A firewall on `host` that lets SSH alone through, as many do; without an answer.
fn close(lab: &Lab, host: &str, from: &str) {
    lab.ok(
        host,
        &format!("nft add table ip closed; nft 'add chain ip closed c {{ type filter hook input priority -500; }}'; nft add rule ip closed c ip saddr {from} tcp flags '& (syn|ack) == syn' tcp dport != 22 drop"),
    );
}

/// Bytes that this machine itself got from the lab's hosts: what is between them alone is not counted.
fn came_here(lab: &Lab) -> u64 {
    let path = format!("/sys/class/net/ts-{}/statistics/rx_bytes", lab.name);
    std::fs::read_to_string(path)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn data_passes_by_the_third_machine_unless_no_port_can_be_reached() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "third";
    hog(lab, name);
    // The machine that runs this is neither of the two hosts.
    let before = came_here(lab);
    moved(lab, name, "a", "b");
    let came = came_here(lab) - before;
    assert!(came < 8 << 20, "{came} bytes came here");
    close(lab, "a", "10.107.0.3");
    let before = came_here(lab);
    moved(lab, name, "b", "a");
    let came = came_here(lab) - before;
    let least = (MIB / 2) << 20;
    assert!(came > least, "{came} bytes came here");
    let dropped = lab.ok("a", "nft list table ip closed");
    assert!(dropped.contains("drop"), "{dropped}");
    open_again(lab);
    lab.forget(name);
}

#[test]
fn only_the_layers_travel_that_the_destination_lacks() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "layered";
    lab.forget(name);
    lab.ok("b", "docker rmi -f top:here base:here 2>/dev/null; true");
    // A base of some size, and a program's layer on it.
    let script = r#"
docker rmi -f top:here base:here 2>/dev/null
c=$(docker create busybox sh -c 'head -c 24m /dev/urandom > /large'); docker start -a $c; docker commit $c base:here; docker rm $c
c=$(docker create base:here sh -c 'echo layer > /layer'); docker start -a $c; docker commit -c 'ENV X=y' $c top:here; docker rm $c
docker run -d --name layered top:here sh -c 'i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.1; done'"#;
    lab.ok("a", script);
    let image = |report: &Value| {
        let phases = report["phases"].as_array().unwrap();
        let phase = phases.iter().find(|phase| phase["name"] == "image");
        phase.unwrap()["bytes"].as_u64().unwrap()
    };
    let sum = format!("docker exec {name} md5sum /large /layer");
    let there = lab.ok("a", &sum);
    let ids = |host: &str| {
        lab.ok(
            host,
            "docker image inspect -f '{{.Id}} {{.RootFS.Layers}}' top:here",
        )
    };
    let before = ids("a");
    // b has what both begin with: of the image, the large layer travels, and not by way of this machine.
    let came = came_here(lab);
    let report = copy(lab, name, "a", "b", &["--json"]).expect(0).json();
    let came = came_here(lab) - came;
    assert!(image(&report) > 24 << 20, "{report:#}");
    assert!(came < 8 << 20, "{came} bytes came here");
    assert_eq!(
        (ids("b"), lab.ok("b", &sum)),
        (before.clone(), there.clone())
    );
    // a keeps the base, and lacks the rest.
    lab.ok("a", "docker rmi top:here && docker image inspect base:here");
    let report = copy(lab, name, "b", "a", &["--json"]).expect(0).json();
    assert!(image(&report) < 1 << 20, "{report:#}");
    assert_eq!(
        (ids("a"), lab.ok("a", &sum)),
        (before.clone(), there.clone())
    );
    // A host whose tar cannot leave anything out sends all of it; through SSH where no port can be reached.
    lab.forget(name);
    lab.ok(
        "b",
        "docker rmi top:here; docker image inspect base:here 2>/dev/null; true",
    );
    lab.ok(
        "a",
        "docker run -d --name layered top:here sh -c 'i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.1; done'; printf '#!/bin/sh\\nexit 1\\n' > /usr/local/bin/tar; chmod 755 /usr/local/bin/tar",
    );
    close(lab, "b", "10.107.0.2");
    let came = came_here(lab);
    // CRIU needs its tar later.
    let (ran, report) = disturbed(lab, name, "create", |_| {
        lab.ok("a", "rm /usr/local/bin/tar");
    });
    ran.expect(0);
    open_again(lab);
    let came = came_here(lab) - came;
    assert!(image(&report) > 24 << 20, "{report:#}");
    assert!(came > 24 << 20, "{came} bytes came here");
    assert_eq!((ids("b"), lab.ok("b", &sum)), (before, there));
    lab.forget(name);
    for host in ["a", "b"] {
        lab.ok(host, "docker rmi -f top:here base:here; true");
    }
}
