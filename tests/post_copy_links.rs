//! What goes wrong around the two hosts in mode post-copy: links, connections of SSH, daemons and shims. Exactly one
//! copy of the container runs, with every number of its counter once and with memory that is its own.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use support::Lab;
use support::copy::{Before, copy, disturbed_in, fresh, kill, migrated, undo, whole};
use support::pages::{given_up, large, rate, settle, sever, severed, sum};

with_each_engine! {
    connections_of_ssh_that_end_while_pages_come
    whoever_watches_over_the_source_is_killed_while_pages_come_and_it_does_not_matter
}

/// The hosts are broken and mended by one test at a time; each begins with whole ones.
fn lab(engine: &str) -> Option<(MutexGuard<'static, ()>, Lab)> {
    let turn = turn();
    Some((turn, mended(engine)?))
}

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mended(engine: &str) -> Option<Lab> {
    let lab = up(engine)?;
    rate(&lab, false);
    sever(&lab, false);
    no_ssh(&lab, false);
    for name in ["before", "ssh", "daemon", "shim", "watched"] {
        fresh(&lab, name);
    }
    Some(lab)
}

fn up(engine: &str) -> Option<Lab> {
    if engine == "podman" {
        Lab::up("postp", "10.118.0.0/24", engine)
    } else {
        Lab::up("pcf", "10.117.0.0/24", engine)
    }
}

/// The link may be away for more than a minute.
const LONG: [&str; 4] = ["--mode", "post-copy", "--link-timeout", "90"];
/// Links are given up soon.
const MODE: [&str; 4] = ["--mode", "post-copy", "--link-timeout", "5"];

#[test]
fn a_link_that_is_cut_before_the_container_goes_on_there() {
    let _turn = turn();
    // Both wait for most of the time.
    std::thread::scope(|scope| {
        for engine in ["docker-26", "podman"] {
            scope.spawn(move || {
                if let Some(lab) = mended(engine) {
                    cut_before_it_goes_on(&lab);
                }
            });
        }
    });
}

fn cut_before_it_goes_on(lab: &Lab) {
    let name = "before";
    lab.counter(name, "0.05", "");
    let mut before = Before::of(lab);
    for phase in ["freeze", "move", "restore"] {
        for seconds in [Some(1), Some(5), Some(60), None] {
            let what = format!("{phase}, {seconds:?} s");
            let mode = if seconds.is_some() { &LONG } else { &MODE };
            let (ran, _) = severed(lab, name, mode, phase, seconds);
            let codes = match (phase, seconds) {
                (_, Some(1 | 5)) => &[0][..],
                // While it stands frozen a minute is not waited for, though it would be for pages. It may be through
                // before the link is cut, or have gone on there.
                (_, Some(_)) => &[0, 6],
                (_, None) => &[0, 6, 7],
            };
            assert!(codes.contains(&ran.code), "{what}: {ran:?}");
            settle(lab, name, &ran, &mut before, &what);
        }
    }
    fresh(lab, name);
}

/// Ends all sessions of SSH on a host.
fn end_sessions(lab: &Lab, host: &str) {
    lab.ok(host, "export LC_ALL=C; for f in $(grep -laE '^sshd[^ ]*: root' /proc/[0-9]*/cmdline); do p=${f#/proc/}; kill -KILL ${p%/cmdline}; done");
}

fn connections_of_ssh_that_end_while_pages_come(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "ssh";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    for hosts in [&["a"][..], &["b"], &["a", "b"]] {
        let before = Before::of(&lab);
        rate(&lab, true);
        let (ran, report) = disturbed_in(&lab, name, &MODE, "pages", |_| {
            for host in hosts {
                end_sessions(&lab, host);
            }
            rate(&lab, false);
        });
        // The agents bring the pages alone; how they ended is asked anew.
        assert_eq!(ran.code, 0, "{hosts:?}: {ran:?}");
        assert!(
            !ran.stdout.contains("migrate undo"),
            "{hosts:?}: {report:#}"
        );
        migrated(&lab, name, "a", "b", &before);
        assert_eq!(sum(&lab, "b", name), is, "{hosts:?}");
        copy(&lab, name, "b", "a", &[]).expect(0);
    }
    fresh(&lab, name);
}

/// Keeps everybody from connecting by SSH; or no more.
fn no_ssh(lab: &Lab, none: bool) {
    let script = if none {
        "nft add table inet nossh; nft 'add chain inet nossh c { type filter hook input priority -500; }'; nft add rule inet nossh c tcp dport 22 reject with tcp reset"
    } else {
        "nft delete table inet nossh 2>/dev/null; true"
    };
    for host in ["a", "b"] {
        lab.ok(host, script);
    }
}

