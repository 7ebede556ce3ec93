//! One host's Podman, and its descriptions brought into Docker's form.

use crate::EngineError;
use crate::answer::{json, nonsense};
use crate::version::lenient;
use host::{Cmd, Host, HostError, Output};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as value};

/// What one host's Podman is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Podman {
    /// Its version.
    pub version: Version,
    /// Version of the host's cgroup hierarchy, 1 or 2.
    pub cgroup_version: u8,
    /// The OCI runtime of a container that names none: `crun`, `runc`.
    pub default_runtime: String,
    /// The log driver of a container that names none.
    pub log_driver: String,
    /// The program that attaches its containers to networks, where that is netavark.
    #[serde(default)]
    pub netavark: Option<String>,
}

impl Podman {
    /// The command whose answer [`Podman::parse`] reads.
    #[must_use]
    pub fn probe_cmd() -> Cmd {
        Cmd::reads("podman").args(["info", "--format", "json"])
    }

    /// Asks a host about its Podman.
    ///
    /// # Errors
    /// Podman missing, or not root's, or not Podman at all; or the host itself failed.
    pub fn probe(host: &dyn Host) -> Result<Podman, EngineError> {
        match host.run(&Self::probe_cmd()) {
            Ok(output) => Self::parse(host.name(), &output),
            Err(HostError::NoProgram { host, .. }) => Err(EngineError::Missing {
                host,
                engine: crate::Kind::Podman,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the answer to [`Podman::probe_cmd`]; `host` is named in errors.
    ///
    /// # Errors
    /// As for [`Podman::probe`].
    pub fn parse(host: &str, info: &Output) -> Result<Podman, EngineError> {
        let cmd = Self::probe_cmd();
        let info = json(host, &cmd, info)?;
        let text = |pointer: &str| info.pointer(pointer).and_then(Value::as_str);
        if info.pointer("/host/security/rootless") == Some(&Value::Bool(true)) {
            return Err(EngineError::Rootless {
                host: host.to_owned(),
            });
        }
        Ok(Podman {
            version: text("/version/Version")
                .and_then(lenient)
                .ok_or_else(|| nonsense(host, &cmd, "no version", &info.to_string()))?,
            cgroup_version: if text("/host/cgroupVersion") == Some("v2") {
                2
            } else {
                1
            },
            default_runtime: text("/host/ociRuntime/name").unwrap_or("crun").to_owned(),
            log_driver: text("/host/logDriver").unwrap_or("k8s-file").to_owned(),
            netavark: text("/host/networkBackendInfo/path")
                .filter(|_| text("/host/networkBackend") == Some("netavark"))
                .map(str::to_owned),
        })
    }
}

/// Whether a description is one of Podman's.
pub(crate) fn is_ours(raw: &Value) -> bool {
    raw["OCIRuntime"].is_string()
}

/// Brings what `podman inspect` tells into Docker's form: everything else reads one form only. What has that
/// form already stays as it is.
pub(crate) fn as_docker(raw: &mut Value) {
    if raw["OCIRuntime"] != "" {
        raw["HostConfig"]["Runtime"] = std::mem::replace(&mut raw["OCIRuntime"], "".into());
    }
    if let Some(path) = raw["HostConfig"]["LogConfig"]["Path"].as_str() {
        raw["LogPath"] = path.into();
    }
    for key in ["Path", "Size", "Tag"] {
        if let Some(config) = raw["HostConfig"]["LogConfig"].as_object_mut() {
            config.remove(key);
        }
    }
    graph(raw);
    network(raw);
    volumes(raw);
    let config = &mut raw["Config"];
    if let Some(line) = config["Entrypoint"].as_str() {
        config["Entrypoint"] = if line.is_empty() {
            Value::Null
        } else {
            value!([line])
        };
    }
    own_annotations(&mut config["Annotations"]);
    let host = &mut raw["HostConfig"];
    for key in ["PidMode", "UTSMode"] {
        if host[key] == "private" {
            host[key] = "".into();
        }
    }
    if host["CgroupMode"].is_string() {
        host["CgroupnsMode"] = host["CgroupMode"].take();
    }
    for limit in host["Ulimits"].as_array_mut().into_iter().flatten() {
        let name = limit["Name"].as_str().unwrap_or_default();
        limit["Name"] = name.trim_start_matches("RLIMIT_").to_lowercase().into();
    }
    own_annotations(&mut host["Annotations"]);
    if let Some(host) = host.as_object_mut() {
        // How this host's Podman manages cgroups and files of its own.
        for key in ["CgroupManager", "Cgroups", "CgroupMode", "HostsFile"] {
            host.remove(key);
        }
    }
}

/// Annotations that Podman itself gives its containers, or reads back from the bundle.
const OWN_ANNOTATIONS: [&str; 4] = [
    "io.container.manager",
    "io.podman.annotations.",
    "org.opencontainers.image.stopSignal",
    "org.systemd.property.",
];

fn own_annotations(annotations: &mut Value) {
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.retain(|key, _| !OWN_ANNOTATIONS.iter().any(|own| key.starts_with(own)));
    }
}

/// The folder where the root is mounted is told only while it is, and is always beside the others.
fn graph(raw: &mut Value) {
    let data = &mut raw["GraphDriver"]["Data"];
    let upper = data["UpperDir"]
        .as_str()
        .and_then(|path| path.strip_suffix("/diff"));
    if let (Some(folder), true) = (upper, data["MergedDir"].is_null()) {
        data["MergedDir"] = format!("{folder}/merged").into();
    }
}

/// The mode is `bridge` for every network; which ones, the endpoints tell. An address that the user chose is told
/// in no other way than one that was given: all are kept, for the processes are bound to them.
fn network(raw: &mut Value) {
    if raw["HostConfig"]["NetworkMode"] != "bridge" {
        return;
    }
    let own = [raw["Id"].clone(), raw["Config"]["Hostname"].clone()];
    let own: Vec<&str> = own.iter().filter_map(Value::as_str).collect();
    let mut first = None;
    let networks = raw["NetworkSettings"]["Networks"].as_object_mut();
    for (name, endpoint) in networks.into_iter().flatten() {
        if name == "podman" {
            continue;
        }
        first.get_or_insert_with(|| name.clone());
        // Podman adds the short id and the host name.
        if let Some(aliases) = endpoint["Aliases"].as_array_mut() {
            let added = |alias: &str| own[0].starts_with(alias) || own[1..].contains(&alias);
            aliases.retain(|alias| !alias.as_str().is_some_and(added));
        }
        let mut addresses = serde_json::Map::new();
        for (key, from) in [
            ("IPv4Address", "IPAddress"),
            ("IPv6Address", "GlobalIPv6Address"),
        ] {
            if let Some(address) = endpoint[from].as_str().filter(|text| !text.is_empty()) {
                addresses.insert(key.to_owned(), address.into());
            }
        }
        endpoint["IPAMConfig"] = addresses.into();
    }
    raw["HostConfig"]["NetworkMode"] = first.unwrap_or_else(|| "default".to_owned()).into();
}

/// Volumes that nobody named are listed among the named ones, by the 64 digits that they are called by.
fn volumes(raw: &mut Value) {
    let mut anonymous = serde_json::Map::new();
    if let Some(binds) = raw["HostConfig"]["Binds"].as_array_mut() {
        binds.retain(|bind| {
            let mut parts = bind.as_str().unwrap_or_default().split(':');
            let (name, at) = (parts.next().unwrap_or_default(), parts.next());
            let unnamed = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if let (true, Some(at)) = (unnamed, at) {
                anonymous.insert(at.to_owned(), value!({}));
            }
            !unnamed
        });
    }
    if !anonymous.is_empty() {
        raw["Config"]["Volumes"] = anonymous.into();
    }
}

/// Brings what `podman network inspect` tells of a network into Docker's form, as far as that is read.
pub(crate) fn network_as_docker(raw: &mut Value) {
    let driver = raw["driver"].as_str().unwrap_or_default().to_owned();
    let mut options = raw["options"].as_object().cloned().unwrap_or_default();
    if let Some(mode) = options.remove("mode") {
        options.insert(format!("{driver}_mode"), mode);
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let subnets = list(&raw["subnets"]);
    let subnets = subnets
        .iter()
        .map(|one| value!({"Subnet": one["subnet"], "Gateway": one["gateway"]}));
    let containers = raw["containers"].as_object().cloned().unwrap_or_default();
    let containers = containers.into_iter().map(|(id, one)| {
        let interfaces = one["interfaces"].as_object().into_iter().flatten();
        let mut endpoint = value!({"Name": one["name"]});
        for address in interfaces.flat_map(|(_, of)| list(&of["subnets"])) {
            let address = &address["ipnet"];
            let six = address.as_str().is_some_and(|text| text.contains(':'));
            endpoint[if six { "IPv6Address" } else { "IPv4Address" }] = address.clone();
        }
        (id, endpoint)
    });
    *raw = value!({
        "Name": raw["name"], "Id": raw["id"], "Driver": driver, "Options": options,
        "EnableIPv6": raw["ipv6_enabled"],
        "IPAM": {"Config": subnets.collect::<Vec<_>>()},
        "Containers": containers.collect::<serde_json::Map<_, _>>(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_told_of_as_docker_does() {
        let mut raw = value!({"name": "lan", "id": "f9", "driver": "macvlan", "ipv6_enabled": true,
            "options": {"mode": "vepa"}, "subnets": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}],
            "containers": {"9a": {"name": "t", "interfaces": {"eth0": {"subnets": [
                {"ipnet": "10.1.0.50/24"}, {"ipnet": "fd53::50/64"}]}}}}});
        network_as_docker(&mut raw);
        let is = value!({"Name": "lan", "Id": "f9", "Driver": "macvlan", "EnableIPv6": true,
            "Options": {"macvlan_mode": "vepa"},
            "IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}]},
            "Containers": {"9a": {"Name": "t", "IPv4Address": "10.1.0.50/24", "IPv6Address": "fd53::50/64"}}});
        assert_eq!(raw, is);
    }
}
