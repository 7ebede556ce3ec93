//! Established TCP connections: what they ask for, since the other end must not notice the move.

use crate::{Failure, ask};
use engine::{Container, Kind, Name};
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

/// The container has the same addresses on the destination, in a network of the same name and subnets.
pub(crate) fn check(
    source: &dyn Host,
    destination: &dyn Host,
    kind: Kind,
    container: &Container,
) -> Result<(), Failure> {
    let (on, name) = (source.name(), container.name());
    let endpoints = endpoints(container);
    if endpoints.is_empty() || !container.has_own_network_namespace() {
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
            .fix("create it with addresses of its own in a macvlan or ipvlan network that both hosts have: docker run --network NAME --ip ADDRESS"));
        }
        let network =
            Name::new(network).map_err(|error| Failure::refused(on, error.to_string()))?;
        let here = subnets(source, kind, &network)?;
        let there = subnets(destination, kind, &network)?;
        if there.as_ref() == here.as_ref() && there.is_some() {
            continue;
        }
        let to = destination.name();
        let what = match there {
            None => format!("{to} has no network {network}"),
            Some(_) => format!("network {network} on {to} has other subnets than on {on}"),
        };
        return Err(Failure::refused(to, what).fix(format!(
            "make it there as on {on}: {}",
            kind.inspect_network(&network).line()
        )));
    }
    let found = destination.run(&Cmd::reads("sh").args(["-c", "command -v ip"]))?;
    if found.status != 0 {
        let to = destination.name();
        return Err(
            Failure::refused(to, format!("there is no program ip on {to}"))
                .fix(format!("on {to}: apt-get install iproute2")),
        );
    }
    Ok(())
}

/// Driver and subnets of a network; none where there is no such network.
fn subnets(host: &dyn Host, kind: Kind, network: &Name) -> Result<Option<Vec<String>>, Failure> {
    let Some(found) = ask::network(host, kind, network)? else {
        return Ok(None);
    };
    let subnets = found.pointer("/IPAM/Config").and_then(Value::as_array);
    let mut list: Vec<String> = subnets
        .into_iter()
        .flatten()
        .filter_map(|one| one["Subnet"].as_str())
        .map(str::to_owned)
        .collect();
    list.sort();
    list.push(found["Driver"].as_str().unwrap_or_default().to_owned());
    Ok(Some(list))
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
}
