//! Tells the neighbours where a container's addresses are now.
//!
//! First without changing anything, which every kind of device allows: a datagram from each address makes the
//! kernel ask for a neighbour's hardware address, by a broadcast from which all neighbours learn ours; for IPv6 an
//! unsolicited neighbour advertisement (RFC 4861, 7.2.6) is sent. Then by setting the hardware address to what it
//! is, for which the kernel sends gratuitous ARP where told so (ip-sysctl: arp_notify, ndisc_notify); a neighbour
//! that heard of the address within the last second believes nothing else. An ipvlan refuses that.

use crate::namespace::{run, within};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sockopt};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6, UdpSocket};

/// The port of a datagram that nobody needs to read (RFC 863).
const DISCARD: u16 = 9;

/// All nodes of a link.
const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// So many neighbours are told one by one.
const MOST: usize = 64;

/// A device as `ip -json addr` tells of it.
#[derive(Debug, Deserialize)]
struct Device {
    #[serde(default)]
    ifindex: u32,
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    link_type: String,
    /// Its hardware address.
    #[serde(default)]
    address: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    local: Option<IpAddr>,
    #[serde(default)]
    prefixlen: u8,
}

impl Device {
    fn hardware(&self) -> Option<[u8; 6]> {
        let mut bytes = [0; 6];
        let mut words = self.address.split(':');
        for byte in &mut bytes {
            *byte = u8::from_str_radix(words.next()?, 16).ok()?;
        }
        words.next().is_none().then_some(bytes)
    }
}

/// Tells the neighbours of the network namespace that a process is in. Where it `knows` neighbours, that is
/// forgotten first: the kernel asks for none whose hardware address it has.
pub(crate) fn announce(pid: i32, knows: bool) -> Result<(), String> {
    within(pid, || {
        let devices = devices()?;
        if knows {
            forget(&devices)?;
        }
        tell(&devices);
        set_again(&devices)
    })
}

fn devices() -> Result<Vec<Device>, String> {
    let json = run("ip", &["-json", "addr"], "")?;
    let mut devices: Vec<Device> =
        serde_json::from_slice(&json).map_err(|error| format!("ip -json addr: {error}"))?;
    devices.retain(|device| device.link_type == "ether");
    Ok(devices)
}

/// Forgets what is known of the neighbours.
fn forget(devices: &[Device]) -> Result<(), String> {
    let lines = devices.iter();
    let lines = lines.map(|device| format!("neigh flush dev {}\n", device.ifname));
    run("ip", &["-force", "-batch", "-"], &lines.collect::<String>()).map(drop)
}

/// By what is sent. One address of which nothing could be sent does not keep the others from it.
fn tell(devices: &[Device]) {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
    };
    let (routes, sockets) = (read("route"), read("tcp"));
    for device in devices {
        for address in &device.addr_info {
            match address.local {
                Some(IpAddr::V4(own)) => {
                    let on_link = |other: &Ipv4Addr| is_in(*other, own, address.prefixlen);
                    let mut to: Vec<_> = gateways(&routes, &device.ifname).collect();
                    to.extend(peers(&sockets));
                    to.retain(|other| *other != own && on_link(other));
                    if to.is_empty() {
                        to.extend(anybody(own, address.prefixlen));
                    }
                    to.sort_unstable();
                    to.dedup();
                    to.truncate(MOST);
                    ask(own, &to);
                }
                Some(IpAddr::V6(own)) => {
                    if let Some(hardware) = device.hardware() {
                        let _ = advertise(own, hardware, device.ifindex);
                    }
                }
                None => {}
            }
        }
    }
}

/// Makes the kernel ask for the hardware addresses of these.
fn ask(own: Ipv4Addr, to: &[Ipv4Addr]) {
    let Ok(socket) = UdpSocket::bind((own, 0)) else {
        return;
    };
    // They are neighbours: no router passes it on.
    let _ = socket.set_ttl(1);
    for other in to {
        let _ = socket.send_to(&[], (*other, DISCARD));
    }
}

