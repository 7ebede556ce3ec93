//! What the container printed, as the engine's json-file driver keeps it: one JSON object a line.

use crate::error::{AgentError, Result};
use crate::frame::{CHUNK, Message, Sender};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The engine's file, and how far it was sent.
pub(crate) struct Log {
    path: PathBuf,
    inode: u64,
    sent: u64,
}

impl Log {
    pub fn new(path: &Path) -> Self {
        Log {
            path: path.to_owned(),
            inode: 0,
            sent: 0,
        }
    }

    /// Sends the whole lines that came since the last time.
    pub fn send<W: Write>(&mut self, to: &mut Sender<W>) -> Result<()> {
        let failed = |error| AgentError::file(&self.path, error);
        let file = match File::open(&self.path) {
            // It printed nothing yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        let inode = file.metadata().map_err(failed)?.ino();
        if inode != self.inode {
            // The engine began a new file.
            (self.inode, self.sent) = (inode, 0);
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = file.read_at(&mut buffer, self.sent).map_err(failed)?;
            let Some(end) = buffer[..n].iter().rposition(|byte| *byte == b'\n') else {
                return Ok(());
            };
            to.message(&Message::Log(buffer[..=end].to_vec()))?;
            self.sent += end as u64 + 1;
        }
    }
}
