//! Docker and Podman, driven through their command lines: what an engine is, what it can do, and a
//! container's whole configuration as the command that makes it anew on another host.
//!
//! Commands are values (methods of [`Kind`]) and answers are parsed from what the engine printed, so
//! both can be tested against recordings. What an engine and its version can or cannot do is asked with a
//! small question on [`Engine`] or [`Docker`], and nowhere else.

mod abilities;
mod answer;
mod commands;
mod container;
mod differences;
mod docker;
mod engine;
mod error;
mod name;
mod podman;
mod recreate;
mod version;

pub use abilities::Why;
pub use commands::Logs;
pub use container::{Container, Mount, Network};
pub use differences::{Difference, differences};
pub use docker::Docker;
pub use engine::{Engine, Kind, Probed};
pub use error::EngineError;
pub use name::{BadName, BadReference, Name, Reference};
pub use podman::Podman;
pub use recreate::{Recreated, image_to_name, recreate};
