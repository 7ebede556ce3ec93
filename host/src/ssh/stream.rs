//! A command in a session that is talked with while it runs.

use super::exec::{Stop, drain, start, status, until, wait};
use super::session::Connection;
use crate::{Cmd, HostError, Output, Result, Stream};
use ssh2::{BlockDirections, Channel};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// A command whose input and output are streamed.
pub(super) struct SshStream {
    host: String,
    cmd: Cmd,
    // Dropped before its connection.
    channel: Channel,
    connection: Connection,
    stderr: Vec<u8>,
    /// Read while it was waited for.
    ahead: VecDeque<u8>,
    wire_before: (u64, u64),
    deadline: Instant,
}

impl SshStream {
    pub fn open(host: &str, connection: Connection, cmd: &Cmd) -> Result<Self> {
        let deadline = Instant::now() + cmd.timeout;
        let wire_before = connection.wire.bytes();
        let channel = start(&connection, cmd, deadline).map_err(|stop| stop.error(host, cmd))?;
        Ok(SshStream {
            host: host.to_owned(),
            cmd: cmd.clone(),
            channel,
            connection,
            stderr: Vec::new(),
            ahead: VecDeque::new(),
            wire_before,
            deadline,
        })
    }

    /// Waits for the session; an error when the stream was silent for too long.
    fn patience(&self, since: Instant) -> std::io::Result<()> {
        let limit = (since + self.cmd.silence).min(self.deadline);
        if wait(&self.connection, limit) {
            Ok(())
        } else {
            Err(std::io::Error::new(
                ErrorKind::TimedOut,
                format!(
                    "{}: nothing moved for too long during `{}`",
                    self.host,
                    self.cmd.line()
                ),
            ))
        }
    }

    /// Whether the command has ended, so that nobody will read what is written. Nothing is sent that tells so but the
    /// end of the channel, which comes behind all that it printed.
    fn has_ended(&mut self) -> std::io::Result<bool> {
        let mut printed = Vec::new();
        let drained = drain(&mut self.channel, &mut printed);
        self.ahead.extend(printed);
        if let Err(Stop::Broken(why)) = drained {
            return Err(std::io::Error::other(why));
        }
        Ok(self.channel.eof() && self.channel.wait_close().is_ok())
    }

    fn drain_stderr(&mut self) -> std::io::Result<()> {
        match drain(&mut self.channel.stderr(), &mut self.stderr) {
            Ok(_) => Ok(()),
            Err(Stop::Broken(why)) => Err(std::io::Error::other(why)),
            Err(Stop::Late) => Ok(()),
        }
    }
}

impl Read for SshStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.ahead.is_empty() {
            return self.ahead.read(buffer);
        }
        let since = Instant::now();
        loop {
            match self.channel.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.drain_stderr()?;
                    self.patience(since)?;
                }
                Ok(0) if !buffer.is_empty() && !self.channel.eof() => {
                    self.drain_stderr()?;
                    self.patience(since)?;
                }
                other => return other,
            }
        }
    }
}

impl Write for SshStream {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let since = Instant::now();
        loop {
            match self.channel.write(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // One that is half sent must be sent whole before anything else can be.
                    let half_sent = !matches!(
                        self.connection.session.block_directions(),
                        BlockDirections::Inbound | BlockDirections::None
                    );
                    self.drain_stderr()?;
                    if !half_sent && self.has_ended()? {
                        return Err(ErrorKind::BrokenPipe.into());
                    }
                    self.patience(since)?;
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Stream for SshStream {
    fn close_stdin(&mut self) -> std::io::Result<()> {
        let deadline = self.deadline;
        let channel = &mut self.channel;
        match until(&self.connection, deadline, || channel.send_eof()) {
            Ok(()) => Ok(()),
            Err(Stop::Late) => Err(ErrorKind::TimedOut.into()),
            Err(Stop::Broken(why)) => Err(std::io::Error::other(why)),
        }
    }

    fn wait(&mut self, at_most: Duration) -> std::io::Result<bool> {
        let until = Instant::now() + at_most;
        while self.ahead.is_empty() {
            let mut buffer = [0; 4096];
            match self.channel.read(&mut buffer) {
                Ok(n @ 1..) => self.ahead.extend(&buffer[..n]),
                Ok(0) if self.channel.eof() => break,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {
                    self.drain_stderr()?;
                    if !wait(&self.connection, until) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn finish(mut self: Box<Self>) -> Result<Output> {
        let lost = |this: &Self, error: std::io::Error| HostError::Lost {
            host: this.host.clone(),
            doing: this.cmd.line(),
            why: error.to_string(),
        };
        // A command that has ended already does not want the end of its input.
        let _ = self.close_stdin();
        let mut stdout = Vec::new();
        if let Err(error) = self.read_to_end(&mut stdout) {
            return Err(lost(&self, error));
        }
        if let Err(error) = self.drain_stderr() {
            return Err(lost(&self, error));
        }
        let deadline = self.deadline;
        let ended = status(&self.connection, &mut self.channel, deadline);
        match ended {
            Ok(status) => Ok(Output {
                status,
                stdout,
                stderr: std::mem::take(&mut self.stderr),
            }),
            Err(stop) => Err(stop.error(&self.host, &self.cmd)),
        }
    }

    fn wire(&self) -> Option<(u64, u64)> {
        let (sent, received) = self.connection.wire.bytes();
        Some((sent - self.wire_before.0, received - self.wire_before.1))
    }
}
