//! The source's side of lazy pages: a dump that leaves the pages where they are and hands them out.

use crate::error::{AgentError, Result};
use crate::freezer::Freezer;
use crate::job::{SendJob, Serve, command};
use crate::lazy::{ended_well, last_line};
use crate::link::Wire;
use crate::tunnel::{Shared, Tunnel, Way};
use crate::watch::{DUMP_TIMEOUT, TICK, Watch};
use host::{Child, Cmd, Host, HostError, Local, Output};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{PipeReader, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The same as for the destination's daemon, and our standard output as descriptor 8: runc writes there
/// when the pages can be had.
const WITH_BOTH: &str = r#"exec "$@" 7<&0 8>&1 </dev/null >&2"#;
/// How often is looked.
const LOOK: Duration = Duration::from_millis(1);

/// A dump under way.
pub(crate) struct Dump {
    /// What dumps, and how it runs.
    dump: Cmd,
    child: Child,
    /// Where runc writes when the pages can be had; none once that was closed.
    said: Option<PipeReader>,
    watch: Watch,
    looked: Instant,
    /// When it is given up.
    until: Instant,
    /// Our end of the page server's connection.
    pages: UnixStream,
}

impl Dump {
    /// Begins to dump.
    pub fn start(job: &SendJob) -> Result<Self> {
        let (pages, theirs) = UnixStream::pair().map_err(AgentError::receiving)?;
        let (said, stdout) = std::io::pipe().map_err(AgentError::receiving)?;
        let cmd = Cmd::changes("sh")
            .args(["-c", WITH_BOTH, "sh"])
            .args(job.dump.iter().cloned())
            .env(runtime::criu::CONFIG_FILE, job.config.to_string_lossy());
        let child = Local.start(&cmd, theirs.into(), stdout.into())?;
        let now = Instant::now();
        Ok(Dump {
            dump: command(&job.dump),
            child,
            said: Some(said),
            watch: Watch::dump(&job.dump),
            looked: now,
            until: now + DUMP_TIMEOUT,
            pages,
        })
    }

    /// Waits until the pages can be had. All the while `wanted` is asked whether somebody still wants them.
    ///
    /// # Errors
    /// It ended, or hung and was ended; or nobody wants them any more.
    pub fn ready(&mut self, mut wanted: impl FnMut() -> bool) -> Result<()> {
        let mut asked = Instant::now();
        while !self.says() {
            if let Some(output) = self.ended()? {
                return Err(HostError::failed(Local.name(), &self.dump, &output).into());
            }
            if asked.elapsed() >= TICK {
                asked = Instant::now();
                if !wanted() {
                    return Err(AgentError::Ended);
                }
            }
        }
        Ok(())
    }

    /// Whether it says, within a moment, that the pages can be had.
    fn says(&mut self) -> bool {
        let Some(said) = &mut self.said else {
            std::thread::sleep(LOOK);
            return false;
        };
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(LOOK.subsec_nanos()),
        };
        let comes = poll(&mut [PollFd::new(&*said, PollFlags::IN)], Some(&timeout));
        if !comes.is_ok_and(|ready| ready > 0) {
            return false;
        }
        if matches!(said.read(&mut [0]), Ok(1)) {
            return true;
        }
        // It ended without having said so, or will.
        self.said = None;
        false
    }

    /// How it ended, if it did; one that hangs is ended.
    fn ended(&mut self) -> Result<Option<Output>> {
        if let Some(output) = self.child.ended()? {
            return Ok(Some(output));
        }
        if self.looked.elapsed() >= TICK {
            self.looked = Instant::now();
            self.watch.look();
            if self.looked > self.until {
                self.child.kill();
                return Err(HostError::Timeout {
                    host: Local.name().to_owned(),
                    doing: self.dump.brief(),
                    after: DUMP_TIMEOUT,
                }
                .into());
            }
        }
        Ok(None)
    }

    /// Waits for its end: CRIU, which nobody asks for pages any more, lets go of the processes as soon as it
    /// is through with them.
    pub fn leave(&mut self) {
        let _ = self.pages.shutdown(std::net::Shutdown::Both);
        while let Ok(None) = self.ended() {
            std::thread::sleep(LOOK);
        }
    }

    /// Makes sure that the container stays frozen whatever happens to CRIU, which thawed it to dump it and
    /// holds it by tracing it alone.
    pub fn hold_frozen(&self, job: &SendJob, serve: &Serve) -> Result<()> {
        if Freezer::of(&job.state).is_some_and(|freezer| freezer.freeze()) {
            return Ok(());
        }
        Local.text(&command(&serve.hold)).map(drop)?;
        Ok(())
    }
}

