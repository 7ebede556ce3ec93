//! What runs on the two hosts of a migration, started over SSH: one side freezes the container, dumps
//! it and sends images and files, the other receives them and opens the gate of the waiting runtime.

mod ahead;
mod aside;
mod before;
mod criu;
mod destination;
mod error;
mod frame;
mod freeze;
mod freezer;
mod gate;
mod image;
mod images;
mod job;
mod keep;
mod lanes;
mod lazy;
mod link;
mod log;
mod meet;
mod pace;
mod pagemap;
mod pages;
mod rounds;
mod serve;
mod source;
mod tls;
mod tree;
mod tunnel;
mod warm;
mod watch;

pub use destination::receive;
pub use error::{AgentError, BROKE, ENDED, Result};
pub use frame::{Passing, carry};
pub use image::{load, save};
pub use job::{
    COMPLETE, DIRECT, ENOUGH, Event, FREEZE, Link, LoadJob, Place, ROUND, ReceiveJob, Rounds, STOP,
    SaveJob, SendJob, Serve, THROUGH, Token, Took,
};
pub use keep::{KeepJob, keep};
pub use source::send;
pub use warm::PIPE;
