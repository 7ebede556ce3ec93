//! One host's Docker.

use crate::answer::{json, nonsense};
use crate::version::lenient;
use crate::{EngineError, Kind};
use host::{Cmd, Host, HostError, Output};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one host's Docker is: facts, read in one go. What follows from them is asked with the
/// questions of this type ([`Docker::can_restore`] and its neighbours).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Docker {
    /// Version of the daemon.
    pub version: Version,
    /// Version of the client, which decides what options the command line has.
    pub client: Version,
    /// Version of containerd, where the daemon tells it (18.09 and later).
    pub containerd: Option<Version>,
    /// Whether experimental features are on: without them the daemon makes and restores no checkpoints.
    pub experimental: bool,
    /// The daemon's data folder (`/var/lib/docker`).
    pub root_dir: String,
    /// Storage driver (`overlay2`).
    pub storage_driver: String,
    /// Version of the host's cgroup hierarchy, 1 or 2.
    pub cgroup_version: u8,
    /// Names of the OCI runtimes that containers can be created with.
    pub runtimes: Vec<String>,
    /// The runtime of a container that names none.
    pub default_runtime: String,
    /// The log driver of a container that names none.
    pub log_driver: String,
}

impl Docker {
    /// The commands whose answers [`Docker::parse`] reads: version, then info.
    #[must_use]
    pub fn probe_cmds() -> [Cmd; 2] {
        ["version", "info"].map(|verb| Cmd::reads("docker").args([verb, "--format", "{{json .}}"]))
    }

    /// Asks a host about its Docker.
    ///
    /// # Errors
    /// Docker missing, down, forbidden, or not Docker at all; or the host itself failed.
    pub fn probe(host: &dyn Host) -> Result<Docker, EngineError> {
        let [version, info] = Self::probe_cmds();
        let run = |cmd: &Cmd| {
            host.run(cmd).map_err(|error| match error {
                HostError::NoProgram { host, .. } => EngineError::Missing {
                    host,
                    engine: Kind::Docker,
                },
                error => EngineError::Host(error),
            })
        };
        let version = run(&version)?;
        // A daemon that does not answer says so in the first answer already.
        Self::answered(host.name(), &version)?;
        Self::parse(host.name(), &version, &run(&info)?)
    }

    /// Reads the answers to [`Docker::probe_cmds`]; `host` is named in errors.
    ///
    /// # Errors
    /// As for [`Docker::probe`].
    pub fn parse(host: &str, version: &Output, info: &Output) -> Result<Docker, EngineError> {
        let [version_cmd, info_cmd] = Self::probe_cmds();
        Self::answered(host, version)?;
        Self::answered(host, info)?;
        let version = json(host, &version_cmd, version)?;
        let info = json(host, &info_cmd, info)?;
        let lacks = |cmd: &Cmd, what: &str, value: &Value| {
            nonsense(host, cmd, &format!("no {what}"), &value.to_string())
        };
        let read = |pointer: &str| {
            version
                .pointer(pointer)
                .and_then(Value::as_str)
                .and_then(lenient)
        };
        let server = read("/Server/Version")
            .ok_or_else(|| lacks(&version_cmd, "server version", &version))?;
        let text = |key: &str| {
            info[key]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let containerd = version
            .pointer("/Server/Components")
            .and_then(Value::as_array)
            .and_then(|parts| parts.iter().find(|part| part["Name"] == "containerd"))
            .and_then(|part| part["Version"].as_str())
            .and_then(lenient);
        Ok(Docker {
            client: read("/Client/Version").unwrap_or_else(|| server.clone()),
            version: server,
            containerd,
            experimental: info["ExperimentalBuild"].as_bool().unwrap_or(false),
            root_dir: text("DockerRootDir")
                .ok_or_else(|| lacks(&info_cmd, "DockerRootDir", &info))?,
            storage_driver: text("Driver").unwrap_or_default(),
            // Daemons before 20.10 don't say, and know version 1 only.
            cgroup_version: if info["CgroupVersion"] == "2" { 2 } else { 1 },
            runtimes: info["Runtimes"]
                .as_object()
                .map(|runtimes| runtimes.keys().cloned().collect())
                .unwrap_or_default(),
            default_runtime: text("DefaultRuntime").unwrap_or_else(|| "runc".to_owned()),
            log_driver: text("LoggingDriver").unwrap_or_else(|| "json-file".to_owned()),
        })
    }

    /// Whether the daemon makes and restores checkpoints at all.
    ///
    /// # Errors
    /// [`EngineError::NotExperimental`].
    pub fn makes_checkpoints(&self, host: &str) -> Result<(), EngineError> {
        if self.experimental {
            Ok(())
        } else {
            Err(EngineError::NotExperimental {
                host: host.to_owned(),
            })
        }
    }

    /// Looks for what the client says when it can't reach its daemon. `docker info --format` of recent
    /// versions exits 0 and has it in `ServerErrors`; the text on standard error is the same.
    fn answered(host: &str, output: &Output) -> Result<(), EngineError> {
        let said = output.stderr_text();
        let line = |words: &[&str]| {
            let found = |line: &&str| words.iter().any(|word| line.to_lowercase().contains(word));
            said.lines().find(found).map(str::to_owned)
        };
        let host = host.to_owned();
        if let Some(said) = line(&["permission denied"]) {
            return Err(EngineError::Denied { host, said });
        }
        if let Some(said) = line(&[
            "cannot connect to the docker daemon",
            "failed to connect to the docker api",
            "error during connect",
        ]) {
            return Err(EngineError::Down { host, said });
        }
        Ok(())
    }
}