/// Hands out pages until the other side has all.
pub(crate) fn serve(
    job: &SendJob,
    serve: &Serve,
    dump: &Dump,
    shared: &Arc<Shared>,
    wire: &Arc<Wire>,
) -> Result<()> {
    let Some((link, token)) = &job.link else {
        return Err(AgentError::Other(
            "there is no way to the other host".into(),
        ));
    };
    let log = job.config.with_file_name("dump.log");
    let ended = |has_all: bool| {
        if has_all {
            // How its server ended does not matter any more.
            return Ok(());
        }
        ended_well(&dump.child).map_err(|why| {
            format!("CRIU's page server: {why} {}", last_line(&log))
                .trim()
                .to_owned()
        })
    };
    let local = dump.pages.try_clone().map_err(AgentError::receiving)?;
    let way = Way::Connect {
        link: link.clone(),
        token: token.of_pages(),
        wire: Arc::clone(wire),
    };
    // The destination decides first: what runs there is ended before it may go on here.
    let limit = Duration::from_secs(serve.link_seconds) + Duration::from_secs(5);
    Tunnel::new(local, way, limit, Arc::clone(shared), &ended).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script in the place of runc: it has the connection to us as 7, and says on 8 when pages can be had.
    fn dump(script: &str) -> (tempfile::TempDir, Dump) {
        let dir = tempfile::tempdir().unwrap();
        let job = SendJob {
            dump: ["sh", "-c", script].map(str::to_owned).to_vec(),
            ..SendJob::idle(dir.path())
        };
        let dump = Dump::start(&job).unwrap();
        (dir, dump)
    }

    #[test]
    fn it_says_when_the_pages_can_be_had_and_ends_when_nobody_wants_them() {
        let (_dir, mut dump) = dump(r"printf '\0' >&8; read x <&7; exit 3");
        dump.ready(|| true).unwrap();
        assert!(dump.child.ended().unwrap().is_none());
        dump.leave();
        assert_eq!(dump.child.ended().unwrap().unwrap().status, 3);
    }

    #[test]
    fn one_that_ends_before_is_an_error_with_what_it_said() {
        let (_dir, mut dump) = dump("sleep 0.3; echo broken >&2; exit 1");
        let why = dump.ready(|| true).unwrap_err().to_string();
        assert!(why.contains("broken"), "{why}");
    }

    #[test]
    fn whoever_does_not_want_it_any_more_need_not_wait() {
        let (_dir, mut dump) = dump("read x <&7");
        let why = dump.ready(|| false).unwrap_err();
        assert!(matches!(why, AgentError::Ended), "{why}");
        dump.leave();
        assert!(dump.child.ended().unwrap().is_some());
    }

    #[test]
    fn one_that_waits_for_a_child_that_was_killed_is_ended() {
        // The shell waits for a line that nobody writes, with both connections open.
        let (_dir, mut dump) = dump(
            "d=$(mktemp -d); mkfifo $d/f; exec 9<>$d/f; rm -r $d; sleep 60 & sleep 1; kill -KILL $!; read x <&9",
        );
        let why = dump.ready(|| true).unwrap_err().to_string();
        assert!(why.contains("137"), "{why}");
    }
}
