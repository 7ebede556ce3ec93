//! The engines, and what they do differently.

use crate::podman::{self, Podman};
use crate::{Container, EngineError};
use crate::{Docker, Why};
use host::{Cmd, Host};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which engine it is; its commands are methods of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

impl Kind {
    /// The program of its command line.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
        }
    }

    /// Brings what `network inspect` tells of a network into Docker's form.
    pub fn network_as_docker(self, raw: &mut serde_json::Value) {
        if self == Kind::Podman {
            podman::network_as_docker(raw);
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Docker => "Docker",
            Kind::Podman => "Podman",
        })
    }
}

/// The engines that work on a host, and what is wrong with the others.
pub type Probed = (Vec<Engine>, Vec<(Kind, EngineError)>);

/// An engine of one host. What it can do is asked with the questions of this type; nobody else asks
/// which engine it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// Docker.
    Docker(Docker),
    /// Podman.
    Podman(Podman),
}

impl Engine {
    /// The engines that work on a host, Docker first; with what is wrong with the others.
    ///
    /// # Errors
    /// What is wrong with the likeliest one, where none works; or the host itself failed.
    pub fn probe(host: &dyn Host) -> Result<Probed, EngineError> {
        let (mut engines, mut errors) = (Vec::new(), Vec::new());
        let docker = Docker::probe(host).map(Engine::Docker);
        let podman = Podman::probe(host).map(Engine::Podman);
        for (kind, probed) in [(Kind::Docker, docker), (Kind::Podman, podman)] {
            match probed {
                Ok(engine) => engines.push(engine),
                Err(EngineError::Host(error)) => return Err(error.into()),
                Err(error) => errors.push((kind, error)),
            }
        }
        if engines.is_empty() {
            let missing =
                |(_, error): &(Kind, EngineError)| matches!(error, EngineError::Missing { .. });
            errors.sort_by_key(missing);
            return Err(errors.swap_remove(0).1);
        }
        Ok((engines, errors))
    }

