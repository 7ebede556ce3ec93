//! The receiving side: files, then the gate of the waiting runtime, then images and what changed.

use crate::ahead;
use crate::before::Before;
use crate::error::{AgentError, Result};
use crate::frame::{Frame, Message, Receiver};
use crate::job::{Event, IMAGES, ReceiveJob, Took, command};
use crate::keep::Keeper;
use crate::link;
use crate::meet;
use crate::pagemap::PAGE;
use crate::pages::Pages;
use crate::rounds;
use crate::tree::{Store, Style};
use crate::tunnel::Shared;
use host::{Host, Local, NO_LIMIT};
use runtime::{marks, pending};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the gate is tried until the runtime is there.
const KNOCK: Duration = Duration::from_millis(2);
/// How often is told that frames come.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// The engine's start of the container.
pub(crate) type Starting<'scope> = std::thread::ScopedJoinHandle<'scope, host::Result<String>>;

/// Does the job; `from` says where frames come from and may bring them, `control` hears of what happened.
///
/// # Errors
/// Whatever went wrong; a runtime that waits then gives up at once.
pub fn receive(
    job: &ReceiveJob,
    mut from: impl BufRead + Send + 'static,
    control: &mut (dyn Write + Send),
) -> Result<()> {
    let lazy = job.lazy_seconds.is_some();
    let (offer, offered) = std::sync::mpsc::channel();
    let way = meet::source(&job.token, &mut from, control, lazy.then_some(offer))?;
    let Some(stream) = way else {
        if lazy {
            return Err(AgentError::Other(
                "post-copy needs a direct connection between the hosts, and no port of this one could be reached; --mode copy goes through SSH too"
                    .into(),
            ));
        }
        return take(job, from, &[], control, None);
    };
    let shared = Arc::<Shared>::default();
    let connections = meet::connections(&stream)?;
    meet::while_steered(&stream, from, Arc::clone(&shared))?;
    let lazy = match job.lazy_seconds {
        Some(seconds) => Some(Pages {
            limit: Duration::from_secs(seconds),
            offered,
            shared,
            keeper: Keeper::wait_for_work()?,
        }),
        None => None,
    };
    take(job, stream, &connections, control, lazy)
}

fn take(
    job: &ReceiveJob,
    from: impl Read,
    connections: &[TcpStream],
    control: &mut (dyn Write + Send),
    pages: Option<Pages>,
) -> Result<()> {
    let mut from = Receiver::new(from);
    let mut desk = Desk::new(job, false)?;
    for place in desk.stores.values() {
        place.clear()?;
    }
    desk.pass(&mut from, &mut |bytes| moving(control, bytes))?;
    tell(control, &Event::Pass)?;
    if job.rounds {
        rounds::receive(job, &mut from, control)?;
    }
    std::thread::scope(|scope| {
        // Our runtime, which waits for the images, gives up where they do not come any more.
        let start = command(&job.start).timeout(NO_LIMIT);
        let started = scope.spawn(move || Local.text(&start));
        let gate = knock(&job.pending.join("gate"), || started.is_finished());
        let Some(gate) = gate? else {
            // It came back without having asked for the images: it failed, or is not our runtime.
            finished(started)?;
            return Err(AgentError::Other(
                "the engine started the container without our runtime".into(),
            ));
        };
        shout(&gate, pending::HERE)?;
        // The container is frozen once it is known that we wait.
        link::hasten(connections, Duration::from_secs(job.frozen_seconds))?;
        tell(control, &Event::Waiting)?;
        let mut desk = Desk::new(job, true)?;
        let mut gone = false;
        let arrived = desk.pass(&mut from, &mut |bytes| {
            // It waits as long as it hears that they come.
            if let Err(error) = shout(&gate, pending::HERE) {
                gone = true;
                return Err(error);
            }
            moving(control, bytes)
        });
        if let Err(error) = arrived {
            // Why it is gone the engine says.
            if gone {
                finished(started)?;
            }
            return Err(error);
        }
        let bytes = from.bytes();
        if let Some(pages) = pages {
            return pages.fetch(job, bytes, &gate, started, control);
        }
        let go = marks::now();
        if let Err(gone) = shout(&gate, pending::GO) {
            finished(started)?;
            return Err(gone);
        }
        tell(control, &Event::Arrived { bytes })?;
        finished(started)?;
        let took = Took::since(go, &job.images);
        tell(control, &Event::Started { took })
    })
}

