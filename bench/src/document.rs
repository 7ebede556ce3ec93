//! What was measured, as one document. Times in seconds, sizes in bytes unless a name says otherwise.

use crate::{Link, Size};
use schemars::JsonSchema;
use serde::Serialize;

/// How a container is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `transship migrate --mode tarball`, the workflow of the thesis.
    Tarball,
    /// `transship migrate --mode copy`.
    Copy,
    /// `transship migrate --mode post-copy`.
    PostCopy,
    /// `transship migrate --mode pre-copy`.
    PreCopy,
    /// Podman's own: `podman container checkpoint --export`, a copy, `podman container restore --import`.
    Podman,
}

impl Mode {
    /// As on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Tarball => "tarball",
            Mode::Copy => "copy",
            Mode::PostCopy => "post-copy",
            Mode::PreCopy => "pre-copy",
            Mode::Podman => "podman",
        }
    }

    /// Whether established TCP connections can move along.
    #[must_use]
    pub fn keeps_connections(self) -> bool {
        matches!(self, Mode::Copy | Mode::PostCopy | Mode::PreCopy)
    }
}

/// One of the two hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Side {
    /// As the user wrote it.
    pub name: String,
    /// Engine and its version.
    pub engine: String,
    /// Version of its kernel.
    pub kernel: String,
    /// How many processors it has.
    pub processors: u32,
}

/// A phase of one move.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Seconds it took.
    pub seconds: f64,
}

/// The most memory that a process of transship took on a host during a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Peak {
    /// The host.
    pub host: String,
    /// Name of the process: `transship` for the agents, `transship-runti` for the runtime that waits.
    pub process: String,
    /// Its largest resident memory (VmHWM).
    pub bytes: u64,
}

/// What a client saw that sent numbered requests while the container moved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Tcp {
    /// Its longest wait for an answer: the downtime that counts.
    pub longest_pause_seconds: f64,
    /// Answers, each the right one, in order.
    pub answers: u64,
    /// How often its connection was lost.
    pub resets: u32,
}

/// One move: a row of the thesis's table 4.1, and more.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// How it was moved.
    pub mode: Mode,
    /// Memory of the process, MiB; every other page is random. 0 is the counter, a shell.
    pub size_mib: Size,
    /// Name of the link between the hosts.
    pub link: String,
    /// Which run it was, from 1 on.
    pub run: u32,
    /// Where it came from.
    pub source: String,
    /// Where it was to go.
    pub destination: String,
    /// Size of the tarball, where the mode makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Bytes sent towards the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Bytes that came back (acknowledgements).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
    /// For how long the container stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_seconds: Option<f64>,
    /// What a client saw that was connected meanwhile, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Tcp>,
    /// All of it.
    pub total_seconds: f64,
    /// Its phases.
    pub phases: Vec<Phase>,
    /// Where its downtime went, as far as that is known: freeze, dump, wire, restore, network, start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub downtime_parts: Vec<Phase>,
    /// The most memory that processes of ours took, where the container was large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peaks: Vec<Peak>,
    /// After the move the process checked all pages of its memory, and each was what it had been; the counter
    /// counted on.
    pub memory_whole: bool,
    /// What went wrong; nothing where it went well. Such a row counts in no median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What the same hosts take for the least of what a move is: the floors nearest to a median.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Beside {
    /// A plain start on the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_seconds: Option<f64>,
    /// `criu dump` and `criu restore` of such a process, into memory and from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criu_seconds: Option<f64>,
    /// So many bytes over TCP, on the same link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_seconds: Option<f64>,
}

/// The medians of all runs of a mode, a size, a link and a direction.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Median {
    /// How it was moved.
    pub mode: Mode,
    /// Memory of the process, MiB.
    pub size_mib: Size,
    /// Name of the link between the hosts.
    pub link: String,
    /// Where it came from.
    pub source: String,
    /// Where it went.
    pub destination: String,
    /// How many moves these are medians of.
    pub good: u32,
    /// How many failed.
    pub failed: u32,
    /// Size of the tarball.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<f64>,
    /// Bytes sent towards the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<f64>,
    /// Bytes that came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<f64>,
    /// For how long the container stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_seconds: Option<f64>,
    /// The longest wait of a client that was connected meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_pause_seconds: Option<f64>,
    /// All of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_seconds: Option<f64>,
    /// Of each phase.
    pub phases: Vec<Phase>,
    /// Of each part of the downtime.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub downtime_parts: Vec<Phase>,
    /// What these hosts take without us.
    pub floor: Beside,
}

/// What the machines take without us: medians. What could not be measured is missing, and a note says why.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FloorRow {
    /// What was measured: `start`, `start-runtime`, `criu-dump`, `criu-restore`, `page-server`, `tcp`.
    pub what: String,
    /// Memory of the process, MiB, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_mib: Option<Size>,
    /// Name of the link between the hosts, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The host, or the source.
    pub host: String,
    /// Seconds.
    pub seconds: f64,
}

/// A ratio of two figures of this document, and what it should be.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Target {
    /// What is compared, as a sentence.
    pub what: String,
    /// The ratio, or the difference in milliseconds where `what` says so.
    pub figure: f64,
    /// At least, or at most, this.
    pub bound: f64,
    /// Whether `bound` is the least; else it is the most.
    pub at_least: bool,
    /// Whether it was reached.
    pub reached: bool,
}

/// The whole benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Document {
    /// Name and version of this document's form.
    pub schema: String,
    /// Whether everything that was asked for was tried; else it was interrupted, or a host was lost.
    pub complete: bool,
    /// The two hosts.
    pub hosts: Vec<Side>,
    /// The container's image.
    pub image: String,
    /// How often each move was made.
    pub runs: u32,
    /// The links over which it was made.
    pub links: Vec<Link>,
    /// What a dry run would do, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// Every move, in order.
    pub rows: Vec<Row>,
    /// Their medians.
    pub medians: Vec<Median>,
    /// What the machines take without us.
    pub floors: Vec<FloorRow>,
    /// The ratios that count.
    pub targets: Vec<Target>,
    /// What could not be measured, and why.
    pub notes: Vec<String>,
    /// How long all of it took.
    pub total_seconds: f64,
    /// The exit code of the command line.
    pub exit_code: u8,
}
