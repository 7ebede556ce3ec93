//! The two agents, and what passes between them, through this process.

use super::agents::Agent;
use crate::context::{Context, WireBytes};
use crate::event::Event as Told;
use crate::prepare::Which;
use crate::{Failure, Kind};
use agent::{DIRECT, Event, Link, Passing, THROUGH};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// How long an agent may give no sign: both tell several times a second, or as often as bytes come, that they
/// are at work.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

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
    carried: u64,
    /// About how much there is to carry in this phase, where that is known.
    total: Option<u64>,
    /// What the destination's agent told and nobody waited for yet.
    heard: VecDeque<Event>,
    /// The agents are connected, and only events come through here.
    direct: bool,
    /// Bytes on the wire of that connection.
    wire: Option<(u64, u64)>,
    /// The same for the pages of a container that went on without them.
    pages: Option<(u64, u64)>,
    buffer: Vec<u8>,
}

impl Flow {
    /// Why the flow stopped: what the agents say. A side that saw the stream break says so too, but the cause
    /// is what the other one says, if it says anything else.
    pub fn broken(&mut self, otherwise: Failure) -> Failure {
        let mut failures: Vec<Failure> = [self.destination.take(), self.source.take()]
            .into_iter()
            .flatten()
            .filter_map(|agent| agent.end().err())
            .collect();
        let cause = failures
            .iter()
            .position(|failure| !is_consequence(failure))
            .unwrap_or(0);
        if failures.is_empty() {
            otherwise
        } else {
            failures.swap_remove(cause)
        }
    }

    /// Tells the source's agent what to do next.
    pub fn tell_source(&mut self, word: &str) -> Result<(), Failure> {
        match self.source.as_mut().map(|agent| agent.say(word)) {
            Some(Err(failure)) => Err(self.broken(failure)),
            _ => Ok(()),
        }
    }

