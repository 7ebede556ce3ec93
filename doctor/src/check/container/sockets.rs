//! Sockets of a container.

use super::{Inmate, count, some};
use crate::check::catalogue::{Check, meta};
use crate::check::verdict::{Group, Outcome};
use host::facts::container::{Family, Socket};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

pub(super) fn checks<'p>() -> Vec<Check<Inmate<'p>>> {
    vec![
        Check::new(
            meta(
                "container.tcp",
                Group::Container,
                "It has no open TCP connections, or CRIU may take them",
                "TCP sockets of its processes that are neither closed nor listening. It fails where there is one and tcp-established is not switched on",
                "CRIU takes connections along only when asked to, since the other end must not notice the move: the container needs the same address at its destination",
                "where both hosts' networks can give it its address: `transship migrate NAME --from A --to B --tcp-established`. For a checkpoint by hand with Podman: `podman container checkpoint --tcp-established NAME`, and the same option at the restore. For one by hand with Docker: `echo tcp-established >>/etc/criu/runc.conf` on both hosts. Or close the connections first",
            ),
            tcp,
        ),
        Check::new(
            meta(
                "container.unix-sockets",
                Group::Container,
                "No Unix socket leads out of it",
                "who is at the other end of each Unix socket, as ss says. It fails where that is no process of the container",
                "the other end stays behind at the source, so CRIU refuses to cut the connection",
                "have the program close it: a mounted /run/docker.sock, a database's or the log daemon's socket",
            ),
            unix,
        ),
        Check::new(
            meta(
                "container.sockets",
                Group::Container,
                "All its sockets are of a kind that CRIU knows",
                "sockets of its processes. It fails for ping sockets, and warns for those that no table of the kernel lists (vsock, AF_ALG, SCTP)",
                "CRIU knows TCP, UDP, raw, Unix, netlink and packet sockets",
                "end what uses the socket (ping, a VPN)",
            ),
            kinds,
        ),
    ]
}

fn tcp(inmate: &Inmate<'_>) -> Outcome {
    if inmate.container.processes.is_empty() {
        return Outcome::skip("the container does not run");
    }
    let own = inmate.container.own_sockets();
    let connections: Vec<String> = own
        .iter()
        .filter(|socket| socket.connected())
        .map(|socket| format!("{}:{} with {}", socket.local, socket.port, socket.remote))
        .collect();
    if connections.is_empty() {
        let listening = own.iter().filter(|socket| socket.listens()).count();
        return Outcome::ok(match listening {
            0 => "no TCP connection is open".to_owned(),
            count => format!("no TCP connection is open; {count} sockets listen"),
        });
    }
    if inmate.criu_option("tcp-established").is_some() {
        return Outcome::ok(format!(
            "{}, which CRIU is told to take along",
            count(connections.len(), "TCP connection")
        ));
    }
    let mut fail =
        Outcome::fail("TCP connections are open, and CRIU is not told to take them along")
            .found(some(&connections));
    if !inside(&own) && !own_addresses(inmate) {
        fail = fail.fix("create it with an address of its own in a macvlan or ipvlan network that both hosts have: transship migrate --tcp-established moves such a one, and the engine chose this one's address");
    } else if let Some((destination, _)) = &inmate.destination {
        fail = fail.fix(format!(
            "transship migrate {} --from {} --to {} --tcp-established   # tells it so",
            inmate.name,
            host::quote(inmate.source.name),
            host::quote(destination.name)
        ));
    }
    fail.fix(inmate.switch_on("tcp-established"))
        .fix("or close the connections first")
}

/// Whether both ends of every connection are in the container, and move together.
fn inside(own: &[&Socket]) -> bool {
    let loopback = |text: &str| {
        let ip = text.parse().or_else(|_| {
            let at = text.parse::<SocketAddr>();
            at.map(|at| at.ip())
        });
        ip.is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
    };
    let mut open = own.iter().filter(|socket| socket.connected());
    open.all(|socket| loopback(&socket.local) && loopback(&socket.remote))
}

/// Whether the user chose every address that it has: only such a one is the same at the destination.
fn own_addresses(inmate: &Inmate<'_>) -> bool {
    let Some(inspected) = inmate.inspected else {
        return false;
    };
    let endpoints = &inspected.raw()["NetworkSettings"]["Networks"];
    let networks = inspected.networks();
    let chosen = |name: &str, kind: &str, address: &Option<String>| {
        address.is_none() || endpoints[name]["IPAMConfig"][kind].as_str() == address.as_deref()
    };
    let mut own = networks
        .iter()
        .filter(|one| one.ip.is_some() || one.ip6.is_some())
        .peekable();
    own.peek().is_some()
        && own.all(|one| {
            chosen(&one.name, "IPv4Address", &one.ip) && chosen(&one.name, "IPv6Address", &one.ip6)
        })
}

fn unix(inmate: &Inmate<'_>) -> Outcome {
    if inmate.container.processes.is_empty() {
        return Outcome::skip("the container does not run");
    }
    let own: Vec<&Socket> = inmate.container.own_sockets();
    let own: Vec<&&Socket> = own.iter().filter(|s| s.family == Family::Unix).collect();
    if own.is_empty() {
        return Outcome::ok("no Unix socket is open");
    }
    if !inmate.container.peers_known {
        return Outcome::skip("who is at the other ends is not known: ss or nsenter is missing");
    }
    // The table does not tell: a socket that a server outside accepted belongs to the network
    // namespace of who connected.
    let open = inmate.container.socket_inodes();
    let out: Vec<String> = own
        .iter()
        .filter(|socket| socket.peer.is_some_and(|peer| !open.contains(&peer)))
        .map(|socket| match socket.local.as_str() {
            "" | "*" => format!(
                "socket {} leads to socket {} of the host",
                socket.inode,
                socket.peer.unwrap_or(0)
            ),
            path => format!(
                "{path} leads to socket {} of the host",
                socket.peer.unwrap_or(0)
            ),
        })
        .collect();
    if out.is_empty() {
        return Outcome::ok(format!(
            "{}, none leads out",
            count(own.len(), "Unix socket")
        ));
    }
    Outcome::fail("a Unix socket leads out of the container").found(some(&out))
}

fn kinds(inmate: &Inmate<'_>) -> Outcome {
    if inmate.container.processes.is_empty() {
        return Outcome::skip("the container does not run");
    }
    let own = inmate.container.own_sockets();
    let mut bad: Vec<String> = own
        .iter()
        .filter_map(|socket| match socket.family {
            Family::Icmp => Some(format!("a ping socket ({})", socket.inode)),
            _ => None,
        })
        .collect();
    let listed: BTreeSet<u64> = inmate.container.sockets.iter().map(|s| s.inode).collect();
    // A TCP socket that is not bound or connected yet is in no table either.
    let unlisted = inmate
        .container
        .socket_inodes()
        .into_iter()
        .filter(|inode| !listed.contains(inode))
        .count();
    if bad.is_empty() && unlisted == 0 {
        return Outcome::ok(format!(
            "{}, all of a kind that CRIU knows",
            count(own.len(), "socket")
        ));
    }
    if bad.is_empty() {
        return Outcome::warn("a socket is of a kind that is not known")
            .found(format!("{unlisted} sockets that no table of the kernel lists: not bound yet, or vsock, AF_ALG, SCTP"));
    }
    bad.extend((unlisted > 0).then(|| format!("{unlisted} that no table lists")));
    Outcome::fail("a socket is of a kind that CRIU does not know").found(some(&bad))
}
