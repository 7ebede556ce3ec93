//! Programs that print nonsense or are killed, and a /proc that is half empty: said, and the rest goes on.

use crate::{lab, of, pipe, support::Lab, verdicts};
use serde_json::Value;
use std::sync::Once;

/// Programs of the host that facts come from.
const TOOLS: &str = "lscpu criu docker podman runc crun dpkg-query iptables nft";

/// What `doctor local` on `a` says, run by a script that finds the binary in `$T`.
fn doctor(lab: &Lab, script: &str) -> Value {
    static COPIED: Once = Once::new();
    COPIED.call_once(|| {
        let binary = std::fs::read(env!("CARGO_BIN_EXE_transship")).unwrap();
        let keep = "mkdir -p /root/broken && cat >/root/broken/T && chmod 755 /root/broken/T";
        pipe(lab, "a", keep, &binary);
    });
    let document = lab
        .sh(
            "a",
            &format!("T='/root/broken/T --json doctor local'; {script}"),
        )
        .json();
    let report = document["hosts"][0].clone();
    for verdict in verdicts(&report) {
        let text = verdict.to_string();
        assert!(!text.contains("broke down"), "{verdict:#}");
        assert!(!text.contains("\\u001b"), "{verdict:#}");
    }
    report
}

/// Puts a script in the place of each of the programs, and asks.
fn with_tools(lab: &Lab, body: &str) -> Value {
    let script = format!(
        "mkdir -p /root/broken/bin; for tool in {TOOLS}; do printf '%s\\n' '#!/bin/sh' '{body}' >/root/broken/bin/$tool; \
         chmod 755 /root/broken/bin/$tool; done; PATH=/root/broken/bin:$PATH $T"
    );
    doctor(lab, &script)
}

/// CRIU and Docker are bad, once each; nothing is concluded from what they said; the rest is judged.
fn said_and_went_on(report: &Value) {
    for id in ["criu.present", "criu.works", "engine.present"] {
        let (status, text) = of(report, id);
        assert_eq!(status, "fail", "{text}");
        assert!(text.len() < 2000, "{text}");
    }
    let failed = verdicts(report).filter(|verdict| verdict["status"] == "fail");
    assert_eq!(failed.count(), 3, "{report:#}");
    assert_eq!(of(report, "criu.feature-mnt-id").0, "skip");
    assert_eq!(of(report, "kernel.version").0, "ok");
    assert!(report["counts"]["ok"].as_u64() > Some(30), "{report:#}");
}

#[test]
fn programs_that_print_nonsense_are_reported_and_the_rest_goes_on() {
    let Some((lab, _turn)) = lab() else { return };
    said_and_went_on(&with_tools(
        lab,
        r#"printf "\377\376 {]\000\033[2J"; seq 3000; exit 7"#,
    ));
    // It says yes to everything, but is no CRIU.
    let report = with_tools(lab, r#"printf "{]\033[2J\n""#);
    assert_eq!(of(&report, "criu.present").0, "fail", "{report:#}");
    for id in ["criu.works", "criu.feature-mnt-id"] {
        assert_eq!(of(&report, id).0, "skip", "{report:#}");
    }
}

#[test]
fn programs_that_are_killed_are_reported_and_the_rest_goes_on() {
    let Some((lab, _turn)) = lab() else { return };
    let report = with_tools(lab, "kill -SEGV $$");
    said_and_went_on(&report);
    let (_, text) = of(&report, "criu.works");
    assert!(text.contains("Segmentation fault"), "{text}");
}

#[test]
fn a_half_empty_proc_is_reported_and_the_rest_goes_on() {
    let Some((lab, _turn)) = lab() else { return };
    let script = "unshare -m sh -c 'for file in meminfo cpuinfo mounts filesystems cgroups uptime stat self/status; do \
         mount --bind /dev/null /proc/$file || exit 9; done; mount -t tmpfs none /proc/sys && '\"$T\"";
    let report = doctor(lab, script);
    // What was not there is not judged, and not taken for good.
    for id in ["space.memory", "kernel.pipe-max-size"] {
        assert_eq!(of(&report, id).0, "skip", "{report:#}");
    }
    assert_eq!(of(&report, "criu.present").0, "ok");
    assert!(report["counts"]["ok"].as_u64() > Some(30), "{report:#}");
}
