//! The processes of a restored container.

use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// How long all that is to be ended may take to stand still: what is frozen never says so. And how often is looked.
const STOPS: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(1);

/// Lets a process and all below it go on: CRIU was told to leave them stopped (SIGSTOP). None was stopped
/// before: such a container is not moved (see [`stopped`]).
///
/// CRIU restores a tree of processes; `/proc/PID/task/TID/children`, which CRIU itself needs, names
/// each one's children.
pub(crate) fn let_go_on(first: i32) -> Result<(), String> {
    // Children first: a parent that waits for a stopped child must not see it continue late.
    for pid in tree(first).into_iter().rev() {
        let Some(pid) = Pid::from_raw(pid) else {
            continue;
        };
        if let Err(error) = kill_process(pid, Signal::CONT)
            && pid.as_raw_nonzero().get() == first
        {
            return Err(format!(
                "process {first} of the restored container: {error}"
            ));
        }
    }
    Ok(())
}

/// Ends a process and all below it, also what stands frozen: CRIU restores that too, and with cgroup v1 such a process
/// ends only once it is thawed.
pub(crate) fn kill(first: i32) {
    let until = Instant::now() + STOPS;
    // One that stands still starts no other, so that this is all of them: who is started while they are ended one by one
    // would be left over.
    let tree = walk(first, |pid| stop(pid, until));
    let own = groups("self");
    let frozen: Vec<_> = tree
        .iter()
        .flat_map(|pid| groups(&pid.to_string()))
        .filter(|group| !own.contains(group))
        .collect();
    for pid in tree.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
    for (file, thawed) in frozen {
        let _ = std::fs::write(file, thawed);
    }
}

/// Stops a process, and waits until it stands still: what it is just starting is there by then.
fn stop(pid: i32, until: Instant) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::STOP);
    }
    let stands = || state(pid).is_none_or(|state| "TtZX".contains(state));
    while !stands() && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
}

/// The letter for what a process does, none where it is gone (proc_pid_stat(5)).
fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may have any byte in it.
    stat.rsplit(") ").next()?.chars().next()
}

/// Where the control groups of a process are thawed, and by what word.
fn groups(who: &str) -> Vec<(String, &'static str)> {
    let text = std::fs::read_to_string(format!("/proc/{who}/cgroup")).unwrap_or_default();
    let group = |line: &str| {
        let mut parts = line.splitn(3, ':');
        match (parts.next()?, parts.next()?, parts.next()?) {
            (_, "freezer", path) => Some((
                format!("/sys/fs/cgroup/freezer{path}/freezer.state"),
                "THAWED",
            )),
            ("0", "", path) => Some((format!("/sys/fs/cgroup{path}/cgroup.freeze"), "0")),
            _ => None,
        }
    };
    text.lines().filter_map(group).collect()
}

/// A process and all below it, parents before their children.
#[must_use]
pub fn tree(first: i32) -> Vec<i32> {
    walk(first, |_| ())
}

/// The same; each is visited before its children are looked for.
fn walk(first: i32, visit: impl Fn(i32)) -> Vec<i32> {
    let mut tree = vec![first];
    let mut at = 0;
    while at < tree.len() {
        visit(tree[at]);
        tree.extend(children(tree[at]));
        at += 1;
    }
    tree
}

/// Those of a process and all below it that somebody stopped (SIGSTOP).
///
/// CRIU seizes each process of a frozen container, and the kernel lets a stopped one answer to that only
/// once it is thawed (`JOBCTL_TRAPPING` in kernel/ptrace.c): the dump would hang.
#[must_use]
pub fn stopped(first: i32) -> Vec<i32> {
    let mut stopped = tree(first);
    stopped.retain(|pid| state(*pid) == Some('T'));
    stopped
}

/// Whether a process runs, or waits: one that has ended and was not asked for its status does neither.
#[must_use]
pub fn lives(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The child of runc that CRIU restores, as soon as it is there with a network namespace of its own. CRIU itself is
/// runc's child too, but in ours; what CRIU tries out in others are children of CRIU.
pub(crate) fn apart(runc: i32) -> Option<i32> {
    let space = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/net")).ok();
    let ours = space("self")?;
    let is_apart = |pid: &i32| space(&pid.to_string()).is_some_and(|of| of != ours);
    children(runc).into_iter().find(is_apart)
}

/// The children of a process, also those that have ended and were not asked for their status.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_stopped_tree_goes_on() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & kill -STOP $!; kill -STOP $$; wait"])
            .spawn()
            .unwrap();
        // On a busy machine a signal takes its time.
        let is_soon = |pid: i32, wanted: char| {
            while state(pid) != Some(wanted) {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let first = i32::try_from(shell.id()).unwrap();
        is_soon(first, 'T');
        let child = children(first)[0];
        is_soon(child, 'T');
        assert_eq!(stopped(first), [first, child]);
        let_go_on(first).unwrap();
        is_soon(first, 'S');
        is_soon(child, 'S');
        assert!(stopped(first).is_empty());
        kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn who_starts_others_all_the_time_leaves_none_behind() {
        let mark = format!("60.{}", std::process::id());
        let script = format!("i=0; while [ $i -lt 2000 ]; do sleep {mark} & i=$((i + 1)); done");
        let mut shell = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let first = i32::try_from(shell.id()).unwrap();
        while children(first).len() < 50 {}
        kill(first);
        shell.wait().unwrap();
        let left = || {
            let all = std::fs::read_dir("/proc").unwrap().flatten();
            let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
            let wanted = format!("sleep\0{mark}\0");
            lines.filter(|line| *line == wanted.as_bytes()).count()
        };
        // A signal takes its time.
        let until = Instant::now() + Duration::from_secs(5);
        while left() > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(left(), 0);
    }

    #[test]
    fn a_process_that_is_gone_is_said() {
        assert!(let_go_on(i32::MAX).is_err());
    }
}
