//! The TCP connections that a container has open. CRIU takes them along only if it is told to, be it that both
//! ends are in the container.

use crate::Failure;
use engine::Container;
use host::facts::container::{Socket, tcp_sockets};
use host::{Cmd, Host};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub local: IpAddr,
    pub port: u16,
    pub remote: IpAddr,
    /// The other end, with its port.
    pub other: String,
}

/// Inodes of all sockets that process `$1` and all below it have open, then the tables of its namespace.
const SCRIPT: &str = r#"
look() { ls -l "/proc/$1/fd" 2>/dev/null | sed -n 's/.* socket:\[\([0-9]*\)\]$/\1/p'; for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do look "$child"; done; }
look "$1"; cat "/proc/$1/net/tcp" "/proc/$1/net/tcp6" 2>/dev/null; :"#;

/// Those of a container's processes that are neither closed nor listening.
pub(super) fn open(host: &dyn Host, container: &Container) -> Result<Vec<Connection>, Failure> {
    let Some(first) = container.pid() else {
        return Ok(Vec::new());
    };
    let text = host.text(&Cmd::reads("sh").args(["-c", SCRIPT, "sh", &first.to_string()]))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<Connection> {
    let inodes: BTreeSet<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let connection = |socket: Socket| {
        let (remote, _) = socket.remote.rsplit_once(':')?;
        Some(Connection {
            local: socket.local.parse().ok()?,
            port: socket.port,
            remote: remote.trim_matches(['[', ']']).parse().ok()?,
            other: socket.remote,
        })
    };
    tcp_sockets(text)
        .into_iter()
        .filter(|socket| socket.connected() && inodes.contains(&socket.inode))
        .filter_map(connection)
        .collect()
}

/// None is open; for a migration that would not take them along.
pub(crate) fn none_open(host: &dyn Host, container: &Container) -> Result<(), Failure> {
    let open = open(host, container)?;
    let Some(first) = open.first() else {
        return Ok(());
    };
    let (on, name) = (host.name(), container.name());
    let what = match open.len() {
        1 => format!("{name} on {on} has an open TCP connection"),
        count => format!("{name} on {on} has {count} open TCP connections"),
    };
    let such = format!("{}:{} and {}", first.local, first.port, first.other);
    Err(Failure::refused(
        on,
        format!("{what} (between {such}), and CRIU cuts none off"),
    )
    .fix("--tcp-established, which takes them along")
    .fix("or close them first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_its_processes_have_open_counts() {
        let text = "77\n78\n\
            sl local_address rem_address st tx_queue tr tm->when retrnsmt uid timeout inode\n\
            0: 00000000:1B58 00000000:0000 0A 0:0 00:0 0 0 0 77 1 0\n\
            1: 0909090A:1B58 0100A8C0:D431 01 0:0 00:0 0 0 0 78 1 0\n\
            2: 0100007F:1B58 0100007F:D432 01 0:0 00:0 0 0 0 79 1 0\n\
            3: 0909090A:1B58 0100A8C0:D433 06 0:0 00:0 0 0 0 0 1 0\n";
        let found = parse(text);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].port, found[0].other.as_str()),
            (7000, "192.168.0.1:54321")
        );
        assert_eq!(found[0].local, IpAddr::from([10, 9, 9, 9]));
        let six = "5\n 0: 000009FD000000000000000009000000:1B58 000009FD000000000000000001000000:D431 08 0:0 00:0 0 0 0 5 1 0\n";
        assert_eq!(parse(six)[0].other, "[fd09::1]:54321");
        assert!(parse("").is_empty());
    }
}
