//! Holds the user faults of a container whose memory is not complete.
//!
//! Where the last one that holds a userfaultfd goes, the kernel fills what is missing with zeros and the
//! container goes on with them. So a process of its own holds what CRIU's lazy-pages daemon holds. If the
//! daemon or the agent goes before all pages have come, it ends the container first, and only then lets go.

use crate::error::{AgentError, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How often it looks whether the daemon got more: a process that forks gives it another.
const LOOK: Duration = Duration::from_millis(50);
/// How long the agent may take to say how the daemon ended.
const WORD: Duration = Duration::from_secs(5);
/// How long an ended container may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// What is said when all pages have come.
pub(crate) const DONE: &str = "done";

/// Whom it guards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepJob {
    /// First process of the container.
    pub container: i32,
    /// CRIU's lazy-pages daemon.
    pub daemon: i32,
}

/// Does it: tells on `out` how many it holds, and goes when `control` says that all is done. When that
/// ends without the word, the container is ended.
///
/// # Errors
/// Where it cannot hold or end them.
pub fn keep(job: &KeepJob, control: &mut BufReader<File>, out: &mut dyn Write) -> Result<()> {
    let failed = |error: rustix::io::Errno| AgentError::Other(format!("user faults: {error}"));
    let (container, daemon) = (open(job.container)?, open(job.daemon)?);
    let mut held = grab(job.daemon, &daemon, FAULTS)
        .map_err(failed)?
        .unwrap_or_default();
    writeln!(out, "{}", held.len())
        .and_then(|()| out.flush())
        .map_err(AgentError::sending)?;
    let mut daemon_ended: Option<Instant> = None;
    loop {
        let [said, gone, ended] = wait(
            [control.get_ref().as_fd(), container.as_fd(), daemon.as_fd()],
            daemon_ended.is_none(),
        );
        if gone {
            return Ok(());
        }
        if said {
            let mut word = String::new();
            let read = control.read_line(&mut word);
            if read.is_ok() && word.trim() == DONE {
                return Ok(());
            }
            return end(job.container, &container);
        }
        if ended && daemon_ended.is_none() {
            daemon_ended = Some(Instant::now());
        }
        match daemon_ended {
            Some(since) if since.elapsed() > WORD => return end(job.container, &container),
            Some(_) => {}
            None => {
                // The new ones first: between the two nothing may be without a holder. What the daemon has
                // closed we may not keep: its epoll would tell of it, and it would try to read it, for ever.
                if let Ok(Some(now)) = grab(job.daemon, &daemon, FAULTS) {
                    held = now;
                }
            }
        }
        let _ = &held;
    }
}

pub(crate) fn open(pid: i32) -> Result<OwnedFd> {
    Pid::from_raw(pid)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
        .map_err(|error| AgentError::Other(format!("process {pid}: {error}")))
}

fn wait(fds: [std::os::fd::BorrowedFd<'_>; 3], all: bool) -> [bool; 3] {
    let mut polled: Vec<_> = fds
        .iter()
        .take(if all { 3 } else { 2 })
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(LOOK.subsec_nanos()),
    };
    let mut ready = [false; 3];
    if poll(&mut polled, Some(&timeout)).is_ok() {
        for (ready, fd) in ready.iter_mut().zip(&polled) {
            *ready = !fd.revents().is_empty();
        }
    }
    ready
}

/// What /proc says that a userfaultfd is.
const FAULTS: &str = "anon_inode:[userfaultfd]";

/// Our own handles of all descriptors of that sort that a process has; none where it is ending, or has ended.
fn grab(pid: i32, handle: &OwnedFd, sort: &str) -> rustix::io::Result<Option<Vec<OwnedFd>>> {
    let mut held = Vec::new();
    let Ok(list) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Ok(None);
    };
    for entry in list.flatten() {
        let is_ours =
            std::fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy() == sort);
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let (true, Some(number)) = (is_ours, number) {
            match pidfd_getfd(handle, number, PidfdGetfdFlags::empty()) {
                Ok(fd) => held.push(fd),
                // Closed meanwhile.
                Err(rustix::io::Errno::BADF | rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error),
            }
        }
    }
    // A process that ends loses all its descriptors at one stroke: while it has one, the list was whole.
    let is_whole = std::fs::read_link(format!("/proc/{pid}/fd/0")).is_ok();
    Ok(is_whole.then_some(held))
}

/// Ends a container and waits until it is gone.
pub(crate) fn end(first: i32, handle: &OwnedFd) -> Result<()> {
    for pid in runtime::tree(first) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let until = Instant::now() + GONE;
    while Instant::now() < until {
        let timeout = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(handle, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0) {
            return Ok(());
        }
    }
    Err(AgentError::Other(format!(
        "process {first} of the container could not be ended"
    )))
}

/// The one that guards, as a child of ours.
pub(crate) struct Keeper {
    child: host::Child,
    control: Option<std::io::PipeWriter>,
    said: BufReader<std::io::PipeReader>,
}

impl Keeper {
    /// Starts it; when this returns, it holds.
    pub fn start(job: &KeepJob) -> Result<Self> {
        Self::wait_for_work()?.hold(job)
    }

