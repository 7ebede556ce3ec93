//! The network of a lab: a bridge, and a cable from it into each host.

use crate::config::{LabConfig, Node};
use crate::error::{LabError, Result};
use host::{Cmd, Host, Local};
use ipnet::Ipv4Net;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An interface with its addresses, from `ip -json address`.
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    #[serde(default)]
    pub(crate) ifname: String,
    #[serde(default)]
    master: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    #[serde(default)]
    family: String,
    #[serde(default)]
    local: Option<Ipv4OrOther>,
    #[serde(default)]
    prefixlen: u8,
}

/// `local` is an IPv6 address too.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Ipv4OrOther {
    V4(Ipv4Addr),
    Other(#[allow(dead_code, reason = "only tells serde to take anything")] String),
}

impl Link {
    fn nets(&self) -> impl Iterator<Item = Ipv4Net> {
        self.addr_info.iter().filter_map(|a| match &a.local {
            Some(Ipv4OrOther::V4(local)) if a.family == "inet" => {
                Ipv4Net::new(*local, a.prefixlen).ok()
            }
            _ => None,
        })
    }

    fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }
}

/// A route, from `ip -json route`.
#[derive(Debug, Deserialize)]
struct Route {
    #[serde(default)]
    dst: String,
    #[serde(default)]
    dev: String,
}

fn ip(args: &[&str]) -> Cmd {
    Cmd::changes("ip").args(args.iter().copied())
}

fn do_ip(args: &[&str]) -> Result<()> {
    Ok(Local.text(&ip(args)).map(drop)?)
}

fn json<T: for<'de> Deserialize<'de>>(args: &[&str]) -> Result<Vec<T>> {
    let text = Local.text(&Cmd::reads("ip").arg("-json").args(args.iter().copied()))?;
    Ok(serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).unwrap_or_default())
}

/// All interfaces of this machine.
pub(crate) fn links() -> Result<Vec<Link>> {
    json(&["address"])
}

/// The network namespace of a host, as a file.
pub(crate) fn netns(label: &str) -> PathBuf {
    Path::new("/run/netns").join(label)
}

/// Whether a process is in the network namespace of that name; `None` where it is in none any more,
/// as one that ends.
pub(crate) fn is_in(pid: u32, label: &str) -> Option<bool> {
    let id = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let own = id(Path::new(&format!("/proc/{pid}/ns/net")))?;
    Some(Some(own) == id(&netns(label)))
}

