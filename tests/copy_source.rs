//! What a source has that CRIU takes along or not, and what others do to it before it is frozen.

mod support;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use support::Lab;
use support::copy::{copy, counts, disturbed_in, fresh, undo};

/// One test at a time.
fn lab() -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = LAB.get_or_init(|| Lab::up("trust", "10.131.0.0/24", "docker-26"));
    Some((turn, lab.as_ref()?))
}

#[test]
fn a_source_that_somebody_else_ends_or_removes_is_not_said_to_run() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "others";
    for (does, code, said) in [
        ("docker kill others", 7, "runs nowhere: on a it ended"),
        ("docker rm -f others", 6, "is gone from a"),
    ] {
        fresh(lab, name);
        lab.counter(name, "0.1", "");
        let (ran, report) = disturbed_in(lab, name, &[], "create", |_| drop(lab.ok("a", does)));
        assert_eq!(ran.code, code, "{does}: {report:#}");
        let state = report["state"].as_str().unwrap();
        assert!(state.contains(said), "{does}: {report:#}");
        assert!(!lab.sh("b", "docker inspect others").stdout.contains("Id"));
        if code == 7 {
            let line = report["next"][0].as_str().unwrap();
            let (_, line) = line.split_once(", on a: ").unwrap();
            lab.ok("a", line);
            undo(lab, name).expect(0);
        }
    }
    fresh(lab, name);
}

/// Runs a counter on a that first has its shell do something.
fn counter_that(lab: &Lab, name: &str, options: &str, first: &str) {
    fresh(lab, name);
    lab.ok("a", &format!("docker run -d --name {name} {options} busybox sh -c '{first}; i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.1; done'"));
    counts(lab, "a", name);
}

#[test]
fn what_criu_cannot_dump_is_tried_only_where_one_insists() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "fuse";
    counter_that(lab, name, "--device /dev/fuse", "exec 4<>/dev/fuse");
    let refused = copy(lab, name, "a", "b", &[]).expect(4).stderr;
    assert!(refused.contains("--ignore container.devices"), "{refused}");
    let ignoring = ["--ignore", "container.devices"];
    let tried = copy(lab, name, "a", "b", &ignoring).expect(6).stderr;
    assert!(tried.contains("goes on where it was"), "{tried}");
    counts(lab, "a", name);
    fresh(lab, name);
}

#[test]
fn a_deleted_file_that_is_open_goes_along() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "ghost";
    // Larger than what CRIU takes by itself.
    let deleted = "exec 3<>/gone; head -c 4m /dev/urandom >&3; rm /gone";
    counter_that(lab, name, "", deleted);
    let sum = |host: &str| {
        let script =
            format!("md5sum < /proc/$(docker inspect -f '{{{{.State.Pid}}}}' {name})/fd/3");
        lab.ok(host, &script)
    };
    let is = sum("a");
    copy(lab, name, "a", "b", &[]).expect(0);
    assert_eq!(sum("b"), is);
    fresh(lab, name);
}

#[test]
fn another_migration_that_links_the_same_program_is_in_nobodys_way() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "twice";
    fresh(lab, name);
    lab.counter(name, "0.1", "");
    // It does so right before ours.
    let ln = r#"#!/bin/sh
/usr/bin/ln "$@" || exit
case $3 in */transship-runtime.transship-new.*) /usr/bin/ln -f "$2" "${3%.transship-new.*}"; : >/run/linked ;; esac
"#;
    lab.ok("b", &format!("rm -f /usr/local/bin/transship-runtime /run/linked; cat >/usr/local/bin/ln <<'END'\n{ln}END\nchmod +x /usr/local/bin/ln"));
    let ran = copy(lab, name, "a", "b", &[]);
    lab.ok("b", "rm /usr/local/bin/ln /run/linked");
    ran.expect(0);
    lab.ok("b", "! ls /usr/local/bin/*.transship-new.*");
    counts(lab, "b", name);
    fresh(lab, name);
}
