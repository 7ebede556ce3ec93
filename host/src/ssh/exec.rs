//! Running one command in a session to its end.
//!
//! The session does not block; this file does, in `poll`, so that both directions move, a deadline
//! holds and a dead peer is noticed.

use super::session::Connection;
use crate::{Cmd, HostError, Output, Result, quote};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel, ErrorCode};
use std::io::{ErrorKind, Read, Write as _};
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
pub(super) fn wait(connection: &Connection, until: Instant) -> bool {
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
pub(super) fn until<T>(
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
pub(super) enum Stop {
    Late,
    Broken(String),
}

impl Stop {
    pub fn error(self, host: &str, cmd: &Cmd) -> HostError {
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

pub(super) fn start(
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
pub(super) fn drain(reader: &mut impl Read, into: &mut Vec<u8>) -> std::result::Result<bool, Stop> {
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
pub(super) fn status(
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
