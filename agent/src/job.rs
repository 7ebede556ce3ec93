//! What the two agents are told to do, and what they tell.

use host::Cmd;
use runtime::marks;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Number of the tree with CRIU's images.
pub(crate) const IMAGES: u8 = u8::MAX;

/// The word that makes the sending side freeze the container.
pub const FREEZE: &str = "freeze";

/// The word that makes the sending side send the memory that changed since the last time (pre-copy).
pub const ROUND: &str = "round";

/// The word that says that no more rounds are wanted.
pub const ENOUGH: &str = "enough";

/// The word that ends an agent's work although the container has gone on at the destination: pages that
/// are still missing then are lost, and the container there is ended.
pub const STOP: &str = "stop";

/// Name of the file in the work folder that says, after a post-copy, that the last page has come.
pub const COMPLETE: &str = "complete";

/// The words by which the receiving side is told where frames come from.
pub const DIRECT: &str = "direct";
/// The same: through its standard input.
pub const THROUGH: &str = "through";

/// What both sides were told over SSH, and nobody else knows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token(pub [u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// What is shown for one more connection of the same stream.
    pub(crate) fn of_lane(&self, lane: u8) -> Token {
        let mut words = self.0.to_vec();
        words.push(lane);
        Token(blake3::derive_key("transship lane", &words))
    }

    /// What is shown for the connection that carries pages on demand.
    pub(crate) fn of_pages(&self) -> Token {
        Token(blake3::derive_key("transship pages", &self.0))
    }
}

/// How the source reaches the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The destination's addresses, the likeliest first.
    pub addresses: Vec<IpAddr>,
    /// Its port.
    pub port: u16,
    /// BLAKE3 of its public key.
    pub fingerprint: String,
}

/// What the source's agent does. Commands are lists of words, run as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendJob {
    /// Locks the container's network, where it has one of its own; its standard input.
    pub lock_network: Option<(Vec<String>, String)>,
    /// Process id of the container's first process.
    pub first: u32,
    /// Freezes the container.
    pub freeze: Vec<String>,
    /// runc's file on the container, which says where its control groups are.
    pub state: PathBuf,
    /// Dumps the frozen container into `images` and leaves it frozen.
    pub dump: Vec<String>,
    /// A file for CRIU's configuration of this one dump; its log lies beside it.
    pub config: PathBuf,
    /// Folder for the images; in memory.
    pub images: PathBuf,
    /// Folders to send: what the container wrote, and its volumes.
    pub trees: Vec<PathBuf>,
    /// The engine's file with what the container printed.
    pub log: Option<PathBuf>,
    /// The destination's port, if it has one; and what to show there.
    pub link: Option<(Link, Token)>,
    /// For post-copy.
    pub serve: Option<Serve>,
    /// For pre-copy.
    pub rounds: Option<Rounds>,
    /// So many bytes of memory at most are sent before the freeze, and again only where they changed; 0 for none.
    pub ahead: u64,
    /// For how long the other host may be out of reach while the container stands frozen, in seconds.
    pub frozen_seconds: u64,
}

/// What the source's agent does to move an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaveJob {
    /// Prints the image.
    pub save: Vec<String>,
    /// As in [`SendJob::link`].
    pub link: Option<(Link, Token)>,
}

/// What the destination's agent does to move an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadJob {
    /// Reads the image.
    pub load: Vec<String>,
    /// As in [`ReceiveJob::token`].
    pub token: Token,
}

/// How memory is sent ahead, in rounds, while the container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    /// Writes what changed since the last round. Where to is put before its last word; and what the last
    /// round was, as in [`SendJob::dump`].
    pub pre_dump: Vec<String>,
}

/// How memory is left where it is, to be fetched once the container runs on the other host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serve {
    /// Freezes the container again, which CRIU thaws to dump it, where that cannot be done by hand.
    pub hold: Vec<String>,
    /// For how long the other host may be out of reach, in seconds.
    pub link_seconds: u64,
    /// About how much memory that is, in bytes.
    pub memory: u64,
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
    /// Lines that come after the engine was started are printed by the runtime, not written into that file.
    pub print_late: bool,
    /// Makes the engine start the container; returns when it runs.
    pub start: Vec<String>,
    /// What the source shows at the port that is opened for it.
    pub token: Token,
    /// For post-copy: for how long the source may be out of reach, in seconds.
    pub lazy_seconds: Option<u64>,
    /// For pre-copy: before the engine is started, rounds come.
    pub rounds: bool,
    /// Memory comes before the freeze.
    pub ahead: bool,
    /// As in [`SendJob::frozen_seconds`].
    pub frozen_seconds: u64,
}

