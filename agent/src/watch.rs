//! Whether the dump is still at work: runc, whose CRIU was killed, may wait for its answer without end, and
//! the container stands frozen for as long.

use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// How often whoever dumps looks.
pub(crate) const TICK: Duration = Duration::from_millis(200);
/// A dump of a large container takes seconds; a hung one is given up after this.
pub(crate) const DUMP_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a command may be without a living child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Before its first one was seen.
    pub before: Duration,
    /// Since the last one was seen.
    pub after: Duration,
}

/// runc first looks at the container; after CRIU it only tidies up.
const RUNC: Patience = Patience {
    before: Duration::from_secs(30),
    after: Duration::from_secs(5),
};

/// Watches a command of ours that leaves its work to a child.
pub(crate) struct Watch {
    /// Its command line, as /proc has it.
    line: Vec<u8>,
    patience: Patience,
    /// One was seen.
    had: bool,
    /// Since when none is.
    alone: Instant,
}

impl Watch {
    /// Watches a dump by runc.
    pub fn dump(words: &[String]) -> Self {
        Watch::new(words, RUNC)
    }

    /// The command of these words may be without a living child for so long.
    fn new(words: &[String], patience: Patience) -> Self {
        Watch {
            line: words
                .iter()
                .flat_map(|word| word.bytes().chain([0]))
                .collect(),
            patience,
            had: false,
            alone: Instant::now(),
        }
    }

    /// Ends the command if it had no living child for too long.
    pub fn look(&mut self) {
        let Some((waits, alone)) = self.find() else {
            self.alone = Instant::now();
            return;
        };
        if !alone {
            (self.had, self.alone) = (true, Instant::now());
        }
        let patience = if self.had {
            self.patience.after
        } else {
            self.patience.before
        };
        if alone && self.alone.elapsed() >= patience {
            // That it ended meanwhile is right too.
            let _ = kill_process(waits, Signal::KILL);
        }
    }

    /// The command, if it runs; and whether it has no living child.
    fn find(&self) -> Option<(Pid, bool)> {
        let us = i32::try_from(std::process::id()).ok()?;
        let is_it = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == self.line)
        };
        let pid = runtime::tree(us).into_iter().find(is_it)?;
        let mut below = runtime::tree(pid).into_iter().skip(1);
        Some((Pid::from_raw(pid)?, !below.any(runtime::lives)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::{Cmd, Host, Local};

    const MOMENT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(3600);

    /// Runs a shell script under watch; how it ended.
    fn watched(script: &str, before: Duration, after: Duration) -> i32 {
        let cmd = Cmd::changes("sh").args(["-c", script]);
        let words = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        let mut watch = Watch::new(&words, Patience { before, after });
        std::thread::scope(|scope| {
            let run = scope.spawn(|| Local.run(&cmd).unwrap().status);
            while !run.is_finished() {
                watch.look();
                std::thread::sleep(Duration::from_millis(5));
            }
            run.join().unwrap()
        })
    }

    #[test]
    fn whoever_waits_for_a_child_that_was_killed_is_ended() {
        // The shell waits for a line that nobody writes.
        let script = "d=$(mktemp -d); mkfifo $d/f; exec 3<>$d/f; rm -r $d; sleep 60 & sleep 0.5; kill -KILL $!; read x <&3";
        assert_eq!(watched(script, LONG, MOMENT), 128 + 9);
    }

    #[test]
    fn whoever_starts_no_child_is_ended_too_but_later() {
        let script = "while :; do :; done";
        assert_eq!(watched(script, MOMENT, LONG), 128 + 9);
    }

    #[test]
    fn whoever_has_a_child_at_work_is_not() {
        assert_eq!(watched("sleep 1 & wait; exit 3", MOMENT, MOMENT), 3);
    }
}
