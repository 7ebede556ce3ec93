//! One of the two agents, as seen from here.

use crate::context::Context;
use crate::prepare::Which;
use crate::{Failure, leftover};
use agent::{Event, STOP};
use host::{Cmd, HostError, NO_LIMIT, Stream};
use serde::Serialize;
use std::io::{Read, Write};
use std::time::Duration;

/// One agent: its host and its standard input and output.
pub(super) struct Agent {
    host: String,
    cmd: Cmd,
    pub stream: Box<dyn Stream>,
    /// It goes on without us once the container has, unless it is told to stop.
    outlives: bool,
}

impl Agent {
    /// Starts one and tells it its job. It writes down its process id and holds the work folder's lock,
    /// as does all that it starts: so whoever undoes can end it and knows when all of it has ended.
    pub fn start(
        context: &Context,
        which: Which,
        side: &str,
        job: &impl Serialize,
    ) -> Result<Self, Failure> {
        let host = &*which.of(context).host;
        let script = r#"umask 077; exec 9<>"$1/held" && flock -n 9 && echo $$ > "$1/agent" && exec "$2" agent "$3""#;
        let folder = leftover::folder(&context.name);
        let cmd = Cmd::changes("sh")
            .args(["-c", script, "sh", &folder, &context.tool, side])
            .timeout(NO_LIMIT);
        let stream = host.open(&cmd)?;
        let mut agent = Agent {
            host: host.name().to_owned(),
            cmd,
            stream,
            outlives: context.options.leaves_pages(),
        };
        let mut line =
            serde_json::to_vec(job).expect("a job has no map with keys that are no text");
        line.push(b'\n');
        match agent.stream.write_all(&line) {
            Ok(()) => Ok(agent),
            Err(error) => Err(agent.lost(&error)),
        }
    }

    pub fn say(&mut self, word: &str) -> Result<(), Failure> {
        let line = format!("{word}\n");
        self.stream
            .write_all(line.as_bytes())
            .map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &dyn std::fmt::Display) -> Failure {
        HostError::Lost {
            host: self.host.clone(),
            doing: self.cmd.line(),
            why: error.to_string(),
        }
        .into()
    }

    /// Waits a moment until something can be read, or the end has come; whether that is so.
    pub fn ready(&mut self, at_most: Duration) -> Result<bool, Failure> {
        self.stream.wait(at_most).map_err(|error| self.lost(&error))
    }

    /// It gave no sign for too long.
    pub fn silent(&self, patience: Duration) -> Failure {
        self.lost(&format!("it gave no sign for {} s", patience.as_secs_f64()))
    }

    /// The next event of the destination's agent.
    pub fn event(&mut self) -> Result<Option<Event>, Failure> {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            match self.stream.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) if byte[0] == b'\n' => break,
                Ok(_) => line.push(byte[0]),
                Err(error) => return Err(self.lost(&error)),
            }
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| self.lost(&error))
    }

    /// Ends it: it sees the end of its input. Says what it said, if it did not end well.
    pub fn end(mut self) -> Result<(), Failure> {
        if self.outlives {
            // That it is gone already is as good.
            let _ = self.say(STOP);
        }
        let Agent {
            host, cmd, stream, ..
        } = self;
        let output = stream.finish()?;
        if output.status == 0 {
            return Ok(());
        }
        let said = output.stderr_text().trim().to_owned();
        let said = if said.is_empty() {
            HostError::failed(&host, &cmd, &output).to_string()
        } else {
            said
        };
        Err(Failure::failed(&host, format!("on {host}: {said}")))
    }
}
