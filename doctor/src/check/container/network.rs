//! Ports and networks of a container at its destination.

use super::place::at;
use super::{Inmate, count, some};
use crate::check::catalogue::{Check, meta};
use crate::check::subject::Subject;
use crate::check::verdict::{Group, Outcome};
use engine::{Container as Inspected, Network};
use host::facts::container::{Destination, Family};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) fn checks<'p>() -> Vec<Check<Inmate<'p>>> {
    vec![
        Check::new(
            meta(
                "container.ports",
                Group::Container,
                "Its ports are free at the destination",
                "what listens on the destination, and what its containers publish. It fails where a published port is in use at the same address, or all ports of a range; or in the host's own network one that the container listens at",
                "the engine publishes the same ports there, and a port has one listener",
                "`ss -lptn` on the destination names who listens; end it, or publish other ports",
            ),
            |inmate| at(inmate, ports),
        ),
        Check::new(
            meta(
                "container.networks",
                Group::Container,
                "Its networks are at the destination, and addresses that it needs are free",
                "user-defined networks by name, their subnets and drivers, and containers in them that have the same address, IPv4 or IPv6. It fails where a network is missing, or where an address that the container was given by hand or that its sockets are bound to is taken there or in none of the subnets. It warns where the drivers differ",
                "the container joins the same networks, and open connections need the same address",
                "`docker network create --subnet SUBNET NAME` on the destination, as on the source",
            ),
            |inmate| at(inmate, networks),
        ),
    ]
}

fn ports(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let bindings = inspected.raw()["HostConfig"]["PortBindings"].as_object();
    let mut published = 0;
    let mut taken = Vec::new();
    for (inner, list) in bindings.into_iter().flatten() {
        let udp = inner.ends_with("/udp");
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        for binding in list {
            let Some((first, last)) = binding["HostPort"].as_str().and_then(range) else {
                continue;
            };
            published += 1;
            let address = binding["HostIp"].as_str().unwrap_or_default();
            // Of a range the engine takes any port that is free.
            let mut users = (first..=last).map(|port| answers.user_of(address, port, udp));
            let Some(Some(user)) = users.next() else {
                continue;
            };
            if users.all(|user| user.is_some()) {
                let ports = match first == last {
                    true => format!("port {first}"),
                    false => format!("each port from {first} to {last}"),
                };
                taken.push(format!("{ports} for {inner}: {user}"));
            }
        }
    }
    // In the host's own network nothing is published: the program listens there itself.
    if inspected.raw()["HostConfig"]["NetworkMode"].as_str() == Some("host") {
        let own = inmate.container.own_sockets();
        let own: BTreeSet<(&str, u16, bool)> = own
            .iter()
            .filter(|socket| socket.listens() || socket.family == Family::Udp && socket.port != 0)
            .map(|socket| {
                let udp = socket.family == Family::Udp;
                (socket.local.as_str(), socket.port, udp)
            })
            .collect();
        published += own.len();
        taken.extend(own.into_iter().filter_map(|(address, port, udp)| {
            let user = answers.user_of(address, port, udp)?;
            Some(format!("port {port}, where it listens itself: {user}"))
        }));
    }
    if taken.is_empty() {
        return Outcome::ok(format!("{}, all free there", count(published, "port")));
    }
    Outcome::fail("a port of the container is in use at the destination")
        .found(some(&taken))
        .fix(format!("ssh {} ss -lptn", host::quote(host.name)))
        .fix(format!(
            "ssh {} {} ps",
            host::quote(host.name),
            inmate.engine()
        ))
}

/// Reads `8080` or `8000-8010`; nothing for a port that the engine chooses.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first != 0 && first <= last).then_some((first, last))
}

fn networks(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let (mut bad, mut fixes, mut drivers) = (Vec::new(), Vec::new(), Vec::new());
    for network in inspected.networks() {
        let name = &network.name;
        let there = match answers.networks.get(name) {
            None => continue,
            Some(None) => {
                bad.push(format!("{} has no network {name}", host.name));
                fixes.push(create(inmate, &network, host));
                continue;
            }
            Some(Some(there)) => there,
        };
        let here = inmate.container.networks.get(name);
        if let (Some(one), Some(other)) = (here.and_then(driver), driver(there))
            && one != other
        {
            fixes.push(again(inmate, &network, host));
            drivers.push(format!(
                "{name} is of the driver {one} at the source, {other} on {}",
                host.name
            ));
        }
        let addresses = [&network.ip, &network.ip6].into_iter().flatten();
        for address in addresses.filter(|address| needed(inmate, &network, address)) {
            let subnets = subnets(there);
            if let Some(other) = owner(there, address) {
                bad.push(format!("{address} belongs to {other} there"));
                fixes.push(format!(
                    "ssh {} {} network disconnect {} {}",
                    host::quote(host.name),
                    inmate.engine(),
                    host::quote(name),
                    host::quote(other)
                ));
            } else if !subnets.is_empty() && !within(&subnets, address) {
                bad.push(format!(
                    "{address} is not in {name} there, which has {}",
                    subnets.join(" and ")
                ));
                fixes.push(again(inmate, &network, host));
            }
        }
    }
    if !bad.is_empty() {
        let outcome =
            Outcome::fail("a network is missing at the destination, or an address cannot be had")
                .found(some(&bad));
        return fixes.into_iter().fold(outcome, Outcome::fix);
    }
    if !drivers.is_empty() {
        let outcome = Outcome::warn("a network of that name is of another kind at the destination")
            .found(some(&drivers))
            .because(
                "who reaches the container, and at which address, depends on the network's driver",
            );
        return fixes.into_iter().fold(outcome, Outcome::fix);
    }
    Outcome::ok("its networks are there, and the addresses that it needs are free")
}

