//! Running one command in a session.
//!
//! The session does not block; this file does, in `poll`, so that both directions move, a deadline
//! holds and a dead peer is noticed.

use super::session::Connection;
use crate::{Cmd, HostError, Output, Result, Stream, quote};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel, ErrorCode};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// libssh2's code for "would block".
const EAGAIN: ErrorCode = ErrorCode::Session(-37);

/// The line that sshd hands to the user's shell. A POSIX shell of our own inside it makes the line mean
/// the same whatever that shell is; criu and others live in the `sbin` folders, which are not in a
/// user's `PATH`.
fn remote_line(cmd: &Cmd) -> String {
    let script = format!(
        "export LC_ALL=C PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin\"; exec {}{}",
        if cmd.env.is_empty() { "" } else { "env " },
        cmd.line()
    );
    format!("exec sh -c {}", quote(&script))
}

/// Waits until the session can go on, at most until `until`; false when that has come.
fn wait(connection: &Connection, until: Instant) -> bool {
    let now = Instant::now();
    if now >= until {
        return false;
    }
    // Keeps the connection's own dead-peer timer running: only data that is sent can go unanswered.
    let _ = connection.session.keepalive_send();
    let flags = match connection.session.block_directions() {
        BlockDirections::Outbound => PollFlags::OUT,
        BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
        BlockDirections::Inbound | BlockDirections::None => PollFlags::IN,
    };
    let pause = (until - now).min(Duration::from_secs(1));
    let timeout = Timespec {
        tv_sec: pause.as_secs() as i64,
        tv_nsec: i64::from(pause.subsec_nanos()),
    };
    let _ = poll(
        &mut [PollFd::new(&connection.socket, flags)],
        Some(&timeout),
    );
    true
}

/// Repeats `step` until it no longer would block.
fn until<T>(
    connection: &Connection,
    deadline: Instant,
    mut step: impl FnMut() -> std::result::Result<T, ssh2::Error>,
) -> std::result::Result<T, Stop> {
    loop {
        match step() {
            Ok(value) => return Ok(value),
            Err(error) if error.code() == EAGAIN => {
                if !wait(connection, deadline) {
                    return Err(Stop::Late);
                }
            }
            Err(error) => return Err(Stop::Broken(error.message().to_owned())),
        }
    }
}

/// Why a command's stream stopped before its end.
enum Stop {
    Late,
    Broken(String),
}

impl Stop {
    fn error(self, host: &str, cmd: &Cmd) -> HostError {
        match self {
            Stop::Late => HostError::Timeout {
                host: host.to_owned(),
                doing: cmd.brief(),
                after: cmd.timeout,
            },
            Stop::Broken(why) => HostError::Lost {
                host: host.to_owned(),
                doing: cmd.brief(),
                why,
            },
        }
    }
}

fn start(
    connection: &Connection,
    cmd: &Cmd,
    deadline: Instant,
) -> std::result::Result<Channel, Stop> {
    let mut channel = until(connection, deadline, || {
        connection.session.channel_session()
    })?;
    until(connection, deadline, || channel.exec(&remote_line(cmd)))?;
    Ok(channel)
}

/// Reads what is there into `into`; true if something was.
fn drain(reader: &mut impl Read, into: &mut Vec<u8>) -> std::result::Result<bool, Stop> {
    let mut buffer = [0; 32 * 1024];
    let mut some = false;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(some),
            Ok(n) => {
                into.extend_from_slice(&buffer[..n]);
                some = true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(some),
            Err(error) => return Err(Stop::Broken(error.to_string())),
        }
    }
}

/// The command's end. Only a channel that the other side closed has a status: a lost connection has
/// none, and libssh2 would call it 0.
fn status(
    connection: &Connection,
    channel: &mut Channel,
    deadline: Instant,
) -> std::result::Result<i32, Stop> {
    until(connection, deadline, || channel.wait_close())?;
    let signal = channel
        .exit_signal()
        .ok()
        .and_then(|signal| signal.exit_signal);
    match signal {
        Some(signal) => Ok(128 + signal_number(&signal)),
        None => channel
            .exit_status()
            .map_err(|error| Stop::Broken(error.message().to_owned())),
    }
}

fn signal_number(name: &str) -> i32 {
    match name {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "ABRT" => 6,
        "KILL" => 9,
        "SEGV" => 11,
        "PIPE" => 13,
        "TERM" => 15,
        _ => 0,
    }
}

/// Runs a command to its end.
pub(super) fn run(host: &str, connection: &Connection, cmd: &Cmd) -> Result<Output> {
    let deadline = Instant::now() + cmd.timeout;
    run_until(connection, cmd, deadline).map_err(|stop| stop.error(host, cmd))
}

fn run_until(
    connection: &Connection,
    cmd: &Cmd,
    deadline: Instant,
) -> std::result::Result<Output, Stop> {
    let mut channel = start(connection, cmd, deadline)?;
    let mut output = Output::default();
    let mut input = cmd.stdin.as_slice();
    let mut input_open = true;
    loop {
        let mut moved = drain(&mut channel, &mut output.stdout)?;
        moved |= drain(&mut channel.stderr(), &mut output.stderr)?;
        if input_open {
            match feed(&mut channel, &mut input) {
                Ok(wrote) => moved |= wrote,
                // The command did not want its input: what it says and its status tell why.
                Err(_) => input = &[],
            }
            if input.is_empty() {
                match channel.send_eof() {
                    Ok(()) => input_open = false,
                    Err(error) if error.code() == EAGAIN => {}
                    Err(error) => return Err(Stop::Broken(error.message().to_owned())),
                }
            }
        }
        if channel.eof() {
            break;
        }
        if !moved && !wait(connection, deadline) {
            return Err(Stop::Late);
        }
    }
    output.status = status(connection, &mut channel, deadline)?;
    Ok(output)
}

fn feed(channel: &mut Channel, input: &mut &[u8]) -> std::io::Result<bool> {
    if input.is_empty() {
        return Ok(false);
    }
    match channel.write(input) {
        Ok(n) => {
            *input = &input[n..];
            Ok(n > 0)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_two_shells() {
        let cmd = Cmd::reads("printf")
            .args(["%s", "it's $HOME `x`\n"])
            .env("A", "b c");
        let line = remote_line(&cmd);
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it's $HOME `x`\n");
    }
}
