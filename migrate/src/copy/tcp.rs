//! Established TCP connections: what they ask for, since the other end must not notice the move.

use super::connections::{self, Connection};
use super::lan;
use crate::{Failure, ask};
use engine::{Container, Engine, Kind, Name};
use host::{Cmd, Host};
use serde_json::Value;
use std::net::IpAddr;

/// One network of a container.
#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    network: String,
    addresses: Vec<IpAddr>,
    /// Whether the user chose them: the engine otherwise gives another at the destination.
    chosen: bool,
}

fn endpoints(container: &Container) -> Vec<Endpoint> {
    let networks = container.raw().pointer("/NetworkSettings/Networks");
    let networks = networks.and_then(Value::as_object).into_iter().flatten();
    networks
        .map(|(name, endpoint)| {
            let pairs = [
                ("IPAddress", "IPv4Address"),
                ("GlobalIPv6Address", "IPv6Address"),
            ];
            let address =
                |value: &Value| value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
            let has: Vec<_> = pairs
                .iter()
                .filter_map(|(now, asked)| {
                    let chosen = address(&endpoint["IPAMConfig"][asked]);
                    address(&endpoint[now]).map(|now| (now, chosen == Some(now)))
                })
                .collect();
            Endpoint {
                network: name.clone(),
                chosen: !has.is_empty() && has.iter().all(|(_, chosen)| *chosen),
                addresses: has.into_iter().map(|(now, _)| now).collect(),
            }
        })
        .collect()
}

/// The addresses of a container.
pub(crate) fn addresses(container: &Container) -> Vec<IpAddr> {
    let endpoints = endpoints(container).into_iter();
    endpoints.flat_map(|endpoint| endpoint.addresses).collect()
}

/// What of a host's firewall is there: `$1` is the table that keeps it from answering ARP requests.
const TOOLS: &str = r#"
command -v ip >/dev/null || exit 3
command -v nft >/dev/null || command -v iptables >/dev/null || exit 4
command -v nft >/dev/null && printf %s "$1" | nft -c -f - 2>/dev/null || exit 5"#;

/// The container has the same addresses on the destination, whose engine this is, in a network of the same name and subnets by which
/// neighbours find it on either host, and its connections go no other way. Says what is not as good as it could be.
pub(crate) fn check(
    source: &dyn Host,
    destination: &dyn Host,
    engine: &Engine,
    container: &Container,
) -> Result<Vec<String>, Failure> {
    let (kind, to) = (engine.kind(), destination.name());
    if kind == Kind::Podman && engine.netavark().is_none() {
        return Err(Failure::refused(
            to,
            format!("Podman on {to} attaches containers to networks without netavark, and so before anybody can lock them"),
        )
        .fix(format!("on {to}: apt-get install netavark, and network_backend = \"netavark\" in /etc/containers/containers.conf")));
    }
    let warnings = [tools(source, container)?, tools(destination, container)?];
    let warnings = warnings.into_iter().flatten().collect();
    let (on, name) = (source.name(), container.name());
    let endpoints = endpoints(container);
    let open = connections::open(source, container)?;
    let inside = |one: &Connection| one.local.is_loopback() && one.remote.is_loopback();
    let own = container.has_own_network_namespace();
    if own && !open.is_empty() && open.iter().all(inside) {
        // Both ends move.
        return Ok(warnings);
    }
    if endpoints.is_empty() || !own {
        return Err(Failure::refused(
            on,
            format!("{name} has no address of its own that could move with it"),
        )
        .fix("without --tcp-established, once its connections are closed"));
    }
    for endpoint in endpoints {
        let network = &endpoint.network;
        if !endpoint.chosen {
            return Err(Failure::refused(
                on,
                format!("{name} would have another address in network {network} at its destination, and the other ends of its connections would not find it"),
            )
            .fix(lan::in_a_lan(kind)));
        }
        let network =
            Name::new(network).map_err(|error| Failure::refused(on, error.to_string()))?;
        let here = ask::network(source, kind, &network)?.unwrap_or_default();
        let make = |what: String| {
            let line = kind.inspect_network(&network).line();
            Failure::refused(to, what).fix(format!("make it there as on {on}: {line}"))
        };
        let there = ask::network(destination, kind, &network)?
            .ok_or_else(|| make(format!("{to} has no network {network}")))?;
        if here["Driver"] != there["Driver"] || lan::subnets(&here) != lan::subnets(&there) {
            return Err(make(format!(
                "network {network} on {to} has another driver or other subnets than on {on}"
            )));
        }
        let own = lan::Here {
            host: source,
            kind,
            network: &here,
        };
        let other = lan::Here {
            host: destination,
            kind,
            network: &there,
        };
        lan::is_one(&own, &other)?;
        let of_it = open.iter();
        let of_it = of_it.filter(|one| endpoint.addresses.contains(&one.local));
        lan::goes_straight(&own, container, of_it)?;
    }
    Ok(warnings)
}

