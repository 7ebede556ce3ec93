//! Freezing the source.

use crate::error::{AgentError, Result};
use crate::freezer::Freezer;
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
    let Some((words, input)) = &job.lock_network else {
        return pause(job);
    };
    let lock = command(words).stdin(input.as_bytes());
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| pause(job));
        // It stands still some time before the engine's command ends.
        let frozen =
            Freezer::of(&job.state).is_some_and(|freezer| freezer.wait(|| pausing.is_finished()));
        let locked = frozen.then(|| Local.text(&lock));
        pausing
            .join()
            .map_err(|_| AgentError::Other("the thread that freezes ended".into()))??;
        locked.unwrap_or_else(|| Local.text(&lock))?;
        Ok(())
    })
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

    /// A container whose control group is a folder; its engine's command ends once the network is locked, or fails.
    fn in_a_group(folder: &std::path::Path, freeze: &str) -> SendJob {
        let group = serde_json::json!({ "cgroup_paths": { "": folder } });
        std::fs::write(folder.join("state.json"), group.to_string()).unwrap();
        std::fs::write(folder.join("cgroup.events"), "frozen 0\n").unwrap();
        let words = |script: &str| {
            let words = ["sh", "-c", script, "sh", &folder.display().to_string()];
            words.map(str::to_owned).to_vec()
        };
        SendJob {
            lock_network: Some((words(r#"cat >"$1/locked""#), "locked".into())),
            freeze: words(freeze),
            ..SendJob::idle(folder)
        }
    }

    #[test]
    fn the_lock_does_not_wait_for_the_engines_command() {
        let dir = tempfile::tempdir().unwrap();
        let engine = r#"echo frozen 1 >"$1/cgroup.events"; for i in $(seq 500); do [ ! -e "$1/locked" ] || exit 0; sleep 0.02; done; exit 1"#;
        freeze(&in_a_group(dir.path(), engine)).unwrap();
    }

    #[test]
    fn what_could_not_be_frozen_is_not_locked() {
        let dir = tempfile::tempdir().unwrap();
        assert!(freeze(&in_a_group(dir.path(), "exit 1")).is_err());
        assert!(!dir.path().join("locked").exists());
    }
}
