//! In the place of netavark, with which Podman attaches a container to its networks before it calls the runtime.
//!
//! In such a namespace the addresses are there before the sockets are restored: a packet that meets it would be
//! answered with a reset, and the neighbours would hear of the container while it still runs where it came from. So
//! for the start of a container with established connections Podman is told of a folder in which this program has
//! netavark's name: it locks the namespace, and becomes the real one.

use crate::namespace::inside;
use crate::pending::{HELPERS, LOCKED, NETAVARK, Pending, REAL};
use crate::{lock, namespace};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Podman's word for what is done to a namespace; its path is the last argument (netavark(1)).
const SETUP: &str = "setup";

/// Whether devices that come to a namespace look for others with their address (RFC 4862, section 5.4).
const DAD: &str = "/proc/sys/net/ipv6/conf/default/accept_dad";

/// Whether the program was called in netavark's place: its name in the folder of a pending container.
pub(crate) fn is_called(argv0: &OsStr) -> bool {
    let path = Path::new(argv0);
    let folder = path.parent().and_then(Path::file_name);
    path.file_name().is_some_and(|name| name == NETAVARK)
        && folder.is_some_and(|name| name == HELPERS)
}

/// Locks, where a namespace is to be attached, and becomes netavark. Comes back only with the reason why not.
pub(crate) fn run(argv0: &OsStr, args: &[OsString]) -> String {
    match prepare(argv0, args) {
        Ok(real) => {
            let error = Command::new(&real).args(args).exec();
            format!("{}: {error}", real.display())
        }
        Err(why) => why,
    }
}

fn prepare(argv0: &OsStr, args: &[OsString]) -> Result<PathBuf, String> {
    let pending = Path::new(argv0).parent().and_then(Path::parent);
    let pending = Pending::at(pending.ok_or("netavark was called without its path")?)?;
    if args.iter().any(|word| word == SETUP) {
        let network = args.last().map(Path::new).unwrap_or(Path::new(""));
        inside(network, || {
            // No socket is bound to an address of which the kernel still asks whether another has it. The other is
            // the container where it comes from. Without IPv6 there is no such file.
            let _ = std::fs::write(DAD, "0");
            namespace::run("sh", &lock::lock(), "").map(drop)
        })?;
        let locked = pending.path(LOCKED);
        std::fs::write(&locked, "").map_err(|error| format!("{}: {error}", locked.display()))?;
    }
    Ok(pending.path(HELPERS).join(REAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_that_name_in_such_a_folder_is_meant() {
        let called = |path: &str| is_called(OsStr::new(path));
        assert!(called("/run/transship/restore/abc/helpers/netavark"));
        assert!(!called("/usr/lib/podman/netavark"));
        assert!(!called("netavark"));
        assert!(!called("/run/transship/restore/abc/helpers/real"));
    }

    #[test]
    fn what_cannot_be_locked_is_not_attached() {
        let dir = tempfile::tempdir().unwrap();
        let helpers = dir.path().join(HELPERS);
        std::fs::create_dir(&helpers).unwrap();
        let argv0 = helpers.join(NETAVARK);
        let call = |words: &[&str]| {
            let args: Vec<OsString> = words.iter().map(OsString::from).collect();
            prepare(argv0.as_os_str(), &args)
        };
        assert_eq!(call(&["version"]).unwrap(), helpers.join(REAL));
        let why = call(&[SETUP, "/no/such/namespace"]).unwrap_err();
        assert!(why.contains("/no/such/namespace"), "{why}");
        assert!(!dir.path().join(LOCKED).exists());
    }
}
