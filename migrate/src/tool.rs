//! Our own program on the hosts: pushed where it is not the same, and made known to the engine as a runtime.

use crate::Failure;
use crate::context::Side;
use engine::Engine;
use host::{Cmd, Host};
use provision::{Binary, DAEMON_JSON, MergeError, Unlocked};
use std::time::Duration;

/// The runtime's name in Docker's configuration.
pub(crate) const RUNTIME: &str = runtime::REGISTERED;

/// Longest wait for a provision of the host: one that installs an engine takes minutes.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// What a container is created with to get our runtime.
pub(crate) fn runtime(engine: &Engine) -> &'static str {
    if engine.registers_runtimes() {
        RUNTIME
    } else {
        runtime::PATH
    }
}

/// This program, as it is to be on a host.
pub(crate) struct Tool {
    binary: Binary,
}

impl Tool {
    /// The program that runs now.
    pub fn own() -> Result<Self, Failure> {
        let binary = Binary::own().map_err(|error| {
            Failure::failed(
                "local",
                format!("transship's own program cannot be read: {error}"),
            )
        })?;
        Ok(Tool { binary })
    }

    /// Its path on the hosts.
    pub fn path(&self) -> String {
        self.binary.path()
    }

    /// Puts it on a host, unless it is there.
    pub fn push(&self, host: &dyn Host) -> Result<(), Failure> {
        let there = host.run(&Cmd::reads("test").args(["-x", &self.path()]))?;
        if there.status == 0 {
            return Ok(());
        }
        // It must start there: another processor or an older C library shows now, not with a container frozen.
        let install = self.binary.install();
        let output = host.run(&install)?;
        let name = host.name();
        match output.status {
            0 => Ok(()),
            Binary::DOES_NOT_START => Err(Failure::refused(name, format!("{name}: {}", output.stderr_text().trim()))
                .fix("use a static build of transship, for the processor of that host; or --mode tarball, which needs no program of ours there")),
            _ => Err(host::HostError::failed(name, &install, &output).into()),
        }
    }

    /// Installs it as the runtime where there is none: a source that is made to go on tells its neighbours by it.
    pub fn link(&self, host: &dyn Host) -> Result<(), Failure> {
        let there = host.run(&Cmd::reads("test").args(["-x", runtime::PATH]))?;
        if there.status != 0 {
            host.text(&self.binary.link_runtime())?;
        }
        Ok(())
    }

    /// Installs it as the runtime and makes it known to an engine that wants that, without a restart.
    pub fn register(&self, side: &mut Side) -> Result<(), Failure> {
        let host = &*side.host;
        host.text(&self.binary.link_runtime())?;
        let Engine::Docker(docker) = &mut side.engine else {
            return Ok(());
        };
        if docker.runtimes.iter().any(|runtime| runtime == RUNTIME) {
            return Ok(());
        }
        // A provision, or another migration, may be at the same file.
        let _lock = provision::lock(host, LOCK_WAIT).map_err(|why| match why {
            Unlocked::Busy(_) => Failure::failed(
                host.name(),
                format!(
                    "{}: {why}, and Docker cannot be told of transship's runtime",
                    host.name()
                ),
            )
            .fix("wait until it has ended, then run this again"),
            Unlocked::Host(error) => error.into(),
        })?;
        let read = r#"[ ! -e "$1" ] || cat "$1""#;
        let old = host.text(&Cmd::reads("sh").args(["-c", read, "sh", DAEMON_JSON]))?;
        let change = provision::register(&old).map_err(|why| not_json(host.name(), &why))?;
        for action in &change.actions {
            host.text(&action.cmd())?;
        }
        docker.runtimes.push(RUNTIME.to_owned());
        Ok(())
    }
}

/// Whether the engine can be given a runtime at all.
pub(crate) fn check(host: &dyn Host, engine: &Engine) -> Result<(), Failure> {
    if engine.takes_runtimes() {
        return Ok(());
    }
    Err(Failure::refused(
        host.name(),
        format!("{engine} on {} takes no runtimes", host.name()),
    )
    .fix("--mode tarball"))
}

fn not_json(host: &str, why: &MergeError) -> Failure {
    Failure::failed(
        host,
        format!("{DAEMON_JSON} on {host} cannot be changed: {why}"),
    )
    .fix(format!(
        "mend {DAEMON_JSON} on {host}: {}",
        Cmd::reads("python3")
            .args(["-m", "json.tool", DAEMON_JSON])
            .line()
    ))
}
