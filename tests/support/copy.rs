//! What the tests of mode copy share.

use super::{Lab, Ran, fits_schema, in_order};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Makes a test of each of these functions for Docker and for Podman.
#[macro_export]
macro_rules! with_each_engine {
    ($($test:ident)*) => {
        mod docker {
            $(#[test] fn $test() { super::$test("docker-26") })*
        }
        mod podman {
            $(#[test] fn $test() { super::$test("podman") })*
        }
    };
}

pub fn copy(lab: &Lab, name: &str, from: &str, to: &str, more: &[&str]) -> Ran {
    let mut args = vec![
        "migrate", name, "--from", from, "--to", to, "--mode", "copy",
    ];
    args.extend(more);
    lab.run(&args)
}

/// Nothing of a migration is left on a host: no folder, no mount, no pending container, no rule.
#[track_caller]
pub fn clean(lab: &Lab, name: &str) {
    lab.nothing_left(name);
    let engine = lab.program;
    for host in ["a", "b"] {
        lab.ok(host, "! grep transship/migrate /proc/mounts");
        let pending = lab.ok(host, "ls /run/transship/restore 2>/dev/null; true");
        let ids = lab.ok(
            host,
            &format!("{engine} ps -aq --no-trunc --filter name=never"),
        );
        assert_eq!(pending, ids, "pending on {host}");
        // Tables that let all through are taken away while it runs already.
        let script = format!(
            "pid=$({engine} inspect -f '{{{{.State.Pid}}}}' {name} 2>/dev/null) && [ $pid != 0 ] || exit 0
for try in $(seq 600); do nsenter -t $pid -n nft list tables | grep transship || exit 0; sleep 0.1; done; exit 1"
        );
        lab.ok(host, &script);
    }
}

/// The counter on `host` has all its numbers, from the first on, and goes on.
#[track_caller]
pub fn counts(lab: &Lab, host: &str, name: &str) {
    let before = lab.numbers(host, name);
    in_order(&before, 0);
    lab.ok(
        host,
        &format!(
            "until [ $({} logs {name} | wc -l) -ge {} ]; do sleep 0.1; done",
            lab.program,
            before.len() + 2
        ),
    );
    in_order(&lab.numbers(host, name), 0);
}

/// Runs a migration, and does something to it when a phase begins.
pub fn disturbed(lab: &Lab, name: &str, phase: &str, disturb: impl FnOnce(u32)) -> (Ran, Value) {
    disturbed_in(lab, name, &["--mode", "copy"], phase, disturb)
}

/// The same, in another mode.
pub fn disturbed_in(
    lab: &Lab,
    name: &str,
    mode: &[&str],
    phase: &str,
    disturb: impl FnOnce(u32),
) -> (Ran, Value) {
    let mut child = lab
        .transship(&["migrate", name, "--from", "a", "--to", "b", "--json"])
        .args(mode)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let mut said = String::new();
    while !line.starts_with(phase) {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "no phase {phase}: {said}"
        );
        said.push_str(&line);
    }
    disturb(child.id());
    lines.read_to_string(&mut said).unwrap();
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    let code = child.wait().unwrap().code().unwrap_or(-1);
    let ran = Ran {
        code,
        stdout,
        stderr: said,
    };
    let json = ran.json();
    (ran, json)
}

pub fn interrupt(pid: u32) {
    std::process::Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .unwrap();
}

/// Kills, in a host, the process whose command line matches, as soon as there is one.
pub fn kill_on(lab: &Lab, host: &str, pattern: &str) {
    let script = format!(
        "for i in $(seq 2000); do for p in /proc/[0-9]*; do [ $p != /proc/$$ ] || continue; if tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -qE '{pattern}'; then kill -KILL ${{p#/proc/}} && exit 0; fi; done; sleep 0.005; done; exit 1"
    );
    lab.ok(host, &script);
}

/// Kills (-9) the first process whose command line matches, as soon as there is one; the words of the
/// pattern are separated by dots, as by NUL bytes in /proc.
fn killer(pattern: &str) -> String {
    format!(
        "export LC_ALL=C; for i in $(seq 4000); do for f in $(grep -laE '{pattern}' /proc/[0-9]*/cmdline 2>/dev/null); do p=${{f#/proc/}}; kill -KILL ${{p%/cmdline}} && exit 0; done; sleep 0.005; done; exit 1"
    )
}

/// Kills such a process in a host.
#[track_caller]
pub fn kill(lab: &Lab, host: &str, pattern: &str) {
    let ran = lab.sh(host, &killer(pattern));
    assert_eq!(ran.code, 0, "nothing like {pattern} ran on {host}");
}

/// Kills such a process in a host while `act` runs.
pub fn killing<T>(lab: &Lab, host: &str, pattern: &str, act: impl FnOnce() -> T) -> T {
    let script = match pattern {
        CRIU_RESTORES => restoring(".", false),
        _ => killer(pattern),
    };
    killing_by(lab, host, &script, pattern, act)
}

/// The CRIU that restores, for [`killing`]: those that help it have its command line.
pub const CRIU_RESTORES: &str = "the CRIU that restores";

/// Kills (-9) the CRIU that restores, once a process of the container is there, in namespaces of its own: CRIU makes it
/// a child of runc, beside itself.
pub fn in_the_midst() -> String {
    restoring("Wait until namespaces are created", false)
}

/// Kills (-9) the container's first process when CRIU has restored it, and waits for others, for some moments more;
/// where those have passed it is left alone.
pub fn late() -> String {
    restoring(" 1: Restored$", true)
}

/// Kills one of the two children of the runc that restores once CRIU's log says something. Moments count, in which a
/// shell would start its programs.
fn restoring(says: &str, first: bool) -> String {
    r#"exec perl -e '
my ($said, $own) = ("", readlink("/proc/self/ns/pid"));
for (my $until = time + 120; time < $until; select(undef, undef, undef, 0.0003)) {
    unless (fileno(LOG)) { my ($log) = glob("/run/transship/restore/*/work/restore.log"); open(LOG, $log) if $log; next }
    sysread(LOG, $said, 1 << 20, length($said));
    if (!$found && $said =~ /BEGUN/) {
        for my $file (glob("/proc/[0-9]*/status")) {
            my ($pid) = $file =~ /(\d+)/;
            my $space = readlink("/proc/$pid/ns/pid") || next;
            next unless ($space ne $own) == FIRST && open(S, $file);
            my ($parent) = join("", <S>) =~ /^PPid:\s(\d+)/m;
            $found = $pid if open(S, "/proc/$parent/cmdline") && (<S> || "") =~ /^runc.*restore/s;
        }
    }
    next unless $found && $said =~ /SAYS/m;
    kill(9, $found) unless $said =~ /Restore finished/;
    exit 0;
}
exit 1'"#
    .replace("BEGUN", if first { "Wait until namespaces are created" } else { "." })
    .replace("SAYS", says)
    .replace("FIRST", if first { "1" } else { "0" })
}

/// Kills by a script in a host while `act` runs; it kills what is called `what`, or fails.
pub fn killing_by<T>(
    lab: &Lab,
    host: &str,
    script: &str,
    what: &str,
    act: impl FnOnce() -> T,
) -> T {
    std::thread::scope(|scope| {
        // It must be looking by then.
        lab.ok(host, "rm -f /run/looking");
        let killer = scope.spawn(|| lab.sh(host, &format!(": >/run/looking; {script}")));
        lab.ok(host, "until [ -e /run/looking ]; do sleep 0.02; done");
        let result = act();
        assert_eq!(
            killer.join().unwrap().code,
            0,
            "nothing like {what} ran on {host}"
        );
        result
    })
}

/// What there is on both hosts besides the containers' own doings: nothing may be added to it.
pub struct Before {
    hosts: [String; 2],
}

/// Processes of ours and of the engine's tools, mounts, folders, firewall rules, containers, volumes. The folder of
/// Podman's network namespaces is a mount from its first container on.
const THERE: &str = r#"
ps -eo comm= | grep -E '^(transship|runc|criu|docker|containerd-shim|podman|conmon|flock|nsenter|tar)' | grep -v '^dockerd' | sort
awk '$2 " " $3 != "/run/netns tmpfs" {print $1, $3}' /proc/mounts | sort | uniq -c
ls -A /var/lib/transship/migrate /run/transship/restore /var/lib/transship/moved 2>/dev/null
nft list ruleset 2>/dev/null | grep transship
ENGINE ps -aq --no-trunc | sort; ENGINE volume ls -q | sort
true"#;

impl Before {
    pub fn of(lab: &Lab) -> Self {
        Before {
            hosts: ["a", "b"].map(|host| there(lab, host)),
        }
    }
}

fn there(lab: &Lab, host: &str) -> String {
    // Twice migrated hosts have the folders, empty; the first time they are not there.
    lab.ok(host, "mkdir -p -m 0700 /var/lib/transship/migrate /run/transship /run/transship/restore /var/lib/transship/moved");
    // Podman tidies up behind an ended container, by itself.
    let at_rest = "for i in $(seq 100); do [ $(pgrep -xc conmon) = $(podman ps -q | wc -l) ] && ! pgrep -x podman && exit; sleep 0.1; done; true";
    if lab.program == "podman" {
        lab.ok(host, at_rest);
    }
    lab.ok(host, &THERE.replace("ENGINE", lab.program))
}

/// The container runs on `host`, alone, went on without a gap, and both hosts are as they were.
#[track_caller]
pub fn whole(lab: &Lab, name: &str, host: &str, before: &Before) {
    runs_alone(lab, name, host);
    for (host, before) in ["a", "b"].iter().zip(&before.hosts) {
        let now = at_last(before, || there(lab, host));
        assert_eq!(&now, before, "on {host}");
    }
}

/// What is seen once it is what it should be, or after half a minute: a process that was told to end may take a moment.
fn at_last<T: PartialEq>(should: &T, see: impl Fn() -> T) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let now = see();
        if now == *should || Instant::now() > until {
            return now;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[track_caller]
fn runs_alone(lab: &Lab, name: &str, host: &str) {
    let state = |host: &str| {
        let ran = lab.sh(
            host,
            &format!(
                "{} inspect -f '{{{{.State.Running}}}} {{{{.State.Paused}}}}' {name}",
                lab.program
            ),
        );
        ran.stdout.trim().to_owned()
    };
    let other = if host == "a" { "b" } else { "a" };
    assert_eq!(
        (state(host), state(other)),
        ("true false".to_owned(), String::new())
    );
    counts(lab, host, name);
    clean(lab, name);
}

/// The container moved: it runs on `to`, alone, and went on without a gap; nothing else was left.
#[track_caller]
pub fn migrated(lab: &Lab, name: &str, from: &str, to: &str, before: &Before) {
    runs_alone(lab, name, to);
    // Processes of the container itself moved too: the sum over both hosts stays.
    let count = |text: &str| {
        text.lines()
            .filter(|line| {
                ["containerd-shim", "conmon", "transship"]
                    .iter()
                    .any(|ours| line.starts_with(ours))
            })
            .count()
    };
    let then: usize = before.hosts.iter().map(|text| count(text)).sum();
    let on_both = || [from, to].iter().map(|host| count(&there(lab, host))).sum();
    let now = at_last(&then, on_both);
    assert_eq!(now, then, "processes");
}

/// How a migration ended that was to be killed; none if it was.
pub struct Killed {
    pub ended: Option<Ran>,
}

/// Runs a migration and kills transship itself (-9), some time after a phase began.
pub fn killed(lab: &Lab, name: &str, phase: &str, after: Duration) -> Killed {
    killed_in(lab, name, &["--mode", "copy"], phase, after)
}

/// The same, in another mode.
pub fn killed_in(lab: &Lab, name: &str, mode: &[&str], phase: &str, after: Duration) -> Killed {
    let mut child = lab
        .transship(&["migrate", name, "--from", "a", "--to", "b", "--json"])
        .args(mode)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said
        .lines()
        .last()
        .is_some_and(|line| line.starts_with(phase))
    {
        assert_ne!(
            talk.read_line(&mut said).unwrap(),
            0,
            "no phase {phase}: {said}"
        );
    }
    std::thread::sleep(after);
    let _ = child.kill();
    let mut ran = Ran::of(child.wait_with_output().unwrap());
    ran.stderr = said;
    Killed {
        ended: (ran.code != -1).then_some(ran),
    }
}

/// `migrate undo` of the migration of `name` that did not end.
pub fn undo(lab: &Lab, name: &str) -> Ran {
    let status = lab.run(&["migrate", "status", "--json"]).expect(0).json();
    fits_schema(&status, "migrate-status");
    let id = status["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["container"] == name)
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    lab.run(&["migrate", "undo", &id, "--json"])
}

/// Removes what a test left, or an earlier run of it that failed.
pub fn fresh(lab: &Lab, name: &str) {
    lab.forget(name);
    for host in ["a", "b"] {
        lab.ok(
            host,
            // A CRIU that was killed leaves control groups mounted there.
            &format!("{} volume rm -f {name}data; awk '$2 ~ \"^/run/transship/restore/\" {{print $2}}' /proc/mounts | xargs -r umount -l; rm -rf /var/lib/transship/moved/{name}data /run/transship/restore/*", lab.program),
        );
    }
}

/// It failed, and the container went on on a as if nothing had happened.
#[track_caller]
pub fn rolled_back(lab: &Lab, name: &str, ran: &Ran, before: &Before, what: &str) {
    assert_eq!(ran.code, 6, "{what}: {ran:?}");
    let report = ran.json();
    assert_eq!(report["outcome"], "rolled-back", "{what}");
    let state = report["state"].as_str().unwrap();
    assert!(state.contains("runs on a"), "{what}: {state}");
    whole(lab, name, "a", before);
}

/// For some moments CRIU has code of its own in a process that it dumps, and the process ends (SIGTRAP) where CRIU is
/// killed just then: that is said, and so is how it is started anew. The container is to be made anew then.
#[track_caller]
pub fn ended_in_the_midst(lab: &Lab, name: &str, ran: &Ran, what: &str) {
    let engine = lab.program;
    let report = ran.json();
    let state = report["state"].as_str().unwrap();
    assert!(
        state.contains("it ended while it stood frozen"),
        "{what}: {state}"
    );
    let status = format!("{engine} inspect -f '{{{{.State.ExitCode}}}}' {name}");
    assert_eq!(lab.ok("a", &status), "133", "{what}");
    let next = report["next"][0].as_str().unwrap();
    lab.ok("a", next.strip_prefix("to start it anew, on a: ").unwrap());
    undo(lab, name).expect(0);
    lab.nothing_left(name);
}
