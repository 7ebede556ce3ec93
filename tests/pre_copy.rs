//! Mode pre-copy between two real hosts. Where the kernel does not track which memory changes, it is refused; what
//! comes after that check is then tried with stand-ins for `criu check` and `runc checkpoint --pre-dump`, whose
//! every round has all of the memory. The rounds of a kernel that tracks memory: `vagrant/steps/25-pre-copy`.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use support::copy::{clean, counts, disturbed_in, interrupt};
use support::{Lab, fits_schema};

with_each_engine! {
    all_rounds_arrive_and_are_no_more_memory_than_there_is
    whoever_ends_in_a_round_the_container_goes_on_at_the_source
}

/// One test at a time: they put other programs in the place of runc.
fn lab(engine: &str) -> Option<(MutexGuard<'static, ()>, Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = if engine == "podman" {
        Lab::up("tcpp", "10.122.0.0/24", engine)?
    } else {
        Lab::up("auto", "10.105.0.0/24", engine)?
    };
    // What a test that failed left.
    lab.ok("a", "rm -f /usr/local/bin/runc /usr/local/bin/criu");
    lab.ok("b", "rm -f /usr/local/bin/runc /usr/local/bin/criu");
    Some((turn, lab))
}

const MODE: [&str; 2] = ["--mode", "pre-copy"];

/// Whether the kernel of these hosts tracks memory, by the word of the real CRIU.
fn tracked(lab: &Lab) -> bool {
    lab.sh("a", "/usr/sbin/criu check --feature mem_dirty_track")
        .code
        == 0
}

/// A round is a whole dump of the running container, of which what belongs to a pre-dump is kept.
const RUNC: &str = r#"
real=/usr/sbin/runc; args=; images=; parent=; round=
while [ $# -gt 0 ]; do
    case $1 in
    --pre-dump) round=1; args="$args --leave-running EMPTY" ;;
    --parent-path) parent=$2; shift ;;
    --image-path) images=$2; args="$args $1" ;;
    *) args="$args $1" ;;
    esac
    [ "$1" != --image-path ] || { args="$args $2"; shift; }
    shift
done
$real $args
status=$?
[ -z "$parent" ] || ln -s "$parent" "$images/parent"
if [ -n "$round" ]; then
    for image in "$images"/*; do
        case ${image##*/} in page* | inventory.img | parent) ;; *) rm -f "$image" ;; esac
    done
fi
exit $status
"#;

/// Puts the stand-ins in place, where they are needed.
fn stand_in(lab: &Lab, host: &str) {
    if tracked(lab) {
        return;
    }
    // Podman's containers have their network from elsewhere.
    let empty = if lab.program == "podman" {
        ""
    } else {
        "--empty-ns network"
    };
    // Everything but these two calls is the program's own.
    let runc = format!(
        "case \" $* \" in *' --pre-dump '* | *' --parent-path '*) ;; *) exec /usr/sbin/runc \"$@\" ;; esac\n{}",
        RUNC.replace("EMPTY", empty)
    );
    let criu = "case \"$*\" in 'check --feature mem_dirty_track') exit 0 ;; esac\nexec /usr/sbin/criu \"$@\"\n";
    for (program, script) in [("runc", runc.as_str()), ("criu", criu)] {
        lab.ok(
            host,
            &format!(
                "cat >/usr/local/bin/{program} <<'END'\n#!/bin/sh\n{script}\nEND\nchmod +x /usr/local/bin/{program}"
            ),
        );
    }
}

#[test]
fn pre_copy_is_refused_where_the_kernel_does_not_track_memory() {
    let Some((_turn, lab)) = lab("docker-26") else {
        return;
    };
    let lab = &lab;
    let name = "untracked";
    lab.counter(name, "0.05", "");
    let pre_copy = |more: &[&str], code| {
        let mut args = vec!["migrate", name, "--from", "a", "--to", "b", "--json"];
        args.extend(more);
        let report = lab.run(&args).expect(code).json();
        fits_schema(&report, "migrate");
        report
    };
    let report = pre_copy(&["--max-downtime", "300ms"], 2);
    let fix = &report["failure"]["fix"][0];
    assert_eq!(fix, "--max-downtime goes with --mode pre-copy");
    lab.is_as_before(name);
    if tracked(lab) {
        let report = pre_copy(&MODE, 0);
        assert!(report["pre_copy"]["rounds"][0]["pages"].as_u64() > Some(0));
        counts(lab, "b", name);
        clean(lab, name);
    } else {
        let report = pre_copy(&MODE, 4);
        assert_eq!(report["outcome"], "refused");
        let failure = &report["failure"];
        let what = failure["what"].as_str().unwrap();
        for word in ["does not track", "kernel.soft-dirty", "mem_dirty_track"] {
            assert!(what.contains(word), "{what}");
        }
        let fix = failure["fix"].to_string();
        assert!(fix.contains("--mode copy") && fix.contains("--mode post-copy"));
        lab.is_as_before(name);
    }
    lab.forget(name);
}

