//! The network of a container with established TCP connections.
//!
//! Its sockets are restored in `create`, before the engine attaches the network, and can only be bound to
//! an address that is there and has a route: for that moment the loopback has them. So the sockets exist
//! before the interface does, and no packet meets a namespace without them, which would answer with a reset.

use crate::pending::{Options, Pending};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says to an action script when it is called (criu(8)).
const ACTION: &str = "CRTOOLS_SCRIPT_ACTION";
/// Says to ours which container it is for: its pending folder.
pub(crate) const PENDING: &str = "TRANSSHIP_PENDING";

/// Tells the neighbours where the addresses are now: a change of the hardware address, though to what it
/// was, makes the kernel send gratuitous ARP and unsolicited neighbour advertisements where told so
/// (ip-sysctl: arp_notify, ndisc_notify).
const ANNOUNCE: &str = r#"
for dev in /sys/class/net/*; do
    dev=${dev##*/}
    [ "$dev" != lo ] || continue
    for notify in ipv4/conf/$dev/arp_notify ipv6/conf/$dev/ndisc_notify; do
        [ ! -e "/proc/sys/net/$notify" ] || echo 1 > "/proc/sys/net/$notify"
    done
    ip link set dev "$dev" address "$(ip -o link show dev "$dev" | sed -n 's/.*link\/ether \([^ ]*\).*/\1/p')"
done
"#;

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
    for line in lines(&pending.options()?) {
        let words: Vec<&str> = line.split(' ').collect();
        ip(pid, &words)?;
    }
    Ok(())
}

/// What `ip` is told.
fn lines(options: &Options) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned()];
    for address in &options.addresses {
        let (family, bits, more) = if address.is_ipv6() {
            ("-6", 128, " nodad")
        } else {
            ("-4", 32, "")
        };
        lines.push(format!("addr add {address}/{bits} dev lo{more}"));
        // Two addresses of one family share the route.
        lines.push(format!("{family} route replace default dev lo"));
    }
    lines
}

/// Takes addresses and routes from the loopback again.
pub(crate) fn take_back(pid: i32, options: &Options) -> Result<(), String> {
    for address in &options.addresses {
        let (family, bits) = if address.is_ipv6() {
            ("-6", 128)
        } else {
            ("-4", 32)
        };
        // The route may have gone with another address of its family.
        let _ = ip(pid, &[family, "route", "del", "default", "dev", "lo"]);
        ip(
            pid,
            &["addr", "del", &format!("{address}/{bits}"), "dev", "lo"],
        )?;
    }
    Ok(())
}

/// Tells the neighbours; that they are not told only costs time.
pub(crate) fn announce(pid: i32) {
    let pid = pid.to_string();
    let _ = Command::new("nsenter")
        .args(["--target", &pid, "--net", "--", "sh", "-c", ANNOUNCE])
        .output();
}

fn ip(pid: i32, args: &[&str]) -> Result<(), String> {
    let output = Command::new("nsenter")
        .args(["--target", &pid.to_string(), "--net", "ip"])
        .args(args)
        .output()
        .map_err(|error| format!("nsenter: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", args.join(" "), said.trim()))
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
            addresses: vec!["10.0.0.9".parse().unwrap(), "fd00::9".parse().unwrap()],
            lazy_pages: false,
        };
        assert_eq!(
            lines(&options),
            [
                "link set lo up",
                "addr add 10.0.0.9/32 dev lo",
                "-4 route replace default dev lo",
                "addr add fd00::9/128 dev lo nodad",
                "-6 route replace default dev lo",
            ]
        );
    }
}
