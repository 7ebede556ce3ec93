//! What the phases of a migration share.

use crate::Failure;
use crate::event::{Event, Observer};
use crate::journal::{Journal, Known, Reach};
use crate::layout::Layout;
use crate::pipeline::Doubt;
use crate::report::DowntimeParts;
use crate::rounds::PreCopy;
use engine::{Container, Docker, Engine, Kind, Name};
use host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How the container is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Prepare the destination while the source runs; freeze; stream images and changed files straight
    /// into its memory; go on there. Moves files, volumes and what was printed too.
    Copy,
    /// Freeze, send all but the memory, go on there at once; the memory follows, on demand and in the
    /// background. Until the last page has come, both hosts are needed.
    PostCopy,
    /// Send the memory while the container runs, in rounds, each with what changed since the one before; then
    /// as copy, of which only the last changes are left. Needs a kernel that tracks which memory changes.
    PreCopy,
    /// The workflow of the thesis "Towards Docker Live Migration": checkpoint, `tar -cz`, transfer,
    /// unpack, create, start from the checkpoint.
    Tarball,
}

impl Mode {
    /// As on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Copy => "copy",
            Mode::PostCopy => "post-copy",
            Mode::PreCopy => "pre-copy",
            Mode::Tarball => "tarball",
        }
    }
}

impl Mode {
    /// Whether the container is restored through our runtime, from what our agents stream.
    pub(crate) fn streams(self) -> bool {
        matches!(self, Mode::Copy | Mode::PostCopy | Mode::PreCopy)
    }

    /// Whether memory is sent while the container runs.
    pub(crate) fn has_rounds(self) -> bool {
        self == Mode::PreCopy
    }
}

/// What the user asked for.
#[derive(Clone)]
pub struct Options {
    /// The container on the source.
    pub container: Name,
    /// Its name on the destination, where it is to be another.
    pub name: Option<Name>,
    /// How it is moved.
    pub mode: Mode,
    /// Let the facts decide instead: `mode` is then the one that is asked first.
    pub auto: bool,
    /// Leave the stopped container on the source.
    pub keep_source: bool,
    /// Copy the folders of bind mounts along.
    pub copy_bind: bool,
    /// Take established TCP connections along.
    pub tcp_established: bool,
    /// For how long the hosts may be out of each other's reach, while pages are fetched (post-copy) or, if that is
    /// shorter than what is waited for then, while the container stands frozen.
    pub link_timeout: Duration,
    /// Send no more rounds once the container would stand still for no longer than this (pre-copy).
    pub max_downtime: Option<Duration>,
    /// What is left after the rounds follows as in mode post-copy (pre-copy).
    pub then_post_copy: bool,
    /// Of the doctor's checks these may fail ([`doctor::check::UNDUMPABLE`]).
    pub ignore: Vec<String>,
    /// Show the commands, change nothing.
    pub dry_run: bool,
    /// How the hosts are reached.
    pub reach: Reach,
    /// Where journals are kept ([`crate::journal_home`]); a dry run needs none.
    pub journal: Option<PathBuf>,
}

impl Options {
    /// Whether the container goes on at the destination before all of its memory is there.
    pub(crate) fn leaves_pages(&self) -> bool {
        self.mode == Mode::PostCopy || self.then_post_copy
    }
}

/// For how long the hosts may be out of each other's reach unless the user says otherwise.
pub const LINK_TIMEOUT: Duration = Duration::from_secs(60);

/// For how long at the most while the container stands frozen. One that was away for up to ten seconds is survived: TCP
/// tries again after 0.2, 0.6, 1.4, 3, 6.2 and 12.6 s.
pub(crate) const FROZEN_TIMEOUT: Duration = Duration::from_secs(15);

/// What copying or packing a large container's images may take.
pub(crate) const SLOW: Duration = Duration::from_secs(1800);

/// One of the two hosts, with its engine.
pub(crate) struct Side {
    pub host: Arc<dyn Host>,
    pub engine: Engine,
}

