//! The network of a container with established TCP connections.
//!
//! Its sockets are restored in `create`, before the engine attaches the network, and can only be bound to
//! an address that is there and has a route: for that moment the loopback has them. So the sockets exist
//! before the interface does, and no packet meets a namespace without them, which would answer with a reset.

use crate::lock;
use crate::namespace::{run, within};
use crate::pending::{Options, Pending};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Says to an action script when it is called (criu(8)).
const ACTION: &str = "CRTOOLS_SCRIPT_ACTION";
/// Says to ours which container it is for: its pending folder.
pub(crate) const PENDING: &str = "TRANSSHIP_PENDING";

/// Whether CRIU calls us, as its action script.
pub(crate) fn is_hook(args: &[OsString]) -> bool {
    args.is_empty() && std::env::var_os(ACTION).is_some()
}

/// What CRIU is told to call: this program, as the engine called it. A script of our own would not do where
/// its folder is mounted without the right to execute.
pub(crate) fn script() -> Result<PathBuf, String> {
    let program = std::env::args_os().next().map(PathBuf::from);
    program
        .filter(|path| path.is_absolute())
        .ok_or_else(|| "the engine called the runtime without its path".to_owned())
}

/// Gives the loopback of a namespace that CRIU has just made the addresses, and a route.
pub(crate) fn hook() -> Result<(), String> {
    let said = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    if said(ACTION)? != "setup-namespaces" {
        return Ok(());
    }
    let pid = said("CRTOOLS_INIT_PID")?;
    let pid = pid
        .parse()
        .map_err(|_| format!("`{pid}` is no process id"))?;
    let pending = Pending::at(Path::new(&said(PENDING)?))?;
    let lines = there(&pending.options()?);
    within(pid, || ip(&lines))
}

/// Locks the network: until its processes go on nothing is acknowledged for them.
pub(crate) fn lock(pid: i32) -> Result<(), String> {
    within(pid, || run("sh", &lock::lock(), "").map(drop))
}

/// Takes addresses and routes from the loopback again.
pub(crate) fn take_back(pid: i32, options: &Options) -> Result<(), String> {
    within(pid, || ip(&gone(options)))
}

/// Lets everything through to processes that are about to go on.
pub(crate) fn open(pid: i32) -> Result<(), String> {
    within(pid, || run("sh", &lock::open(), "").map(drop))
}

/// Begins to take away what is left of the lock, which nobody need wait for.
pub(crate) fn begin_to_unlock(pid: i32) -> Result<(), String> {
    let behind = ["-c", r#""$@" </dev/null >/dev/null 2>&1 &"#, "sh", "sh"];
    within(pid, || {
        run("sh", &[&behind[..], &lock::unlock()].concat(), "").map(drop)
    })
}

/// An address as the only one of its network; and the route to everywhere, of its family.
fn words(address: &IpAddr) -> (String, &'static str) {
    if address.is_ipv6() {
        (format!("{address}/128"), "::/0")
    } else {
        (format!("{address}/32"), "0.0.0.0/0")
    }
}

/// What `ip` is told for the sockets to be restored.
fn there(options: &Options) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned()];
    for address in &options.addresses {
        let (alone, everywhere) = words(address);
        let more = if address.is_ipv6() { " nodad" } else { "" };
        // Not `add`: with CRIU 4.1.1 they were there already (EEXIST) when it called the script.
        lines.push(format!("addr replace {alone} dev lo{more}"));
        // Two addresses of one family share the route.
        lines.push(format!("route replace {everywhere} dev lo"));
    }
    lines
}

/// And after that.
fn gone(options: &Options) -> Vec<String> {
    let words: Vec<_> = options.addresses.iter().map(words).collect();
    let mut routes: Vec<_> = words.iter().map(|(_, everywhere)| *everywhere).collect();
    routes.sort_unstable();
    routes.dedup();
    // The routes first: they go with the address.
    let routes = routes.iter().map(|to| format!("route del {to} dev lo"));
    let addresses = words.iter();
    routes
        .chain(addresses.map(|(alone, _)| format!("addr del {alone} dev lo")))
        .collect()
}

/// One call for all of them.
fn ip(lines: &[String]) -> Result<(), String> {
    run("ip", &["-batch", "-"], &(lines.join("\n") + "\n")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_get_address_and_route() {
        let options = Options {
            images: "/i".into(),
            wait_seconds: 1,
            tcp_established: true,
            addresses: ["10.0.0.9", "10.0.1.9", "fd00::9"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            lazy_pages: false,
            descriptors: None,
        };
        assert_eq!(
            there(&options),
            [
                "link set lo up",
                "addr replace 10.0.0.9/32 dev lo",
                "route replace 0.0.0.0/0 dev lo",
                "addr replace 10.0.1.9/32 dev lo",
                "route replace 0.0.0.0/0 dev lo",
                "addr replace fd00::9/128 dev lo nodad",
                "route replace ::/0 dev lo",
            ]
        );
        assert_eq!(
            gone(&options),
            [
                "route del 0.0.0.0/0 dev lo",
                "route del ::/0 dev lo",
                "addr del 10.0.0.9/32 dev lo",
                "addr del 10.0.1.9/32 dev lo",
                "addr del fd00::9/128 dev lo",
            ]
        );
    }
}
