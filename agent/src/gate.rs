//! A dump that is started while the container still runs, and waits until it stands still: what runc and CRIU do before
//! they look at it then costs it no time.
//!
//! CRIU waits in a script that it calls before all else ("pre-dump", criu(8)). Should the agent be gone before it says
//! the word, the script fails, and so does the dump, before it has touched anything.

use crate::error::{AgentError, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The kernel opens a lock that a process held which is gone.
const SCRIPT: &str = r#"#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = pre-dump ] || exit 0
exec 6<"$0.lock" && flock 6 && [ -e "$0.go" ]
"#;

/// What CRIU waits for.
pub(crate) struct Gate {
    script: PathBuf,
    lock: File,
}

impl Gate {
    /// Makes one that is closed, in the folder of a migration.
    pub fn close(folder: &Path) -> Result<Self> {
        let script = folder.join("gate");
        make(&script, 0o700, SCRIPT)?;
        let path = beside(&script, "lock");
        let lock = make(&path, 0o600, "")?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| AgentError::file(&path, error))?;
        Ok(Gate { script, lock })
    }

    /// The script, for CRIU's configuration.
    pub fn script(&self) -> &Path {
        &self.script
    }

    /// The container stands still: the dump goes on.
    pub fn open(self) -> Result<()> {
        make(&beside(&self.script, "go"), 0o600, "")?;
        drop(self.lock);
        Ok(())
    }
}

fn beside(script: &Path, what: &str) -> PathBuf {
    script.with_extension(what)
}

fn make(path: &Path, mode: u32, text: &str) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file))
        .map_err(|error| AgentError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    /// Calls the script as CRIU does.
    fn call(gate: &Gate, action: &str) -> Child {
        Command::new(gate.script())
            .env("CRTOOLS_SCRIPT_ACTION", action)
            .spawn()
            .unwrap()
    }

    #[test]
    fn the_dump_waits_until_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Gate::close(dir.path()).unwrap();
        let mut waits = call(&gate, "pre-dump");
        // All else passes.
        assert!(call(&gate, "post-dump").wait().unwrap().success());
        assert!(waits.try_wait().unwrap().is_none());
        gate.open().unwrap();
        assert!(waits.wait().unwrap().success());
    }

    #[test]
    fn a_gate_whose_agent_is_gone_lets_nothing_through() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Gate::close(dir.path()).unwrap();
        let mut waits = call(&gate, "pre-dump");
        drop(gate);
        assert!(!waits.wait().unwrap().success());
    }
}
