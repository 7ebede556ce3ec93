//! Whether the dump is still at work: runc, whose CRIU was killed, may wait for its answer without end, and
//! the container stands frozen for as long.

use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// Watches a command of ours that leaves its work to a child.
pub(crate) struct Watch {
    /// Its command line, as /proc has it.
    line: Vec<u8>,
    patience: Duration,
    at_work: Instant,
}

impl Watch {
    /// The command of these words may be without a living child for so long.
    pub fn new(words: &[String], patience: Duration) -> Self {
        Watch {
            line: words
                .iter()
                .flat_map(|word| word.bytes().chain([0]))
                .collect(),
            patience,
            at_work: Instant::now(),
        }
    }

    /// Ends the command if it had no living child for too long.
    pub fn look(&mut self) {
        let Some(waits) = self.idle() else {
            self.at_work = Instant::now();
            return;
        };
        if self.at_work.elapsed() >= self.patience {
            // That it ended meanwhile is right too.
            let _ = kill_process(waits, Signal::KILL);
        }
    }

    /// The command, if it runs and has no living child.
    fn idle(&self) -> Option<Pid> {
        let us = i32::try_from(std::process::id()).ok()?;
        let is_it = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == self.line)
        };
        let pid = runtime::tree(us).into_iter().find(is_it)?;
        let mut below = runtime::tree(pid).into_iter().skip(1);
        if below.any(lives) {
            return None;
        }
        Pid::from_raw(pid)
    }
}

/// It runs, or waits: one that ended and was not asked for its status does neither.
fn lives(pid: i32) -> bool {
    // The name stands in parentheses and may have any byte in it.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::{Cmd, Host, Local};

    /// Runs a shell script under watch; how it ended.
    fn watched(script: &str) -> i32 {
        let cmd = Cmd::changes("sh").args(["-c", script]);
        let words = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        let mut watch = Watch::new(&words, Duration::from_millis(300));
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
        let script = "d=$(mktemp -d); mkfifo $d/f; exec 3<>$d/f; rm -r $d; sleep 60 & kill -KILL $!; read x <&3";
        assert_eq!(watched(script), 128 + 9);
    }

    #[test]
    fn whoever_has_a_child_at_work_is_not() {
        assert_eq!(watched("sleep 1 & wait; exit 3"), 3);
    }
}