/// CRIU put nearly all memory into its images, and left none to be fetched: seen once.
fn few_pages(report: &serde_json::Value) -> bool {
    let phases = report["phases"].as_array().unwrap();
    let pages = phases.iter().find(|phase| phase["name"] == "pages");
    pages.is_some_and(|pages| pages["bytes"].as_u64() < Some(1 << 20))
}

#[test]
fn what_the_agents_brought_alone_is_not_taken_back_where_nobody_could_ask() {
    let Some((_turn, lab)) = lab("docker-26") else {
        return;
    };
    let name = "ssh";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    let mut before = Before::of(&lab);
    let meet = || {
        rate(&lab, true);
        let (ran, report) = disturbed_in(&lab, name, &MODE, "pages", |_| {
            no_ssh(&lab, true);
            for host in ["a", "b"] {
                end_sessions(&lab, host);
            }
        });
        rate(&lab, false);
        no_ssh(&lab, false);
        (ran, report)
    };
    let (mut ran, mut report) = meet();
    if ran.code == 0 && few_pages(&report) {
        // Nobody had to wait for them, so nobody had to ask.
        undo(&lab, name);
        copy(&lab, name, "b", "a", &[]).expect(0);
        before = Before::of(&lab);
        (ran, report) = meet();
    }
    assert_eq!(ran.code, 7, "{ran:?}");
    assert_eq!(report["outcome"], "in-doubt", "{report:#}");
    let report = undo(&lab, name).expect(0).json();
    assert_eq!(report["outcome"], "migrated", "{report:#}");
    migrated(&lab, name, "a", "b", &before);
    assert_eq!(sum(&lab, "b", name), is);
    fresh(&lab, name);
}

#[test]
fn a_daemon_that_dies_while_the_container_goes_on_there() {
    let Some((_turn, lab)) = lab("docker-26") else {
        return;
    };
    let name = "daemon";
    for host in ["a", "b"] {
        lab.live_restore(host, true);
    }
    large(&lab, name);
    let is = sum(&lab, "a", name);
    for (phase, host) in [
        ("restore", "b"),
        ("pages", "b"),
        ("restore", "a"),
        ("pages", "a"),
    ] {
        let what = format!("{phase} on {host}");
        let before = Before::of(&lab);
        rate(&lab, phase == "pages");
        let (ran, report) = disturbed_in(&lab, name, &MODE, phase, |_| {
            lab.ok(host, "kill -KILL $(cat /run/docker.pid)");
            rate(&lab, false);
        });
        up("docker-26").unwrap();
        if ran.stdout.contains("transship migrate undo") {
            undo(&lab, name).expect(0);
        }
        let is_there = lab.sh("b", &format!("docker inspect {name}")).code == 0;
        match ran.code {
            0 => {
                assert!(is_there, "{what}: {ran:?}");
                let warnings = report["warnings"].to_string();
                assert!(
                    warnings.contains("on b does not answer") || what != "pages on b",
                    "{warnings}"
                );
            }
            6 | 7 => {}
            other => panic!("{what}: {other}: {ran:?}"),
        }
        if is_there {
            migrated(&lab, name, "a", "b", &before);
            assert_eq!(sum(&lab, "b", name), is, "{what}");
            copy(&lab, name, "b", "a", &[]).expect(0);
        } else {
            whole(&lab, name, "a", &before);
            assert_eq!(sum(&lab, "a", name), is, "{what}");
        }
    }
    for host in ["a", "b"] {
        lab.live_restore(host, false);
    }
    // Without that it ends the frozen source when it is back, which by then goes on there.
    let before = Before::of(&lab);
    rate(&lab, true);
    let (ran, report) = disturbed_in(&lab, name, &MODE, "pages", |_| {
        lab.ok("a", "kill -KILL $(cat /run/docker.pid)");
        rate(&lab, false);
    });
    up("docker-26").unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(report["next"].to_string().contains("migrate undo"));
    undo(&lab, name).expect(0);
    migrated(&lab, name, "a", "b", &before);
    assert_eq!(sum(&lab, "b", name), is);
    fresh(&lab, name);
}

#[test]
fn a_shim_that_is_killed_there_takes_its_container_with_it_and_not_the_source() {
    let Some((_turn, lab)) = lab("docker-26") else {
        return;
    };
    let name = "shim";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    let mut before = Before::of(&lab);
    for phase in ["restore", "pages"] {
        rate(&lab, phase == "pages");
        let (ran, report) = disturbed_in(&lab, name, &MODE, phase, |_| {
            kill(&lab, "b", "^[^ ]*containerd-shim");
            rate(&lab, false);
        });
        if phase == "pages" {
            assert_eq!(ran.code, 7, "{ran:?}");
            let state = report["state"].as_str().unwrap();
            assert!(state.contains("stands frozen, whole"), "{state}");
            undo(&lab, name).expect(0);
            whole(&lab, name, "a", &before);
        } else {
            settle(&lab, name, &ran, &mut before, phase);
        }
        assert_eq!(sum(&lab, "a", name), is, "{phase}");
    }
    fresh(&lab, name);
}

