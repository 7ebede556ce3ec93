//! A container, as an engine's `inspect` tells it.

use crate::{Kind, podman};
use serde_json::Value;

/// A container's whole description: the engine's JSON in Docker's form, with typed access to what is often asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    raw: Value,
    kind: Kind,
}

/// One of a container's mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`.
    pub kind: String,
    /// Name, for a volume.
    pub volume: Option<String>,
    /// Folder or file on the host; empty for a tmpfs.
    pub source: String,
    /// Where the container sees it.
    pub destination: String,
    /// Driver, for a volume.
    pub driver: Option<String>,
    /// Whether the container may write to it.
    pub writable: bool,
    /// Whether this is a volume that nobody named: it belongs to this container alone.
    pub anonymous: bool,
}

/// One of a container's networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Name of the network.
    pub name: String,
    /// IPv4 address while it runs.
    pub ip: Option<String>,
    /// Length of the network's prefix.
    pub prefix: u64,
    /// Gateway.
    pub gateway: Option<String>,
    /// Global IPv6 address while it runs.
    pub ip6: Option<String>,
    /// MAC address while it runs.
    pub mac: Option<String>,
}

fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

impl Container {
    /// Reads what [`Kind::inspect`](crate::Kind::inspect) printed: a list of one container.
    /// None where it is anything else.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Container> {
        let value: Value = serde_json::from_slice(json).ok()?;
        let raw = match value {
            Value::Array(list) if list.len() == 1 => list.into_iter().next()?,
            raw @ Value::Object(_) => raw,
            _ => return None,
        };
        let complete =
            raw["Id"].is_string() && raw["Config"].is_object() && raw["HostConfig"].is_object();
        let mut raw = complete.then_some(raw)?;
        let mut kind = Kind::Docker;
        if podman::is_ours(&raw) {
            podman::as_docker(&mut raw);
            kind = Kind::Podman;
        }
        Some(Container { raw, kind })
    }

    /// The engine that it belongs to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The engine's JSON, Podman's in Docker's form.
    #[must_use]
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The same container, as if it had been created with another OCI runtime.
    #[must_use]
    pub fn with_runtime(mut self, runtime: &str) -> Self {
        self.raw["HostConfig"]["Runtime"] = runtime.into();
        self
    }

    /// The same container, as if it had been created with another restart policy (`no`, `always`).
    #[must_use]
    pub fn with_restart_policy(mut self, policy: &str) -> Self {
        self.raw["HostConfig"]["RestartPolicy"] = serde_json::json!({ "Name": policy });
        self
    }

    pub(crate) fn config(&self) -> &Value {
        &self.raw["Config"]
    }

    pub(crate) fn host_config(&self) -> &Value {
        &self.raw["HostConfig"]
    }

    pub(crate) fn state(&self) -> &Value {
        &self.raw["State"]
    }

    /// Other containers that the engine asks for when it creates this one: links to them, their volumes, their
    /// namespaces. Names, or ids where the engine kept those.
    #[must_use]
    pub fn others(&self) -> Vec<String> {
        let host = self.host_config();
        let listed = ["Links", "VolumesFrom"]
            .iter()
            .filter_map(|key| host[key].as_array())
            .flatten();
        let listed = listed.filter_map(Value::as_str);
        let joined = ["NetworkMode", "IpcMode", "PidMode"]
            .iter()
            .filter_map(|key| host[key].as_str()?.strip_prefix("container:"));
        let mut names: Vec<String> = listed
            .chain(joined)
            .filter_map(|text| text.trim_start_matches('/').split(':').next())
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn str(&self, pointer: &str) -> &str {
        self.raw
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Full id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.str("/Id")
    }

    /// Name, without the slash that Docker puts before it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.str("/Name").trim_start_matches('/')
    }

    /// Id of the image (`sha256:…`).
    #[must_use]
    pub fn image_id(&self) -> &str {
        self.str("/Image")
    }

    /// The image as the user named it; the name may mean another image by now.
    #[must_use]
    pub fn image_ref(&self) -> &str {
        self.str("/Config/Image")
    }

    /// Whether it runs; a paused container does.
    #[must_use]
    pub fn running(&self) -> bool {
        self.state()["Running"].as_bool().unwrap_or(false)
    }

    /// Whether it is paused.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.state()["Paused"].as_bool().unwrap_or(false)
    }

    /// `created`, `running`, `paused`, `restarting`, `exited`, `dead`.
    #[must_use]
    pub fn status(&self) -> &str {
        self.str("/State/Status")
    }

    /// Process id of its first process on the host; none unless it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let pid = self.state()["Pid"].as_u64()?;
        u32::try_from(pid).ok().filter(|pid| *pid != 0)
    }

    /// Process id of the conmon that Podman has beside it; Docker has none.
    #[must_use]
    pub fn conmon(&self) -> Option<u64> {
        self.state()["ConmonPid"].as_u64().filter(|pid| *pid != 0)
    }

    /// When it was started last (RFC 3339).
    #[must_use]
    pub fn started_at(&self) -> &str {
        self.str("/State/StartedAt")
    }

    /// Exit code of its last run; 137 after a checkpoint.
    #[must_use]
    pub fn exit_code(&self) -> i64 {
        self.state()["ExitCode"].as_i64().unwrap_or(0)
    }

    /// What the engine says went wrong at its last start; often empty.
    #[must_use]
    pub fn error(&self) -> &str {
        self.str("/State/Error")
    }

    /// The folder with what it wrote into its root, of the storage drivers overlay2 and overlay; none for others.
    #[must_use]
    pub fn upper_dir(&self) -> Option<&str> {
        self.graph("UpperDir")
    }

    /// The folder where its root is mounted while it runs, of the storage driver overlay2.
    #[must_use]
    pub fn merged_dir(&self) -> Option<&str> {
        self.graph("MergedDir")
    }

    fn graph(&self, key: &str) -> Option<&str> {
        let driver = &self.raw["GraphDriver"];
        if driver["Name"] != "overlay2" && driver["Name"] != "overlay" {
            return None;
        }
        driver["Data"][key].as_str().filter(|path| !path.is_empty())
    }

    /// Its log driver (`json-file`).
    #[must_use]
    pub fn log_driver(&self) -> &str {
        self.str("/HostConfig/LogConfig/Type")
    }

    /// The file with what it printed, where its log driver keeps one; empty before its first start.
    #[must_use]
    pub fn log_path(&self) -> &str {
        self.str("/LogPath")
    }

    /// Whether it has a terminal.
    #[must_use]
    pub fn tty(&self) -> bool {
        self.config()["Tty"].as_bool().unwrap_or(false)
    }

    /// Whether the engine removes it when it ends (`--rm`).
    #[must_use]
    pub fn auto_remove(&self) -> bool {
        self.host_config()["AutoRemove"].as_bool().unwrap_or(false)
    }

    /// Whether it runs with all privileges.
    #[must_use]
    pub fn privileged(&self) -> bool {
        self.host_config()["Privileged"].as_bool().unwrap_or(false)
    }

    /// Its restart policy as `docker update --restart` takes it (`no`, `always`, `on-failure:3`).
    #[must_use]
    pub fn restart_policy(&self) -> String {
        let policy = &self.host_config()["RestartPolicy"];
        let name = policy["Name"]
            .as_str()
            .filter(|name| !name.is_empty())
            .unwrap_or("no");
        match policy["MaximumRetryCount"].as_i64() {
            Some(most) if most > 0 && name == "on-failure" => format!("{name}:{most}"),
            _ => name.to_owned(),
        }
    }

    /// The pod that it belongs to, with Podman.
    #[must_use]
    pub fn pod(&self) -> Option<&str> {
        Some(self.str("/Pod")).filter(|pod| !pod.is_empty())
    }

    /// The OCI runtime that it was created with; empty for the engine's default of old versions.
    #[must_use]
    pub fn runtime(&self) -> &str {
        self.str("/HostConfig/Runtime")
    }

    /// Network mode: `default`, `bridge`, `host`, `none`, `container:ID`, or a network's name.
    #[must_use]
    pub fn network_mode(&self) -> &str {
        self.str("/HostConfig/NetworkMode")
    }

    /// Whether the container has a network namespace made for it alone: every mode but `host` and `container:`.
    #[must_use]
    pub fn has_own_network_namespace(&self) -> bool {
        let mode = self.network_mode();
        mode != "host" && !mode.starts_with("container:")
    }

    /// Its mounts, in the engine's order.
    #[must_use]
    pub fn mounts(&self) -> Vec<Mount> {
        let list = self.raw["Mounts"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter().map(|mount| self.mount(mount)).collect()
    }

    fn mount(&self, mount: &Value) -> Mount {
        let volume = text(&mount["Name"]);
        let destination = text(&mount["Destination"]).unwrap_or_default();
        let named_in_binds = |name: &str| {
            let binds = self.host_config()["Binds"].as_array();
            let start = format!("{name}:");
            binds.is_some_and(|binds| {
                binds
                    .iter()
                    .filter_map(Value::as_str)
                    .any(|bind| bind.starts_with(&start))
            })
        };
        let named_in_mounts = |name: &str| {
            let mounts = self.host_config()["Mounts"].as_array();
            mounts.is_some_and(|mounts| mounts.iter().any(|mount| mount["Source"] == name))
        };
        // Docker gives a volume that nobody named 64 hexadecimal digits.
        let anonymous = volume.as_deref().is_some_and(|name| {
            name.len() == 64
                && name.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !named_in_binds(name)
                && !named_in_mounts(name)
        });
        Mount {
            // 17.09 and earlier leave the type of some out.
            kind: text(&mount["Type"])
                .unwrap_or_else(|| if volume.is_some() { "volume" } else { "bind" }.to_owned()),
            source: text(&mount["Source"]).unwrap_or_default(),
            driver: text(&mount["Driver"]),
            writable: mount["RW"].as_bool().unwrap_or(true),
            volume,
            destination,
            anonymous,
        }
    }

    /// Its networks, with their addresses while it runs.
    #[must_use]
    pub fn networks(&self) -> Vec<Network> {
        let Some(networks) = self
            .raw
            .pointer("/NetworkSettings/Networks")
            .and_then(Value::as_object)
        else {
            return Vec::new();
        };
        networks
            .iter()
            .map(|(name, endpoint)| Network {
                name: name.clone(),
                ip: text(&endpoint["IPAddress"]),
                prefix: endpoint["IPPrefixLen"].as_u64().unwrap_or(0),
                gateway: text(&endpoint["Gateway"]),
                ip6: text(&endpoint["GlobalIPv6Address"]),
                mac: text(&endpoint["MacAddress"]),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_containers_that_it_uses() {
        let container = |host: &str| {
            let json = format!(r#"{{"Id":"1","Config":{{}},"HostConfig":{host}}}"#);
            Container::parse(json.as_bytes()).unwrap()
        };
        let uses = r#"{"Links":["/db:/web/db"],"VolumesFrom":["data:ro","db"],"NetworkMode":"container:vpn","PidMode":"host"}"#;
        assert_eq!(container(uses).others(), ["data", "db", "vpn"]);
        assert!(
            container(r#"{"Links":null,"IpcMode":"private"}"#)
                .others()
                .is_empty()
        );
    }
}
