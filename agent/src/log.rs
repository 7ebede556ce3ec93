//! What the container printed, as the engine's json-file driver keeps it: one JSON object a line.

use crate::aside::Tick;
use crate::error::{AgentError, Result};
use crate::frame::{CHUNK, Message, Sender};
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So long nothing comes when all is there.
const QUIET: Duration = Duration::from_millis(15);
/// A frozen container has no more to say after this.
const LAST: Duration = Duration::from_secs(5);

/// The engine's file, and how far it was sent.
pub(crate) struct Log {
    path: PathBuf,
    /// The file that was read last: the engine may have put another in its place since.
    file: Option<(u64, File)>,
    sent: u64,
}

impl Log {
    pub fn new(path: &Path) -> Self {
        Log {
            path: path.to_owned(),
            file: None,
            sent: 0,
        }
    }

    /// Sends what came since the last time, and what comes from the engine while that is done: of a container
    /// that prints much, the engine may still be writing the last lines when it has been frozen.
    pub fn send_all<W: Write>(&mut self, to: &mut Sender<W>, tick: Tick<W>) -> Result<()> {
        let since = Instant::now();
        loop {
            let before = to.bytes();
            self.send(to, tick)?;
            if to.bytes() == before || since.elapsed() > LAST {
                return Ok(());
            }
            std::thread::sleep(QUIET);
        }
    }

    /// Sends the whole lines that came since the last time; first those that went into a file that the
    /// engine has put away meanwhile.
    pub fn send<W: Write>(&mut self, to: &mut Sender<W>, tick: Tick<W>) -> Result<()> {
        let failed = |error| AgentError::file(&self.path, error);
        let file = match File::open(&self.path) {
            // It printed nothing yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        let meta = file.metadata().map_err(failed)?;
        let old = self.file.replace((meta.ino(), file));
        if let Some((inode, old)) = old
            && inode != meta.ino()
        {
            pour(&self.path, &old, self.sent..u64::MAX, to, tick)?;
            self.sent = 0;
        }
        if meta.len() < self.sent {
            // The engine emptied it.
            self.sent = 0;
        }
        if let Some((_, file)) = &self.file {
            // Not what comes meanwhile: of a container that prints as fast as this sends, there would be no end.
            self.sent = pour(&self.path, file, self.sent..meta.len(), to, tick)?;
        }
        Ok(())
    }
}

/// Sends the whole lines of a part of the file; returns where the next one begins.
fn pour<W: Write>(
    path: &Path,
    file: &File,
    part: Range<u64>,
    to: &mut Sender<W>,
    tick: Tick<W>,
) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut sent = part.start;
    loop {
        let left = usize::try_from(part.end - sent).unwrap_or(usize::MAX);
        let most = left.min(CHUNK);
        let n = file
            .read_at(&mut buffer[..most], sent)
            .map_err(|error| AgentError::file(path, error))?;
        let Some(end) = buffer[..n].iter().rposition(|byte| *byte == b'\n') else {
            return Ok(sent);
        };
        tick(to)?;
        to.message(&Message::Log(buffer[..=end].to_vec()))?;
        sent += end as u64 + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Receiver};

    /// The lines that arrive.
    fn lines(stream: &[u8]) -> String {
        let mut receiver = Receiver::new(stream);
        let mut lines = Vec::new();
        while let Some(frame) = receiver.next().unwrap() {
            if let Frame::Message(Message::Log(some)) = frame {
                lines.extend(some);
            }
        }
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn no_line_is_lost_or_sent_twice_when_the_engine_begins_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        let print = |text: &str| {
            let mut file = File::options()
                .append(true)
                .create(true)
                .open(&path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let mut stream = Vec::new();
        let mut to = Sender::new(&mut stream);
        let mut log = Log::new(&path);
        log.send(&mut to, &mut |_| Ok(())).unwrap();
        print("1\n2\nhalf");
        log.send(&mut to, &mut |_| Ok(())).unwrap();
        print(" a line\n4\n");
        std::fs::rename(&path, dir.path().join("x-json.log.1")).unwrap();
        print("5\n");
        log.send(&mut to, &mut |_| Ok(())).unwrap();
        log.send(&mut to, &mut |_| Ok(())).unwrap();
        std::fs::write(&path, "").unwrap();
        log.send(&mut to, &mut |_| Ok(())).unwrap();
        print("6\n");
        log.send(&mut to, &mut |_| Ok(())).unwrap();
        drop(to);
        assert_eq!(lines(&stream), "1\n2\nhalf a line\n4\n5\n6\n");
    }

    #[test]
    fn a_container_that_prints_as_fast_as_it_is_sent_keeps_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        std::fs::write(&path, "1\n").unwrap();
        let mut stream = Vec::new();
        let mut to = Sender::new(&mut stream);
        let mut log = Log::new(&path);
        let mut more = 0;
        let mut prints = |_: &mut Sender<_>| {
            more += 1;
            assert!(more < 100, "there is no end");
            let mut file = File::options().append(true).open(&path).unwrap();
            file.write_all(b"more\n").unwrap();
            Ok(())
        };
        log.send(&mut to, &mut prints).unwrap();
        log.send(&mut to, &mut |_| Ok(())).unwrap();
        drop(to);
        assert_eq!(lines(&stream), "1\nmore\n");
    }
}
