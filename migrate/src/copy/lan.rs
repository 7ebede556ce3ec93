//! Whether a network is one LAN across two hosts: then an address that moves is found where it is.

use super::connections::Connection;
use crate::Failure;
use engine::{Container, Kind};
use host::{Cmd, Host};
use serde_json::Value;
use std::net::IpAddr;

/// The name of a bridge network's Linux bridge, where the user chose it.
const BRIDGE: &str = "com.docker.network.bridge.name";

/// A network as the engine of a host tells of it.
pub(super) struct Here<'a> {
    pub host: &'a dyn Host,
    pub kind: Kind,
    pub network: &'a Value,
}

impl Here<'_> {
    fn name(&self) -> &str {
        self.network["Name"].as_str().unwrap_or_default()
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.network["Options"][name].as_str()
    }

    fn is_bridge(&self) -> bool {
        self.network["Driver"] == "bridge"
    }

    /// Its Linux bridge.
    fn bridge(&self) -> String {
        let id = self.network["Id"].as_str().unwrap_or_default();
        let made = || format!("br-{}", id.get(..12).unwrap_or(id));
        self.option(BRIDGE).map_or_else(made, str::to_owned)
    }

    fn json(&self, args: &[&str]) -> Result<Value, Failure> {
        let cmd = Cmd::reads("ip").arg("-json").args(args.iter().copied());
        let text = self.host.text(&cmd)?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        let on = self.host.name();
        serde_json::from_str(&text)
            .map_err(|_| Failure::failed(on, format!("`{}` on {on} printed no JSON", cmd.line())))
    }

    /// The addresses that the host itself has on the bridge.
    fn own_addresses(&self) -> Result<Vec<IpAddr>, Failure> {
        Ok(addresses(&self.json(&[
            "address",
            "show",
            "dev",
            &self.bridge(),
        ])?))
    }

    /// The network made anew, as a line for a shell, with one option of its driver or its gateway changed.
    fn made_anew(&self, option: Option<(&str, &str)>, gateway: Option<IpAddr>) -> String {
        let name = self.name();
        let program = self.kind.program();
        let mut line = Cmd::changes(program).args(["network", "create", "--driver"]);
        line = line.arg(self.network["Driver"].as_str().unwrap_or_default());
        if self.network["EnableIPv6"] == true {
            line = line.arg("--ipv6");
        }
        for one in self.network["IPAM"]["Config"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let subnet = one["Subnet"].as_str().unwrap_or_default();
            let gateway = gateway.filter(|gateway| contains(subnet, *gateway));
            let gateway = gateway.map(|gateway| gateway.to_string());
            for (name, value) in [
                ("--subnet", Some(subnet)),
                (
                    "--ip-range",
                    one["IPRange"].as_str().filter(|range| !range.is_empty()),
                ),
                ("--gateway", gateway.as_deref().or(one["Gateway"].as_str())),
            ] {
                line = value.map_or(line.clone(), |value| line.args([name, value]));
            }
        }
        let mut options = self.network["Options"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        if let Some((name, value)) = option {
            options.insert(name.to_owned(), value.into());
        }
        for (name, value) in &options {
            let value = value.as_str().unwrap_or_default();
            let name = match (self.kind, name.as_str()) {
                (Kind::Podman, "macvlan_mode" | "ipvlan_mode") => "mode",
                (_, name) => name,
            };
            line = line.args(["--opt", &format!("{name}={value}")]);
        }
        format!("{program} network rm {name}; {}", line.arg(name).line())
    }
}

/// The subnets of a network, in order.
pub(super) fn subnets(network: &Value) -> Vec<&str> {
    let subnets = network.pointer("/IPAM/Config").and_then(Value::as_array);
    let subnets = subnets.into_iter().flatten();
    let mut list: Vec<_> = subnets.filter_map(|one| one["Subnet"].as_str()).collect();
    list.sort_unstable();
    list
}

/// Neighbours find an address of the network on either host.
pub(super) fn is_one(here: &Here, there: &Here) -> Result<(), Failure> {
    match here.network["Driver"].as_str().unwrap_or_default() {
        "macvlan" => in_mode(here, "macvlan_mode", "bridge")
            .and_then(|()| in_mode(there, "macvlan_mode", "bridge")),
        "ipvlan" => {
            in_mode(here, "ipvlan_mode", "l2").and_then(|()| in_mode(there, "ipvlan_mode", "l2"))
        }
        // Podman makes a bridge when the first container is started.
        "bridge" if here.kind == Kind::Docker => bridged(here, there),
        other => {
            let (on, name) = (here.host.name(), here.name());
            let kind = here.kind;
            let what = format!(
                "no address of a container of {kind} can be moved in network {name} on {on}, which is of the driver {other}"
            );
            Err(Failure::refused(on, what).fix(in_a_lan(kind)))
        }
    }
}

/// What to do about a container whose address cannot be moved.
pub(super) fn in_a_lan(kind: Kind) -> String {
    let program = kind.program();
    format!(
        "create it with addresses of its own in a macvlan or ipvlan network that both hosts have: {program} run --network NAME --ip ADDRESS"
    )
}

