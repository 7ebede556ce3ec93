//! Two or more real hosts on one machine, without a hypervisor.
//!
//! A host of the lab is a network namespace with a cable to the lab's bridge, mount, pid, uts, ipc and
//! cgroup namespaces of its own, an overlay on a Debian root file system, and in it an sshd and a
//! container engine: enough for containers to be checkpointed in one host and restored in another, by
//! the real programs. Hosts are called `a`, `b`, and so on.
//!
//! ```no_run
//! let config = lab::LabConfig::default();
//! let status = lab::up(&config, &mut |_event| ())?;
//! let inside = lab::host(&config, "a")?;
//! assert!(status.up);
//! lab::down(&config, &mut |_event| ())?;
//! # Ok::<(), lab::LabError>(())
//! ```

mod boot;
mod cgroup;
mod config;
mod daemons;
mod disk;
mod down;
mod error;
mod event;
mod image;
mod inside;
mod machine;
mod mirror;
mod net;
mod rootfs;
mod ssh;
mod status;
mod up;

pub use config::{Engine, LabConfig, MAX_HOSTS, MAX_NAME, Node};
pub use down::down;
pub use error::{LabError, Result};
pub use event::Event;
pub use inside::LabHost;
pub use status::{HostStatus, Status, exec, host, status};
pub use up::up;