/// Sends an unsolicited neighbour advertisement that overrides what the neighbours know.
fn advertise(own: Ipv6Addr, hardware: [u8; 6], device: u32) -> rustix::io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6))?;
    sockopt::set_ipv6_multicast_hops(&socket, 255)?;
    // A link-local address is one of its device.
    rustix::net::bind(&socket, &SocketAddrV6::new(own, 0, 0, device))?;
    // RFC 4861, 4.4: type 136, code, checksum (the kernel's), flag Override; option 2: the hardware address.
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(own.octets());
    message.extend([2, 1]);
    message.extend(hardware);
    let to = SocketAddrV6::new(ALL, 0, 0, device);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &to).map(drop)
}

/// By setting the hardware addresses to what they are. What was known of the neighbours is forgotten then.
fn set_again(devices: &[Device]) -> Result<(), String> {
    let mut lines = String::new();
    for Device {
        ifname, address, ..
    } in devices
    {
        for notify in [
            format!("ipv4/conf/{ifname}/arp_notify"),
            format!("ipv6/conf/{ifname}/ndisc_notify"),
        ] {
            // Without IPv6 there is none.
            let _ = std::fs::write(format!("/proc/sys/net/{notify}"), "1");
        }
        lines.push_str(&format!("link set dev {ifname} address {address}\n"));
    }
    run("ip", &["-force", "-batch", "-"], &lines).map(drop)
}

/// The gateways of a device, from `/proc/net/route`.
fn gateways<'a>(routes: &'a str, device: &'a str) -> impl Iterator<Item = Ipv4Addr> + 'a {
    routes.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_whitespace();
        let of = words.next()? == device;
        let gateway = word(words.nth(1)?)?;
        (of && !gateway.is_unspecified()).then_some(gateway)
    })
}

/// The other ends of TCP connections, from `/proc/net/tcp`.
fn peers(sockets: &str) -> impl Iterator<Item = Ipv4Addr> {
    sockets.lines().skip(1).filter_map(|line| {
        let remote = line.split_whitespace().nth(2)?;
        let remote = word(remote.split_once(':')?.0)?;
        (!remote.is_unspecified()).then_some(remote)
    })
}

/// Four bytes as those tables print them: a number in the processor's order.
fn word(text: &str) -> Option<Ipv4Addr> {
    let number = u32::from_str_radix(text, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

fn is_in(other: Ipv4Addr, own: Ipv4Addr, prefix: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32)));
    let mask = mask.unwrap_or(0);
    u32::from(other) & mask == u32::from(own) & mask
}

