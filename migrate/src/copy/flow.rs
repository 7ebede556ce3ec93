//! The two agents, and what passes between them, through this process.

use crate::context::{Context, SLOW, WireBytes};
use crate::event::Event as Told;
use crate::{Failure, Kind};
use agent::{DIRECT, Event, Passing, THROUGH};
use host::{Cmd, Host, HostError, Stream};
use serde::Serialize;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// What the phases of this mode share.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Flow>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Flow> {
        self.0.lock().expect("no panic while the agents are held")
    }
}

/// The agents that run.
#[derive(Default)]
pub(super) struct Flow {
    pub source: Option<Agent>,
    pub destination: Option<Agent>,
    /// Path of our program on the hosts.
    pub tool: String,
    carried: u64,
    /// The agents are connected, and only events come through here.
    direct: bool,
    /// Bytes on the wire of that connection.
    wire: Option<(u64, u64)>,
    buffer: Vec<u8>,
}

/// One agent: its host and its standard input and output.
pub(super) struct Agent {
    host: String,
    cmd: Cmd,
    stream: Box<dyn Stream>,
}

impl Agent {
    /// Starts one and tells it its job.
    pub fn start(
        host: &dyn Host,
        tool: &str,
        side: &str,
        job: &impl Serialize,
    ) -> Result<Self, Failure> {
        let cmd = Cmd::changes(tool).args(["agent", side]).timeout(SLOW);
        let stream = host.open(&cmd)?;
        let mut agent = Agent {
            host: host.name().to_owned(),
            cmd,
            stream,
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
    pub fn end(self) -> Result<(), Failure> {
        let Agent { host, cmd, stream } = self;
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

impl Flow {
    /// Why the flow stopped: what the agents say, the destination's first.
    pub fn broken(&mut self, otherwise: Failure) -> Failure {
        // A source whose reader went away says so too, but it is not the cause.
        for agent in [self.destination.take(), self.source.take()]
            .into_iter()
            .flatten()
        {
            if let Err(failure) = agent.end()
                && !failure.what.contains(NOT_THE_CAUSE[0])
                && !failure.what.contains(NOT_THE_CAUSE[1])
            {
                return failure;
            }
        }
        otherwise
    }

    /// Carries what the source sends, if it comes through here, until it tells of an event that `until`
    /// waits for.
    pub fn carry(
        &mut self,
        context: &Context,
        phase: &'static str,
        until: fn(&Event) -> bool,
    ) -> Result<(), Failure> {
        let mut told = Instant::now();
        loop {
            if context.is_interrupted() {
                return Err(Failure::new(
                    Kind::Interrupted,
                    format!("interrupted during {phase}"),
                ));
            }
            let (Some(source), Some(destination)) = (&mut self.source, &mut self.destination)
            else {
                return Err(Failure::failed(context.source.name(), "an agent is gone"));
            };
            let passing = match agent::carry(
                &mut source.stream,
                &mut destination.stream,
                &mut self.buffer,
            ) {
                Ok(Some(passing)) => passing,
                Ok(None) => {
                    let failure = Failure::failed(
                        context.source.name(),
                        "the source's agent ended too early",
                    );
                    return Err(self.broken(failure));
                }
                Err(error) => {
                    let failure = Failure::failed(context.source.name(), error.to_string());
                    return Err(self.broken(failure));
                }
            };
            match passing {
                Passing::Event(json) => {
                    let event = serde_json::from_slice(&json).map_err(|error| {
                        Failure::failed(
                            context.source.name(),
                            format!("the source's agent says nonsense: {error}"),
                        )
                    })?;
                    match event {
                        Event::Sent { bytes, wire } => (self.carried, self.wire) = (bytes, wire),
                        Event::Connected { direct } => self.direct = direct,
                        _ => {}
                    }
                    if until(&event) {
                        return Ok(());
                    }
                }
                Passing::Bytes { bytes, .. } => {
                    self.carried += bytes;
                    if told.elapsed() >= TICK {
                        told = Instant::now();
                        context.tell(Told::Progress {
                            phase,
                            done: self.carried,
                            total: context.memory,
                        });
                    }
                }
            }
        }
    }

    /// Learns which way the source's agent found, and tells the destination's.
    pub fn meet(&mut self, context: &mut Context) -> Result<(), Failure> {
        self.carry(context, "files", |event| {
            matches!(event, Event::Connected { .. })
        })?;
        let word = if self.direct { DIRECT } else { THROUGH };
        match &mut self.destination {
            Some(destination) => destination.say(word),
            None => Ok(()),
        }
    }

    /// Waits until the destination's agent tells of this.
    pub fn hear(&mut self, context: &Context, wanted: fn(&Event) -> bool) -> Result<(), Failure> {
        let name = context.destination.name().to_owned();
        let Some(destination) = &mut self.destination else {
            return Err(Failure::failed(&name, "the destination's agent is gone"));
        };
        match destination.event()? {
            Some(event) if wanted(&event) => Ok(()),
            Some(event) => Err(Failure::failed(
                &name,
                format!("the agent on {name} told {event:?} out of turn"),
            )),
            None => Err(self.broken(Failure::failed(
                &name,
                format!("the agent on {name} ended without a word"),
            ))),
        }
    }

    /// Bytes carried so far.
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// Bytes on the wire so far.
    pub fn wire(&self) -> Option<WireBytes> {
        if let Some((sent, received)) = self.wire {
            return Some(WireBytes { sent, received });
        }
        let of = |agent: &Option<Agent>| agent.as_ref().and_then(|agent| agent.stream.wire());
        match (of(&self.destination), of(&self.source)) {
            (Some((sent, received)), _) => Some(WireBytes { sent, received }),
            (None, Some((sent, received))) => Some(WireBytes {
                sent: received,
                received: sent,
            }),
            (None, None) => None,
        }
    }

    /// Ends both agents. The destination's first: then nothing can open the gate any more.
    pub fn end(&mut self) {
        for agent in [self.destination.take(), self.source.take()]
            .into_iter()
            .flatten()
        {
            // What they say at such an end is a consequence, not a cause.
            let _ = agent.end();
        }
    }
}

/// What an agent says when it was the other side that ended.
const NOT_THE_CAUSE: [&str; 2] = ["nobody reads any more", "it ended too early"];

/// A pass was sent.
pub(super) fn sent(event: &Event) -> bool {
    matches!(event, Event::Sent { .. })
}