/// Kills what an engine has beside each container, of which there is one.
fn kill_watcher(lab: &Lab, host: &str) {
    let program = if lab.program == "podman" {
        "conmon"
    } else {
        "containerd-shim"
    };
    kill(lab, host, &format!("^[^ ]*{program}"));
}

/// Docker then ends the frozen source. CRIU has its pages by then.
fn whoever_watches_over_the_source_is_killed_while_pages_come_and_it_does_not_matter(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "watched";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    let before = Before::of(&lab);
    rate(&lab, true);
    let (ran, report) = disturbed_in(&lab, name, &MODE, "pages", |_| {
        kill_watcher(&lab, "a");
        rate(&lab, false);
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(report["warnings"], serde_json::json!([]), "{report:#}");
    migrated(&lab, name, "a", "b", &before);
    assert_eq!(sum(&lab, "b", name), is);
    fresh(&lab, name);
}

#[test]
fn a_source_that_ended_while_it_stood_frozen_is_not_said_to_stand_there() {
    let Some((_turn, lab)) = lab("docker-26") else {
        return;
    };
    let name = "watched";
    for phase in ["freeze", "pages"] {
        large(&lab, name);
        rate(&lab, phase == "pages");
        let (ran, report) = disturbed_in(&lab, name, &MODE, phase, |_| {
            kill_watcher(&lab, "a");
            sever(&lab, phase == "pages");
        });
        rate(&lab, false);
        sever(&lab, false);
        assert_eq!(ran.code, 7, "{phase}: {ran:?}");
        let state = report["state"].as_str().unwrap();
        assert!(state.contains("it ended while it stood frozen"), "{state}");
        assert!(!state.contains("stands frozen"), "{state}");
        // It is said again until somebody has started it anew, which the report says how to do.
        let mut next = report["next"].clone();
        if phase == "pages" {
            next = undo(&lab, name).expect(7).json()["next"].clone();
        }
        undo(&lab, name).expect(7);
        let (_, line) = next[0].as_str().unwrap().split_once(", on a: ").unwrap();
        lab.ok("a", line);
        let report = undo(&lab, name).expect(0).json();
        let state = report["state"].as_str().unwrap();
        assert!(state.contains("started anew since"), "{state}");
        lab.ok(
            "a",
            &format!("docker exec {name} true; docker rm -f {name}"),
        );
        assert_ne!(lab.sh("b", &format!("docker inspect {name}")).code, 0);
    }
    fresh(&lab, name);
}

#[test]
fn a_source_without_its_conmon_goes_on_and_it_is_said_that_nobody_hears_it() {
    let Some((_turn, lab)) = lab("podman") else {
        return;
    };
    let name = "watched";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    // Where it can be moved, that is the end of it; but for the line that conmon may have had, which ended with it.
    let (ran, report) = disturbed_in(&lab, name, &MODE, "freeze", |_| kill_watcher(&lab, "a"));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(report["warnings"], serde_json::json!([]), "{report:#}");
    assert_eq!(sum(&lab, "b", name), is);
    copy(&lab, name, "b", "a", &[]).expect(0);
    rate(&lab, true);
    let (ran, report) = disturbed_in(&lab, name, &MODE, "pages", |_| {
        kill_watcher(&lab, "a");
        sever(&lab, true);
    });
    rate(&lab, false);
    sever(&lab, false);
    assert_eq!(ran.code, 7, "{ran:?}");
    given_up(&report, name);
    let report = undo(&lab, name).expect(0).json();
    assert_eq!(report["outcome"], "rolled-back", "{report:#}");
    assert_eq!(sum(&lab, "a", name), is);
    lab.nothing_left(name);
    // What the warning says to type starts it anew, with somebody who hears it.
    let warning = report["warnings"][0].as_str().unwrap();
    let (said, line) = warning.split_once(", on a: ").unwrap();
    assert!(said.contains("what watched prints is lost"), "{said}");
    let lines = lab.numbers("a", name).len();
    lab.ok(
        "a",
        &format!("{line} >/dev/null 2>&1; until [ $(podman logs {name} | wc -l) -gt {lines} ]; do sleep 0.1; done"),
    );
    fresh(&lab, name);
}
