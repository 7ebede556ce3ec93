//! What the phases of a migration share.

use crate::event::{Event, Observer};
use crate::layout::Layout;
use engine::{Container, Docker, Name};
use host::Host;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How the container is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Prepare the destination while the source runs; freeze; stream images and changed files straight
    /// into its memory; go on there. Moves files, volumes and what was printed too.
    Copy,
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
            Mode::Tarball => "tarball",
        }
    }
}

/// What the user asked for.
pub struct Options {
    /// The container on the source.
    pub container: Name,
    /// Its name on the destination, where it is to be another.
    pub name: Option<Name>,
    /// How it is moved.
    pub mode: Mode,
    /// Leave the stopped container on the source.
    pub keep_source: bool,
    /// Show the commands, change nothing.
    pub dry_run: bool,
    /// How the user called us, up to the verb (`transship --ssh-config FILE`): for commands to type next.
    pub invocation: String,
}

/// What copying or packing a large container's images may take.
pub(crate) const SLOW: Duration = Duration::from_secs(1800);

/// One of the two hosts, with its engine.
pub(crate) struct Side {
    pub host: Arc<dyn Host>,
    pub docker: Docker,
}

impl Side {
    pub fn name(&self) -> &str {
        self.host.name()
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
    pub tarball_bytes: Option<u64>,
    /// Id of the container made on the destination.
    pub new_id: Option<Name>,
    pub wire: Option<WireBytes>,
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
    /// `docker image inspect` of its image, on the source.
    pub image: Value,
    /// Memory of its processes, in bytes.
    pub memory: u64,
    /// Its name on the destination.
    pub new_name: Name,
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
}

impl Context<'_> {
    pub fn tell(&self, event: Event) {
        (self.observer)(event);
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.tell(Event::Warning(text.clone()));
        self.warnings.push(text);
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}
