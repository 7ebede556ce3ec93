//! This machine.

use crate::{Cmd, Host, HostError, Output, Result, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// This machine; commands run as children of ours, each in a process group of its own, so that
/// Ctrl-C reaches transship alone, which then undoes in its own order.
#[derive(Debug, Default)]
pub struct Local;

impl Local {
    fn expression(cmd: &Cmd) -> duct::Expression {
        let mut expression = duct::cmd(&cmd.program, &cmd.args)
            .env("LC_ALL", "C")
            .stderr_capture()
            .unchecked()
            .before_spawn(|command| {
                command.process_group(0);
                Ok(())
            });
        for (name, value) in &cmd.env {
            expression = expression.env(name, value);
        }
        expression
    }

    /// Becomes the command: it has our terminal, our signals and our exit status. Comes back only with
    /// the reason why it could not be started.
    #[must_use]
    pub fn become_command(&self, cmd: &Cmd) -> HostError {
        let mut command = std::process::Command::new(&cmd.program);
        command.args(&cmd.args).envs(cmd.env.iter().cloned());
        self.start_error(cmd, &command.exec())
    }

    /// Starts a command that runs beside us, with these as its standard input and output. Its environment,
    /// error output and process group are those of [`Host::run`].
    ///
    /// # Errors
    /// Where it could not be started.
    pub fn start(&self, cmd: &Cmd, stdin: OwnedFd, stdout: OwnedFd) -> Result<Child> {
        let handle = Self::expression(cmd)
            .stdin_file(stdin)
            .stdout_file(stdout)
            .start()
            .map_err(|error| self.start_error(cmd, &error))?;
        Ok(Child {
            cmd: cmd.clone(),
            handle,
        })
    }

    fn start_error(&self, cmd: &Cmd, error: &std::io::Error) -> HostError {
        if error.kind() == std::io::ErrorKind::NotFound {
            return HostError::NoProgram {
                host: self.name().to_owned(),
                program: cmd.program.clone(),
            };
        }
        HostError::Failed {
            host: self.name().to_owned(),
            doing: cmd.brief(),
            status: 126,
            said: error.to_string(),
        }
    }

    fn lost(&self, cmd: &Cmd, error: &std::io::Error) -> HostError {
        HostError::Lost {
            host: self.name().to_owned(),
            doing: cmd.brief(),
            why: error.to_string(),
        }
    }
}

/// A command that runs beside us. It is not ended when this is dropped.
#[derive(Debug)]
pub struct Child {
    cmd: Cmd,
    handle: duct::Handle,
}

impl Child {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.handle.pids().first().copied()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Where that cannot be learnt.
    pub fn ended(&self) -> Result<Option<Output>> {
        let output = self
            .handle
            .try_wait()
            .map_err(|error| Local.lost(&self.cmd, &error))?;
        Ok(output.map(|output| Output {
            status: status(output.status),
            stdout: Vec::new(),
            stderr: output.stderr.clone(),
        }))
    }

    /// Ends it and everything it started.
    pub fn kill(&self) {
        kill_group(&self.handle);
    }
}

/// Ends a command and everything it started.
fn kill_group(handle: &duct::Handle) {
    for pid in handle.pids() {
        // The group, not the process: a shell's children hold its pipes open.
        let group = format!("-{pid}");
        let _ = duct::cmd!("kill", "-KILL", "--", group)
            .stderr_null()
            .unchecked()
            .run();
    }
    let _ = handle.kill();
}

fn status(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

impl Host for Local {
    fn name(&self) -> &str {
        "local"
    }

    fn run(&self, cmd: &Cmd) -> Result<Output> {
        let handle = Self::expression(cmd)
            .stdin_bytes(cmd.stdin.clone())
            .stdout_capture()
            .start()
            .map_err(|error| self.start_error(cmd, &error))?;
        match handle.wait_timeout(cmd.timeout) {
            Ok(Some(output)) => Ok(Output {
                status: status(output.status),
                stdout: output.stdout.clone(),
                stderr: output.stderr.clone(),
            }),
            Ok(None) => {
                kill_group(&handle);
                Err(HostError::Timeout {
                    host: self.name().to_owned(),
                    doing: cmd.brief(),
                    after: cmd.timeout,
                })
            }
            Err(error) => Err(self.lost(cmd, &error)),
        }
    }

    fn open(&self, cmd: &Cmd) -> Result<Box<dyn Stream>> {
        let (stdin, writer) = std::io::pipe().map_err(|error| self.lost(cmd, &error))?;
        let (reader, stdout) = std::io::pipe().map_err(|error| self.lost(cmd, &error))?;
        let handle = Self::expression(cmd)
            .stdin_file(stdin)
            .stdout_file(stdout)
            .start()
            .map_err(|error| self.start_error(cmd, &error))?;
        Ok(Box::new(LocalStream {
            cmd: cmd.clone(),
            opened: Instant::now(),
            writer: Some(writer),
            reader,
            handle,
        }))
    }
}

struct LocalStream {
    cmd: Cmd,
    opened: Instant,
    writer: Option<PipeWriter>,
    reader: PipeReader,
    handle: duct::Handle,
}

impl Drop for LocalStream {
    fn drop(&mut self) {
        // Nobody waits for it any more.
        if let Ok(None) = self.handle.try_wait() {
            kill_group(&self.handle);
        }
    }
}

impl Read for LocalStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Write for LocalStream {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(buffer),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Stream for LocalStream {
    fn close_stdin(&mut self) -> std::io::Result<()> {
        self.writer = None;
        Ok(())
    }

    fn wait(&mut self, at_most: Duration) -> std::io::Result<bool> {
        let timeout = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        match poll(
            &mut [PollFd::new(&self.reader, PollFlags::IN)],
            Some(&timeout),
        ) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<Output> {
        self.writer = None;
        let deadline = self.opened + self.cmd.timeout;
        let lost = |this: &Self, why: String| HostError::Lost {
            host: "local".to_owned(),
            doing: this.cmd.brief(),
            why,
        };
        let (mut stdout, mut buffer) = (Vec::new(), [0; 32 * 1024]);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                kill_group(&self.handle);
                return Err(HostError::Timeout {
                    host: "local".to_owned(),
                    doing: self.cmd.brief(),
                    after: self.cmd.timeout,
                });
            }
            let ready = self.wait(left.min(Duration::from_secs(1)));
            if !ready.map_err(|error| lost(&self, error.to_string()))? {
                continue;
            }
            match self.reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => stdout.extend_from_slice(&buffer[..n]),
                Err(error) => return Err(lost(&self, error.to_string())),
            }
        }
        // It closed its output: so it ends, or has gone into the background.
        let left = deadline.saturating_duration_since(Instant::now());
        match self.handle.wait_timeout(left) {
            Ok(Some(output)) => Ok(Output {
                status: status(output.status),
                stdout,
                stderr: output.stderr.clone(),
            }),
            Ok(None) => Err(lost(
                &self,
                "it closed its output without ending".to_owned(),
            )),
            Err(error) => Err(lost(&self, error.to_string())),
        }
    }

    fn wire(&self) -> Option<(u64, u64)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_reports_both_streams_and_the_status() {
        let cmd = Cmd::reads("sh")
            .args(["-c", "cat; echo oops >&2; exit 3"])
            .stdin(b"in");
        let output = Local.run(&cmd).unwrap();
        assert_eq!((output.status, &*output.stdout_text()), (3, "in"));
        assert_eq!(output.stderr_text(), "oops\n");
    }

    #[test]
    fn a_missing_program_is_its_own_error() {
        let error = Local.run(&Cmd::reads("no-such-program-here")).unwrap_err();
        assert!(matches!(error, HostError::NoProgram { .. }), "{error}");
    }

    #[test]
    fn a_hung_command_and_its_children_are_ended() {
        let cmd = Cmd::reads("sh")
            .args(["-c", "sleep 300 & sleep 300"])
            .timeout(Duration::from_millis(100));
        let start = Instant::now();
        let error = Local.run(&cmd).unwrap_err();
        assert!(matches!(error, HostError::Timeout { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn streams_both_ways() {
        let mut stream = Local.open(&Cmd::reads("tr").args(["a-z", "A-Z"])).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.close_stdin().unwrap();
        let mut read = String::new();
        stream.read_to_string(&mut read).unwrap();
        assert_eq!(read, "HELLO");
        assert_eq!(stream.finish().unwrap().status, 0);
    }

    #[test]
    fn a_stream_is_waited_for_no_longer_than_wanted() {
        let mut stream = Local.open(&Cmd::reads("cat")).unwrap();
        let moment = Duration::from_millis(20);
        assert!(!stream.wait(moment).unwrap());
        stream.write_all(b"x").unwrap();
        assert!(stream.wait(Duration::from_secs(60)).unwrap());
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 1);
        assert!(!stream.wait(moment).unwrap());
        stream.close_stdin().unwrap();
        assert!(stream.wait(Duration::from_secs(60)).unwrap());
        assert_eq!(stream.finish().unwrap().status, 0);
    }

    #[test]
    fn a_child_has_what_it_is_given_and_can_be_ended() {
        let (stdin, mut writer) = std::io::pipe().unwrap();
        let (mut reader, stdout) = std::io::pipe().unwrap();
        let cmd = Cmd::reads("sh").args(["-c", "cat; sleep 300 & sleep 300"]);
        let child = Local.start(&cmd, stdin.into(), stdout.into()).unwrap();
        writer.write_all(b"there").unwrap();
        drop(writer);
        let mut read = [0; 5];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"there");
        assert!(child.pid().is_some() && child.ended().unwrap().is_none());
        child.kill();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        // Its pipes are closed a moment before it can be waited for.
        let until = Instant::now() + Duration::from_secs(60);
        let ended = loop {
            if let Some(output) = child.ended().unwrap() {
                break output;
            }
            assert!(Instant::now() < until, "it was not ended");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(ended.status, 128 + 9);
    }

    #[test]
    fn put_writes_a_private_file() {
        let dir = std::env::temp_dir().join(format!("transship-put-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("it's here");
        Local.put(path.to_str().unwrap(), b"secret", 0o600).unwrap();
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::read(&path).unwrap(), b"secret");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
