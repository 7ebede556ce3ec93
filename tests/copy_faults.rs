//! What goes wrong on the way in mode copy, in a lab of its own whose hosts are broken on purpose:
//! whatever it is, exactly one copy of the container runs, it went on, and nothing is left over.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::copy::{
    Before, CRIU_RESTORES, Killed, copy, counts, disturbed, ended_in_the_midst, fresh, killed,
    killing, migrated, rolled_back, undo, whole,
};
use support::{Lab, fits_schema};

with_each_engine! {
    transship_itself_is_killed_at_each_phase_and_undo_brings_the_container_back
    criu_runc_the_runtime_and_the_engine_killed_on_either_host
    a_wrong_image_and_a_full_file_system_on_the_destination
    a_container_with_a_stopped_process_is_refused_before_it_is_touched
}

/// The hosts are broken and mended by one test at a time; each begins with whole ones.
fn lab(engine: &str) -> Option<(MutexGuard<'static, ()>, Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Some((turn, up(engine)?))
}

/// Podmans; or Docker 26 and 28, this way round, as `copy_full.rs` has them the other way round.
fn up(engine: &str) -> Option<Lab> {
    if engine == "podman" {
        Lab::up("cpyp", "10.120.0.0/24", engine)
    } else {
        Lab::up("cpyf", "10.95.0.0/24", "docker-26,docker-28")
    }
}

fn transship_itself_is_killed_at_each_phase_and_undo_brings_the_container_back(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let program = lab.program;
    let name = "gone";
    fresh(&lab, name);
    lab.counter(name, "0.05", "-v gonedata:/data -v /anon --restart always");
    lab.ok(
        "a",
        &format!("{program} exec {name} sh -c 'echo kept > /data/f; echo root > /etc/f'"),
    );
    let before = Before::of(&lab);
    for phase in [
        "prepare", "image", "create", "files", "start", "freeze", "move", "restore", "verify",
    ] {
        // Podman is slow to look at; what differs between engines is when it is in the midst of something.
        let moments = if engine == "podman" {
            &[70][..]
        } else {
            &[0, 70]
        };
        for &millis in moments {
            let Killed { ended: None } = killed(&lab, name, phase, Duration::from_millis(millis))
            else {
                // It was through before it was killed.
                panic!("{phase} + {millis} ms: it ended");
            };
            // As long as it is not undone, no second one begins.
            if phase != "prepare" {
                let args = ["migrate", name, "--from", "a", "--to", "b"];
                let second = lab.run(&args).expect(4);
                assert!(
                    second.stderr.contains("transship migrate undo gone-"),
                    "{phase}: {second:?}"
                );
            }
            let ran = undo(&lab, name).expect(0);
            let report = ran.json();
            fits_schema(&report, "migrate");
            assert_eq!(report["outcome"], "rolled-back", "{phase}: {report:#}");
            whole(&lab, name, "a", &before);
            // Again is harmless.
            undo(&lab, name).expect(0);
            lab.is_as_before(name);
        }
    }
    killed(&lab, name, "clean", Duration::ZERO);
    let report = undo(&lab, name).expect(0).json();
    assert_eq!(report["outcome"], "migrated", "{report:#}");
    migrated(&lab, name, "a", "b", &before);
    let files = lab.ok("b", &format!("{program} exec {name} cat /data/f /etc/f"));
    assert_eq!(files, "kept\nroot");
    assert_eq!(undo(&lab, name).expect(4).json()["outcome"], "refused");
    fresh(&lab, name);
}