    /// Carries what the source sends, if it comes through here, until it tells of an event that `until`
    /// waits for: that one.
    pub fn carry(
        &mut self,
        context: &Context,
        phase: &'static str,
        until: fn(&Event) -> bool,
    ) -> Result<Event, Failure> {
        let (mut told, mut signed) = (Instant::now(), Instant::now());
        let before = self.carried;
        self.total = None;
        loop {
            not_interrupted(context, phase)?;
            // Its signs must not pile up.
            self.overhear()?;
            let ready = match &mut self.source {
                Some(source) => source.ready(TICK).and_then(|ready| {
                    if !ready && signed.elapsed() >= PATIENCE {
                        return Err(source.silent(PATIENCE));
                    }
                    Ok(ready)
                }),
                None => Ok(true),
            };
            match ready {
                Ok(true) => signed = Instant::now(),
                Ok(false) => continue,
                Err(failure) => return Err(self.broken(failure)),
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
                        Event::Sent { bytes, wire, .. } | Event::Round { bytes, wire, .. } => {
                            (self.carried, self.wire) = (bytes, wire);
                        }
                        Event::Moving { bytes, total } => {
                            self.total = total;
                            if self.direct {
                                self.carried = bytes;
                                self.progress(context, phase, before);
                            }
                        }
                        Event::Connected { direct } => self.direct = direct,
                        _ => {}
                    }
                    if until(&event) {
                        return Ok(event);
                    }
                }
                Passing::Bytes(bytes) => {
                    self.carried += bytes;
                    if told.elapsed() >= TICK {
                        told = Instant::now();
                        self.progress(context, phase, before);
                    }
                }
            }
        }
    }

    /// Takes what the destination's agent tells meanwhile.
    fn overhear(&mut self) -> Result<(), Failure> {
        while let Some(destination) = &mut self.destination
            && destination.ready(Duration::ZERO)?
        {
            match destination.event()? {
                Some(Event::Moving { .. }) => {}
                Some(event) => self.heard.push_back(event),
                // Whoever waits for something of it will notice.
                None => break,
            }
        }
        Ok(())
    }

    fn progress(&self, context: &Context, phase: &'static str, before: u64) {
        context.tell(Told::Progress {
            phase,
            done: self.carried - before,
            // Of memory it is known beforehand.
            total: match phase {
                "image" | "files" => self.total,
                _ => Some(context.memory),
            },
        });
    }

    /// Starts the destination's agent; where the source may connect to it.
    pub fn listen(
        &mut self,
        context: &Context,
        side: &str,
        job: &impl Serialize,
    ) -> Result<Option<Link>, Failure> {
        let mut agent = Agent::start(context, Which::Destination, side, job)?;
        let said = agent.event();
        self.destination = Some(agent);
        Ok(match said? {
            Some(Event::Listening { link }) => link,
            _ => None,
        })
    }

    /// Starts the source's agent, learns which way it found, and tells the destination's; whether it is direct.
    pub fn meet(
        &mut self,
        context: &Context,
        phase: &'static str,
        side: &str,
        job: &impl Serialize,
    ) -> Result<bool, Failure> {
        self.source = Some(Agent::start(context, Which::Source, side, job)?);
        self.carry(context, phase, |event| {
            matches!(event, Event::Connected { .. })
        })?;
        let word = if self.direct { DIRECT } else { THROUGH };
        if let Some(destination) = &mut self.destination {
            destination.say(word)?;
        }
        Ok(self.direct)
    }

    /// Waits until the destination's agent tells of this, which it may do without a sign for so long; what it tells.
    pub fn hear(
        &mut self,
        context: &Context,
        phase: &'static str,
        patience: Duration,
        wanted: fn(&Event) -> bool,
    ) -> Result<Event, Failure> {
        let name = context.destination.name().to_owned();
        let mut signed = Instant::now();
        loop {
            let event = match (self.heard.pop_front(), &mut self.destination) {
                (Some(event), _) => Some(event),
                (None, None) => {
                    return Err(Failure::failed(&name, "the destination's agent is gone"));
                }
                (None, Some(destination)) => {
                    if !destination.ready(TICK)? {
                        if signed.elapsed() >= patience {
                            return Err(destination.silent(patience));
                        }
                        // What has gone on there without its memory is not taken back for that.
                        if !context.options.leaves_pages() {
                            not_interrupted(context, phase)?;
                        }
                        continue;
                    }
                    destination.event()?
                }
            };
            signed = Instant::now();
            match event {
                Some(Event::Moving { .. }) => {}
                Some(event) if wanted(&event) => return Ok(event),
                Some(event) => {
                    return Err(Failure::failed(
                        &name,
                        format!("the agent on {name} told {event:?} out of turn"),
                    ));
                }
                None => {
                    return Err(self.broken(Failure::failed(
                        &name,
                        format!("the agent on {name} ended without a word"),
                    )));
                }
            }
        }
    }

    /// The next event of the destination's agent; none once it cannot be heard any more.
    pub fn destination_event(&mut self) -> Option<Event> {
        if let Some(event) = self.heard.pop_front() {
            return Some(event);
        }
        self.destination.as_mut()?.event().ok().flatten()
    }

    /// The next event of the source's agent, whose frames go another way; none once it cannot be heard.
    pub fn source_event(&mut self) -> Option<Event> {
        let stream = &mut self.source.as_mut()?.stream;
        let mut nowhere = std::io::sink();
        loop {
            match agent::carry(stream, &mut nowhere, &mut self.buffer) {
                Ok(Some(Passing::Event(json))) => return serde_json::from_slice(&json).ok(),
                Ok(Some(Passing::Bytes { .. })) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Waits so long for the source's agent to learn that all pages have come, which tells what they took on the wire.
    /// It matters no more, and takes as long as the two hosts cannot reach each other.
    pub fn source_completes(&mut self, at_most: Duration) {
        let source = self.source.as_mut();
        let tells = source.is_some_and(|source| source.ready(at_most).is_ok_and(|ready| ready));
        if tells && let Some(Event::Complete { wire }) = self.source_event() {
            self.add_wire(wire);
        }
    }

    /// Adds what the pages took on the wire.
    pub fn add_wire(&mut self, pages: Option<(u64, u64)>) {
        self.pages = pages;
    }

    /// Bytes on the wire for the pages.
    pub fn pages_bytes(&self) -> Option<u64> {
        self.pages.map(|(sent, _)| sent)
    }

    /// Bytes carried so far.
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// Bytes on the wire so far.
    pub fn wire(&self) -> Option<WireBytes> {
        if let Some((sent, received)) = self.wire {
            let (sent, received) = self.pages.map_or((sent, received), |(more, back)| {
                (sent + more, received + back)
            });
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

/// The user did not press Ctrl-C.
fn not_interrupted(context: &Context, phase: &str) -> Result<(), Failure> {
    if context.is_interrupted() {
        let what = format!("interrupted during {phase}");
        return Err(Failure::new(Kind::Interrupted, what));
    }
    Ok(())
}

/// An agent says that because the other one ended, or because we did not want it any more.
fn is_consequence(failure: &Failure) -> bool {
    failure.what.contains(agent::BROKE) || failure.what.contains(agent::ENDED)
}

/// A pass was sent.
pub(super) fn sent(event: &Event) -> bool {
    matches!(event, Event::Sent { .. })
}
