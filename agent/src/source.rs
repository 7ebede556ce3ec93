//! The sending side: files while the container runs, then freeze, dump, images, and what changed.

use crate::ahead::Ahead;
use crate::aside::{Aside, Control, tell};
use crate::criu;
use crate::error::{AgentError, Result};
use crate::frame::Sender;
use crate::freeze;
use crate::images::Images;
use crate::job::{Event, FREEZE, Link, STOP, SendJob, Serve, Token, command};
use crate::lanes;
use crate::link::{self, Wire};
use crate::log::Log;
use crate::rounds;
use crate::serve::{self, Dump};
use crate::tree::{self, Manifest};
use crate::tunnel::Shared;
use crate::warm::PipeTables;
use crate::watch::{DUMP_TIMEOUT, TICK, Watch};
use host::{Cmd, Host, HostError, Local, Output};
use std::io::{BufRead, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is gathered before it is encrypted: small frames make no records of their own.
const BUFFER: usize = 64 * 1024;
/// How often the growing images are looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Does the job; `control` says when to freeze, `to` takes frames.
///
/// # Errors
/// Whatever went wrong. The container is then as far as it came: the one who steers undoes.
pub fn send(
    job: &SendJob,
    control: impl BufRead + Send + 'static,
    out: impl Write + Send,
) -> Result<()> {
    let (mut to, mut beside) = towards(job.link.as_ref(), out)?;
    let beside = beside.as_mut().map(|(out, wire)| (out, &**wire));
    go(job, Control::new(control), &mut to, beside)
}

/// Frames to the destination, or events to whoever steers.
type Frames<'out> = Sender<Box<dyn Write + Send + 'out>>;
/// Where events go beside the frames, and what passes on the link.
type Beside<'out> = Option<(Frames<'out>, Arc<Wire>)>;

/// The way to the destination, and where events go beside it: none where they go between the frames, since there is
/// no way but the one through whoever steers. That the destination cannot be reached is no failure.
pub(crate) fn towards<'out>(
    link: Option<&(Link, Token)>,
    out: impl Write + Send + 'out,
) -> Result<(Frames<'out>, Beside<'out>)> {
    let mut out: Frames<'out> = Sender::new(Box::new(out));
    let direct = link.and_then(|(link, token)| link::connect_lanes(link, token, lanes::count).ok());
    let connected = direct.is_some();
    tell(&mut out, &Event::Connected { direct: connected })?;
    Ok(match direct {
        Some((stream, wire)) => {
            let to = BufWriter::with_capacity(BUFFER, stream);
            (Sender::new(Box::new(to)), Some((out, wire)))
        }
        None => (out, None),
    })
}

/// Does the job: frames go to `to`, events to `aside`, or between the frames.
fn go<W: Write + Send, A: Write + Send>(
    job: &SendJob,
    control: Control,
    to: &mut Sender<W>,
    beside: Option<(&mut Sender<A>, &Wire)>,
) -> Result<()> {
    let total = Arc::<AtomicU64>::default();
    let mut aside = Aside::new(beside, control.over(), Arc::clone(&total));
    let mut log = job.log.as_deref().map(Log::new);
    let (sent, ahead) = std::thread::scope(|scope| {
        let done = Arc::<AtomicBool>::default();
        scope.spawn({
            let done = Arc::clone(&done);
            move || total.store(tree::size(&job.trees, &done) + job.ahead, Relaxed)
        });
        let sent = first_pass(job, &mut log, to, &mut aside);
        done.store(true, Relaxed);
        sent
    })?;
    aside.sent(to, None)?;
    let gate = criu::configure(job)?;
    let after = match &job.rounds {
        None => None,
        Some(rounds) => Some(SendJob {
            dump: rounds::send(job, rounds, &control, to, &mut aside)?,
            ..job.clone()
        }),
    };
    let job = after.as_ref().unwrap_or(job);
    let begun = Begun::start(job)?;
    let warm = job.serve.as_ref().map(|serve| PipeTables::of(serve.memory));
    if control.word().is_none_or(|word| word != FREEZE) {
        return Err(AgentError::Ended);
    }
    aside.hasten(Duration::from_secs(job.frozen_seconds))?;
    let asked = Instant::now();
    // Beside the freeze, which takes longer.
    std::thread::spawn(move || drop(warm));
    freeze::freeze(job)?;
    let frozen = Instant::now();
    let seconds = Some((frozen - asked).as_secs_f64());
    gate.open()?;
    aside.tell(to, &Event::Frozen { seconds })?;
    let writing = match begun {
        Begun::Serving(dump, serve) => {
            return pages(job, (serve, *dump), &sent, log, control, to, aside);
        }
        Begun::Writing(writing) => writing,
    };
    let images = Images::new(&job.images).with(ahead);
    let dumped = stream(writing, images, to, &mut aside, |to, aside| {
        changes(job, &sent, to, aside)
    })?
    .ended;
    if let Some(log) = &mut log {
        log.send_all(to, &mut |to| aside.tick(to))?;
    }
    to.pass(true)?;
    aside.sent(to, Some(dumped - frozen))?;
    // Who closes a connection with something unread in it resets it, and what is still under way is lost:
    // it stays open until the one who steers has heard that all arrived.
    control.into_words().for_each(drop);
    Ok(())
}