/// Writes a word into the gate.
pub(crate) fn shout(gate: &OwnedFd, word: &[u8]) -> Result<()> {
    rustix::io::write(gate, word).map(drop).map_err(|error| {
        AgentError::Other(format!(
            "the runtime that waited for the images is gone: {error}"
        ))
    })
}

pub(crate) fn finished(started: Starting<'_>) -> Result<()> {
    started
        .join()
        .map_err(|_| AgentError::Other("the thread that starts the engine ended".into()))??;
    Ok(())
}

pub(crate) fn tell(control: &mut dyn Write, event: &Event) -> Result<()> {
    let mut line = serde_json::to_vec(event).map_err(AgentError::stream)?;
    line.push(b'\n');
    control
        .write_all(&line)
        .and_then(|()| control.flush())
        .map_err(AgentError::sending)
}

/// Tells that it is at work.
pub(crate) fn moving(control: &mut dyn Write, bytes: u64) -> Result<()> {
    tell(control, &Event::Moving { bytes, total: None })
}

/// Opens the gate for writing, which works once the runtime reads it; none where `over` says that it
/// never will.
fn knock(gate: &Path, over: impl Fn() -> bool) -> Result<Option<OwnedFd>> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    loop {
        match rustix::fs::open(gate, flags, Mode::empty()) {
            Ok(gate) => return Ok(Some(gate)),
            Err(Errno::NXIO) if over() => return Ok(None),
            Err(Errno::NXIO) => std::thread::sleep(KNOCK),
            Err(error) => return Err(AgentError::file(gate, error)),
        }
    }
}

/// Everything that a pass writes to.
pub(crate) struct Desk<'a> {
    job: &'a ReceiveJob,
    stores: HashMap<u8, Store>,
    /// Which tree an open file belongs to.
    open: HashMap<u32, u8>,
    last: bool,
    /// Memory that was sent ahead, once some of it is wanted, and its pages.
    ahead: Option<(File, u64)>,
    before: Before,
    buffer: Vec<u8>,
}

impl<'a> Desk<'a> {
    fn new(job: &'a ReceiveJob, last: bool) -> Result<Self> {
        let mut stores = HashMap::new();
        for (number, place) in (0..).zip(&job.trees) {
            let (root, style) = match (last, place.overlay) {
                (true, true) => (&place.after, Style::Merged),
                (true, false) => (&place.after, Style::Plain),
                (false, _) => (&place.before, Style::Plain),
            };
            stores.insert(number, Store::new(root, style)?);
        }
        if last || job.ahead {
            stores.insert(IMAGES, Store::new(&job.images, Style::Plain)?);
        }
        Ok(Desk {
            job,
            stores,
            open: HashMap::new(),
            last,
            ahead: None,
            before: Before::default(),
            buffer: Vec::new(),
        })
    }

    /// For the images of a round alone.
    pub fn of_round(job: &'a ReceiveJob, images: &Path) -> Result<Self> {
        Ok(Desk {
            job,
            stores: HashMap::from([(IMAGES, Store::new(images, Style::Plain)?)]),
            open: HashMap::new(),
            last: false,
            ahead: None,
            before: Before::default(),
            buffer: Vec::new(),
        })
    }

    fn store(&mut self, tree: u8) -> Result<&mut Store> {
        self.stores
            .get_mut(&tree)
            .ok_or_else(|| AgentError::stream(format!("there is no tree {tree}")))
    }

