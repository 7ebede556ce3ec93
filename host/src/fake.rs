//! A host that answers from a table, for tests.

use crate::{Cmd, Host, HostError, Output, Result, Stream};
use std::io::{Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A host that runs nothing: it answers by a table from the start of a command line to what the
/// command would print, and notes every command it was given. For errors that a real host does
/// not give on demand, and for facts of hosts that are not at hand.
#[derive(Debug, Default)]
pub struct Fake {
    name: String,
    answers: Vec<(String, std::result::Result<Output, HostError>)>,
    ran: Arc<Mutex<Vec<Cmd>>>,
}

impl Fake {
    /// A host of this name that knows no command yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Fake {
            name: name.to_owned(),
            ..Fake::default()
        }
    }

    /// Commands whose line starts with `prefix` succeed and print `stdout`. The longest prefix
    /// that fits a command answers it.
    #[must_use]
    pub fn on(self, prefix: &str, stdout: &str) -> Self {
        let output = Output {
            stdout: stdout.as_bytes().to_vec(),
            ..Output::default()
        };
        self.on_output(prefix, output)
    }

    /// Commands whose line starts with `prefix` end as given.
    #[must_use]
    pub fn on_output(mut self, prefix: &str, output: Output) -> Self {
        self.answers.push((prefix.to_owned(), Ok(output)));
        self
    }

    /// Commands whose line starts with `prefix` cannot be run.
    #[must_use]
    pub fn on_error(mut self, prefix: &str, error: HostError) -> Self {
        self.answers.push((prefix.to_owned(), Err(error)));
        self
    }

    /// Every command given so far, in order.
    #[must_use]
    pub fn ran(&self) -> Vec<Cmd> {
        self.ran
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn answer(&self, cmd: &Cmd) -> Result<Output> {
        self.ran
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(cmd.clone());
        let line = cmd.line();
        self.answers
            .iter()
            .filter(|(prefix, _)| line.starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or_else(
                || {
                    Err(HostError::NoProgram {
                        host: self.name.clone(),
                        program: cmd.program.clone(),
                    })
                },
                |(_, answer)| answer.clone(),
            )
    }
}

impl Host for Fake {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, cmd: &Cmd) -> Result<Output> {
        self.answer(cmd)
    }

    fn open(&self, cmd: &Cmd) -> Result<Box<dyn Stream>> {
        let mut output = self.answer(cmd)?;
        let stdout = std::mem::take(&mut output.stdout);
        Ok(Box::new(FakeStream {
            ran: Arc::clone(&self.ran),
            cmd: cmd.clone(),
            stdout: Cursor::new(stdout),
            output,
        }))
    }
}

/// What is written to it becomes the standard input of the command in [`Fake::ran`].
struct FakeStream {
    ran: Arc<Mutex<Vec<Cmd>>>,
    cmd: Cmd,
    stdout: Cursor<Vec<u8>>,
    output: Output,
}

impl Read for FakeStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stdout.read(buffer)
    }
}

impl Write for FakeStream {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let before = self.cmd.clone();
        self.cmd.stdin.extend_from_slice(buffer);
        let mut ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(noted) = ran.iter_mut().rev().find(|noted| **noted == before) {
            *noted = self.cmd.clone();
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Stream for FakeStream {
    fn close_stdin(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, _: Duration) -> std::io::Result<bool> {
        Ok(true)
    }

    fn finish(mut self: Box<Self>) -> Result<Output> {
        let mut rest = Vec::new();
        let _ = self.stdout.read_to_end(&mut rest);
        self.output.stdout = rest;
        Ok(self.output)
    }

    fn wire(&self) -> Option<(u64, u64)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_answers_and_everything_is_noted() {
        let fake = Fake::new("a")
            .on("docker", "any")
            .on("docker version", "26");
        assert_eq!(fake.text(&Cmd::reads("docker").arg("ps")).unwrap(), "any");
        assert_eq!(
            fake.text(&Cmd::reads("docker").arg("version")).unwrap(),
            "26"
        );
        let error = fake.run(&Cmd::reads("podman")).unwrap_err();
        assert!(matches!(error, HostError::NoProgram { .. }), "{error}");
        assert_eq!(fake.ran().len(), 3);
    }

    #[test]
    fn a_stream_reads_the_answer_and_notes_its_input() {
        let fake = Fake::new("a").on("cat", "out");
        let mut stream = fake.open(&Cmd::changes("cat")).unwrap();
        stream.write_all(b"in").unwrap();
        let mut read = String::new();
        stream.read_to_string(&mut read).unwrap();
        assert_eq!(read, "out");
        assert_eq!(stream.finish().unwrap().status, 0);
        assert_eq!(fake.ran()[0].stdin, b"in");
    }
}