/// A dump that waits at the gate.
enum Begun<'a> {
    /// It leaves the pages where they are.
    Serving(Box<Dump>, &'a Serve),
    Writing(Writing),
}

impl<'a> Begun<'a> {
    fn start(job: &'a SendJob) -> Result<Self> {
        Ok(match &job.serve {
            Some(serve) => Begun::Serving(Box::new(Dump::start(job)?), serve),
            None => {
                let cmd = command(&job.dump)
                    .env(runtime::criu::CONFIG_FILE, job.config.to_string_lossy());
                Begun::Writing(Writing::start(cmd))
            }
        })
    }
}

/// Sends what can be sent while the container runs; the memory first, since files that change meanwhile are cheaper.
fn first_pass<W: Write, A: Write>(
    job: &SendJob,
    log: &mut Option<Log>,
    to: &mut Sender<W>,
    aside: &mut Aside<A>,
) -> Result<(Vec<Manifest>, Ahead)> {
    let tick = &mut |to: &mut Sender<W>| aside.tick(to);
    let ahead = match job.ahead {
        0 => Ahead::default(),
        most => Ahead::send(job.first, most, to, tick)?,
    };
    let mut sent = Vec::new();
    for (number, root) in job.trees.iter().enumerate() {
        settle(root, &mut || aside.tick(to))?;
        let tick = &mut |to: &mut Sender<W>| aside.tick(to);
        sent.push(tree::send(root, number_of(number)?, None, to, tick)?);
    }
    if let Some(log) = log {
        log.send(to, &mut |to| aside.tick(to))?;
    }
    to.pass(false)?;
    Ok((sent, ahead))
}

/// Sends what changed in the trees since.
fn changes<W: Write, A: Write>(
    job: &SendJob,
    sent: &[Manifest],
    to: &mut Sender<W>,
    aside: &mut Aside<A>,
) -> Result<()> {
    for (number, (root, before)) in job.trees.iter().zip(sent).enumerate() {
        let tick = &mut |to: &mut Sender<W>| aside.tick(to);
        tree::send(root, number_of(number)?, Some(before), to, tick)?;
    }
    Ok(())
}

/// Dumps without the pages, sends the rest, and hands out the pages until the destination has all.
fn pages<W: Write + Send, A: Write + Send>(
    job: &SendJob,
    (serve, mut dump): (&Serve, Dump),
    sent: &[Manifest],
    mut log: Option<Log>,
    control: Control,
    to: &mut Sender<W>,
    mut aside: Aside<A>,
) -> Result<()> {
    let (shared, wire) = (Arc::<Shared>::default(), Arc::<Wire>::default());
    let hearing = Arc::clone(&shared);
    let heard = std::thread::spawn(move || listen(control.into_words(), &hearing));
    let begun = Instant::now();
    let mut told = false;
    let result = (|| {
        changes(job, sent, to, &mut aside)?;
        dump.ready(|| aside.tick(to).is_ok() && !shared.stop.load(Relaxed))?;
        let took = begun.elapsed();
        std::thread::scope(|scope| {
            let held = scope.spawn(|| dump.hold_frozen(job, serve));
            let served = scope.spawn(|| serve::serve(job, serve, &dump, &shared, &wire));
            let last = || -> Result<()> {
                Images::new(&job.images).send_rest(to, &mut |to| aside.tick(to))?;
                if let Some(log) = &mut log {
                    log.send_all(to, &mut |to| aside.tick(to))?;
                }
                held.join()
                    .map_err(|_| AgentError::Other("the thread that freezes ended".into()))??;
                to.pass(true)?;
                aside.sent(to, Some(took))
            };
            if let Err(error) = last() {
                shared.stop.store(true, Relaxed);
                return Err(error);
            }
            let result = served.join().unwrap_or_else(|_| {
                Err(AgentError::Other("the thread with the pages ended".into()))
            });
            let event = match &result {
                Ok(()) => Event::Complete {
                    wire: Some(wire.bytes()),
                },
                Err(why) => Event::Lost {
                    why: why.to_string(),
                    ended: false,
                },
            };
            // There may be nobody any more who hears it.
            let _ = aside.tell(to, &event);
            told = true;
            result
        })
    })();
    // Whoever undoes waits for the end of all that dumps.
    dump.leave();
    if told {
        // It stays open until the one who steers has heard that.
        let _ = heard.join();
    }
    result
}