    fn tree_of(&self, id: u32) -> Result<u8> {
        self.open
            .get(&id)
            .copied()
            .ok_or_else(|| AgentError::stream(format!("file {id} is not open")))
    }

    /// Takes frames until the pass is complete and proven to be what was sent. `tick` is called now and then
    /// while they come, with the number of bytes.
    pub fn pass<R: Read>(
        &mut self,
        from: &mut Receiver<R>,
        tick: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut complete = false;
        let mut ticked = Instant::now();
        loop {
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                tick(from.bytes())?;
            }
            match from.next()? {
                Some(Frame::Sum) if complete => break,
                Some(Frame::Message(Message::Pass { last })) if last == self.last => {
                    complete = true
                }
                Some(Frame::Message(message)) => self.message(message)?,
                Some(Frame::Data { id, offset, bytes }) => {
                    let tree = self.tree_of(id)?;
                    let place = self.before.place(id, offset, bytes.len())?;
                    self.store(tree)?.data(id, place, bytes)?;
                }
                Some(Frame::Again { id, offset, runs }) => self.again(id, offset, &runs)?,
                // A sign that the source is there.
                Some(Frame::Event) => {}
                Some(Frame::Sum) => {
                    return Err(AgentError::stream("a frame out of place"));
                }
                None => return Err(AgentError::Broken("it ended too early".into())),
            }
        }
        self.stores.values_mut().try_for_each(Store::finish)?;
        if self.last && self.job.ahead {
            self.before.finish(&self.job.images)?;
        }
        Ok(())
    }

    /// Pages that were sent ahead: they are left there, or copied.
    fn again(&mut self, id: u32, mut offset: u64, runs: &[(u32, u32)]) -> Result<()> {
        let path = self.job.images.join(ahead::NAME);
        let (file, pages) = match &mut self.ahead {
            Some(open) => open,
            none => {
                let failed = |error| AgentError::file(&path, error);
                let file = File::open(&path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                none.insert((file, length / PAGE))
            }
        };
        let tree = self.open.get(&id).copied();
        let store = tree.and_then(|tree| self.stores.get_mut(&tree));
        let store = store.ok_or_else(|| AgentError::stream(format!("file {id} is not open")))?;
        for run in runs {
            if self.before.leave(id, (offset, *run), *pages)? {
                offset += u64::from(run.1) * PAGE;
                continue;
            }
            ahead::read(file, *run, &mut self.buffer)?;
            let length = self.buffer.len();
            let place = self.before.place(id, offset, length)?;
            store.data(id, place, &self.buffer)?;
            offset += length as u64;
        }
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Entry {
                tree,
                path,
                meta,
                what,
            } => {
                if let crate::frame::What::File(id) = what {
                    self.open.insert(id, tree);
                    if tree == IMAGES && self.last {
                        self.before.open(id, &path);
                    }
                }
                self.store(tree)?.entry(path, meta, what)
            }
            Message::Close { id, size } => {
                let tree = self.tree_of(id)?;
                self.open.remove(&id);
                let size = self.before.size(id, size)?;
                self.store(tree)?.close(id, size)
            }
            Message::Gone { tree, path } => self.store(tree)?.gone(&path),
            Message::Log(lines) => self.log(&lines),
            Message::Pass { .. } | Message::Round(_) | Message::Enough => {
                Err(AgentError::stream("a pass out of order"))
            }
        }
    }

    /// Lines from before the engine was started go into its file; later ones the runtime prints, where
    /// the engine by then keeps account of the file.
    fn log(&self, lines: &[u8]) -> Result<()> {
        let path = match (&self.job.log, self.last) {
            (None, _) => return Ok(()),
            (Some(log), last) if !(last && self.job.print_late) => log.clone(),
            (Some(_), _) => self.job.pending.join(pending::REPLAY),
        };
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(lines))
            .map_err(|error| AgentError::file(&path, error))
    }
}