/// The driver's mode is the one in which neighbours see the container on the host's own LAN.
fn in_mode(here: &Here, option: &str, wanted: &str) -> Result<(), Failure> {
    match here.option(option) {
        None | Some("") => Ok(()),
        Some(mode) if mode == wanted => Ok(()),
        Some(mode) => {
            let (on, name) = (here.host.name(), here.name());
            let what = format!(
                "in network {name} on {on} an address that moves is not found: its {option} is {mode}, not {wanted}"
            );
            let anew = here.made_anew(Some((option, wanted)), None);
            Err(Failure::refused(on, what).fix(format!("make it anew on both hosts: {anew}")))
        }
    }
}

/// The Linux bridges of both hosts are parts of one LAN, and not both are its gateway.
fn bridged(here: &Here, there: &Here) -> Result<(), Failure> {
    for (one, other) in [(here, there), (there, here)] {
        let (on, name, bridge) = (one.host.name(), one.name(), one.bridge());
        let links = one.json(&["-details", "link", "show", "master", &bridge])?;
        if leads_out(&links) {
            continue;
        }
        let what = format!(
            "network {name} is a bridge within {on}: no port of {bridge} leads to another host, so what is connected to the container would not find it after the move"
        );
        let to = other.host.name();
        return Err(Failure::refused(on, what)
            .fix(in_a_lan(here.kind))
            .fix(format!("or make the bridges of both hosts one LAN, on {on}: ip link add lan-{to} type vxlan id 7 dstport 4789 remote ADDRESS-OF-{to} && ip link set lan-{to} master {bridge} up; and the same on {to}")));
    }
    let (own, others) = (here.own_addresses()?, there.own_addresses()?);
    let Some(both) = own.iter().find(|address| others.contains(address)) else {
        return Ok(());
    };
    let (on, to) = (here.host.name(), there.host.name());
    let what = format!(
        "in network {}, which is one LAN, both {on} and {to} have the address {both}: which of them answers for it is chance",
        here.name()
    );
    let mut failure = Failure::refused(to, what);
    if let Some(other) = another(&subnets(there.network), *both) {
        let anew = there.made_anew(None, Some(other));
        failure = failure.fix(format!("give it another on {to}: {anew}"));
    }
    Err(failure)
}

/// Connections of a container in a bridge network go straight to its address: what the source routed or translated
/// for them does not move.
pub(super) fn goes_straight<'a>(
    here: &Here,
    container: &Container,
    mut open: impl Iterator<Item = &'a Connection>,
) -> Result<(), Failure> {
    if !here.is_bridge() {
        return Ok(());
    }
    let own = here.own_addresses()?;
    let subnets = subnets(here.network);
    let through = |one: &&Connection| {
        let on_link = subnets.iter().any(|subnet| contains(subnet, one.remote));
        let proxied = own.contains(&one.remote) && is_published(container, one.port);
        // Without an address of its own the host routes nothing.
        proxied || (!on_link && own.iter().any(|own| own.is_ipv4() == one.remote.is_ipv4()))
    };
    let Some(one) = open.find(through) else {
        return Ok(());
    };
    let (on, name) = (here.host.name(), container.name());
    Err(Failure::refused(
        on,
        format!(
            "the connection of {name} with {} goes through {on}, which routes or translates it (published ports, NAT): it would be cut off",
            one.other
        ),
    )
    .fix(format!(
        "close it; clients within {} may stay connected to {} itself",
        subnets.join(", "),
        one.local
    )))
}

fn is_published(container: &Container, port: u16) -> bool {
    let ports = container.raw().pointer("/NetworkSettings/Ports");
    let bound = ports.map(|ports| &ports[format!("{port}/tcp")]);
    bound
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty())
}

/// Whether one of these ports of a bridge is up and leads out of the host: a NIC, a VLAN, a VXLAN. Containers are
/// at pairs of veth.
fn leads_out(links: &Value) -> bool {
    links.as_array().into_iter().flatten().any(|link| {
        let inner = ["veth", "dummy", "ifb"].map(Value::from);
        let flags = link["flags"].as_array().into_iter().flatten();
        link["ifname"].is_string()
            && !inner.contains(&link["linkinfo"]["info_kind"])
            && flags.into_iter().any(|flag| flag == "UP")
    })
}

/// Addresses of a device, but for those that each device has.
fn addresses(devices: &Value) -> Vec<IpAddr> {
    let devices = devices.as_array().into_iter().flatten();
    devices
        .flat_map(|device| device["addr_info"].as_array().into_iter().flatten())
        .filter(|address| address["scope"] != "link")
        .filter_map(|address| address["local"].as_str()?.parse().ok())
        .collect()
}

/// An address and how many of its bits count, from `10.0.0.0/24`.
fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

/// An address as a number, and how many bits it has.
fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), 32),
        IpAddr::V6(address) => (address.into(), 128),
    }
}

