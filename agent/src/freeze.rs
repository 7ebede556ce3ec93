//! Freezing the source.

use crate::error::{AgentError, Result};
use crate::job::{SendJob, command};
use host::{Host, HostError, Local};

/// runc gives up, and thaws, where the container forks all the time and this host is busy (cgroup v1);
/// whoever asked may try again (opencontainers/runc, pull request 4388).
const NOT_YET: &str = "unable to freeze";
/// How often that is tried.
const FREEZE_TRIES: u32 = 10;

/// Freezes the container, then locks its network. Not at once: to a process that still runs, packets would fail to be
/// sent (EPERM), and a connection that it opens would hang half open, which CRIU refuses. What arrives before the lock
/// is in the image, since the dump comes after it.
pub(crate) fn freeze(job: &SendJob) -> Result<()> {
    none_stopped(job)?;
    pause(job)?;
    if let Some((words, input)) = &job.lock_network {
        Local.text(&command(words).stdin(input.as_bytes()))?;
    }
    Ok(())
}

fn pause(job: &SendJob) -> Result<()> {
    let cmd = command(&job.freeze);
    for _ in 1..FREEZE_TRIES {
        let output = Local.run(&cmd)?;
        if output.status == 0 {
            return Ok(());
        }
        if !output.stderr_text().contains(NOT_YET) {
            return Err(HostError::failed(Local.name(), &cmd, &output).into());
        }
    }
    Local.text(&cmd)?;
    Ok(())
}

/// None of its processes is stopped.
fn none_stopped(job: &SendJob) -> Result<()> {
    let stopped = i32::try_from(job.first).map_or_else(|_| Vec::new(), runtime::stopped);
    let Some(pid) = stopped.first() else {
        return Ok(());
    };
    Err(AgentError::Other(format!(
        "process {pid} of the container is stopped (SIGSTOP), and CRIU cannot dump it so; on the source: kill -CONT {pid}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_locked_once_the_container_stands_still() {
        let dir = tempfile::tempdir().unwrap();
        let said = dir.path().join("said");
        let script = |script: &str| {
            let script = format!("{script} >>'{}'", said.display());
            ["sh", "-c", &script].map(str::to_owned).to_vec()
        };
        let job = SendJob {
            lock_network: Some((script("cat"), "locked".into())),
            freeze: script("sleep 0.1; echo frozen"),
            ..SendJob::idle(dir.path())
        };
        freeze(&job).unwrap();
        assert_eq!(std::fs::read_to_string(said).unwrap(), "frozen\nlocked");
    }
}