impl Side {
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// Docker; only mode tarball asks, which is refused for other engines.
    pub fn docker(&self) -> &Docker {
        self.engine
            .docker()
            .expect("mode tarball is refused for other engines")
    }
}

/// Bytes on the wire: towards the destination, and back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WireBytes {
    pub sent: u64,
    pub received: u64,
}

/// What is measured and learnt on the way.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub last_sign_on_source: Option<Instant>,
    pub first_sign_on_destination: Option<Instant>,
    /// The source was frozen and goes on.
    pub stood_still: bool,
    /// The source ended while it stood frozen, and somebody started it anew.
    pub started_anew: bool,
    /// The source ended while it stood frozen: what is to be said of that once all else is undone.
    pub ended: Option<Doubt>,
    pub tarball_bytes: Option<u64>,
    /// Id of the container made on the destination.
    pub new_id: Option<Name>,
    pub wire: Option<WireBytes>,
    /// The same for the container's image, which comes before all else, where it was moved.
    pub image_wire: WireBytes,
    /// Where the time went in which it stood still.
    pub downtime: DowntimeParts,
    /// The rounds of mode pre-copy.
    pub pre_copy: Option<PreCopy>,
    /// Bytes of the phase that runs now.
    pub phase_bytes: Option<u64>,
}

/// Everything the phases share.
pub(crate) struct Context<'a> {
    pub options: &'a Options,
    pub source: Side,
    pub destination: Side,
    /// The container on the source as it was before.
    pub container: Container,
    /// Its name there.
    pub name: Name,
    /// What the engine tells of its image, on the source.
    pub image: Value,
    /// Memory of its processes, in bytes.
    pub memory: u64,
    /// So much of it is sent before the freeze.
    pub ahead: u64,
    /// Its name on the destination.
    pub new_name: Name,
    /// Path of our program on the hosts, where the mode needs it there; `prepare` puts it.
    pub tool: String,
    /// The layout of its first process before it was frozen.
    pub layout: Option<Layout>,
    /// What this mode does not move, in words.
    pub left_behind: Vec<String>,
    /// Where the log of the removed source is kept.
    pub log_kept: Option<String>,
    pub observer: &'a Observer,
    pub interrupted: &'a AtomicBool,
    pub measured: Measured,
    pub warnings: Vec<String>,
    /// Id of this migration, by which its folders are known.
    pub id: String,
    /// None in a dry run.
    pub journal: Option<Journal>,
    /// An earlier undo let the source go on already: nothing is to be done there.
    pub source_done: bool,
    /// Something that this migration made is still on a host.
    pub left: bool,
}

impl Context<'_> {
    /// The engine of both sides, for its commands.
    pub fn kind(&self) -> Kind {
        self.source.engine.kind()
    }

    pub fn tell(&self, event: Event) {
        (self.observer)(event);
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.tell(Event::Warning(text.clone()));
        self.warnings.push(text);
    }

    /// Warns of something that this migration made and that is still on a host.
    pub fn leave(&mut self, text: impl Into<String>) {
        self.left = true;
        self.warn(text);
    }

    /// Writes down what was learnt, and with `phase` that it begins. `durable` takes a disk's time.
    pub fn note(&mut self, phase: Option<&str>, durable: bool) -> Result<(), Failure> {
        let known = Known {
            container: self.container.raw().clone(),
            image: self.image.clone(),
            memory: self.memory,
            source: self.source.engine.clone(),
            destination: self.destination.engine.clone(),
            new_id: self.measured.new_id.as_ref().map(ToString::to_string),
            layout: self.layout.clone(),
            tool: self.tool.clone(),
            left_behind: self.left_behind.clone(),
        };
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        journal.record.known = Some(known);
        journal.record.phases.extend(phase.map(str::to_owned));
        journal.save(durable)
    }

    /// The container's own id on the source.
    pub fn source_id(&self) -> Name {
        Name::new(self.container.id()).expect("the engine's ids are names")
    }

    /// Id of the container made on the destination; only phases after `create` ask.
    pub fn new_id(&self) -> Name {
        self.measured.new_id.clone().expect("`create` has run")
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}