/// The programs that move an address are on a host; what is missing that is not needed is a warning.
fn tools(host: &dyn Host, container: &Container) -> Result<Option<String>, Failure> {
    let (on, name) = (host.name(), container.name());
    let cmd = Cmd::reads("sh").args(["-c", TOOLS, "sh", runtime::lock::ARP]);
    let missing = |program: &str, package: &str| {
        Err(
            Failure::refused(on, format!("there is no program {program} on {on}"))
                .fix(format!("on {on}: apt-get install {package}")),
        )
    };
    match host.run(&cmd)?.status {
        0 => Ok(None),
        3 => missing("ip", "iproute2"),
        4 => missing("nft", "nftables"),
        _ => Ok(Some(format!(
            "{on} can lock the connections of {name} but not ARP (that takes nft, and a kernel with CONFIG_NF_TABLES_ARP): while it stands still there, {on} may answer who asks for its address"
        ))),
    }
}

/// None of the addresses that the user chose is another container's on the destination.
pub(crate) fn free(
    destination: &dyn Host,
    kind: Kind,
    container: &Container,
) -> Result<(), Failure> {
    let to = destination.name();
    for endpoint in endpoints(container) {
        let Ok(network) = Name::new(&endpoint.network) else {
            continue;
        };
        if !endpoint.chosen {
            continue;
        }
        let there = ask::network(destination, kind, &network)?.unwrap_or_default();
        if let Some((other, address)) = taken(&there, &endpoint.addresses) {
            return Err(Failure::refused(
                to,
                format!("the address {address} of {} is in use on {to}, by {other} in network {network}", container.name()),
            )
            .fix(format!(
                "on {to}, if it is not needed there: {} network disconnect {network} {other}",
                kind.program()
            )));
        }
    }
    Ok(())
}

/// The container that has one of these addresses in a network, and which.
fn taken(network: &Value, addresses: &[IpAddr]) -> Option<(String, IpAddr)> {
    let containers = network["Containers"].as_object()?;
    containers.values().find_map(|other| {
        let has = ["IPv4Address", "IPv6Address"].iter().find_map(|which| {
            let (address, _) = other[which].as_str()?.split_once('/')?;
            let address = address.parse().ok()?;
            addresses.contains(&address).then_some(address)
        })?;
        Some((other["Name"].as_str()?.to_owned(), has))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(endpoint: &str) -> Container {
        let text = format!(
            r#"[{{"Id":"abc","Name":"/x","State":{{"Running":true}},"Config":{{}},"HostConfig":{{}},"NetworkSettings":{{"Networks":{{"lan":{endpoint}}}}}}}]"#
        );
        Container::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_addresses_that_were_chosen_move() {
        let own = container(
            r#"{"IPAMConfig":{"IPv4Address":"10.0.0.9","IPv6Address":"fd00::9"},"IPAddress":"10.0.0.9","GlobalIPv6Address":"fd00::9"}"#,
        );
        assert!(endpoints(&own)[0].chosen);
        assert_eq!(addresses(&own).len(), 2);
        for other in [
            r#"{"IPAMConfig":null,"IPAddress":"172.17.0.2","GlobalIPv6Address":""}"#,
            r#"{"IPAMConfig":{"IPv4Address":"10.0.0.9"},"IPAddress":"10.0.0.9","GlobalIPv6Address":"fd00::2"}"#,
            r#"{"IPAMConfig":{},"IPAddress":"","GlobalIPv6Address":""}"#,
        ] {
            assert!(!endpoints(&container(other))[0].chosen, "{other}");
        }
    }

    #[test]
    fn an_address_that_another_container_has_is_seen() {
        let network = serde_json::json!({"Containers": {"abc": {
            "Name": "other", "IPv4Address": "10.0.0.9/24", "IPv6Address": "fd00::9/64"}}});
        for (address, found) in [("10.0.0.9", true), ("fd00::9", true), ("10.0.0.99", false)] {
            let address: IpAddr = address.parse().unwrap();
            let other = found.then(|| ("other".to_owned(), address));
            assert_eq!(taken(&network, &[address]), other);
        }
        assert_eq!(taken(&Value::Null, &[]), None);
    }
}