    /// Which engine it is, for its commands.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Engine::Docker(_) => Kind::Docker,
            Engine::Podman(_) => Kind::Podman,
        }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &Version {
        match self {
            Engine::Docker(docker) => &docker.version,
            Engine::Podman(podman) => &podman.version,
        }
    }

    /// Docker, where it is that: only Docker has checkpoints in an API of its own.
    #[must_use]
    pub fn docker(&self) -> Option<&Docker> {
        match self {
            Engine::Docker(docker) => Some(docker),
            Engine::Podman(_) => None,
        }
    }

    /// Whether containers can be created with an OCI runtime of our own.
    #[must_use]
    pub fn takes_runtimes(&self) -> bool {
        self.asks(Docker::takes_runtimes, true)
    }

    /// Whether an OCI runtime must be made known to it, under a name, before containers can be created with it;
    /// else it takes the runtime's path.
    #[must_use]
    pub fn registers_runtimes(&self) -> bool {
        self.asks(|_| true, false)
    }

    /// Where runc keeps the state of this engine's containers, for `runc --root`; `runtime` is the one that the
    /// container was created with. Podman calls runc without the option.
    #[must_use]
    pub fn runc_root(&self, runtime: &str) -> String {
        match self {
            Engine::Docker(docker) => docker.runc_root(runtime),
            Engine::Podman(_) => "/run/runc".to_owned(),
        }
    }

    /// Whether the network namespace that this container has of its own is made by the runtime, and joined to
    /// networks by the engine after that. Podman makes it and joins it before, and tells the runtime its path;
    /// but for `none`.
    #[must_use]
    pub fn runtime_makes_network(&self, container: &Container) -> bool {
        container.has_own_network_namespace()
            && (self.asks(|_| true, false) || container.network_mode() == "none")
    }

    /// The program that attaches a container of this engine to networks before the runtime is called; none where the
    /// engine does that later, or in another way.
    #[must_use]
    pub fn netavark(&self) -> Option<&str> {
        match self {
            Engine::Docker(_) => None,
            Engine::Podman(podman) => podman.netavark.as_deref(),
        }
    }

    /// The file with what a container of this engine prints, which may not have been started yet; none where its
    /// log driver keeps no file that an engine of this kind would go on with.
    #[must_use]
    pub fn log_file(&self, container: &Container) -> Option<String> {
        let told = container.log_path();
        match (self, container.log_driver()) {
            (Engine::Docker(docker), "json-file") if told.is_empty() => {
                Some(docker.json_log(container.id()))
            }
            (Engine::Docker(_), "json-file") | (Engine::Podman(_), "k8s-file")
                if !told.is_empty() =>
            {
                Some(told.to_owned())
            }
            _ => None,
        }
    }

    /// Whether the engine keeps account of how long that file is, so that nobody else may append to it once the
    /// container was started. Podman's conmon only appends.
    #[must_use]
    pub fn owns_log_file(&self) -> bool {
        self.asks(|_| true, false)
    }

    /// How long the runtime may take to create a container before the engine gives up, in seconds; none where it
    /// waits for ever. Podman: `ContainerCreateTimeout` in `libpod/define/config.go`.
    #[must_use]
    pub fn create_seconds(&self) -> Option<u64> {
        self.asks(|_| None, Some(240))
    }

    /// Whether starting a container leaves a process that keeps what whoever started it had open, for as long as the
    /// container lives: Podman's conmon.
    #[must_use]
    pub fn start_leaves_a_process(&self) -> bool {
        self.asks(|_| false, true)
    }

    /// Writes an image to standard output such that its id is the same where it is loaded. `image` is what
    /// `image inspect` says: Podman keeps images in two forms and converts on the way out, unless told its own.
    #[must_use]
    pub fn save_image(&self, image: &serde_json::Value, name: &str) -> Cmd {
        let cmd = Cmd::changes(self.kind().program()).arg("save");
        let oci = image["ManifestType"]
            .as_str()
            .is_some_and(|kind| kind.contains("oci"));
        if oci {
            cmd.args(["--format", "oci-archive", name])
        } else {
            cmd.arg(name)
        }
    }

    /// The same without these layers, which `to` has: their identifiers from `RootFS.Layers`. None where the one
    /// cannot leave them out, or the other not do without.
    #[must_use]
    pub fn save_image_without(&self, to: &Engine, name: &str, layers: &[String]) -> Option<Cmd> {
        let able = self.asks(Docker::saves_layers_by_content, false)
            && to.asks(Docker::loads_without_known_layers, false);
        if !able || layers.is_empty() {
            return None;
        }
        let script = r#"name=$1; shift; docker save "$name" | tar -f - --delete "$@""#;
        let files = layers.iter().map(|layer| {
            let digest = layer.strip_prefix("sha256:").unwrap_or(layer);
            format!("blobs/sha256/{digest}")
        });
        Some(
            Cmd::changes("sh")
                .args(["-c", script, "sh", name])
                .args(files),
        )
    }

    /// All images that it has: `inspect` of each.
    #[must_use]
    pub fn inspect_images(&self) -> Cmd {
        let script = r#"ids=$("$1" images --quiet --no-trunc | sort -u); [ -z "$ids" ] || "$1" image inspect $ids"#;
        Cmd::reads("sh").args(["-c", script, "sh", self.kind().program()])
    }

    /// Reads an image from standard input.
    #[must_use]
    pub fn load_image(&self) -> Cmd {
        Cmd::changes(self.kind().program()).args(["load", "--quiet"])
    }

    /// Whether it can restore such a container through an API of its own (`docker start --checkpoint`).
    ///
    /// # Errors
    /// The reason why it can't, and what to do instead.
    pub fn can_restore(&self, container: &Container) -> Result<(), Why> {
        match self {
            Engine::Docker(docker) => docker.can_restore(container),
            Engine::Podman(podman) => Err(Why {
                reason: format!(
                    "Podman {} has no checkpoints in Docker's API",
                    podman.version
                ),
                fix: "use --mode copy",
                known_from: "podman-container-checkpoint(1)",
            }),
        }
    }

    fn asks<T>(&self, docker: fn(&Docker) -> T, podman: T) -> T {
        match self {
            Engine::Docker(known) => docker(known),
            Engine::Podman(_) => podman,
        }
    }
}