fn all_rounds_arrive_and_are_no_more_memory_than_there_is(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let (lab, engine) = (&lab, lab.program);
    let (name, mib) = ("ahead", 192);
    stand_in(lab, "a");
    stand_in(lab, "b");
    lab.forget(name);
    // A third of it is written anew each second.
    lab.ok(
        "a",
        &format!(
            "{engine} run -d --name {name} busybox hog {mib} {} >/dev/null; until {engine} logs {name} | grep -q .; do sleep 0.1; done",
            mib / 3
        ),
    );
    for (from, to, more) in [
        ("a", "b", &["--max-downtime", "1ms"][..]),
        ("b", "a", &["--then-post-copy"]),
    ] {
        let mut args = vec!["migrate", name, "--from", from, "--to", to, "--json"];
        args.extend(MODE);
        args.extend(more);
        let report = lab.run(&args).expect(0).json();
        fits_schema(&report, "migrate");
        assert_eq!(report["mode"], "pre-copy");
        let all = &report["pre_copy"];
        let rounds = all["rounds"].as_array().unwrap();
        assert!(rounds.len() > 1, "{all}");
        assert!(rounds[0]["pages"].as_u64().unwrap() >= mib * 256, "{all}");
        assert!(rounds[1]["downtime_seconds"].as_f64() > Some(0.3), "{all}");
        if tracked(lab) {
            continue;
        }
        // No round of a stand-in is smaller than the one before.
        let stop = all["stop"].as_str().unwrap();
        assert!(["growth", "most-rounds"].contains(&stop), "{all}");
        let missed = report["warnings"].to_string().contains("--max-downtime");
        assert_eq!(missed, more[0] == "--max-downtime", "{report}");
    }
    let said = lab.ok(
        "a",
        &format!(
            "{engine} kill -s USR1 {name} >/dev/null; until {engine} logs {name} | grep -E 'checked|corrupt'; do {engine} inspect -f '{{{{.State.Running}}}}' {name} | grep -q true || exit 1; sleep 0.1; done"
        ),
    );
    assert_eq!(said, format!("checked {} pages", mib * 256));
    lab.nothing_left(name);
    lab.forget(name);
}

fn whoever_ends_in_a_round_the_container_goes_on_at_the_source(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let (lab, engine) = (&lab, lab.program);
    let name = "rounds";
    stand_in(lab, "a");
    lab.counter(name, "0.05", "-v /data");
    let (ran, report) = disturbed_in(lab, name, &MODE, "rounds", interrupt);
    assert_eq!(ran.code, 130, "{ran:?}");
    assert_eq!(report["outcome"], "rolled-back");
    lab.is_as_before(name);

    // CRIU, in the moment in which it has frozen the container, of which the engine knows nothing.
    let frozen = format!(
        r#"pid=$({engine} inspect -f '{{{{.State.Pid}}}}' {name}); group() {{ sed -n "s/^[0-9]*:$1://p" /proc/$pid/cgroup; }}
v1=/sys/fs/cgroup/freezer$(group freezer)/freezer.state; v2=/sys/fs/cgroup$(group '')/cgroup.freeze
for i in $(seq 20000); do if grep -qs '^FR' $v1 || grep -qsx 1 $v2; then kill -KILL $(pidof criu) && exit 0; fi; done; exit 1"#
    );
    let (ran, report) = disturbed_in(lab, name, &MODE, "rounds", |_| {
        lab.ok("a", &frozen);
    });
    assert_eq!(ran.code, 6, "{ran:?}");
    assert_eq!(report["outcome"], "rolled-back");
    // To ask a frozen one for more would take for ever.
    let on = format!(
        "lines() {{ {engine} logs {name} | wc -l; }}; n=$(lines); for i in $(seq 100); do [ $(lines) -gt $n ] && exit; sleep 0.1; done; exit 1"
    );
    lab.ok("a", &on);
    lab.is_as_before(name);
    lab.forget(name);
}
