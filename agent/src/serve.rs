//! The source's side of lazy pages: a dump that leaves the pages where they are and hands them out.

use crate::error::{AgentError, Result};
use crate::job::{SendJob, Serve, command};
use crate::lazy::{SOCKET, ended_well, last_line};
use crate::link::Wire;
use crate::tunnel::{Shared, Tunnel, Way};
use host::{Child, Cmd, Host, HostError, Local};
use std::io::{PipeReader, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The same as for the destination's daemon, and our standard output as descriptor 8: runc writes there
/// when the pages can be had.
const WITH_BOTH: &str = r#"exec "$@" 7<&0 8>&1 </dev/null >&2"#;
/// How often a dump that may end is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// A dump under way.
pub(crate) struct Dump {
    child: Child,
    ready: Option<std::thread::JoinHandle<bool>>,
    /// Our end of the page server's connection.
    pub pages: UnixStream,
}

impl Dump {
    /// Begins to dump.
    pub fn start(job: &SendJob, serve: &Serve) -> Result<Self> {
        std::fs::write(&serve.config, format!("ps-socket {SOCKET}\n"))
            .map_err(|error| AgentError::file(&serve.config, error))?;
        let (pages, theirs) = UnixStream::pair().map_err(AgentError::receiving)?;
        let (said, stdout) = std::io::pipe().map_err(AgentError::receiving)?;
        let cmd = Cmd::changes("sh")
            .args(["-c", WITH_BOTH, "sh"])
            .args(job.dump.iter().cloned())
            .env("CRIU_CONFIG_FILE", serve.config.to_string_lossy());
        let child = Local.start(&cmd, theirs.into(), stdout.into())?;
        Ok(Dump {
            child,
            ready: Some(std::thread::spawn(move || byte(said))),
            pages,
        })
    }

    /// Waits until the pages can be had.
    pub fn ready(&mut self) -> Result<()> {
        let ready = self
            .ready
            .take()
            .is_none_or(|ready| ready.join().unwrap_or(false));
        if ready {
            return Ok(());
        }
        let cmd = command(&self.child.cmd().args);
        loop {
            if let Some(output) = self.child.ended()? {
                return Err(HostError::failed(Local.name(), &cmd, &output).into());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Makes sure that the container stays frozen whatever happens to CRIU, which thawed it to dump it and
    /// holds it by tracing it alone.
    pub fn hold_frozen(&self, serve: &Serve) -> Result<()> {
        Local.text(&command(&serve.hold)).map(drop)?;
        Ok(())
    }
}

/// Whether a byte comes before the end.
fn byte(mut from: PipeReader) -> bool {
    matches!(from.read(&mut [0]), Ok(1))
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
    let log = serve.config.with_file_name("dump.log");
    let ended = |_: bool| {
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
    let result = Tunnel::new(local, way, limit, Arc::clone(shared), &ended).run();
    let _ = dump.pages.shutdown(std::net::Shutdown::Both);
    let until = Instant::now() + Duration::from_secs(10);
    while dump.child.ended()?.is_none() && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
    result
}