/// Options of `create` that not every engine and version knows.
impl Engine {
    pub(crate) fn has_pull_option(&self) -> bool {
        self.asks(Docker::has_pull_option, true)
    }

    pub(crate) fn has_domainname_option(&self) -> bool {
        self.asks(Docker::has_domainname_option, false)
    }

    pub(crate) fn has_cgroupns_option(&self) -> bool {
        self.asks(Docker::has_cgroupns_option, true)
    }

    pub(crate) fn has_gpus_option(&self) -> bool {
        self.asks(Docker::has_gpus_option, true)
    }

    pub(crate) fn has_annotation_option(&self) -> bool {
        self.asks(Docker::has_annotation_option, true)
    }

    pub(crate) fn has_start_interval_option(&self) -> bool {
        self.asks(Docker::has_start_interval_option, false)
    }

    pub(crate) fn has_systempaths_option(&self) -> bool {
        self.asks(Docker::has_systempaths_option, false)
    }

    pub(crate) fn has_network_fields(&self) -> bool {
        self.asks(Docker::has_network_fields, false)
    }

    pub(crate) fn has_bind_nonrecursive_field(&self) -> bool {
        self.asks(Docker::has_bind_nonrecursive_field, true)
    }

    pub(crate) fn has_volume_subpath_field(&self) -> bool {
        self.asks(Docker::has_volume_subpath_field, false)
    }

    pub(crate) fn has_image_subpath_field(&self) -> bool {
        self.asks(Docker::has_image_subpath_field, false)
    }

    pub(crate) fn drops_device_rates(&self) -> bool {
        self.asks(Docker::drops_device_rates, false)
    }

    pub(crate) fn has_gateway_priority(&self) -> bool {
        self.asks(Docker::has_gateway_priority, false)
    }

    pub(crate) fn has_bind_recursive_field(&self) -> bool {
        self.asks(Docker::has_bind_recursive_field, false)
    }

    pub(crate) fn limits_kernel_memory(&self) -> bool {
        self.asks(Docker::limits_kernel_memory, false)
    }

    /// The cgroup namespace of a container that names none.
    pub(crate) fn default_cgroupns(&self) -> &'static str {
        let version = match self {
            Engine::Docker(docker) => docker.cgroup_version,
            Engine::Podman(podman) => podman.cgroup_version,
        };
        if version == 2 { "private" } else { "host" }
    }

    /// The log driver of a container that names none.
    pub(crate) fn log_driver(&self) -> &str {
        match self {
            Engine::Docker(docker) => &docker.log_driver,
            Engine::Podman(podman) => &podman.log_driver,
        }
    }

    /// The runtime of a container that names none.
    pub(crate) fn default_runtime(&self) -> &str {
        match self {
            Engine::Docker(docker) => &docker.default_runtime,
            Engine::Podman(podman) => &podman.default_runtime,
        }
    }

    /// Words that choose the runtime, before and after `create`: with Podman it's an option of the program.
    pub(crate) fn place_of_runtime(&self, words: Vec<String>) -> (Vec<String>, Vec<String>) {
        match self {
            Engine::Docker(_) => (Vec::new(), words),
            Engine::Podman(_) => (words, Vec::new()),
        }
    }

    /// Whether a container can be created with this runtime now; an empty name is the engine's default.
    /// Podman looks for it when it is told, and so does Docker since 23.0 for the name of a containerd shim
    /// or a path (docs.docker.com/engine/daemon/alternative-runtimes).
    #[must_use]
    pub fn creates_with(&self, runtime: &str) -> bool {
        match self {
            Engine::Docker(docker) => {
                runtime.is_empty()
                    || runtime.contains(['/', '.'])
                    || docker.runtimes.iter().any(|known| known == runtime)
            }
            Engine::Podman(_) => true,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind(), self.version())
    }
}

impl From<Docker> for Engine {
    fn from(docker: Docker) -> Self {
        Engine::Docker(docker)
    }
}
