//! What a container did while it was looked at, from what the kernel counts anyway.

use crate::facts::transcript::{Transcript, keyed};
use serde::Serialize;
use std::collections::BTreeMap;

/// What all processes of a container did between two looks, about a second apart.
///
/// Both are counted by the kernel for every process; nothing is switched on, marked or reset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Activity {
    /// Seconds between the two looks.
    pub seconds: f64,
    /// Seconds on a processor, all threads together.
    pub ran: f64,
    /// Bytes of pages that were touched for the first time, or for the first time since they were
    /// shared (minor and major faults, proc_pid_stat(5)).
    pub touched: u64,
}

/// Counters of one process at one look.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    faults: u64,
    nanoseconds: u64,
}

/// Reads the sections `activity.first` and `activity.last`; `None` where one does not say enough.
pub(super) fn parse(transcript: &Transcript) -> Option<Activity> {
    let text = |name: &str| transcript.text(name);
    let (first, last) = (text("activity.first"), text("activity.last"));
    let time = |text: &str| {
        let uptime: f64 = keyed(text, "uptime")
            .next()?
            .split(' ')
            .next()?
            .parse()
            .ok()?;
        uptime.is_finite().then_some(uptime)
    };
    let seconds = time(last)? - time(first)?;
    let page: u64 = keyed(first, "page").next()?.trim().parse().ok()?;
    let (before, after) = (counters(first), counters(last));
    let mut sum = Counters::default();
    for (pid, after) in &after {
        // A process that was born in between began at nothing.
        let before = before.get(pid).copied().unwrap_or_default();
        let grown = |now: u64, then: u64| now.saturating_sub(then);
        sum.faults = sum
            .faults
            .saturating_add(grown(after.faults, before.faults));
        sum.nanoseconds = sum
            .nanoseconds
            .saturating_add(grown(after.nanoseconds, before.nanoseconds));
    }
    (seconds > 0.0 && !after.is_empty()).then(|| Activity {
        seconds,
        ran: sum.nanoseconds as f64 / 1e9,
        touched: sum.faults.saturating_mul(page),
    })
}

/// Reads lines `/proc/PID/stat:...` and `/proc/PID/task/TID/schedstat:...`. A process without the
/// second is left out: what it ran is not known.
fn counters(text: &str) -> BTreeMap<u32, Counters> {
    let mut all: BTreeMap<u32, (Option<u64>, Option<u64>)> = BTreeMap::new();
    for line in text.lines() {
        let read = || {
            let (path, rest) = line.strip_prefix("/proc/")?.split_once(':')?;
            let (pid, file) = path.split_once('/')?;
            Some((pid.parse::<u32>().ok()?, file, rest))
        };
        let Some((pid, file, rest)) = read() else {
            continue;
        };
        let entry = all.entry(pid).or_default();
        if file == "stat" {
            entry.0 = faults(rest);
        } else if file.ends_with("/schedstat")
            && let Some(ran) = rest.split(' ').next().and_then(|ran| ran.parse().ok())
        {
            entry.1 = Some(entry.1.unwrap_or(0_u64).saturating_add(ran));
        }
    }
    all.into_iter()
        .filter_map(|(pid, (faults, nanoseconds))| {
            Some((
                pid,
                Counters {
                    faults: faults?,
                    nanoseconds: nanoseconds?,
                },
            ))
        })
        .collect()
}

/// Minor and major faults: fields 10 and 12 of /proc/PID/stat. The program's name before them may
/// hold anything, so that counting begins after its last parenthesis.
fn faults(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let field = |number: usize| words.get(number - 3)?.parse::<u64>().ok();
    field(10)?.checked_add(field(12)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::container::Container;

    const FIRST: &str = "page 4096\nuptime 100.00 9\n\
        /proc/7/stat:7 (a) b) S 1 7 7 0 -1 0 100 5 2 0 1 1\n\
        /proc/7/task/7/schedstat:1000000 5 6\n/proc/7/task/8/schedstat:500 1 1\n";
    const LAST: &str = "page 4096\nuptime 101.25 9\n\
        /proc/7/stat:7 (a) b) S 1 7 7 0 -1 0 110 5 3 0 1 1\n\
        /proc/7/task/7/schedstat:501000000 5 6\n/proc/7/task/8/schedstat:500 1 1\n\
        /proc/9/stat:9 (new) S 1 7 7 0 -1 0 4 0 0 0 1 1\n/proc/9/task/9/schedstat:0 0 0\n";

    fn container(first: &str, last: &str) -> Option<Activity> {
        Container::parse(&format!(
            "@@transship container 1 @@m\n@@m begin activity.first\n{first}\n@@m end activity.first 0\n\
             @@m begin activity.last\n{last}\n@@m end activity.last 0\n"
        ))
        .activity
    }

    #[test]
    fn two_looks_tell_what_happened_between_them() {
        let activity = container(FIRST, LAST).unwrap();
        assert!((activity.seconds - 1.25).abs() < 1e-9);
        assert!((activity.ran - 0.5).abs() < 1e-9);
        assert_eq!(activity.touched, 15 * 4096);
    }

    #[test]
    fn half_of_it_tells_nothing() {
        assert_eq!(container(FIRST, ""), None);
        assert_eq!(container("", LAST), None);
        let without = |text: &str| text.replace("schedstat", "nothing");
        assert_eq!(container(&without(FIRST), &without(LAST)), None);
    }
}
