//! The network: mode, addresses, names, ports, further networks.

use super::From;
use super::line::{Line, fields, items, keys, pairs, strings};
use crate::Name;
use host::Cmd;
use serde_json::Value;

/// Modes that are no network of the user's own.
fn is_builtin(mode: &str) -> bool {
    ["", "default", "bridge", "host", "none"].contains(&mode) || mode.starts_with("container:")
}

/// The container's networks by name.
fn endpoints<'a>(from: &From<'a>) -> Vec<(&'a str, &'a Value)> {
    let networks = from.container.raw().pointer("/NetworkSettings/Networks");
    let map = networks.and_then(Value::as_object).into_iter().flatten();
    map.map(|(name, endpoint)| (name.as_str(), endpoint))
        .collect()
}

/// The network that the container is created with, and its endpoint.
fn primary<'a>(from: &From<'a>) -> Option<(&'a str, &'a Value)> {
    let mode = from.container.network_mode();
    let name = if ["", "default"].contains(&mode) {
        "bridge"
    } else {
        mode
    };
    let endpoints = endpoints(from);
    // The mode may be the network's id.
    let by_id = |endpoint: &Value| {
        name.len() >= 12
            && endpoint["NetworkID"]
                .as_str()
                .is_some_and(|id| id.starts_with(name))
    };
    endpoints
        .into_iter()
        .find(|(other, endpoint)| *other == name || by_id(endpoint))
}

pub(super) fn options(from: &From, line: &mut Line) {
    let mode = from.container.network_mode();
    if let Some(other) = mode.strip_prefix("container:") {
        line.option("network", mode);
        line.need(format_args!("container {other}, whose network it shares,"));
    } else if is_builtin(mode) {
        line.text_unless("network", &mode.into(), &["default", "bridge"]);
    } else {
        own_network(from, mode, line);
    }
    if !mode.starts_with("container:") {
        line.text("mac-address", mac(from));
        ports(from, line);
    }
    for link in strings(&from.host["Links"]) {
        // `/source:/this container/alias`
        let mut halves = link.splitn(2, ':');
        let source = halves.next().unwrap_or_default().trim_start_matches('/');
        let alias = halves
            .next()
            .and_then(|path| path.rsplit('/').next())
            .unwrap_or(source);
        line.option("link", format!("{source}:{alias}"));
        line.need(format_args!("container {source}, which it is linked to,"));
    }
    line.each("dns", &from.host["Dns"]);
    line.each("dns-option", &from.host["DnsOptions"]);
    line.each("dns-search", &from.host["DnsSearch"]);
    line.each("add-host", &from.host["ExtraHosts"]);
}

/// The MAC address that the user asked for. What is in the endpoint may be one that the engine made up.
fn mac<'a>(from: &From<'a>) -> &'a Value {
    &from.config["MacAddress"]
}

fn own_network(from: &From, mode: &str, line: &mut Line) {
    let Some((name, endpoint)) = primary(from) else {
        line.option("network", mode);
        return;
    };
    let options = pairs(&endpoint["DriverOpts"]);
    let priority = endpoint["GwPriority"].as_i64().unwrap_or(0);
    if options.is_empty() && priority == 0 {
        line.option("network", name);
    } else if from.engine.has_network_fields() {
        let mut list = vec![format!("name={name}")];
        list.extend(
            options
                .iter()
                .map(|(key, value)| format!("driver-opt={key}={value}")),
        );
        if priority != 0 && from.engine.has_gateway_priority() {
            list.push(format!("gw-priority={priority}"));
        }
        line.option("network", fields(&list));
    } else {
        line.option("network", name);
        line.note(format!(
            "the destination's {} takes no driver options for network {name}",
            from.engine
        ));
    }
    line.need(format_args!("network {name}"));
    for (option, value) in endpoint_options(from, endpoint) {
        let option = if option == "alias" {
            "network-alias"
        } else {
            option
        };
        line.option(option, value);
    }
}

/// What a user can fix about an endpoint, as options of `docker network connect`.
fn endpoint_options(from: &From, endpoint: &Value) -> Vec<(&'static str, String)> {
    let mut options = Vec::new();
    let ipam = &endpoint["IPAMConfig"];
    for (option, key) in [("ip", "IPv4Address"), ("ip6", "IPv6Address")] {
        if let Some(address) = ipam[key].as_str().filter(|address| !address.is_empty()) {
            options.push((option, address.to_owned()));
        }
    }
    let lists = [
        ("link-local-ip", &ipam["LinkLocalIPs"]),
        ("link", &endpoint["Links"]),
        ("alias", &endpoint["Aliases"]),
    ];
    for (option, list) in lists {
        for value in strings(list) {
            // Up to 24.0 the engine itself adds the short id.
            if option != "alias" || !from.container.id().starts_with(value) {
                options.push((option, value.to_owned()));
            }
        }
    }
    options
}

fn ports(from: &From, line: &mut Line) {
    let bindings = from.host["PortBindings"].as_object().into_iter().flatten();
    for (port, list) in bindings {
        let inside = port.strip_suffix("/tcp").unwrap_or(port);
        for binding in items(list) {
            let ip = binding["HostIp"].as_str().unwrap_or_default();
            let outside = binding["HostPort"].as_str().unwrap_or_default();
            let ip = if ip.contains(':') {
                format!("[{ip}]:")
            } else if ip.is_empty() {
                String::new()
            } else {
                format!("{ip}:")
            };
            if ip.is_empty() && outside.is_empty() {
                line.option("publish", inside);
            } else {
                line.option("publish", format!("{ip}{outside}:{inside}"));
            }
            if outside.is_empty() || outside == "0" {
                line.note(format!(
                    "port {port} is published on a free port: the destination chooses another one"
                ));
            }
        }
    }
    let published = keys(&from.host["PortBindings"]);
    let image = keys(&from.image["ExposedPorts"]);
    for port in keys(&from.config["ExposedPorts"]) {
        if !published.contains(&port) && !image.contains(&port) {
            line.option("expose", port.strip_suffix("/tcp").unwrap_or(port));
        }
    }
    line.switch("publish-all", &from.host["PublishAllPorts"]);
    if from.host["PublishAllPorts"] == true {
        line.note("exposed ports are published on free ports: the destination chooses others");
    }
}

/// Attaches the new container to the networks that it wasn't created with.
pub(super) fn connect(from: &From, new_name: &Name, line: &mut Line) -> Vec<Cmd> {
    if !from.container.has_own_network_namespace() {
        return Vec::new();
    }
    let first = primary(from).map(|(name, _)| name);
    let mut commands = Vec::new();
    for (name, endpoint) in endpoints(from) {
        if Some(name) == first {
            continue;
        }
        let mut cmd = Cmd::changes(from.engine.kind().program()).args(["network", "connect"]);
        for (option, value) in endpoint_options(from, endpoint) {
            cmd = cmd.arg(format!("--{option}")).arg(value);
        }
        for (key, value) in pairs(&endpoint["DriverOpts"]) {
            if from.engine.has_network_fields() {
                cmd = cmd.arg("--driver-opt").arg(format!("{key}={value}"));
            } else {
                line.note(format!(
                    "the destination's {} takes no driver options for network {name}",
                    from.engine
                ));
            }
        }
        if let Some(priority) = endpoint["GwPriority"]
            .as_i64()
            .filter(|priority| *priority != 0)
            && from.engine.has_gateway_priority()
        {
            cmd = cmd.arg("--gw-priority").arg(priority.to_string());
        }
        line.need(format_args!("network {name}"));
        commands.push(cmd.arg(name).arg(new_name.as_str()));
    }
    commands
}
