//! What the two agents are told to do, and what they tell.

use host::Cmd;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Number of the tree with CRIU's images.
pub(crate) const IMAGES: u8 = u8::MAX;

/// The word that makes the sending side freeze the container.
pub const FREEZE: &str = "freeze";

/// What the source's agent does. Commands are lists of words, run as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendJob {
    /// Locks the container's network, where it has one of its own; its standard input.
    pub lock_network: Option<(Vec<String>, String)>,
    /// Freezes the container.
    pub freeze: Vec<String>,
    /// Dumps the frozen container into `images` and leaves it frozen.
    pub dump: Vec<String>,
    /// Folder for the images; in memory.
    pub images: PathBuf,
    /// Folders to send: what the container wrote, and its volumes.
    pub trees: Vec<PathBuf>,
    /// The engine's file with what the container printed.
    pub log: Option<PathBuf>,
}

/// Where a tree goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its folder until the engine has been started.
    pub before: PathBuf,
    /// Its folder from then on.
    pub after: PathBuf,
    /// It is the upper layer of an overlay, which is mounted from then on.
    pub overlay: bool,
}

/// What the destination's agent does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveJob {
    /// Folder for the images; in memory.
    pub images: PathBuf,
    /// The folder by which the runtime knows that the container is pending.
    pub pending: PathBuf,
    /// Where the trees go, in the order of [`SendJob::trees`].
    pub trees: Vec<Place>,
    /// The file that the engine will append to what the container prints.
    pub log: Option<PathBuf>,
    /// Makes the engine start the container; returns when it runs.
    pub start: Vec<String>,
    /// How long that may take, in seconds, the wait for the images included.
    pub start_seconds: u64,
}

/// What an agent tells the one who steers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Source: the container stands still.
    Frozen,
    /// Source: its images are complete.
    Dumped,
    /// Destination: what was sent before the freeze has arrived.
    Pass,
    /// Destination: the runtime waits for the images.
    Waiting,
    /// Destination: all has arrived and is what was sent; the runtime was told.
    Arrived {
        /// Bytes that arrived.
        bytes: u64,
    },
    /// Destination: the engine says that the container runs.
    Started,
}

/// A list of words as a command.
pub(crate) fn command(words: &[String]) -> Cmd {
    let (program, args) = words
        .split_first()
        .map_or(("false", &[][..]), |(program, args)| {
            (program.as_str(), args)
        });
    Cmd::changes(program).args(args.iter().cloned())
}
