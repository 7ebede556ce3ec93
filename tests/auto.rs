//! Mode auto between two real hosts: the mode it chooses, what it says of it, and that it moves with it.

mod support;

use serde_json::Value;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use support::copy::{clean, counts};
use support::{Lab, fits_schema};

/// One test at a time: they slow the link down and hide programs.
fn lab() -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = LAB.get_or_init(|| Lab::up("auto", "10.105.0.0/24", "docker-26"));
    let lab = lab.as_ref()?;
    usual(lab);
    Some((turn, lab))
}

/// The link is fast and all programs are there, whatever a test that failed left.
fn usual(lab: &Lab) {
    lab.sh("a", "tc qdisc del dev eth0 root");
    lab.sh("b", "mv /usr/bin/flock.away /usr/bin/flock");
}

/// The report of a migration from a to b.
#[track_caller]
fn auto(lab: &Lab, name: &str, more: &[&str], code: i32) -> Value {
    let mut args = vec![
        "migrate", name, "--from", "a", "--to", "b", "--mode", "auto", "--json",
    ];
    args.extend(more);
    let report = lab.run(&args).expect(code).json();
    fits_schema(&report, "migrate");
    report
}

fn reasons(report: &Value) -> String {
    report["choice"]["reasons"].to_string()
}

#[test]
fn a_small_container_goes_by_copy_and_the_report_says_why() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "small";
    lab.counter(name, "0.05", "");
    let shown = lab.run(&[
        "migrate",
        name,
        "--from",
        "a",
        "--to",
        "b",
        "--mode",
        "auto",
        "--dry-run",
    ]);
    let shown = shown.expect(0).stdout;
    assert!(shown.contains("auto chose copy:\n  - "), "{shown}");
    let head = shown.lines().take_while(|line| *line != "prepare");
    assert!(head.into_iter().all(|line| line.len() <= 80), "{shown}");

    let report = auto(lab, name, &[], 0);
    assert_eq!(report["mode"], "copy");
    let choice = &report["choice"];
    assert_eq!(choice["mode"], "copy");
    assert!(choice["facts"]["memory_bytes"].as_u64() > Some(0));
    assert_eq!(choice["facts"]["connections"], 0);
    assert!(reasons(&report).contains("copy would stop it for about"));
    counts(lab, "b", name);
    clean(lab, name);
    lab.forget(name);
}

#[test]
fn much_memory_for_its_link_goes_by_post_copy() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "much";
    lab.forget(name);
    lab.ok(
        "a",
        &format!(
            "docker run -d --name {name} busybox hog 96 >/dev/null; until docker logs {name} | grep -q .; do sleep 0.1; done"
        ),
    );
    // 96 MiB take 8 s.
    lab.ok(
        "a",
        "tc qdisc replace dev eth0 root tbf rate 100mbit burst 256kb latency 100ms",
    );
    // A machine that is busy may not get to measure the way from host to host; auto then says so.
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let planned = auto(lab, name, &["--dry-run"], 0);
        if planned["choice"]["facts"]["direct"] == true {
            assert_eq!(planned["mode"], "post-copy", "{}", reasons(&planned));
            assert!(reasons(&planned).contains("that is over 5 s"));
            break;
        }
        assert_eq!(planned["mode"], "copy", "{}", reasons(&planned));
        assert!(Instant::now() < end, "{}", reasons(&planned));
    }
    let report = auto(lab, name, &[], 0);
    assert_eq!(report["mode"], report["choice"]["mode"]);
    let phases = report["phases"].as_array().unwrap();
    let followed = phases.iter().any(|phase| phase["name"] == "pages");
    assert_eq!(followed, report["mode"] == "post-copy");
    let running = format!("docker inspect -f '{{{{.State.Running}}}}' {name}");
    assert_eq!(lab.ok("b", &running), "true");
    usual(lab);
    lab.forget(name);
}

#[test]
fn tarball_is_chosen_where_copy_is_refused_and_no_file_is_lost() {
    let Some((_turn, lab)) = lab() else { return };
    lab.ok("b", "mv /usr/bin/flock /usr/bin/flock.away");
    let name = "files";
    lab.counter(name, "0.05", "-v /data");
    let report = auto(lab, name, &[], 4);
    assert_eq!(report["outcome"], "refused");
    assert_eq!(report["mode"], "copy");
    let failure = &report["failure"];
    assert_eq!(failure["what"], "there is no program flock on b");
    assert!(failure["fix"].to_string().contains("--mode tarball"));
    lab.is_as_before(name);
    lab.forget(name);

    let name = "nofiles";
    lab.counter(name, "0.05", "");
    let report = auto(lab, name, &[], 0);
    assert_eq!(report["mode"], "tarball");
    let said = reasons(&report);
    assert!(said.contains("there is no program flock on b"), "{said}");
    let running = format!("docker inspect -f '{{{{.State.Running}}}}' {name}");
    assert_eq!(lab.ok("b", &running), "true");
    usual(lab);
    lab.forget(name);
}
