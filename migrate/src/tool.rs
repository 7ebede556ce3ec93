//! Our own program on the hosts: pushed where it is not the same, and made known to Docker as a runtime.

use crate::Failure;
use crate::context::Side;
use engine::Docker;
use host::{Cmd, Host};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// The runtime's name in Docker's configuration.
pub(crate) const RUNTIME: &str = "transship";
/// Where it is installed: engines call it by this path.
const RUNTIME_PATH: &str = "/usr/local/bin/transship-runtime";
/// A folder for each version of the program, called by its hash.
const VERSIONS: &str = "/usr/local/lib/transship";
/// Docker's configuration.
const DAEMON_JSON: &str = "/etc/docker/daemon.json";
/// How long a daemon may take to reread its configuration.
const REREAD: Duration = Duration::from_secs(10);

/// This program, as it is to be on a host.
pub(crate) struct Tool {
    bytes: Vec<u8>,
    folder: String,
}

impl Tool {
    /// The program that runs now.
    pub fn own() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(
                "local",
                format!("transship's own program cannot be read: {error}"),
            )
        };
        // Through /proc: the file may have been replaced since we were started.
        let bytes = std::fs::read("/proc/self/exe").map_err(failed)?;
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Tool {
            bytes,
            folder: format!("{VERSIONS}/{hash}"),
        })
    }

    /// Its path on the hosts.
    pub fn path(&self) -> String {
        format!("{}/transship", self.folder)
    }

    /// Puts it on a host, unless it is there.
    pub fn push(&self, host: &dyn Host) -> Result<(), Failure> {
        let path = self.path();
        let there = host.run(&Cmd::reads("test").args(["-x", &path]))?;
        if there.status == 0 {
            return Ok(());
        }
        host.text(&Cmd::changes("mkdir").args(["-p", &self.folder]))?;
        host.put(&path, &self.bytes, 0o755)?;
        // It must start there: another processor or an older C library shows now, not with a container frozen.
        let starts = Cmd::follows(&path).arg("--version");
        let output = host.run(&starts)?;
        if output.status == 0 {
            return Ok(());
        }
        let name = host.name();
        Err(Failure::refused(name, format!("transship's program does not start on {name}: {}", output.stderr_text().trim()))
            .fix("use a static build of transship, for the processor of that host; or --mode tarball, which needs no program of ours there"))
    }

    /// Installs it as the runtime and makes it known to the daemon, without a restart.
    pub fn register(&self, side: &mut Side) -> Result<(), Failure> {
        let host = &*side.host;
        let script = r#"[ "$1" -ef "$2" ] || { ln -f "$1" "$2.new" && mv -f "$2.new" "$2"; }"#;
        host.text(&Cmd::changes("sh").args(["-c", script, "sh", &self.path(), RUNTIME_PATH]))?;
        if side
            .docker
            .runtimes
            .iter()
            .any(|runtime| runtime == RUNTIME)
        {
            return Ok(());
        }
        let old = host.text(&Cmd::reads("sh").args([
            "-c",
            r#"[ ! -e "$1" ] || cat "$1""#,
            "sh",
            DAEMON_JSON,
        ]))?;
        let new = with_runtime(&old).map_err(|why| not_json(host.name(), &why))?;
        if !old.is_empty() {
            let backup = format!("{DAEMON_JSON}.transship-backup");
            host.text(&Cmd::changes("cp").args(["-p", DAEMON_JSON, &backup]))?;
        }
        host.text(&Cmd::changes("mkdir").args(["-p", "/etc/docker"]))?;
        host.put(DAEMON_JSON, new.as_bytes(), 0o644)?;
        host.text(&Cmd::changes("sh").args([
            "-c",
            r#"kill -HUP "$(cat /run/docker.pid 2>/dev/null || cat /var/run/docker.pid)""#,
        ]))?;
        let until = Instant::now() + REREAD;
        let known = Cmd::follows("docker")
            .args(["info", "--format", "{{json .Runtimes}}"])
            .stand_in(r#"{"transship":{}}"#);
        loop {
            let runtimes: Value = serde_json::from_str(&host.text(&known)?).unwrap_or_default();
            if runtimes.get(RUNTIME).is_some() {
                break;
            }
            if Instant::now() >= until {
                return Err(Failure::failed(
                    host.name(),
                    format!(
                        "the Docker daemon on {} did not take the runtime that {DAEMON_JSON} names",
                        host.name()
                    ),
                )
                .fix(format!("on {}: systemctl restart docker", host.name())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        side.docker.runtimes.push(RUNTIME.to_owned());
        Ok(())
    }
}

/// Whether Docker can be given a runtime at all.
pub(crate) fn check(host: &dyn Host, docker: &Docker) -> Result<(), Failure> {
    if docker.takes_runtimes() {
        return Ok(());
    }
    Err(Failure::refused(
        host.name(),
        format!(
            "Docker {} on {} takes no runtimes",
            docker.version,
            host.name()
        ),
    )
    .fix("--mode tarball"))
}

/// `daemon.json` with our runtime; everything else in it stays.
fn with_runtime(text: &str) -> Result<String, serde_json::Error> {
    let mut config: Value = if text.trim().is_empty() {
        serde_json::json!({})
    } else {
        serde_json::from_str(text)?
    };
    let map: serde_json::Map<String, Value> = serde_json::from_value(config.clone())?;
    let mut runtimes: serde_json::Map<String, Value> = map
        .get("runtimes")
        .cloned()
        .map_or_else(|| Ok(serde_json::Map::new()), serde_json::from_value)?;
    runtimes.insert(
        RUNTIME.to_owned(),
        serde_json::json!({ "path": RUNTIME_PATH }),
    );
    config["runtimes"] = runtimes.into();
    Ok(format!("{config:#}\n"))
}

fn not_json(host: &str, why: &serde_json::Error) -> Failure {
    Failure::failed(
        host,
        format!(
            "{DAEMON_JSON} on {host} cannot be changed, line {} column {}: {why}",
            why.line(),
            why.column()
        ),
    )
    .fix(format!(
        "mend {DAEMON_JSON} on {host}: {}",
        Cmd::reads("python3")
            .args(["-m", "json.tool", DAEMON_JSON])
            .line()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_keys_stay() {
        let old =
            r#"{"experimental":true,"runtimes":{"nvidia":{"path":"nv","runtimeArgs":[]}},"x":1}"#;
        let new: Value = serde_json::from_str(&with_runtime(old).unwrap()).unwrap();
        assert_eq!((&new["experimental"], &new["x"]), (&true.into(), &1.into()));
        assert_eq!(new["runtimes"]["nvidia"]["path"], "nv");
        assert_eq!(new["runtimes"][RUNTIME]["path"], RUNTIME_PATH);
        assert!(with_runtime("").unwrap().contains(RUNTIME_PATH));
    }

    #[test]
    fn what_is_no_json_is_left_alone() {
        let why = with_runtime("{\n  \"a\": 1,\n}").unwrap_err();
        assert_eq!((why.line(), why.column()), (3, 1));
        assert!(with_runtime("[]").is_err());
        assert!(with_runtime(r#"{"runtimes": 1}"#).is_err());
    }
}