fn contains(subnet: &str, address: IpAddr) -> bool {
    let Some((base, prefix)) = network(subnet) else {
        return false;
    };
    let ((base, bits), (address, others)) = (number(base), number(address));
    let host = bits.saturating_sub(prefix);
    let cut = |number: u128| number.checked_shr(host).unwrap_or(0);
    bits == others && cut(base) == cut(address)
}

/// An address of the subnet that this one is in, near its end: there, engines give none for long.
fn another(subnets: &[&str], than: IpAddr) -> Option<IpAddr> {
    let subnet = subnets.iter().find(|subnet| contains(subnet, than))?;
    let (base, prefix) = network(subnet)?;
    let (base, bits) = number(base);
    let host = bits.checked_sub(prefix).filter(|host| *host >= 2)?;
    let last = base | (1_u128.checked_shl(host.min(16)).unwrap_or(0) - 1);
    let found = [last - 1, last - 2].map(|number| match bits {
        32 => IpAddr::from((number as u32).to_be_bytes()),
        _ => IpAddr::from(number.to_be_bytes()),
    });
    found.into_iter().find(|other| *other != than)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_port_that_leads_out_makes_a_bridge_part_of_a_lan() {
        let port = |kind: Value, flags: Value| {
            json!([{}, {"ifname": "p", "flags": flags,
                "linkinfo": {"info_kind": kind, "info_slave_kind": "bridge"}}])
        };
        let up = json!(["BROADCAST", "UP", "LOWER_UP"]);
        for (kind, out) in [
            (json!("vxlan"), true),
            (json!("vlan"), true),
            (Value::Null, true),
            (json!("veth"), false),
            (json!("dummy"), false),
        ] {
            assert_eq!(leads_out(&port(kind.clone(), up.clone())), out, "{kind}");
            assert!(!leads_out(&port(kind, json!(["BROADCAST"]))));
        }
        assert!(!leads_out(&json!([])));
        assert!(!leads_out(&Value::Null));
    }

    #[test]
    fn a_network_is_made_anew_as_it_was_but_for_what_is_wrong() {
        let network = json!({"Name": "lan", "Driver": "ipvlan", "EnableIPv6": true,
            "Options": {"ipvlan_mode": "l3", "parent": "eth0"},
            "IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}, {"Subnet": "fd01::/64"}]}});
        let here = Here {
            host: &host::Local,
            kind: Kind::Docker,
            network: &network,
        };
        let failure = is_one(&here, &here).unwrap_err();
        assert!(failure.what.contains("ipvlan_mode is l3"), "{failure}");
        assert!(failure.fix[0].ends_with(
            "docker network rm lan; docker network create --driver ipvlan --ipv6 --subnet 10.1.0.0/24 \
             --gateway 10.1.0.1 --subnet fd01::/64 --opt 'ipvlan_mode=l2' --opt 'parent=eth0' lan"
        ), "{failure:?}");
        let anew = here.made_anew(None, Some("10.1.0.254".parse().unwrap()));
        assert!(
            anew.contains("--gateway 10.1.0.254 --subnet fd01::/64"),
            "{anew}"
        );
        let other = json!({"Name": "lan", "Driver": "overlay"});
        let here = Here {
            host: &host::Local,
            kind: Kind::Docker,
            network: &other,
        };
        assert!(is_one(&here, &here).unwrap_err().what.contains("overlay"));
        for mode in [json!({}), json!({"macvlan_mode": "bridge"})] {
            let good = json!({"Name": "lan", "Driver": "macvlan", "Options": mode});
            let here = Here {
                host: &host::Local,
                kind: Kind::Docker,
                network: &good,
            };
            is_one(&here, &here).unwrap();
        }
    }

    #[test]
    fn addresses_of_subnets() {
        let has = |subnet, address: &str| contains(subnet, address.parse().unwrap());
        assert!(has("10.1.0.0/24", "10.1.0.255") && !has("10.1.0.0/24", "10.1.1.0"));
        assert!(has("fd01::/64", "fd01::9") && !has("fd01::/64", "fd02::9"));
        assert!(has("0.0.0.0/0", "10.1.1.1") && !has("0.0.0.0/0", "fd02::9"));
        let other = |subnet, than: &str| another(&[subnet], than.parse().unwrap());
        let is = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(other("10.1.0.0/24", "10.1.0.1"), is("10.1.0.254"));
        assert_eq!(other("10.1.0.0/24", "10.1.0.254"), is("10.1.0.253"));
        assert_eq!(other("fd01::/64", "fd01::1"), is("fd01::fffe"));
        assert_eq!(other("10.1.0.0/31", "10.1.0.1"), None);
    }

    #[test]
    fn link_local_addresses_are_in_nobodys_way() {
        let devices = json!([{"ifname": "br", "addr_info": [
            {"local": "10.1.0.1", "scope": "global"}, {"local": "fe80::1", "scope": "link"}]}]);
        assert_eq!(addresses(&devices), [IpAddr::from([10, 1, 0, 1])]);
    }
}
