//! What goes wrong on the way in mode post-copy: whatever is killed, at whatever phase, and however long the
//! link is away, exactly one copy of the container runs, with every number of its counter once and with
//! memory that is its own.

mod support;

use serde_json::Value;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::copy::{
    Before, copy, disturbed_in, fresh, kill, killed_in, killing, migrated, rolled_back, undo, whole,
};
use support::{Lab, Ran};

/// The hosts are broken and mended by one test at a time; each begins with whole ones.
fn lab() -> Option<(MutexGuard<'static, ()>, Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::up("pcf", "10.117.0.0/24", "docker-26")?;
    rate(&lab, false);
    sever(&lab, false);
    // One of them may have failed half-way.
    for name in NAMES {
        fresh(&lab, name);
    }
    Some((turn, lab))
}

/// The containers of the tests.
const NAMES: [&str; 6] = ["early", "agents", "late", "gone", "cut", "minute"];

/// Links are given up soon.
const MODE: [&str; 4] = ["--mode", "post-copy", "--link-timeout", "5"];

/// Makes what leaves the source slow, so that its memory is some ten seconds on the way; or quick again.
fn rate(lab: &Lab, slow: bool) {
    let script = if slow {
        "tc qdisc replace dev eth0 root tbf rate 60mbit burst 256kb latency 100ms"
    } else {
        "tc qdisc del dev eth0 root 2>/dev/null; true"
    };
    lab.ok("a", script);
}

/// Cuts the link between the two hosts, not that to us; or mends it.
fn sever(lab: &Lab, cut: bool) {
    let script = if cut {
        "nft add table ip cut; nft 'add chain ip cut c { type filter hook input priority -500; }'; nft add rule ip cut c ip saddr 10.117.0.2 drop"
    } else {
        "nft delete table ip cut 2>/dev/null; true"
    };
    lab.ok("b", script);
}

/// A counter whose shell holds 64 MiB that are not alike, and forks for each number.
fn large(lab: &Lab, name: &str) {
    let count = r#"big=$(head -c 48m /dev/urandom | base64); trap "printf %s \"\$big\" | md5sum > /sum.new; mv /sum.new /sum" USR1; i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done"#;
    lab.ok(
        "a",
        &format!(
            "docker run -d --name {name} busybox sh -c '{count}' >/dev/null; until [ $(docker logs {name} | wc -l) -ge 2 ]; do sleep 0.1; done"
        ),
    );
}

/// The sum of what that shell holds.
fn sum(lab: &Lab, host: &str, name: &str) -> String {
    let script = format!(
        "docker exec {name} rm -f /sum; docker kill -s USR1 {name} >/dev/null; for i in $(seq 300); do docker exec {name} cat /sum 2>/dev/null && exit; sleep 0.1; done; exit 1"
    );
    lab.ok(host, &script)
}

fn post_copy(lab: &Lab, name: &str) -> Ran {
    let mut args = vec!["migrate", name, "--from", "a", "--to", "b", "--json"];
    args.extend(MODE);
    lab.run(&args)
}

/// However it ended: it runs on exactly one host, and at the end on a again.
#[track_caller]
fn settle(lab: &Lab, name: &str, ran: &Ran, before: &mut Before, what: &str) {
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
fn given_up(report: &Value, what: &str) {
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
fn frozen(lab: &Lab, name: &str, what: &str) {
    let state = |host: &str| {
        let script =
            format!("docker inspect -f '{{{{.State.Running}}}} {{{{.State.Paused}}}}' {name}");
        lab.ok(host, &script)
    };
    assert_eq!(state("a"), "true true", "{what}");
    let ended = "for i in $(seq 100); do [ $(docker inspect -f '{{.State.Running}}' NAME) = false ] && exit; sleep 0.1; done; exit 1";
    lab.ok("b", &ended.replace("NAME", name));
    let before = lab.numbers("a", name).len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(lab.numbers("a", name).len(), before, "{what}: it goes on");
}

#[test]
fn whoever_is_killed_before_it_goes_on_there_it_goes_on_at_the_source() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "early";
    lab.counter(name, "0.05", "-v earlydata:/data");
    let mut before = Before::of(&lab);
    for (host, pattern) in [
        ("a", "^criu: dump"),
        ("a", "^runc.*checkpoint"),
        ("b", "^criu.swrk|^criu: restore"),
        ("b", "^runc.*restore"),
        ("b", "^criu.lazy-pages"),
        ("b", "^[^ ]*transship-runtime.*create"),
    ] {
        let ran = killing(&lab, host, pattern, || post_copy(&lab, name));
        let what = format!("{pattern} on {host}");
        assert_ne!(ran.code, 0, "{what}");
        settle(&lab, name, &ran, &mut before, &what);
    }
    fresh(&lab, name);
}

#[test]
fn an_agent_is_killed_at_each_phase_on_either_host() {
    let Some((_turn, lab)) = lab() else { return };
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

#[test]
fn whoever_is_killed_while_pages_come_it_runs_nowhere_with_pages_that_are_not_its_own() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "late";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    let before = Before::of(&lab);
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

#[test]
fn transship_itself_is_killed_at_each_phase_and_undo_ends_it_well() {
    let Some((_turn, lab)) = lab() else { return };
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

#[test]
fn a_link_that_is_cut_for_good_while_pages_come() {
    let Some((_turn, lab)) = lab() else { return };
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
        let status = Command::new("ip")
            .args(["link", "set", "ts-pcf-b", what])
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
    let Some((_turn, lab)) = lab() else { return };
    let name = "minute";
    large(&lab, name);
    let is = sum(&lab, "a", name);
    let before = Before::of(&lab);
    rate(&lab, true);
    let mode = ["--mode", "post-copy", "--link-timeout", "90"];
    let (ran, _) = disturbed_in(&lab, name, &mode, "pages", |_| {
        sever(&lab, true);
        std::thread::sleep(Duration::from_secs(60));
        sever(&lab, false);
        rate(&lab, false);
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    migrated(&lab, name, "a", "b", &before);
    assert_eq!(sum(&lab, "b", name), is);
    fresh(&lab, name);
}