fn criu_runc_the_runtime_and_the_engine_killed_on_either_host(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let name = "tools";
    let anew = || {
        fresh(&lab, name);
        lab.counter(name, "0.05", "-v toolsdata:/data");
        Before::of(&lab)
    };
    let mut before = anew();
    for (host, pattern) in [
        ("a", "^criu: dump"),
        ("a", "^runc.*checkpoint"),
        ("b", CRIU_RESTORES),
        ("b", "^runc.*restore"),
        ("b", "^[^ ]*transship-runtime.*create"),
        ("b", "^(docker|podman).start"),
    ] {
        let ran = killing(&lab, host, pattern, || {
            copy(&lab, name, "a", "b", &["--json"])
        });
        let what = format!("{pattern} on {host}");
        if host == "a" && ran.code == 7 {
            ended_in_the_midst(&lab, name, &ran, &what);
            before = anew();
        } else {
            rolled_back(&lab, name, &ran, &before, &what);
        }
    }
    copy(&lab, name, "a", "b", &[]).expect(0);
    counts(&lab, "b", name);
    fresh(&lab, name);
}

fn a_wrong_image_and_a_full_file_system_on_the_destination(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let program = lab.program;
    let name = "full";
    fresh(&lab, name);
    lab.counter(name, "0.05", "");
    let before = Before::of(&lab);
    // No room for the images: somebody else filled it.
    let (ran, _) = disturbed(&lab, name, "create", |_| {
        lab.sh(
            "b",
            "cat /dev/zero > /var/lib/transship/migrate/full/images/filler; ls -ld /var/lib/transship/migrate/full/images",
        );
    });
    rolled_back(&lab, name, &ran, &before, "no room for images");
    assert!(ran.stdout.contains("No space left"), "{}", ran.stdout);
    // Nobody but root sees images, and they are in memory.
    let mut modes = Vec::new();
    let (ran, _) = disturbed(&lab, name, "move", |_| {
        for host in ["a", "b"] {
            modes.push(lab.ok(
                host,
                "stat -c %a /var/lib/transship/migrate /var/lib/transship/migrate/full /var/lib/transship/migrate/full/images; stat -f -c %T /var/lib/transship/migrate/full/images; find /var/lib/transship/migrate/full/images -type f -perm /077",
            ));
        }
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(modes, ["700\n700\n700\ntmpfs"; 2]);
    migrated(&lab, name, "a", "b", &before);
    // Another image of that name on a: the right one is brought along.
    lab.ok("a", &format!("{program} tag busybox:latest kept:latest; c=$({program} create busybox true); {program} commit -c 'ENV WRONG=1' $c busybox:latest; {program} rm $c"));
    let image = format!("{program} inspect -f '{{{{.Image}}}}' full");
    let right = lab.ok("b", &image);
    copy(&lab, name, "b", "a", &[]).expect(0);
    assert_eq!(lab.ok("a", &image), right);
    counts(&lab, "a", name);
    fresh(&lab, name);
    lab.ok(
        "a",
        &format!("{program} tag kept:latest busybox:latest; {program} rmi kept:latest"),
    );
}

fn a_container_with_a_stopped_process_is_refused_before_it_is_touched(engine: &str) {
    let Some((_turn, lab)) = lab(engine) else {
        return;
    };
    let program = lab.program;
    let name = "halted";
    fresh(&lab, name);
    lab.counter(name, "0.05", "");
    let before = Before::of(&lab);
    lab.ok("a", &format!("p=$({program} inspect -f '{{{{.State.Pid}}}}' halted); kill -STOP $p; until grep -q '^State:.T' /proc/$p/status; do sleep 0.05; done"));
    let ran = copy(&lab, name, "a", "b", &[]).expect(4);
    assert!(ran.stderr.contains("is stopped (SIGSTOP)"), "{ran:?}");
    // The fix that it names is the fix.
    let fix = ran.stderr.split("kill -CONT ").nth(1).unwrap();
    lab.ok(
        "a",
        &format!("kill -CONT {}", fix.split_whitespace().next().unwrap()),
    );
    whole(&lab, name, "a", &before);
    copy(&lab, name, "a", "b", &[]).expect(0);
    counts(&lab, "b", name);
    fresh(&lab, name);
}

/// Takes the link of a host down, or up.
fn link(lab: &Lab, host: &str, what: &str) {
    let status = std::process::Command::new("ip")
        .args(["link", "set", &format!("ts-{}-{host}", lab.name), what])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_link_that_is_cut_and_connections_that_end() {
    let Some((_turn, lab)) = lab("docker") else {
        return;
    };
    let program = lab.program;
    let name = "cut";
    fresh(&lab, name);
    lab.counter(name, "0.05", "");
    let before = Before::of(&lab);
    // For some seconds: TCP carries on.
    let (ran, _) = disturbed(&lab, name, "files", |_| {
        link(&lab, "b", "down");
        std::thread::sleep(Duration::from_secs(5));
        link(&lab, "b", "up");
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    migrated(&lab, name, "a", "b", &before);
    copy(&lab, name, "b", "a", &[]).expect(0);
    let before = Before::of(&lab);
    // The sessions of SSH end on either host.
    for host in ["b", "a"] {
        let (ran, _) = disturbed(&lab, name, "start", |_| {
            lab.ok(host, "export LC_ALL=C; for f in $(grep -laE '^sshd[^ ]*: root' /proc/[0-9]*/cmdline); do p=${f#/proc/}; kill -KILL ${p%/cmdline}; done");
        });
        let outcome = ran.json()["outcome"].clone();
        assert_eq!(
            (ran.code, outcome),
            (6, "rolled-back".into()),
            "{host}: {ran:?}"
        );
        whole(&lab, name, "a", &before);
    }
    // For good, once the container stands still: that it does not run there cannot be proven.
    let (ran, report) = disturbed(&lab, name, "freeze", |_| link(&lab, "b", "down"));
    assert!([6, 7].contains(&ran.code), "{ran:?}");
    link(&lab, "b", "up");
    if ran.code == 7 {
        assert!(
            report["next"]
                .to_string()
                .contains("transship migrate undo cut-")
        );
        let paused = lab.ok(
            "a",
            &format!("{program} inspect -f '{{{{.State.Paused}}}}' cut"),
        );
        assert_eq!(paused, "true");
    }
    if report["warnings"] != serde_json::json!([]) || ran.code == 7 {
        undo(&lab, name).expect(0);
    }
    whole(&lab, name, "a", &before);
    fresh(&lab, name);
}

#[test]
fn a_byte_that_is_altered_between_the_hosts() {
    let Some((_turn, lab)) = lab("docker") else {
        return;
    };
    let name = "flipped";
    fresh(&lab, name);
    let mend = || lab.sh("b", "nft delete table ip flip");
    mend();
    lab.counter(name, "0.05", "");
    let before = Before::of(&lab);
    // The 200th of each packet that is not SSH's; its checksum is right again.
    let flip = "nft add table ip flip; nft 'add chain ip flip c { type filter hook input priority -500; }'; nft add rule ip flip c tcp dport != 22 @ih,1600,8 set 0xff counter";
    // While it runs, and once it stands still.
    for phase in ["create", "start"] {
        let (ran, _) = disturbed(&lab, name, phase, |_| {
            lab.ok("b", flip);
        });
        let said = lab.ok("b", "nft list table ip flip");
        mend();
        assert!(!said.contains("packets 0 "), "{phase}: {said}");
        assert!(
            ran.stderr.contains("a byte was altered on its way"),
            "{phase}: {ran:?}"
        );
        rolled_back(&lab, name, &ran, &before, phase);
    }
    copy(&lab, name, "a", "b", &[]).expect(0);
    migrated(&lab, name, "a", "b", &before);
    fresh(&lab, name);
}

#[test]
fn the_daemon_dies_on_either_host() {
    let Some((_turn, lab)) = lab("docker") else {
        return;
    };
    let name = "daemon";
    let up = || assert!(up("docker").is_some());
    let die = |host: &str| {
        lab.ok(host, "kill -KILL $(cat /run/docker.pid)");
    };
    // An engine killed within `docker create` leaves the layer that it was making mounted, and knows nothing
    // of it once it is back: none of its commands takes that away.
    let half_made = || {
        lab.ok(
            "b",
            r#"awk '$2 ~ "^/var/lib/docker/overlay2/[0-9a-z]+-init/merged$" {print $2}' /proc/mounts | xargs -r umount"#,
        )
    };
    for host in ["a", "b"] {
        lab.live_restore(host, true);
    }
    fresh(&lab, name);
    // Nor is it there from an earlier run that failed.
    half_made();
    lab.counter(name, "0.05", "");
    let before = Before::of(&lab);
    for phase in ["create", "start", "move"] {
        let (ran, _) = disturbed(&lab, name, phase, |_| die("b"));
        up();
        if phase == "create" {
            half_made();
        }
        let ended = ran.json()["outcome"].clone();
        assert!([6, 7].contains(&ran.code), "{phase}: {ran:?}");
        if ended == "in-doubt" || ran.stdout.contains("transship migrate undo") {
            undo(&lab, name).expect(0);
        }
        whole(&lab, name, "a", &before);
    }
    // The source's, while the container stands still: it goes on there or on b.
    let (ran, _) = disturbed(&lab, name, "move", |_| die("a"));
    up();
    if ran.stdout.contains("transship migrate undo") {
        undo(&lab, name).expect(0);
    }
    match ran.code {
        0 => migrated(&lab, name, "a", "b", &before),
        6 | 7 => whole(&lab, name, "a", &before),
        other => panic!("{other}: {ran:?}"),
    }
    for host in ["a", "b"] {
        lab.live_restore(host, false);
    }
    fresh(&lab, name);
}

#[test]
fn a_moved_container_lives_under_its_engine_as_any_other() {
    let Some((_turn, lab)) = lab("docker") else {
        return;
    };
    let name = "life";
    fresh(&lab, name);
    let on_b = |script: &str| lab.ok("b", &script.replace("NAME", name));
    let up = || assert!(up("docker").is_some());
    lab.counter(
        name,
        "0.1",
        "--restart always --health-cmd true --health-interval 1s",
    );
    copy(&lab, name, "a", "b", &[]).expect(0);
    // Health checks are made, and the engine keeps what it prints.
    on_b(
        "for i in $(seq 100); do [ $(docker inspect -f '{{.State.Health.Status}}' NAME) = healthy ] && exit; sleep 0.1; done; exit 1",
    );
    counts(&lab, "b", name);
    // It outlives its daemon, where others do.
    lab.live_restore("b", true);
    let pid = on_b("docker inspect -f '{{.State.Pid}}' NAME");
    on_b("kill -KILL $(cat /run/docker.pid)");
    up();
    assert_eq!(on_b("docker inspect -f '{{.State.Pid}}' NAME"), pid);
    counts(&lab, "b", name);
    on_b("docker exec NAME true");
    lab.live_restore("b", false);
    // What ends is started again by its policy, under the same runtime.
    on_b("kill -KILL $(docker inspect -f '{{.State.Pid}}' NAME)");
    on_b(
        "for i in $(seq 100); do [ $(docker inspect -f '{{.RestartCount}} {{.State.Running}}' NAME | tr -d ' ') = 1true ] && exit; sleep 0.1; done; exit 1",
    );
    // The host starts anew: what was in memory is gone, processes too.
    on_b(
        "kill -KILL $(cat /run/docker.pid); for p in $(ps -eo pid=,comm= | awk '/containerd|docker/ {print $1}') $(docker-none 2>/dev/null); do kill -KILL $p; done; ps -eo pid=,args= | awk '/[e]xpr .i/ {print $1}' | xargs -r kill -KILL; rm -rf /run/transship /run/docker /run/docker.pid /run/containerd; true",
    );
    up();
    on_b(
        "for i in $(seq 100); do [ $(docker inspect -f '{{.State.Running}}' NAME) = true ] && exit; sleep 0.1; done; exit 1",
    );
    // Without the program underneath, the engine says what is missing; with it, it starts again.
    on_b(
        "mv /usr/local/bin/transship-runtime /usr/local/bin/away; docker kill NAME >/dev/null 2>&1; true",
    );
    let ran = lab.sh("b", &format!("docker start {name}"));
    on_b("mv /usr/local/bin/away /usr/local/bin/transship-runtime");
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("transship-runtime"), "{ran:?}");
    on_b("docker start NAME && docker exec NAME true");
    fresh(&lab, name);
}
