//! Mode post-copy between two real hosts, and what goes wrong while pages are fetched: the container runs
//! on exactly one host, and never with a page that is not its own.

mod support;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use support::copy::{disturbed_in, interrupt};
use support::{Lab, fits_schema, in_order};

with_each_engine! {
    memory_follows_and_is_what_it_was
    until_it_goes_on_there_ctrl_c_takes_everything_back
    a_link_that_comes_back_in_time_is_survived_and_ctrl_c_is_too_late
    a_counter_with_a_bind_mount_counts_on_in_order
}

/// One test at a time: they cut the link between the hosts.
fn lab(engine: &str) -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static DOCKER: OnceLock<Option<Lab>> = OnceLock::new();
    static PODMAN: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = if engine == "podman" {
        PODMAN.get_or_init(|| Lab::up("postp", "10.118.0.0/24", engine))
    } else {
        DOCKER.get_or_init(|| Lab::up("post", "10.99.0.0/24", engine))
    };
    Some((turn, lab.as_ref()?))
}

const MODE: [&str; 2] = ["--mode", "post-copy"];

/// A process with so many MiB that watches over its own pages, and has made them all.
fn hog(lab: &Lab, name: &str, mib: u32) {
    lab.forget(name);
    let engine = lab.program;
    lab.ok(
        "a",
        &format!(
            "{engine} run -d --name {name} busybox hog {mib} >/dev/null; until {engine} logs {name} | grep -q .; do sleep 0.1; done"
        ),
    );
}

/// All its pages are what they were.
#[track_caller]
fn whole(lab: &Lab, host: &str, name: &str, mib: u32) {
    let engine = lab.program;
    let said = lab.ok(
        host,
        &format!(
            "{engine} kill -s USR1 {name} >/dev/null; until {engine} logs {name} | grep -E 'checked|corrupt'; do {engine} inspect -f '{{{{.State.Running}}}}' {name} | grep -q true || exit 1; sleep 0.1; done"
        ),
    );
    assert_eq!(said, format!("checked {} pages", u64::from(mib) * 256));
}

/// Nothing of the agents and of CRIU runs on a host any more.
#[track_caller]
fn quiet(lab: &Lab) {
    for host in ["a", "b"] {
        let script = "for i in $(seq 100); do pgrep -a '^criu' || pgrep -f '^[^ ]*transship agent' || exit 0; sleep 0.1; done; exit 1";
        lab.ok(host, script);
    }
}

fn memory_follows_and_is_what_it_was(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "follows";
    hog(lab, name, 96);
    for (from, to) in [("a", "b"), ("b", "a")] {
        let mut args = vec!["migrate", name, "--from", from, "--to", to, "--json"];
        args.extend(MODE);
        let report = lab.run(&args).expect(0).json();
        fits_schema(&report, "migrate");
        assert_eq!(report["mode"], "post-copy");
        // Where the time of the downtime went is all known, and adds up to it.
        let parts = &report["downtime_parts"];
        let sum: f64 = ["freeze", "dump", "wire", "restore", "network", "start"]
            .iter()
            .map(|part| {
                parts[part]
                    .as_f64()
                    .unwrap_or_else(|| panic!("{part}: {report:#}"))
            })
            .sum();
        let downtime = report["downtime_seconds"].as_f64().unwrap();
        assert!((sum - downtime).abs() < 1e-6, "{report:#}");
        let phases = report["phases"].as_array().unwrap();
        let pages = phases
            .iter()
            .find(|phase| phase["name"] == "pages")
            .unwrap();
        assert!(pages["bytes"].as_u64().unwrap() > 90 << 20, "{pages}");
        let gone = lab.sh(from, &format!("{} inspect {name}", lab.program));
        assert_ne!(gone.code, 0);
        lab.nothing_left(name);
    }
    whole(lab, "a", name, 96);
    quiet(lab);
    lab.forget(name);
}

fn until_it_goes_on_there_ctrl_c_takes_everything_back(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "early";
    lab.counter(name, "0.05", "-v /data");
    for phase in ["start", "freeze", "move", "restore"] {
        let (ran, report) = disturbed_in(lab, name, &MODE, phase, interrupt);
        assert_eq!(ran.code, 130, "{phase}: {ran:?}");
        assert_eq!(report["outcome"], "rolled-back", "{phase}");
        lab.is_as_before(name);
        quiet(lab);
    }
    lab.forget(name);
}

/// Cuts the link between the two hosts for some seconds.
fn cut(lab: &Lab, seconds: &str) {
    let peer = lab.address("a");
    lab.ok(
        "b",
        &format!(
            "nft add table ip cut; nft 'add chain ip cut c {{ type filter hook input priority -500; }}'; nft add rule ip cut c ip saddr {peer} drop; sleep {seconds}; nft delete table ip cut"
        ),
    );
}

fn a_link_that_comes_back_in_time_is_survived_and_ctrl_c_is_too_late(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "cut";
    // Slow enough that pages are still under way when the link is cut.
    let slow = "tc qdisc replace dev eth0 root tbf rate 300mbit burst 256kb latency 100ms";
    lab.ok("a", slow);
    for seconds in ["1", "5"] {
        hog(lab, name, 256);
        let (ran, report) = disturbed_in(lab, name, &MODE, "pages", |pid| {
            interrupt(pid);
            cut(lab, seconds);
        });
        assert_eq!(ran.code, 0, "{seconds}: {ran:?}");
        let warnings = report["warnings"].to_string();
        assert!(warnings.contains("could not be taken back"), "{warnings}");
        whole(lab, "b", name, 256);
        quiet(lab);
    }
    lab.ok("a", "tc qdisc del dev eth0 root");
    lab.forget(name);
}

fn a_counter_with_a_bind_mount_counts_on_in_order(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "counts";
    lab.ok("b", "rm -rf /srv/bound");
    lab.ok("a", "mkdir -p /srv/bound; echo bound > /srv/bound/f");
    lab.counter(name, "0.02", "-v /srv/bound:/bound");
    let mut args = vec!["migrate", name, "--from", "a", "--to", "b", "--copy-bind"];
    args.extend(MODE);
    lab.run(&args).expect(0);
    assert_eq!(lab.ok("b", "cat /srv/bound/f"), "bound");
    let before = lab.numbers("b", name).len();
    lab.ok(
        "b",
        &format!(
            "until [ $({} logs {name} | wc -l) -ge {} ]; do sleep 0.1; done",
            lab.program,
            before + 5
        ),
    );
    in_order(&lab.numbers("b", name), 0);
    lab.forget(name);
}