/// Some other address of the network, whether anybody has it or not.
fn anybody(own: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    let own_bits = u32::from(own);
    let near = [1, 2, 3].map(|bits| own_bits ^ bits).map(Ipv4Addr::from);
    let last = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let free = |other: &Ipv4Addr| {
        let host = u32::from(*other) & last;
        host != 0 && host != last
    };
    near.into_iter()
        .find(|other| prefix < 31 && free(other) && is_in(*other, own, prefix))
        .or_else(|| (prefix == 31).then(|| near[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    /// The hardware address that the neighbour believes in before.
    const WRONG: &str = "02:00:00:00:00:99";
    const OURS: [&str; 2] = ["10.9.9.9", "fd09::9"];

    /// A process in a network namespace of its own.
    struct Apart(Child);

    impl Apart {
        fn new() -> Self {
            let mut unshare = Command::new("unshare");
            let one = Apart(unshare.args(["--net", "sleep", "60"]).spawn().unwrap());
            let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
            while of(&one.0.id().to_string()).unwrap() == of("self").unwrap() {
                std::thread::sleep(Duration::from_millis(2));
            }
            one
        }

        fn pid(&self) -> i32 {
            i32::try_from(self.0.id()).unwrap()
        }

        fn ip(&self, lines: &str) {
            within(self.pid(), || run("ip", &["-batch", "-"], lines)).unwrap();
        }

        /// What it knows of an address.
        fn knows(&self, address: &str) -> String {
            let args = ["neigh", "show", address];
            let text = within(self.pid(), || run("ip", &args, "")).unwrap();
            String::from_utf8(text).unwrap()
        }
    }

    impl Drop for Apart {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Us and a neighbour that has wrong hardware addresses for ours.
    fn link() -> (Apart, Apart) {
        let (us, neighbour) = (Apart::new(), Apart::new());
        us.ip(&format!(
            "link add eth7 type veth peer name eth0 netns {}\nlink set lo up\nlink set eth7 up\n\
             addr add 10.9.9.9/24 dev eth7\naddr add fd09::9/64 dev eth7 nodad\n",
            neighbour.pid()
        ));
        neighbour.ip(
            "link set eth0 up\naddr add 10.9.9.1/24 dev eth0\naddr add fd09::1/64 dev eth0 nodad\n",
        );
        for address in OURS {
            let wrong = format!("neigh replace {address} lladdr {WRONG} dev eth0 nud reachable\n");
            neighbour.ip(&wrong);
            assert!(neighbour.knows(address).contains(WRONG));
        }
        (us, neighbour)
    }

    fn hardware(us: &Apart) -> String {
        within(us.pid(), devices).unwrap()[0].address.clone()
    }

    #[track_caller]
    fn learns(us: &Apart, neighbour: &Apart) {
        let (right, since) = (hardware(us), Instant::now());
        for address in OURS {
            while !neighbour.knows(address).contains(&right) {
                let known = neighbour.knows(address);
                assert!(since.elapsed() < Duration::from_secs(20), "{known}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// As on an ipvlan, whose hardware address cannot be set.
    fn only_tell(us: &Apart) {
        within(us.pid(), || {
            tell(&devices()?);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_gateway_learns_of_both_families_though_no_hardware_address_is_set() {
        let (us, neighbour) = link();
        us.ip("route add default via 10.9.9.1\n");
        only_tell(&us);
        learns(&us, &neighbour);
    }

    #[test]
    fn so_does_a_bystander_whom_nothing_is_sent_to() {
        let (us, neighbour) = link();
        // What it heard within the last second it keeps (arp(7): locktime).
        std::thread::sleep(Duration::from_millis(1200));
        only_tell(&us);
        learns(&us, &neighbour);
    }

    #[test]
    fn and_one_that_was_known_before() {
        let (us, neighbour) = link();
        us.ip("route add default via 10.9.9.1\n");
        let right = hardware(&neighbour);
        us.ip(&format!(
            "neigh replace 10.9.9.1 lladdr {right} dev eth7 nud reachable\n"
        ));
        within(us.pid(), || {
            let devices = devices()?;
            forget(&devices)?;
            tell(&devices);
            Ok(())
        })
        .unwrap();
        learns(&us, &neighbour);
    }

    #[test]
    fn setting_the_hardware_address_again_reaches_all_at_once() {
        let (us, neighbour) = link();
        within(us.pid(), || set_again(&devices()?)).unwrap();
        learns(&us, &neighbour);
    }

    #[test]
    fn tables_of_the_kernel() {
        let routes = "Iface Destination Gateway Flags\neth0 00000000 0109090A 0003\n\
            eth1 00000000 0209090A 0003\neth0 0009090A 00000000 0001\n";
        assert_eq!(
            gateways(routes, "eth0").collect::<Vec<_>>(),
            [Ipv4Addr::new(10, 9, 9, 1)]
        );
        let sockets = "sl local rem\n 0: 0909090A:1B58 0500A8C0:D431 01\n 1: 00000000:1B58 00000000:0000 0A\n";
        assert_eq!(
            peers(sockets).collect::<Vec<_>>(),
            [Ipv4Addr::new(192, 168, 0, 5)]
        );
    }

    #[test]
    fn somebody_of_the_network_is_asked_where_there_is_no_gateway() {
        for (own, prefix, other) in [
            ("10.9.9.9", 24, Some("10.9.9.8")),
            ("10.9.9.1", 24, Some("10.9.9.3")),
            ("10.9.9.254", 24, Some("10.9.9.252")),
            ("10.9.9.1", 30, Some("10.9.9.2")),
            ("10.9.9.1", 31, Some("10.9.9.0")),
            ("10.9.9.1", 32, None),
        ] {
            let found = anybody(own.parse().unwrap(), prefix);
            assert_eq!(
                found,
                other.map(|text| text.parse().unwrap()),
                "{own}/{prefix}"
            );
        }
    }
}
