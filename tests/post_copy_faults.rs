//! What goes wrong on the way in mode post-copy: whatever is killed, at whatever phase, and however long the
//! link is away, exactly one copy of the container runs, with every number of its counter once and with
//! memory that is its own.

mod support;

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::copy::{
    Before, CRIU_RESTORES, copy, disturbed_in, ended_in_the_midst, fresh, in_the_midst, kill,
    killed_in, killing, killing_by, late, migrated, undo, whole,
};
use support::pages::{frozen, given_up, large, rate, settle, sever, sum};
use support::{Lab, Ran};

with_each_engine! {
    whoever_is_killed_before_it_goes_on_there_it_goes_on_at_the_source
    an_agent_is_killed_at_each_phase_on_either_host
    whoever_is_killed_while_pages_come_it_runs_nowhere_with_pages_that_are_not_its_own
    transship_itself_is_killed_at_each_phase_and_undo_ends_it_well
    a_link_that_is_cut_for_good_while_pages_come
    an_engine_that_takes_its_time_to_say_that_it_runs
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
    let lab = if engine == "podman" {
        Lab::up("postp", "10.118.0.0/24", engine)?
    } else {
        Lab::up("pcf", "10.117.0.0/24", engine)?
    };
    rate(&lab, false);
    sever(&lab, false);
    // One of them may have failed half-way.
    for name in NAMES {
        fresh(&lab, name);
    }
    Some(lab)
}

/// The containers of the tests.
const NAMES: [&str; 7] = ["early", "agents", "late", "gone", "cut", "minute", "slow"];

/// Links are given up soon.
const MODE: [&str; 4] = ["--mode", "post-copy", "--link-timeout", "5"];

fn post_copy(lab: &Lab, name: &str) -> Ran {
    let mut args = vec!["migrate", name, "--from", "a", "--to", "b", "--json"];
    args.extend(MODE);
    lab.run(&args)
}

fn whoever_is_killed_before_it_goes_on_there_it_goes_on_at_the_source(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "early";
    let anew = || {
        fresh(&lab, name);
        lab.counter(name, "0.05", "-v earlydata:/data");
        Before::of(&lab)
    };
    let mut before = anew();
    for (host, pattern) in [
        ("a", "^criu: dump"),
        ("a", "^runc.*checkpoint"),
        ("b", CRIU_RESTORES),
        ("b", "^runc.*restore"),
        ("b", "^criu.lazy-pages"),
        ("b", "^[^ ]*transship-runtime.*create"),
    ] {
        let ran = killing(&lab, host, pattern, || post_copy(&lab, name));
        let what = format!("{pattern} on {host}");
        assert_ne!(ran.code, 0, "{what}");
        if host == "a" && ran.stdout.contains("it ended while it stood frozen") {
            ended_in_the_midst(&lab, name, &ran, &what);
            before = anew();
        } else {
            settle(&lab, name, &ran, &mut before, &what);
        }
    }
    // The daemon then waits for a restore that never comes: it must not stay.
    let agent = format!(
        "export LC_ALL=C; for i in $(seq 4000); do grep -qsaE '^criu.lazy-pages' /proc/[0-9]*/cmdline && kill -KILL $(cat /var/lib/transship/migrate/{name}/agent) && exit 0; sleep 0.002; done; exit 1"
    );
    let what = "the agent of a lazy-pages daemon";
    let ran = killing_by(&lab, "b", &agent, what, || post_copy(&lab, name));
    settle(&lab, name, &ran, &mut before, what);
    let what = "criu in the midst of restoring";
    for mode in ["post-copy", "copy"] {
        let args = [
            "migrate", name, "--from", "a", "--to", "b", "--json", "--mode", mode,
        ];
        let ran = killing_by(&lab, "b", &in_the_midst(), what, || lab.run(&args));
        assert_ne!(ran.code, 0, "{mode}: {ran:?}");
        settle(&lab, name, &ran, &mut before, what);
        let what = "the first process of what is restored";
        let ran = killing_by(&lab, "b", &late(), what, || lab.run(&args));
        // CRIU waits for it for ever.
        assert!(!ran.stdout.contains("gave no sign"), "{mode}: {ran:?}");
        settle(&lab, name, &ran, &mut before, what);
    }
    fresh(&lab, name);
}

fn an_agent_is_killed_at_each_phase_on_either_host(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "agents";
    lab.counter(name, "0.05", "");
    let mut before = Before::of(&lab);
    for phase in ["freeze", "move", "restore"] {
        for (host, agent) in [("a", "send"), ("b", "receive")] {
            let (ran, _) = disturbed_in(&lab, name, &MODE, phase, |_| {
                // It may be through before.
                lab.sh(
                    host,
                    &format!("kill -KILL $(cat /var/lib/transship/migrate/{name}/agent)"),
                );
            });
            let what = format!("{phase}, agent that {agent}s");
            settle(&lab, name, &ran, &mut before, &what);
        }
    }
    fresh(&lab, name);
}

