//! An image, from engine to engine: what a command prints on the source is read by a command on the destination.

use crate::aside::{Aside, Control};
use crate::destination::{TICK, moving, tell};
use crate::error::{AgentError, Result};
use crate::frame::{CHUNK, Frame, Message, Receiver, Sender};
use crate::job::{Event, LoadJob, SaveJob, command};
use crate::link::Wire;
use crate::source::towards;
use crate::{meet, watch};
use host::{Cmd, Host, HostError, Local, NO_LIMIT, Output};
use std::io::{BufRead, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// Sends what the source's engine prints; `out` takes it where there is no direct way.
///
/// # Errors
/// Whatever went wrong; the destination then loads nothing.
pub fn save(
    job: &SaveJob,
    control: impl BufRead + Send + 'static,
    out: impl Write + Send,
) -> Result<()> {
    let (mut to, mut beside) = towards(job.link.as_ref(), out)?;
    let beside = beside.as_mut().map(|(out, wire)| (out, &**wire));
    pour(job, Control::new(control), &mut to, beside)
}

fn pour<W: Write + Send, A: Write + Send>(
    job: &SaveJob,
    control: Control,
    to: &mut Sender<W>,
    beside: Option<(&mut Sender<A>, &Wire)>,
) -> Result<()> {
    let mut aside = Aside::new(beside, control.over(), Arc::default());
    let save = command(&job.save).timeout(NO_LIMIT);
    let mut from = Local.open(&save)?;
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        aside.tick(to)?;
        // An engine may take its time before the first byte.
        if !from.wait(watch::TICK).map_err(AgentError::piping)? {
            continue;
        }
        let n = from.read(&mut buffer).map_err(AgentError::piping)?;
        if n == 0 {
            break;
        }
        to.data(0, bytes, &buffer[..n])?;
        bytes += n as u64;
    }
    succeeded(&save, &from.finish()?)?;
    to.pass(true)?;
    aside.sent(to, None)?;
    // What is still under way is lost where a connection is closed too early.
    control.into_words().for_each(drop);
    Ok(())
}

/// Has the destination's engine read what comes; `from` says which way, and may bring it.
///
/// # Errors
/// Whatever went wrong; what came so far the engine then does not get whole.
pub fn load(
    job: &LoadJob,
    mut from: impl BufRead + Send + 'static,
    control: &mut (dyn Write + Send),
) -> Result<()> {
    match meet::source(&job.token, &mut from, control, None)? {
        Some(stream) => {
            meet::while_steered(&stream, from, Arc::default())?;
            drink(job, stream, control)
        }
        None => drink(job, from, control),
    }
}

fn drink(job: &LoadJob, from: impl Read, control: &mut (dyn Write + Send)) -> Result<()> {
    let load = command(&job.load).timeout(NO_LIMIT);
    let mut to = Local.open(&load)?;
    let mut from = Receiver::new(from);
    let mut ticked = Instant::now();
    let mut complete = false;
    loop {
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            moving(control, from.bytes())?;
        }
        match from.next()? {
            Some(Frame::Data { bytes, .. }) => match to.write_all(bytes) {
                Ok(()) => {}
                // What it ended for it said.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    let ended = to.finish()?;
                    return Err(HostError::failed(Local.name(), &load, &ended).into());
                }
                Err(error) => return Err(AgentError::piping(error)),
            },
            Some(Frame::Message(Message::Pass { last: true })) => complete = true,
            Some(Frame::Sum) if complete => break,
            Some(Frame::Event) => {}
            Some(_) => return Err(AgentError::stream("a frame out of place")),
            None => return Err(AgentError::Broken("it ended too early".into())),
        }
    }
    // It has all, and goes on to unpack it.
    to.close_stdin().map_err(AgentError::piping)?;
    let mut said = [0; 4096];
    loop {
        if !to.wait(TICK).map_err(AgentError::piping)? {
            moving(control, from.bytes())?;
        } else if to.read(&mut said).map_err(AgentError::piping)? == 0 {
            break;
        }
    }
    succeeded(&load, &to.finish()?)?;
    tell(control, &Event::Pass)
}

fn succeeded(cmd: &Cmd, output: &Output) -> Result<()> {
    if output.status == 0 {
        return Ok(());
    }
    Err(HostError::failed(Local.name(), cmd, output).into())
}
