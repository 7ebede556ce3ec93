//! The destination's side of lazy pages: CRIU's daemon, which fetches the memory of a container that
//! already runs.

use crate::error::{AgentError, Result};
use host::{Child, Cmd, Local};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the daemon may take to read the images and be there.
const READY: Duration = Duration::from_secs(20);
/// How long a process whose socket is closed may take to end.
const ENDS: Duration = Duration::from_secs(10);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(1);

/// Starts a program with our end of a pair of sockets as its descriptor 7: no port that others could
/// reach, and a number that a plain shell can name.
pub(crate) const WITH_SOCKET: &str = r#"exec "$@" 7<&0 </dev/null"#;
/// That number.
pub(crate) const SOCKET: &str = "7";

/// CRIU's lazy-pages daemon.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it on complete images; the other end of its connection to the page server comes with it.
    pub fn start(images: &Path, work: &Path) -> Result<(Self, UnixStream)> {
        // Not beside its socket: that folder goes when the container goes on.
        let log = images.with_file_name("lazy.log");
        let (ours, theirs) = UnixStream::pair().map_err(AgentError::receiving)?;
        let cmd = Cmd::changes("sh").args(["-c", WITH_SOCKET, "sh", "criu", "lazy-pages"]);
        let cmd = cmd
            .args(["--page-server", "--ps-socket", SOCKET, "-v1"])
            .args(["--log-file".to_owned(), log.display().to_string()])
            .args(["--images-dir".to_owned(), images.display().to_string()])
            .args(["--work-dir".to_owned(), work.display().to_string()]);
        let null = std::fs::File::options().write(true).open("/dev/null");
        let null = null.map_err(AgentError::receiving)?;
        let child = Local.start(&cmd, theirs.into(), null.into())?;
        let daemon = Daemon { child, log };
        let until = Instant::now() + READY;
        while !work.join("lazy-pages.socket").exists() {
            if let Some(output) = daemon.child.ended()? {
                let why = output.stderr_text().trim().to_owned();
                return Err(daemon.failed(&why));
            }
            if Instant::now() > until {
                daemon.child.kill();
                return Err(daemon.failed("it did not come up"));
            }
            std::thread::sleep(LOOK);
        }
        Ok((daemon, ours))
    }

    fn failed(&self, why: &str) -> AgentError {
        let said = last_line(&self.log);
        AgentError::Other(
            format!("CRIU's lazy-pages daemon: {why} {said}")
                .trim()
                .to_owned(),
        )
    }

    /// Its process id; what is started through a shell's exec keeps it.
    pub fn pid(&self) -> Option<i32> {
        self.child.pid().and_then(|pid| i32::try_from(pid).ok())
    }

    /// Waits for its end: an error says that it did not bring all pages.
    pub fn ended_well(&self) -> std::result::Result<(), String> {
        ended_well(&self.child).map_err(|why| self.failed(&why).to_string())
    }

    pub fn kill(&self) {
        self.child.kill();
    }
}

/// Waits for the end of a process whose socket was closed; an error where it did not end well.
pub(crate) fn ended_well(child: &Child) -> std::result::Result<(), String> {
    let until = Instant::now() + ENDS;
    loop {
        match child.ended() {
            Ok(Some(output)) if output.status == 0 => return Ok(()),
            Ok(Some(output)) => {
                let said = output.stderr_text().trim().to_owned();
                let status = output.status;
                return Err(format!("it ended with status {status} {said}")
                    .trim()
                    .to_owned());
            }
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
            Ok(None) => return Err("it closed its connection without ending".into()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// The last line of an error in a log of CRIU, or nothing.
pub(crate) fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        // That one is in every log.
        .rfind(|line| line.contains("Error") && !line.contains("RLIMIT_NOFILE"))
        .unwrap_or_default()
        .to_owned()
}
