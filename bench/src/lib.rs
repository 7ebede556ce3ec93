//! Measures migrations between two hosts: each mode, size and direction, several times, and beside them
//! what the same hosts take for a plain start, for CRIU alone and for bytes on the wire.
//!
//! It is the second experiment of the thesis "Towards Docker Live Migration" (its table 4.1 and figure
//! 4.16), on any pair of hosts. Nothing here prints: the result is a [`Document`], which [`markdown`] and
//! [`plot`] turn into text.

mod client;
mod document;
mod floor;
mod link;
pub mod markdown;
mod medians;
mod moves;
mod own;
mod peaks;
pub mod plot;
mod run;
mod setup;
mod shape;
mod size;
mod targets;
mod wire;
mod workload;

pub use client::{Client, Seen};
pub use document::{Beside, Document, FloorRow, Median, Mode, Peak, Phase, Row, Side, Target, Tcp};
pub use link::{BadLink, Link};
pub use run::{Wanted, plan, run};
pub use size::{BadSize, Size};
pub use workload::{BadService, Service};