/// Hears whoever steers to the end: while the container has not gone on at the destination, that end is
/// the end of all; from then on only the word is.
pub(crate) fn listen(words: impl Iterator<Item = String>, shared: &Shared) {
    for word in words {
        if word.trim() == STOP {
            shared.stop.store(true, Relaxed);
        }
    }
    if !shared.goes.load(Relaxed) {
        shared.stop.store(true, Relaxed);
    }
}

fn number_of(index: usize) -> Result<u8> {
    u8::try_from(index)
        .ok()
        .filter(|number| *number != crate::job::IMAGES)
        .ok_or_else(|| AgentError::Other("the container has too many volumes".into()))
}

/// Writes to disk what a file system holds back: a page that is dirty already may be written again,
/// through a mapping, without a new time of change; a clean one may not.
fn settle(root: &Path, tick: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let folder = std::fs::File::open(root).map_err(|error| AgentError::file(root, error))?;
    std::thread::scope(|scope| {
        let settled = scope.spawn(|| rustix::fs::syncfs(&folder));
        while !settled.is_finished() {
            tick()?;
            std::thread::sleep(LOOK);
        }
        settled
            .join()
            .map_err(|_| AgentError::Other("the thread that settles ended".into()))?
            .map_err(|error| AgentError::file(root, error))
    })
}

/// What was written while it was sent.
pub(crate) struct Streamed {
    /// How many pages there were.
    pub pages: u64,
    /// When all was written; sent it is later.
    pub ended: Instant,
}

/// What writes images, under way.
pub(crate) struct Writing {
    cmd: Cmd,
    dump: JoinHandle<(host::Result<Output>, Instant)>,
}

impl Writing {
    pub fn start(cmd: Cmd) -> Self {
        let cmd = cmd.timeout(DUMP_TIMEOUT);
        let run = cmd.clone();
        Writing {
            cmd,
            dump: std::thread::spawn(move || (Local.run(&run), Instant::now())),
        }
    }
}

/// Sends images as they grow, once `first` is done. Meanwhile the one who steers hears that we are at work.
pub(crate) fn stream<W: Write + Send, A: Write + Send>(
    Writing { cmd, dump }: Writing,
    mut images: Images,
    to: &mut Sender<W>,
    aside: &mut Aside<A>,
    first: impl FnOnce(&mut Sender<W>, &mut Aside<A>) -> Result<()>,
) -> Result<Streamed> {
    let words = [std::slice::from_ref(&cmd.program), &cmd.args[..]].concat();
    first(to, aside)?;
    let mut watch = Watch::dump(&words);
    let mut looked = Instant::now();
    while !dump.is_finished() {
        // Whoever steers sees by the tick, too, that the user wants it to end.
        let tick = &mut |to: &mut Sender<W>| aside.tick(to);
        tick(to)?;
        if !images.send_grown(to, tick)? {
            std::thread::sleep(LOOK);
        }
        if looked.elapsed() >= TICK {
            looked = Instant::now();
            watch.look();
        }
    }
    let (output, ended) = dump
        .join()
        .map_err(|_| AgentError::Other("the thread that dumps ended".into()))?;
    let output = output?;
    if output.status != 0 {
        return Err(HostError::failed(Local.name(), &cmd, &output).into());
    }
    images.send_rest(to, &mut |to| aside.tick(to))?;
    Ok(Streamed {
        pages: images.pages(),
        ended,
    })
}
