//! What runs on the two hosts of a migration, started over SSH: one side freezes the container, dumps
//! it and sends images and files, the other receives them and opens the gate of the waiting runtime.

mod destination;
mod error;
mod frame;
mod images;
mod job;
mod link;
mod log;
mod source;
mod tree;

pub use destination::receive;
pub use error::{AgentError, Result};
pub use frame::{Passing, carry};
pub use job::{DIRECT, Event, FREEZE, Link, Place, ReceiveJob, SendJob, THROUGH, Token};
pub use source::send;