    /// Starts it; whom it guards it is told later, since a container that stands still waits for that.
    pub fn wait_for_work() -> Result<Self> {
        let (stdin, control) = std::io::pipe().map_err(AgentError::receiving)?;
        let (said, stdout) = std::io::pipe().map_err(AgentError::receiving)?;
        let program = std::env::current_exe()
            .map_err(|error| AgentError::Other(format!("our own program: {error}")))?;
        let cmd = host::Cmd::changes(&program.to_string_lossy()).args(["agent", "keep"]);
        let child = host::Local.start(&cmd, stdin.into(), stdout.into())?;
        Ok(Keeper {
            child,
            control: Some(control),
            said: BufReader::new(said),
        })
    }

    /// Tells it whom it guards; when this returns, it holds.
    pub fn hold(mut self, job: &KeepJob) -> Result<Self> {
        let job = serde_json::to_string(job).map_err(AgentError::stream)?;
        self.say(&job);
        let mut line = String::new();
        let read = self.said.read_line(&mut line);
        if read.is_ok() && line.trim().parse::<u32>().is_ok() {
            return Ok(self);
        }
        let output = self.wait()?;
        Err(AgentError::Other(format!(
            "the user faults of the container cannot be held: {}",
            output.stderr_text().trim()
        )))
    }

    fn say(&mut self, word: &str) {
        if let Some(control) = &mut self.control {
            let _ = writeln!(control, "{word}");
        }
    }

    /// Whether it is still there.
    pub fn holds(&self) -> bool {
        self.child.ended().is_ok_and(|ended| ended.is_none())
    }

    /// All pages have come.
    pub fn done(mut self) {
        self.say(DONE);
        let _ = self.wait();
    }

    /// They will not come: the container is ended.
    pub fn lost(mut self) -> Result<()> {
        let output = self.wait()?;
        if output.status == 0 {
            return Ok(());
        }
        Err(AgentError::Other(output.stderr_text().trim().to_owned()))
    }

    fn wait(&mut self) -> Result<host::Output> {
        self.control = None;
        let until = Instant::now() + GONE + WORD;
        loop {
            if let Some(output) = self.child.ended()? {
                return Ok(output);
            }
            if Instant::now() > until {
                return Err(AgentError::Other("the keeper does not end".into()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    struct Stage {
        container: Child,
        daemon: Child,
        control: std::io::PipeWriter,
        result: std::thread::JoinHandle<Result<()>>,
    }

    fn stage() -> Stage {
        let sleep = || Command::new("sleep").arg("60").spawn().unwrap();
        let (container, daemon) = (sleep(), sleep());
        let job = KeepJob {
            container: i32::try_from(container.id()).unwrap(),
            daemon: i32::try_from(daemon.id()).unwrap(),
        };
        let (reader, control) = std::io::pipe().unwrap();
        let (said, mut out) = std::io::pipe().unwrap();
        let result = std::thread::spawn(move || {
            let file = File::from(OwnedFd::from(reader));
            keep(&job, &mut BufReader::new(file), &mut out)
        });
        // What is done to them is done to processes that it guards.
        BufReader::new(said).read_line(&mut String::new()).unwrap();
        Stage {
            container,
            daemon,
            control,
            result,
        }
    }

    #[test]
    fn who_hears_that_all_is_done_leaves_the_container_alone() {
        let mut stage = stage();
        writeln!(stage.control, "{DONE}").unwrap();
        stage.result.join().unwrap().unwrap();
        assert!(stage.container.try_wait().unwrap().is_none());
        for child in [&mut stage.container, &mut stage.daemon] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn what_the_daemon_has_closed_is_not_held_but_what_it_had_when_it_ended_is() {
        let handle_of = |pid: u32| open(i32::try_from(pid).unwrap()).unwrap();
        let us = std::process::id();
        let own = i32::try_from(us).unwrap();
        // Something else of that sort, which is made without unsafe code.
        let sort = "anon_inode:[eventfd]";
        let count = || grab(own, &handle_of(us), sort).unwrap().unwrap().len();
        let fd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        assert_eq!(count(), 1);
        drop(fd);
        assert_eq!(count(), 0);
        let mut ended = Command::new("sleep").arg("60").spawn().unwrap();
        let handle = handle_of(ended.id());
        ended.kill().unwrap();
        // Not waited for: it is still in /proc, and has nothing any more.
        while wait([handle.as_fd(), handle.as_fd(), handle.as_fd()], true) != [true; 3] {}
        let pid = i32::try_from(ended.id()).unwrap();
        assert!(grab(pid, &handle, sort).unwrap().is_none());
        ended.wait().unwrap();
    }

    #[test]
    fn without_the_word_the_container_is_ended() {
        use std::os::unix::process::ExitStatusExt;
        let mut stage = stage();
        drop(stage.control);
        stage.result.join().unwrap().unwrap();
        let status = stage.container.wait().unwrap();
        assert_eq!(status.signal(), Some(9));
        stage.daemon.kill().unwrap();
        stage.daemon.wait().unwrap();
    }

    #[test]
    fn a_daemon_that_goes_without_a_word_takes_the_container_with_it() {
        let mut stage = stage();
        stage.daemon.kill().unwrap();
        stage.daemon.wait().unwrap();
        stage.result.join().unwrap().unwrap();
        assert!(!stage.container.wait().unwrap().success());
    }
}