/// Refuses where another interface or route has addresses of the lab's range, or where the lab's
/// bridge exists although the lab doesn't.
pub(crate) fn refuse_taken(config: &LabConfig) -> Result<()> {
    let links = links()?;
    let ours = |name: &str| {
        name.strip_prefix(&config.bridge())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    if let Some(link) = links.iter().find(|link| ours(&link.ifname)) {
        return Err(LabError::NameTaken {
            name: config.name.clone(),
            interface: link.ifname.clone(),
            state: config.state_dir(),
        });
    }
    let routes: Vec<Route> = json(&["route", "show", "table", "all"])?;
    let taken = users(&links, &routes);
    let Some((_, by)) = taken.iter().find(|(net, _)| overlap(*net, config.subnet)) else {
        return Ok(());
    };
    Err(LabError::RangeInUse {
        name: config.name.clone(),
        subnet: config.subnet.to_string(),
        by: by.clone(),
        free: free_range(&taken).to_string(),
    })
}

/// Ranges in use, and by whom. Default routes have every address and none of their own.
fn users(links: &[Link], routes: &[Route]) -> Vec<(Ipv4Net, String)> {
    let from_links = links.iter().flat_map(|link| {
        link.nets()
            .map(|net| (net, format!("interface {} has {net}", link.ifname)))
    });
    let from_routes = routes.iter().filter_map(|route| {
        let net: Ipv4Net = match route.dst.parse() {
            Ok(net) => net,
            Err(_) => Ipv4Net::from(route.dst.parse::<Ipv4Addr>().ok()?),
        };
        (net.prefix_len() > 0).then(|| (net, format!("a route to {net} by {}", route.dev)))
    });
    from_links.chain(from_routes).collect()
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The first range 10.N.0.0/24 from 10.88 on that nobody uses.
fn free_range(taken: &[(Ipv4Net, String)]) -> Ipv4Net {
    (88..=255)
        .map(|n| Ipv4Net::new_assert(Ipv4Addr::new(10, n, 0, 0), 24))
        .find(|net| taken.iter().all(|(other, _)| !overlap(*net, *other)))
        .unwrap_or(Ipv4Net::new_assert(Ipv4Addr::new(172, 31, 0, 0), 24))
}

/// A hardware address that follows from the IP address: a host that is started again is the one its
/// neighbours remember. Locally administered, IEEE 802c.
fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Makes the bridge, or mends it. Returns whether there was anything to do.
pub(crate) fn ensure_bridge(config: &LabConfig) -> Result<bool> {
    let bridge = config.bridge();
    let address =
        Ipv4Net::new(config.gateway(), config.subnet.prefix_len()).unwrap_or(config.subnet);
    let links = links()?;
    let link = links.iter().find(|link| link.ifname == bridge);
    if link.is_some_and(|link| link.is_up() && link.nets().any(|net| net == address)) {
        return Ok(false);
    }
    if link.is_none() {
        let mac = mac(config.gateway());
        do_ip(&["link", "add", &bridge, "address", &mac, "type", "bridge"])?;
    }
    do_ip(&["address", "replace", &address.to_string(), "dev", &bridge])?;
    do_ip(&["link", "set", &bridge, "up"])?;
    Ok(true)
}

/// Whether a host's cable is there and plugged in.
pub(crate) fn plugged(links: &[Link], config: &LabConfig, node: &Node) -> bool {
    let bridge = config.bridge();
    links.iter().any(|link| {
        link.ifname == node.label && link.master.as_deref() == Some(&bridge) && link.is_up()
    })
}

/// Makes a host's network namespace and its cable, or mends them.
pub(crate) fn ensure_cable(config: &LabConfig, node: &Node) -> Result<()> {
    let label = &node.label;
    if !netns(label).exists() {
        // ip takes a lock on /run/netns, so labs may come up side by side.
        do_ip(&["netns", "add", label])?;
    }
    let in_host = |args: &[&str]| {
        let mut all = vec!["-netns", label.as_str()];
        all.extend(args);
        do_ip(&all)
    };
    in_host(&["link", "set", "lo", "up"])?;
    if !links()?.iter().any(|link| link.ifname == *label) {
        let mac = mac(node.address);
        do_ip(&[
            "link", "add", label, "type", "veth", "peer", "name", "eth0", "address", &mac, "netns",
            label,
        ])?;
    }
    do_ip(&["link", "set", label, "master", &config.bridge(), "up"])?;
    let address = format!("{}/{}", node.address, config.subnet.prefix_len());
    in_host(&["address", "replace", &address, "dev", "eth0"])?;
    in_host(&["link", "set", "eth0", "up"])?;
    in_host(&[
        "route",
        "replace",
        "default",
        "via",
        &config.gateway().to_string(),
    ])
}

/// Processes in a host's network namespace.
pub(crate) fn pids(label: &str) -> BTreeSet<u32> {
    if !netns(label).exists() {
        return BTreeSet::new();
    }
    let Ok(text) = Local.text(&Cmd::reads("ip").args(["netns", "pids", label])) else {
        return BTreeSet::new();
    };
    text.lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}

/// Labels of hosts that have a network namespace or a cable, of those that begin with `prefix`.
pub(crate) fn labels(prefix: &str) -> Result<BTreeSet<String>> {
    let mut found: BTreeSet<String> = links()?.into_iter().map(|link| link.ifname).collect();
    if let Ok(entries) = std::fs::read_dir("/run/netns") {
        found.extend(
            entries
                .flatten()
                .filter_map(|e| e.file_name().into_string().ok()),
        );
    }
    found.retain(|name| name.starts_with(prefix));
    Ok(found)
}

/// Removes an interface; that it is not there is fine.
pub(crate) fn remove_link(name: &str) -> Result<()> {
    let there = || -> Result<bool> { Ok(links()?.iter().any(|link| link.ifname == name)) };
    if there()? {
        let removed = do_ip(&["link", "delete", name]);
        // The kernel may have been faster, if the namespace of the other end has just gone.
        if there()? {
            removed?;
        }
    }
    Ok(())
}

/// Removes a network namespace; that it is not there is fine.
pub(crate) fn remove_netns(label: &str) -> Result<()> {
    if netns(label).exists() {
        do_ip(&["netns", "delete", label])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: &str = r#"[
      {"ifname":"lo","flags":["LOOPBACK","UP"],"addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8},{"family":"inet6","local":"::1","prefixlen":128}]},
      {"ifname":"eth0","flags":["UP"],"addr_info":[{"family":"inet","local":"10.88.1.7","prefixlen":16}]},
      {"ifname":"ts-lab-a","master":"ts-lab","flags":["UP"],"addr_info":[]},{}]"#;
    const ROUTES: &str = r#"[{"dst":"default","dev":"eth0"},{"dst":"10.88.0.0/16","dev":"eth0"},
      {"dst":"10.77.0.9","dev":"wg0"},{"type":"multicast","dst":"ff00::/8","dev":"eth0"}]"#;

    fn taken() -> Vec<(Ipv4Net, String)> {
        let links: Vec<Link> = serde_json::from_str(ADDRESSES).unwrap();
        let routes: Vec<Route> = serde_json::from_str(ROUTES).unwrap();
        users(&links, &routes)
    }

    #[test]
    fn whoever_has_the_range_is_named() {
        let taken = taken();
        let who = |subnet: &str| {
            let subnet = subnet.parse().unwrap();
            taken
                .iter()
                .find(|(net, _)| overlap(*net, subnet))
                .map(|(_, by)| by.as_str())
        };
        assert_eq!(who("10.88.3.0/24"), Some("interface eth0 has 10.88.1.7/16"));
        assert_eq!(who("10.77.0.0/24"), Some("a route to 10.77.0.9/32 by wg0"));
        assert_eq!(who("10.0.0.0/8"), Some("interface eth0 has 10.88.1.7/16"));
        assert_eq!(who("10.78.0.0/24"), None);
    }

    #[test]
    fn the_suggested_range_is_free() {
        assert_eq!(free_range(&taken()).to_string(), "10.89.0.0/24");
    }

    #[test]
    fn a_cable_counts_when_it_is_in_the_labs_bridge() {
        let links: Vec<Link> = serde_json::from_str(ADDRESSES).unwrap();
        let config = LabConfig::default();
        let nodes = config.nodes();
        assert!(plugged(&links, &config, &nodes[0]));
        assert!(!plugged(&links, &config, &nodes[1]));
    }
}