/// The driver of a network, as Docker or Podman describes it.
fn driver(network: &Value) -> Option<&str> {
    network["Driver"].as_str().or(network["driver"].as_str())
}

/// The subnets of a network, likewise.
fn subnets(network: &Value) -> Vec<&str> {
    let docker = network["IPAM"]["Config"].as_array().into_iter().flatten();
    let docker = docker.filter_map(|config| config["Subnet"].as_str());
    let podman = network["subnets"].as_array().into_iter().flatten();
    let podman = podman.filter_map(|subnet| subnet["subnet"].as_str());
    docker.chain(podman).collect()
}

fn within(subnets: &[&str], address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else {
        return true;
    };
    let mut nets = subnets
        .iter()
        .filter_map(|text| text.parse::<ipnet::IpNet>().ok());
    nets.any(|net| net.contains(&address))
}

/// How to put a network like the source's in the place of the destination's.
fn again(inmate: &Inmate<'_>, network: &Network, host: &Subject<'_>) -> String {
    format!(
        "ssh {} {} network rm {} && {}",
        host::quote(host.name),
        inmate.engine(),
        host::quote(&network.name),
        create(inmate, network, host)
    )
}

/// How to make a network that the destination lacks, like the source's as far as that is known.
fn create(inmate: &Inmate<'_>, network: &Network, host: &Subject<'_>) -> String {
    let here = inmate.container.networks.get(&network.name);
    let mut options: Vec<String> = here
        .map(subnets)
        .unwrap_or_default()
        .into_iter()
        .map(str::to_owned)
        .collect();
    if options.is_empty() {
        options.extend(network.ip.as_ref().and_then(|ip| {
            let prefix = u8::try_from(network.prefix).ok()?;
            let net = ipnet::Ipv4Net::new(ip.parse().ok()?, prefix).ok()?;
            Some(net.trunc().to_string())
        }));
    }
    let mut words = String::new();
    if options.iter().any(|subnet| subnet.contains(':')) {
        words.push_str("--ipv6 ");
    }
    for subnet in options {
        words.push_str(&format!("--subnet {} ", host::quote(&subnet)));
    }
    if let Some(driver) = here.and_then(driver).filter(|driver| *driver != "bridge") {
        words.push_str(&format!("--driver {} ", host::quote(driver)));
        let parent = here.and_then(|here| {
            here["Options"]["parent"]
                .as_str()
                .or(here["network_interface"].as_str())
        });
        if let Some(parent) = parent {
            words.push_str(&format!("-o parent={} ", host::quote(parent)));
        }
    }
    format!(
        "ssh {} {} network create {words}{}",
        host::quote(host.name),
        inmate.engine(),
        host::quote(&network.name)
    )
}

/// Whether the container must get the same address again: it was given by the user, or a socket of
/// its own is bound to it. Another is as good otherwise.
fn needed(inmate: &Inmate<'_>, network: &Network, address: &str) -> bool {
    let Some(inspected) = inmate.inspected else {
        return false;
    };
    let endpoint = &inspected.raw()["NetworkSettings"]["Networks"][&network.name];
    let given = ["IPv4Address", "IPv6Address"]
        .into_iter()
        .any(|kind| endpoint["IPAMConfig"][kind].as_str() == Some(address));
    // Podman keeps the command instead: `--ip ADDRESS` or `--ip=ADDRESS`.
    let command = inspected.raw()["Config"]["CreateCommand"].as_array();
    let typed = command.into_iter().flatten().any(|word| {
        let word = word.as_str().unwrap_or_default();
        word.rsplit('=').next() == Some(address)
    });
    let sockets = inmate.container.own_sockets();
    // A server for both families has IPv4's addresses as IPv6's.
    let bound = |local: &str| local.strip_prefix("::ffff:").unwrap_or(local) == address;
    given || typed || sockets.iter().any(|socket| bound(&socket.local))
}

/// The container that has an address in a network, as Docker or Podman describes it.
fn owner<'n>(network: &'n Value, address: &str) -> Option<&'n str> {
    let is = |text: Option<&str>| text.and_then(|text| text.split('/').next()) == Some(address);
    let docker = network["Containers"].as_object().into_iter().flatten();
    let docker = docker
        .filter(|(_, one)| is(one["IPv4Address"].as_str()) || is(one["IPv6Address"].as_str()))
        .map(|(id, one)| one["Name"].as_str().unwrap_or(id));
    let podman = network["containers"].as_object().into_iter().flatten();
    let podman = podman
        .filter(|(_, one)| {
            let interfaces = one["interfaces"].as_object().into_iter().flatten();
            let mut subnets =
                interfaces.flat_map(|(_, one)| one["subnets"].as_array().into_iter().flatten());
            subnets.any(|subnet| is(subnet["ipnet"].as_str()))
        })
        .map(|(id, one)| one["name"].as_str().unwrap_or(id));
    docker.chain(podman).next()
}
