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

/// Runs the binary as `$T` on `a` in an environment that is broken by `script`, which ends with `$T`; what it prints is JSON,
/// or a refusal in one sentence.
fn survives(lab: &Lab, script: &str, args: &str) {
    let ran = lab.sh(
        "a",
        &format!("T='/root/broken/T --json doctor {args}'; {script}"),
    );
    assert!([0, 1, 3, 4].contains(&ran.code), "{args}: {ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{args}: {ran:?}");
    // A refusal is JSON on standard error, behind what is told of the progress.
    let text = match ran.stdout.is_empty() {
        true => ran.stderr.lines().last().unwrap_or_default().to_owned(),
        false => ran.stdout.clone(),
    };
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{args}: {ran:?}"));
    let text = document.to_string();
    assert!(!text.contains("broke down"), "{args}: {text}");
    assert!(!text.contains("\\u001b"), "{args}: {text}");
}

#[test]
fn nonsense_and_a_half_empty_proc_stop_no_other_verb() {
    let Some((lab, _turn)) = lab() else { return };
    crate::start(lab, "dbroken", "", "idle");
    with_tools(lab, "exit 7");
    let nonsense = r#"printf "\377\376 {]\000\033[2J"; seq 300; exit 7"#;
    let lies = r#"printf "{]\033[2J\n""#;
    for body in [nonsense, lies, "kill -SEGV $$"] {
        let script = format!(
            "for tool in {TOOLS} cpuid hardinfo2 ss nsenter journalctl ps du; do printf '%s\\n' '#!/bin/sh' '{body}' >/root/broken/bin/$tool; \
             chmod 755 /root/broken/bin/$tool; done; PATH=/root/broken/bin:$PATH $T"
        );
        for args in [
            "local --container dbroken",
            "hardware local",
            "explain --host local --container dbroken",
        ] {
            survives(lab, &script, args);
        }
    }
    let proc = "unshare -m sh -c 'for file in meminfo cpuinfo mounts filesystems cgroups uptime stat locks self/status; do \
         mount --bind /dev/null /proc/$file || exit 9; done; \
         p=$(docker inspect -f \"{{.State.Pid}}\" dbroken); \
         for file in smaps_rollup maps mountinfo status net/tcp net/unix timers; do mount --bind /dev/null /proc/$p/$file; done; \
         mount -t tmpfs none /proc/sys && '\"$T\"";
    for args in [
        "local --container dbroken",
        "hardware local",
        "explain --host local --container dbroken",
    ] {
        survives(lab, proc, args);
    }
    lab.forget("dbroken");
}

#[test]
fn a_criu_that_hangs_is_no_all_clear_and_is_asked_no_more() {
    let Some((lab, _turn)) = lab() else { return };
    // It says its version, as one does that hangs in the kernel.
    let body = r#"echo "$*" >>/root/broken/calls
        case $1 in --version) exec /usr/sbin/criu --version ;; *) sleep 1000 ;; esac"#;
    let script = format!(
        "mkdir -p /root/broken/hang; printf '%s\\n' '#!/bin/sh' '{body}' >/root/broken/hang/criu; \
         chmod 755 /root/broken/hang/criu; rm -f /root/broken/calls; PATH=/root/broken/hang:$PATH $T"
    );
    let report = doctor(lab, &script);
    let (status, text) = of(&report, "criu.works");
    assert_eq!(status, "fail", "{text}");
    assert!(text.contains("`criu check` did not end in time"), "{text}");
    assert_eq!(of(&report, "criu.feature-mnt-id").0, "skip");
    let calls = lab.ok("a", "grep -v -x -e --version /root/broken/calls");
    assert_eq!(calls, "check");
}