/// What an agent tells the one who steers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Destination: here the source may connect; none where no port could be opened.
    Listening {
        /// How to reach and know it.
        link: Option<Link>,
    },
    /// Source: it is connected to the destination, or its frames come through its standard output.
    Connected {
        /// Whether it is connected.
        direct: bool,
    },
    /// Source: a pass was sent.
    Sent {
        /// Bytes sent so far, in all.
        bytes: u64,
        /// Bytes sent and received so far on the direct link, if there is one, encryption included.
        wire: Option<(u64, u64)>,
        /// Seconds from the freeze until the dump was done, but for pages that follow later.
        #[serde(default)]
        dump_seconds: Option<f64>,
    },
    /// Source: a round was sent.
    Round {
        /// Pages in it.
        pages: u64,
        /// Bytes sent so far, in all.
        bytes: u64,
        /// As in [`Event::Sent`].
        wire: Option<(u64, u64)>,
    },
    /// Either: it is at work.
    Moving {
        /// Bytes sent, or received, so far, in all.
        bytes: u64,
        /// About how many there will be, where that is known.
        total: Option<u64>,
    },
    /// Source: the container stands still.
    Frozen {
        /// Seconds that it took to lock its network and freeze it.
        #[serde(default)]
        seconds: Option<f64>,
    },
    /// Destination: what was sent before the freeze has arrived; in rounds, what one of them brought.
    Pass,
    /// Destination: the runtime waits for the images.
    Waiting,
    /// Destination: all has arrived and is what was sent; the runtime was told.
    Arrived {
        /// Bytes that arrived.
        bytes: u64,
    },
    /// Destination: the engine says that the container runs.
    Started {
        /// Where the time went since the runtime was told.
        #[serde(default)]
        took: Took,
    },
    /// Destination: it runs, and so much of its memory is still on the source.
    Pages {
        /// Pages to come.
        left: u64,
        /// All pages that were left there.
        total: u64,
        /// The source cannot be reached at the moment.
        cut: bool,
    },
    /// Either: the last page has come.
    Complete {
        /// Bytes sent and received for the pages on the direct link, encryption included; the source
        /// alone knows.
        wire: Option<(u64, u64)>,
    },
    /// Either: they will not come any more.
    Lost {
        /// Why.
        why: String,
        /// Destination: the container was ended there.
        ended: bool,
    },
}

/// What the destination took from the images being there to the container running, in seconds; what is not
/// known is missing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Took {
    /// CRIU's restore.
    pub restore: Option<f64>,
    /// From then until the engine let it start: the engine attaches the network.
    pub network: Option<f64>,
    /// From then until the engine said that it runs.
    pub start: Option<f64>,
}

impl Took {
    /// Since the runtime was told to go, by the marks that it left beside the images.
    pub(crate) fn since(go: Duration, images: &Path) -> Self {
        let [restored, started] =
            [marks::RESTORED, marks::STARTED].map(|name| marks::read(images, name));
        let between = |from: Option<Duration>, to: Option<Duration>| {
            Some(to?.checked_sub(from?)?.as_secs_f64())
        };
        Took {
            restore: between(Some(go), restored),
            network: between(restored, started),
            start: between(started, Some(marks::now())),
        }
    }
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

#[cfg(test)]
impl SendJob {
    /// One that does nothing, for tests that set what they are about.
    pub fn idle(folder: &Path) -> Self {
        SendJob {
            lock_network: None,
            first: 1,
            freeze: Vec::new(),
            state: folder.join("state.json"),
            dump: Vec::new(),
            config: folder.join("criu.conf"),
            images: folder.to_owned(),
            trees: Vec::new(),
            log: None,
            link: None,
            serve: None,
            rounds: None,
            ahead: 0,
            frozen_seconds: 15,
        }
    }
}
