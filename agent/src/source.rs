//! The sending side: files while the container runs, then freeze, dump, images, and what changed.

use crate::error::{AgentError, Result};
use crate::frame::Sender;
use crate::images::Images;
use crate::job::{Event, FREEZE, SendJob, command};
use crate::log::Log;
use crate::tree::{self, Manifest};
use host::{Host, HostError, Local};
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Duration;

/// A dump of a large container takes seconds; a hung one is given up after this.
const DUMP_TIMEOUT: Duration = Duration::from_secs(600);
/// How often the growing images are looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Does the job; `control` says when to freeze, `to` takes frames.
///
/// # Errors
/// Whatever went wrong. The container is then as far as it came: the one who steers undoes.
pub fn send(job: &SendJob, control: &mut dyn BufRead, to: impl Write + Send) -> Result<()> {
    let mut to = Sender::new(to);
    let mut log = job.log.as_deref().map(Log::new);
    let mut sent = Vec::new();
    for (number, root) in job.trees.iter().enumerate() {
        settle(root)?;
        sent.push(tree::send(root, number_of(number)?, None, &mut to)?);
    }
    if let Some(log) = &mut log {
        log.send(&mut to)?;
    }
    to.pass(false)?;
    let mut word = String::new();
    control
        .read_line(&mut word)
        .map_err(AgentError::receiving)?;
    if word.trim() != FREEZE {
        return Err(AgentError::Ended);
    }
    freeze(job)?;
    tell(&mut to, Event::Frozen)?;
    dump(job, &sent, &mut to)?;
    if let Some(log) = &mut log {
        log.send(&mut to)?;
    }
    to.pass(true)
}

fn number_of(index: usize) -> Result<u8> {
    u8::try_from(index)
        .ok()
        .filter(|number| *number != crate::job::IMAGES)
        .ok_or_else(|| AgentError::Other("the container has too many volumes".into()))
}

fn tell<W: Write>(to: &mut Sender<W>, event: Event) -> Result<()> {
    to.event(&serde_json::to_vec(&event).map_err(AgentError::stream)?)
}

/// Writes to disk what a file system holds back: a page that is dirty already may be written again,
/// through a mapping, without a new time of change; a clean one may not.
fn settle(root: &Path) -> Result<()> {
    let said = |error| AgentError::file(root, error);
    let folder = std::fs::File::open(root).map_err(said)?;
    rustix::fs::syncfs(&folder).map_err(|error| AgentError::file(root, error))
}

fn freeze(job: &SendJob) -> Result<()> {
    if let Some((words, input)) = &job.lock_network {
        Local.text(&command(words).stdin(input.as_bytes()))?;
    }
    Local.text(&command(&job.freeze))?;
    Ok(())
}

/// Dumps, and meanwhile sends what changed in the trees and the pages as they come.
fn dump<W: Write + Send>(job: &SendJob, sent: &[Manifest], to: &mut Sender<W>) -> Result<()> {
    let cmd = command(&job.dump).timeout(DUMP_TIMEOUT);
    std::thread::scope(|scope| {
        let dump = scope.spawn(|| Local.run(&cmd));
        for (number, (root, before)) in job.trees.iter().zip(sent).enumerate() {
            tree::send(root, number_of(number)?, Some(before), to)?;
        }
        let mut images = Images::new(&job.images);
        while !dump.is_finished() {
            if !images.send_grown(to)? {
                std::thread::sleep(LOOK);
            }
        }
        let output = dump
            .join()
            .map_err(|_| AgentError::Other("the thread that dumps ended".into()))??;
        if output.status != 0 {
            return Err(HostError::failed(Local.name(), &cmd, &output).into());
        }
        tell(to, Event::Dumped)?;
        images.send_rest(to)
    })
}
