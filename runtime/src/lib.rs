//! An OCI runtime that is runc, except that a container with a pending checkpoint is restored instead
//! of created.
//!
//! An engine calls `create`, attaches the network, then calls `start`. For a container that is on its way
//! here, `create` waits until its images have come and becomes `runc restore`, with CRIU told to leave
//! the processes stopped; `start` lets them go on. Every other call is handed on to runc unchanged, by
//! exec: nothing of this program stays in memory underneath a container.
//!
//! What is pending is a folder of root's below [`pending::HOME`]; see [`pending`].

mod announce;
mod attach;
mod binds;
mod call;
mod cgroup;
mod child;
pub mod criu;
mod door;
mod gate;
mod hooks;
pub mod lock;
pub mod marks;
mod namespace;
mod network;
pub mod pending;
mod processes;
mod replay;
mod restore;
mod watch;

use call::Call;
pub use processes::{lives, stopped, tree};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name under which the program is this runtime.
pub const NAME: &str = "transship-runtime";

/// Where it is installed: engines call it by this path.
pub const PATH: &str = "/usr/local/bin/transship-runtime";

/// Its name in Docker's configuration.
pub const REGISTERED: &str = "transship";

/// Names another runc than the one in `PATH`.
pub const RUNC: &str = "TRANSSHIP_RUNC";

/// A verb that runc has not: tells the neighbours that the addresses of the process named after it are here.
pub const ANNOUNCE: &str = "announce";

/// Whether the program was called by the runtime's name, or in the place of what attaches networks.
#[must_use]
pub fn is_called(argv0: Option<&OsString>) -> bool {
    argv0.is_some_and(|argv0| {
        Path::new(argv0)
            .file_name()
            .is_some_and(|name| name == NAME)
            || attach::is_called(argv0)
    })
}

/// Does what the engine asks for; `args` without the program's name. Returns an exit status only where
/// it could not, or need not, become runc.
#[must_use]
pub fn run(args: &[OsString]) -> u8 {
    run_in(Path::new(pending::HOME), args)
}

fn run_in(home: &Path, args: &[OsString]) -> u8 {
    let call = Call::parse(args);
    if let Some(argv0) = std::env::args_os()
        .next()
        .filter(|argv0| attach::is_called(argv0))
    {
        // Podman prints what is said here.
        eprintln!("{}", attach::run(&argv0, args));
        return 1;
    }
    if network::is_hook(args) {
        return match network::hook() {
            Ok(()) => 0,
            Err(why) => {
                // CRIU's log has it.
                call.complain(&why);
                1
            }
        };
    }
    let result = match call.verb() {
        Some("create") => restore::create(home, &call),
        Some("start") => restore::start(home, &call),
        Some(ANNOUNCE) => announced(&call).map(|()| true),
        _ => Ok(false),
    };
    match result {
        Ok(true) => 0,
        Ok(false) => {
            let why = become_runc(args);
            call.complain(&why);
            127
        }
        Err(why) => {
            call.complain(&why);
            1
        }
    }
}

fn announced(call: &Call) -> Result<(), String> {
    let pid = call.id().and_then(|word| word.parse().ok());
    announce::announce(pid.ok_or("announce wants a process id")?, true)
}

fn runc() -> PathBuf {
    std::env::var_os(RUNC).map_or_else(|| PathBuf::from("runc"), PathBuf::from)
}

/// Comes back only with the reason why runc could not be started.
fn become_runc(args: &[OsString]) -> String {
    let runc = runc();
    let error = Command::new(&runc).args(args).exec();
    format!(
        "{NAME} hands every call on to runc, and {} cannot be started: {error}; install runc, or let the daemon's environment name it in {RUNC}",
        runc.display()
    )
}