fn whoever_is_killed_while_pages_come_it_runs_nowhere_with_pages_that_are_not_its_own(
    engine: &str,
) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "late";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    let mut before = Before::of(&lab);
    rate(&lab, true);
    for (host, pattern) in [
        ("a", "^criu: dump"),
        ("a", "^runc.*checkpoint"),
        ("a", "^[^ ]*transship.agent.send"),
        ("b", "^criu.lazy-pages"),
        ("b", "^[^ ]*transship.agent.receive"),
    ] {
        let what = format!("{pattern} on {host}");
        let (ran, report) = disturbed_in(&lab, name, &MODE, "pages", |_| kill(&lab, host, pattern));
        // CRIU goes on without runc, and may have brought the last page before that is noticed.
        if ran.code == 0 && pattern.starts_with("^runc") {
            settle(&lab, name, &ran, &mut before, &what);
            assert_eq!(sum(&lab, "a", name), is, "{what}");
            continue;
        }
        assert_eq!(ran.code, 7, "{what}: {ran:?}");
        given_up(&report, &what);
        frozen(&lab, name, &what);
        let back = undo(&lab, name).expect(0).json();
        assert_eq!(back["outcome"], "rolled-back", "{what}: {back:#}");
        whole(&lab, name, "a", &before);
        assert_eq!(sum(&lab, "a", name), is, "{what}");
    }
    // Another takes the place of whoever only holds what others hold too.
    let pattern = "^[^ ]*transship.agent.keep";
    let (ran, _) = disturbed_in(&lab, name, &MODE, "pages", |_| {
        kill(&lab, "b", pattern);
        rate(&lab, false);
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    migrated(&lab, name, "a", "b", &before);
    assert_eq!(sum(&lab, "b", name), is);
    fresh(&lab, name);
}

fn transship_itself_is_killed_at_each_phase_and_undo_ends_it_well(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "gone";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    for (phase, millis, outcomes) in [
        ("freeze", 0, &["rolled-back"][..]),
        ("move", 0, &["rolled-back", "migrated"]),
        ("restore", 0, &["rolled-back", "migrated"]),
        ("verify", 0, &["migrated"]),
        ("pages", 100, &["migrated"]),
    ] {
        let before = Before::of(&lab);
        rate(&lab, phase == "pages");
        let killed = killed_in(&lab, name, &MODE, phase, Duration::from_millis(millis));
        rate(&lab, false);
        assert!(killed.ended.is_none(), "{phase}: it ended");
        let report = undo(&lab, name).expect(0).json();
        let outcome = report["outcome"].as_str().unwrap();
        assert!(outcomes.contains(&outcome), "{phase}: {report:#}");
        if outcome == "migrated" {
            migrated(&lab, name, "a", "b", &before);
            assert_eq!(sum(&lab, "b", name), is, "{phase}");
            copy(&lab, name, "b", "a", &[]).expect(0);
        } else {
            whole(&lab, name, "a", &before);
            assert_eq!(sum(&lab, "a", name), is, "{phase}");
        }
    }
    fresh(&lab, name);
}

fn a_link_that_is_cut_for_good_while_pages_come(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "cut";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    let before = Before::of(&lab);
    rate(&lab, true);
    let (ran, report) = disturbed_in(&lab, name, &MODE, "pages", |_| sever(&lab, true));
    assert_eq!(ran.code, 7, "{ran:?}");
    given_up(&report, "cut");
    frozen(&lab, name, "cut");
    // The two commands of the report, each on its host.
    for (host, next) in ["b", "a"].iter().zip(report["next"].as_array().unwrap()) {
        let (_, line) = next.as_str().unwrap().split_once(": ").unwrap();
        lab.ok(host, line);
    }
    whole(&lab, name, "a", &before);
    // That finds nothing more to do.
    undo(&lab, name).expect(0);
    whole(&lab, name, "a", &before);
    assert_eq!(sum(&lab, "a", name), is);
    sever(&lab, false);
    // The destination cannot be reached by anybody.
    let down = |what: &str| {
        let link = format!("ts-{}-b", lab.name);
        let status = Command::new("ip")
            .args(["link", "set", &link, what])
            .status();
        assert!(status.unwrap().success());
    };
    let (ran, report) = disturbed_in(&lab, name, &MODE, "pages", |_| down("down"));
    down("up");
    assert_eq!(ran.code, 7, "{ran:?}");
    given_up(&report, "down");
    frozen(&lab, name, "down");
    undo(&lab, name).expect(0);
    whole(&lab, name, "a", &before);
    assert_eq!(sum(&lab, "a", name), is);
    fresh(&lab, name);
}

#[test]
fn a_link_that_is_away_for_a_minute_is_survived_where_that_was_allowed() {
    let _turn = turn();
    // Both wait for most of the time.
    std::thread::scope(|scope| {
        for engine in ["docker-26", "podman"] {
            scope.spawn(move || {
                if let Some(lab) = mended(engine) {
                    away_for_a_minute(&lab);
                }
            });
        }
    });
}

fn away_for_a_minute(lab: &Lab) {
    let name = "minute";
    large(lab, name);
    let is = sum(lab, "a", name);
    let before = Before::of(lab);
    rate(lab, true);
    let mode = ["--mode", "post-copy", "--link-timeout", "90"];
    let (ran, _) = disturbed_in(lab, name, &mode, "pages", |_| {
        sever(lab, true);
        std::thread::sleep(Duration::from_secs(60));
        sever(lab, false);
        rate(lab, false);
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    migrated(lab, name, "a", "b", &before);
    assert_eq!(sum(lab, "b", name), is);
    fresh(lab, name);
}

/// All pages are there before the engine has said so, and long before: nothing that has all its memory is ended.
fn an_engine_that_takes_its_time_to_say_that_it_runs(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let (name, program) = ("slow", lab.program);
    lab.counter(name, "0.05", "");
    let before = Before::of(&lab);
    let wrapper = format!("/usr/local/bin/{program}");
    lab.ok("b", &format!(
        "printf '#!/bin/sh\\n/usr/bin/{program} \"$@\"; code=$?; [ \"$1\" != start ] || sleep 8; exit $code' > {wrapper} && chmod +x {wrapper}"
    ));
    let ran = post_copy(&lab, name);
    lab.ok("b", &format!("rm {wrapper}"));
    assert_eq!(ran.code, 0, "{ran:?}");
    migrated(&lab, name, "a", "b", &before);
    copy(&lab, name, "b", "a", &[]).expect(0);
    fresh(&lab, name);
}
