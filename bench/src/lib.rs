//! Measures migrations between two hosts: each mode, size and direction, several times, and beside them
//! what the same hosts take for a plain start, for CRIU alone and for bytes on the wire.
//!
//! It is the second experiment of the thesis "Towards Docker Live Migration" (its table 4.1 and figure
//! 4.16), on any pair of hosts. Nothing here prints: the result is a [`Document`], which [`markdown`] and
//! [`plot`] turn into text.

mod document;
mod floor;
pub mod markdown;
mod own;
mod peaks;
pub mod plot;
mod run;
mod size;
mod targets;
mod workload;

pub use document::{Document, FloorRow, Median, Mode, Peak, Phase, Row, Side, Target};
pub use run::{Wanted, plan, run};
pub use size::{BadSize, Size};
