//! What the tests of mode post-copy share.

use super::copy::{Before, copy, disturbed_in, migrated, rolled_back, undo, whole};
use super::{Lab, Ran};
use serde_json::Value;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Makes what leaves the source slow, so that its memory is some ten seconds on the way; or quick again.
pub fn rate(lab: &Lab, slow: bool) {
    let script = if slow {
        "tc qdisc replace dev eth0 root tbf rate 60mbit burst 256kb latency 100ms"
    } else {
        "tc qdisc del dev eth0 root 2>/dev/null; true"
    };
    lab.ok("a", script);
}

/// Cuts the link between the two hosts, not that to us; or mends it.
pub fn sever(lab: &Lab, cut: bool) {
    let script = if cut {
        let peer = lab.address("a");
        format!(
            "nft add table ip cut; nft 'add chain ip cut c {{ type filter hook input priority -500; }}'; nft add rule ip cut c ip saddr {peer} drop"
        )
    } else {
        "nft delete table ip cut 2>/dev/null; true".to_owned()
    };
    lab.ok("b", &script);
}

/// Runs a migration, and cuts that link when a phase begins: for some seconds, or until it has ended.
pub fn severed(
    lab: &Lab,
    name: &str,
    mode: &[&str],
    phase: &str,
    seconds: Option<u64>,
) -> (Ran, Value) {
    let (ended, over) = channel::<()>();
    let result = std::thread::scope(|scope| {
        let result = disturbed_in(lab, name, mode, phase, |_| {
            sever(lab, true);
            if let Some(seconds) = seconds {
                scope.spawn(move || {
                    let _ = over.recv_timeout(Duration::from_secs(seconds));
                    sever(lab, false);
                });
            }
        });
        drop(ended);
        result
    });
    sever(lab, false);
    result
}

/// A counter whose shell holds 64 MiB that are not alike, and forks for each number.
pub fn large(lab: &Lab, name: &str) {
    let count = r#"big=$(head -c 48m /dev/urandom | base64); trap "printf %s \"\$big\" | md5sum > /sum.new; mv /sum.new /sum" USR1; i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done"#;
    let engine = lab.program;
    lab.ok(
        "a",
        &format!(
            "{engine} run -d --name {name} busybox sh -c '{count}' >/dev/null; until [ $({engine} logs {name} | wc -l) -ge 2 ]; do sleep 0.1; done"
        ),
    );
}

/// The sum of what that shell holds.
pub fn sum(lab: &Lab, host: &str, name: &str) -> String {
    let engine = lab.program;
    let script = format!(
        "{engine} exec {name} rm -f /sum; {engine} kill -s USR1 {name} >/dev/null; for i in $(seq 300); do {engine} exec {name} cat /sum 2>/dev/null && exit; sleep 0.1; done; exit 1"
    );
    lab.ok(host, &script)
}

/// However it ended: it runs on exactly one host, and at the end on a again.
#[track_caller]
pub fn settle(lab: &Lab, name: &str, ran: &Ran, before: &mut Before, what: &str) {
    match ran.code {
        0 => {
            migrated(lab, name, "a", "b", before);
            copy(lab, name, "b", "a", &[]).expect(0);
            // It is another container now.
            *before = Before::of(lab);
        }
        6 => rolled_back(lab, name, ran, before, what),
        7 => {
            given_up(&ran.json(), what);
            undo(lab, name).expect(0);
            whole(lab, name, "a", before);
        }
        other => panic!("{what}: {other}: {ran:?}"),
    }
}

/// The report names what is lost and what is not.
#[track_caller]
pub fn given_up(report: &Value, what: &str) {
    assert_eq!(report["outcome"], "in-doubt", "{what}: {report:#}");
    let state = report["state"].as_str().unwrap();
    for word in [
        "could not be fetched",
        "stands frozen, whole",
        "Lost is",
        "not lost are",
    ] {
        assert!(state.contains(word), "{what}: no `{word}`: {state}");
    }
    assert!(
        report["next"].to_string().contains("migrate undo"),
        "{what}"
    );
}

/// The source stands frozen, and nothing of the container runs on the destination.
#[track_caller]
pub fn frozen(lab: &Lab, name: &str, what: &str) {
    let engine = lab.program;
    // Docker says that it runs, too, Podman does not.
    let paused = format!("{engine} inspect -f '{{{{.State.Paused}}}}' {name}");
    assert_eq!(lab.ok("a", &paused), "true", "{what}");
    let ended = format!(
        "for i in $(seq 100); do [ $({engine} inspect -f '{{{{.State.Running}}}}' {name}) = false ] && exit; sleep 0.1; done; exit 1"
    );
    lab.ok("b", &ended);
    let before = lab.numbers("a", name).len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(lab.numbers("a", name).len(), before, "{what}: it goes on");
}
