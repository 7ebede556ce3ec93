//! Whether CRIU is still at work: runc, whose CRIU was killed in the midst of restoring, waits for the
//! processes that it left half made, without end; and so does CRIU for a first process that was killed once it had all.

use crate::processes::{children, lives, tree};
use std::time::{Duration, Instant};

/// How often is looked.
const TICK: Duration = Duration::from_millis(20);
/// For how long runc may be without CRIU once that was there: afterwards it only tidies up.
const ALONE: Duration = Duration::from_secs(3);

/// Watches a `runc restore`.
pub(crate) struct Watch {
    runc: i32,
    patience: Duration,
    looked: Instant,
    /// CRIU was there, and when it was last seen.
    seen: Option<Instant>,
}

impl Watch {
    pub fn new(runc: i32) -> Self {
        Watch {
            runc,
            patience: ALONE,
            looked: Instant::now(),
            seen: None,
        }
    }

    /// Whether CRIU is gone, or what it restores, and runc has not ended for too long after it.
    pub fn is_over(&mut self) -> bool {
        if self.looked.elapsed() < TICK {
            return false;
        }
        self.looked = Instant::now();
        if children(self.runc).into_iter().any(|child| !lives(child)) {
            // CRIU, or the first process, of which both are runc's; it asks for their status at once where all is well.
            // One that helped CRIU (with control groups) may outlive it, and is runc's then. It may be dead when it is
            // first looked for.
            self.seen.get_or_insert(self.looked);
        } else if tree(self.runc).into_iter().skip(1).any(is_beside_us) {
            self.seen = Some(self.looked);
        }
        self.seen
            .is_some_and(|since| since.elapsed() >= self.patience)
    }
}

/// Whether a process is at work in our own namespace of processes, as CRIU is: what it restores is in that of
/// the container. (A container in the host's own is then never found to be without CRIU.)
fn is_beside_us(pid: i32) -> bool {
    let space = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/pid")).ok();
    lives(pid) && space(&pid.to_string()).is_some_and(|of| Some(of) == space("self"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    const MOMENT: Duration = Duration::from_millis(300);

    /// A shell in the place of runc.
    fn runc(script: &str) -> (Child, Watch) {
        let mut command = Command::new("sh");
        let child = command
            .args(["-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut watch = Watch::new(i32::try_from(child.id()).unwrap());
        watch.patience = MOMENT;
        (child, watch)
    }

    /// Whether it is over before so long has passed.
    fn over_within(watch: &mut Watch, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if watch.is_over() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    fn end(mut child: Child) {
        for pid in tree(i32::try_from(child.id()).unwrap()) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        child.wait().unwrap();
    }

    #[test]
    fn a_runc_that_waits_for_what_a_killed_criu_left_is_over() {
        // What CRIU had begun to restore is runc's by then, and lives in another namespace.
        let (child, mut watch) = runc(
            r#"sleep 60 & criu=$!; exec unshare -p sh -c "sleep 60 & sleep 0.5; kill -KILL $criu; read x""#,
        );
        assert!(!over_within(&mut watch, Duration::from_millis(300)));
        assert!(over_within(&mut watch, Duration::from_secs(20)));
        end(child);
    }

    #[test]
    fn whoever_helped_a_killed_criu_is_not_taken_for_it() {
        // As runc does by then, it asks nobody for a status.
        let script = "sleep 60 & sh -c 'printf criu >/proc/$$/comm; while :; do sleep 1; done' & criu=$!; (sleep 0.5; kill -KILL $criu) & exec sleep 60";
        let (child, mut watch) = runc(script);
        assert!(!over_within(&mut watch, Duration::from_millis(300)));
        assert!(over_within(&mut watch, Duration::from_secs(20)));
        // Nor where CRIU was gone before anybody looked.
        let mut late = Watch::new(i32::try_from(child.id()).unwrap());
        late.patience = MOMENT;
        assert!(over_within(&mut late, Duration::from_secs(20)));
        end(child);
    }

    #[test]
    fn a_criu_that_waits_for_what_was_killed_is_over() {
        let (child, mut watch) = runc(
            "sleep 60 & unshare -p sleep 60 & first=$!; (sleep 0.5; kill -KILL $first) & exec sleep 60",
        );
        assert!(!over_within(&mut watch, Duration::from_millis(300)));
        assert!(over_within(&mut watch, Duration::from_secs(20)));
        end(child);
    }

    #[test]
    fn a_criu_at_work_is_waited_for_and_one_that_is_still_to_come_too() {
        let (child, mut watch) = runc("sleep 60 & read x");
        assert!(!over_within(&mut watch, 3 * MOMENT));
        end(child);
        let (child, mut watch) = runc("read x");
        assert!(!over_within(&mut watch, 3 * MOMENT));
        end(child);
    }
}
