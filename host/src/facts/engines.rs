//! Docker and Podman, from their own JSON.

use super::transcript::{Transcript, json};
use semver::Version;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Docker on a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Docker {
    /// Version of the client.
    pub client: Option<String>,
    /// The daemon; `None` where it does not answer.
    pub server: Option<DockerServer>,
    /// What the client said where the daemon does not answer.
    pub error: Option<String>,
    /// /etc/docker/daemon.json, where it can be read and is JSON.
    pub configuration: Option<Value>,
}

/// A daemon that answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DockerServer {
    /// `17.09.1-ce`.
    pub text: String,
    /// The same as a version.
    pub version: Option<Version>,
    /// Highest version of the API.
    pub api: Option<String>,
    /// Whether experimental features (checkpoints among them) are on.
    pub experimental: bool,
    /// `overlay2`, `overlayfs` (containerd's image store) …
    pub storage_driver: Option<String>,
    /// 1 or 2; `None` before 20.10, which knows only 1.
    pub cgroup_version: Option<u32>,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: Option<String>,
    /// Runtimes by name, with their program where it is said.
    pub runtimes: BTreeMap<String, Option<String>>,
    /// The runtime for containers that name none.
    pub default_runtime: Option<String>,
    /// Where its data is.
    pub root: Option<String>,
    /// `name=apparmor`, `name=seccomp,profile=builtin` …
    pub security: Vec<String>,
    /// Version of containerd, or its commit before 18.09.
    pub containerd: Option<String>,
    /// Version of runc, or its commit before 18.09.
    pub runc: Option<String>,
    /// Whether it runs as an ordinary user.
    pub rootless: bool,
    /// Running containers.
    pub running: Option<u64>,
}

/// Podman on a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Podman {
    /// `5.4.2`.
    pub text: Option<String>,
    /// The same as a version.
    pub version: Option<Version>,
    /// The OCI runtime's name, program and what it says of its version.
    pub runtime: Option<PodmanRuntime>,
    /// 1 or 2.
    pub cgroup_version: Option<u32>,
    /// `cgroupfs` or `systemd`.
    pub cgroup_manager: Option<String>,
    /// Whether our commands use it as an ordinary user.
    pub rootless: bool,
    /// `overlay`, `vfs` …
    pub storage_driver: Option<String>,
    /// Where its data is.
    pub root: Option<String>,
    /// `netavark` or `cni`.
    pub network_backend: Option<String>,
    /// What it said where it does not work.
    pub error: Option<String>,
}

/// The OCI runtime that Podman uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PodmanRuntime {
    /// `crun`, `runc`.
    pub name: String,
    /// Its program.
    pub path: String,
    /// What it says of its version.
    pub text: String,
}

fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// What a program complained about: its first line that calls itself an error, else the last
/// line that is no JSON.
fn complaint(section: &str) -> Option<String> {
    let lines = || {
        section
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let error = lines().find(|line| line.to_ascii_lowercase().starts_with("error"));
    let last = || {
        lines().rfind(|line| !line.starts_with(['{', '}', '[', ']', '"']) && !line.ends_with(','))
    };
    error.or_else(last).map(str::to_owned)
}

/// Reads the sections `docker.*`; `None` where there is no client.
#[must_use]
pub fn docker(transcript: &Transcript) -> Option<Docker> {
    let said = transcript.section("docker.version")?;
    let version = json(&said.text).unwrap_or(Value::Null);
    let info = json(transcript.text("docker.info")).unwrap_or(Value::Null);
    let server = server(&version["Server"], &info);
    let error = match server {
        Some(_) => None,
        None if matches!(said.status, Some(124 | 137)) => {
            Some("it did not answer within 30 seconds".to_owned())
        }
        None => complaint(&said.text).or_else(|| text(&info["ServerErrors"][0])),
    };
    Some(Docker {
        client: text(&version["Client"]["Version"]),
        server,
        error,
        configuration: json(transcript.text("docker.daemon-json")),
    })
}

fn server(version: &Value, info: &Value) -> Option<DockerServer> {
    let name = text(&version["Version"]).or_else(|| text(&info["ServerVersion"]))?;
    let component = |wanted: &str| {
        let all = version["Components"].as_array()?;
        let found = all.iter().find(|component| component["Name"] == wanted)?;
        text(&found["Version"])
    };
    let security: Vec<String> = info["SecurityOptions"]
        .as_array()
        .map(|options| options.iter().filter_map(text).collect())
        .unwrap_or_default();
    Some(DockerServer {
        version: crate::version::lenient(&name),
        text: name,
        api: text(&version["ApiVersion"]),
        experimental: version["Experimental"].as_bool() == Some(true)
            || info["ExperimentalBuild"].as_bool() == Some(true),
        storage_driver: text(&info["Driver"]),
        cgroup_version: text(&info["CgroupVersion"]).and_then(|number| number.parse().ok()),
        cgroup_driver: text(&info["CgroupDriver"]),
        runtimes: info["Runtimes"]
            .as_object()
            .map(|runtimes| {
                let path = |value: &Value| text(&value["path"]);
                runtimes
                    .iter()
                    .map(|(name, value)| (name.clone(), path(value)))
                    .collect()
            })
            .unwrap_or_default(),
        default_runtime: text(&info["DefaultRuntime"]),
        root: text(&info["DockerRootDir"]),
        rootless: security.iter().any(|option| option == "name=rootless"),
        security,
        containerd: component("containerd").or_else(|| text(&info["ContainerdCommit"]["ID"])),
        runc: component("runc").or_else(|| text(&info["RuncCommit"]["ID"])),
        running: info["ContainersRunning"].as_u64(),
    })
}

/// Reads the section `podman.info`; `None` where there is no Podman.
#[must_use]
pub fn podman(transcript: &Transcript) -> Option<Podman> {
    let said = transcript.section("podman.info")?;
    let info = json(&said.text);
    let error = match info {
        Some(_) => None,
        None if matches!(said.status, Some(124 | 137)) => {
            Some("it did not answer within 30 seconds".to_owned())
        }
        None => complaint(&said.text),
    };
    let info = info.unwrap_or(Value::Null);
    let (host, store) = (&info["host"], &info["store"]);
    let version = text(&info["version"]["Version"]);
    let runtime = &host["ociRuntime"];
    Some(Podman {
        version: version.as_deref().and_then(crate::version::lenient),
        text: version,
        runtime: text(&runtime["name"]).map(|name| PodmanRuntime {
            name,
            path: text(&runtime["path"]).unwrap_or_default(),
            text: text(&runtime["version"]).unwrap_or_default(),
        }),
        cgroup_version: text(&host["cgroupVersion"])
            .and_then(|version| version.trim_start_matches('v').parse().ok()),
        cgroup_manager: text(&host["cgroupManager"]),
        rootless: host["security"]["rootless"].as_bool() == Some(true),
        storage_driver: text(&store["graphDriverName"]),
        root: text(&store["graphRoot"]),
        network_backend: text(&host["networkBackend"]),
        error,
    })
}
