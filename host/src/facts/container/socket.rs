//! The sockets of a network namespace, from /proc/PID/net and ss.

use crate::facts::transcript::Transcript;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Lightweight UDP.
    Udplite,
    /// Raw IP.
    Raw,
    /// Ping without privileges.
    Icmp,
    /// Raw packets of a link.
    Packet,
    /// Kernel messages.
    Netlink,
    /// Unix.
    Unix,
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Socket {
    /// What kind.
    pub family: Family,
    /// Its inode.
    pub inode: u64,
    /// Own address, or path.
    pub local: String,
    /// Own port; 0 where there is none.
    pub port: u16,
    /// Address of the other end.
    pub remote: String,
    /// State by the kernel's number for TCP: 1 established, 7 closed, 10 listening.
    pub state: u8,
    /// Inode of a Unix socket's other end, where it has one and ss says so.
    pub peer: Option<u64>,
}

impl Socket {
    /// A TCP connection in any state but closed and listening.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.family == Family::Tcp && !matches!(self.state, 7 | 10)
    }

    /// A TCP socket that waits for connections.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.family == Family::Tcp && self.state == 10
    }
}

/// Reads the sections `net.*`.
pub(super) fn parse(transcript: &Transcript) -> Vec<Socket> {
    let tables = [
        ("tcp", Family::Tcp),
        ("tcp6", Family::Tcp),
        ("udp", Family::Udp),
        ("udp6", Family::Udp),
        ("udplite", Family::Udplite),
        ("raw", Family::Raw),
        ("raw6", Family::Raw),
        ("icmp", Family::Icmp),
        ("packet", Family::Packet),
        ("netlink", Family::Netlink),
        ("unix", Family::Unix),
    ];
    tables
        .into_iter()
        .flat_map(|(name, family)| {
            let lines = transcript.section(&format!("net.{name}"));
            let lines = lines.map_or("", |section| section.text.as_str()).lines();
            lines.skip(1).filter_map(move |line| socket(family, line))
        })
        .collect()
}

/// Reads `/proc/PID/net/tcp` and `tcp6`, one after the other too; lines that are none of theirs are passed over.
#[must_use]
pub fn tcp_sockets(text: &str) -> Vec<Socket> {
    let sockets = text.lines().filter_map(|line| socket(Family::Tcp, line));
    sockets.collect()
}

fn socket(family: Family, line: &str) -> Option<Socket> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let plain = |inode: Option<&&str>, local: &str| {
        Some(Socket {
            family,
            inode: inode?.parse().ok()?,
            local: local.to_owned(),
            port: 0,
            remote: String::new(),
            state: 0,
            peer: None,
        })
    };
    match family {
        Family::Unix => plain(words.get(6), words.get(7).copied().unwrap_or_default()),
        Family::Packet => plain(words.get(8), ""),
        Family::Netlink => plain(words.get(9), ""),
        _ => {
            let local = address(words.get(1)?)?;
            Some(Socket {
                family,
                inode: words.get(9)?.parse().ok()?,
                local: local.ip().to_string(),
                port: local.port(),
                remote: address(words.get(2)?)?.to_string(),
                state: u8::from_str_radix(words.get(3)?, 16).ok()?,
                peer: None,
            })
        }
    }
}

/// Reads `0100007F:1F90`: words of four bytes in the processor's order, which is little-endian on all that CRIU
/// supports but s390x; the port is in order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_le_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            let ip = Ipv6Addr::from(bytes);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Reads `ss -x -a -n -H`: kind, state, two queues, then path and inode of either end.
pub(super) fn peers(sockets: &mut [Socket], text: &str) {
    let peers: BTreeMap<u64, u64> = text
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // A path may have blanks; the ends of the line do not move.
            let peer = words.last()?.parse().ok().filter(|inode| *inode != 0)?;
            let own = words.get(words.len().checked_sub(3)?)?.parse().ok()?;
            Some((own, peer))
        })
        .collect();
    for socket in sockets.iter_mut().filter(|s| s.family == Family::Unix) {
        socket.peer = peers.get(&socket.inode).copied();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_the_kernel_writes_them() {
        let read = |text| address(text).map(|address| address.to_string());
        assert_eq!(read("0100007F:1F90"), Some("127.0.0.1:8080".to_owned()));
        assert_eq!(
            read("0000000000000000FFFF00000300A8C0:0050"),
            Some("192.168.0.3:80".to_owned())
        );
        assert_eq!(
            read("00000000000000000000000001000000:0016"),
            Some("[::1]:22".to_owned())
        );
        assert_eq!(read("01:50"), None);
        assert_eq!(read("ä100007:50"), None);
    }

    #[test]
    fn connections_and_listeners_are_told_apart() {
        let line = "0: 020011AC:1F90 010011AC:C350 01 0:0 00:0 0 0 0 77 1 x";
        let established = socket(Family::Tcp, line).unwrap();
        assert!(established.connected() && !established.listens());
        assert_eq!((established.inode, established.port), (77, 8080));
        assert_eq!(established.remote, "172.17.0.1:50000");
    }

    #[test]
    fn the_other_end_of_a_unix_socket() {
        let mut sockets =
            vec![socket(Family::Unix, "0: 00000003 00000000 00000000 0001 03 501").unwrap()];
        peers(
            &mut sockets,
            "u_str ESTAB 0 0 * 501 * 502\nu_str LISTEN 0 5 /run/my sock 600 * 0\n",
        );
        assert_eq!(sockets[0].peer, Some(502));
    }
}
