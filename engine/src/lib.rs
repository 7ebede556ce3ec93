//! Docker, driven through its command line: what an engine is, what it can do, and a container's
//! whole configuration as the command that makes it anew on another host.
//!
//! Commands are values ([`commands`]) and answers are parsed from what the engine printed, so both
//! can be tested against recordings. What a version can or cannot do is asked with a small question
//! on [`Docker`], and nowhere else.

mod abilities;
pub mod commands;
mod container;
mod differences;
mod docker;
mod error;
mod name;
mod recreate;
mod version;

pub use abilities::Why;
pub use container::{Container, Mount, Network};
pub use differences::{Difference, differences};
pub use docker::Docker;
pub use error::EngineError;
pub use name::{BadName, Name};
pub use recreate::{Recreated, image_to_name, recreate};
