//! The daemons of a host: sshd, and its container engine.

use crate::config::{Engine, Node};
use crate::error::{LabError, Result, at};
use crate::image::{Image, NAME};
use crate::inside::LabHost;
use crate::machine::{tail, wait_until};
use host::{Cmd, Host};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// How long a daemon may take to come up.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a healthy daemon may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts dockerd so that nothing of ours, nor of our caller's, stays open in it, and waits until it answers:
/// prints its version, or fails as soon as it has ended. A dockerd that runs but does not answer is ended
/// first. For bash, which closes descriptors above 9 too.
const START_DOCKERD: &str = r#"
old=$(cat /run/docker.pid 2>/dev/null)
if [ -n "$old" ] && [ "$(cat "/proc/$old/comm" 2>/dev/null)" = dockerd ]; then
    kill -KILL "$old"
    while [ "$(cat "/proc/$old/comm" 2>/dev/null)" = dockerd ]; do sleep 0.05; done
fi
rm -f /run/docker.pid
cd /
(
    for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
    exec setsid dockerd </dev/null >/var/log/dockerd.log 2>&1
) &
pid=$!
while ! docker version --format '{{.Server.Version}}' 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || exit 1
    sleep 0.1
done
"#;

/// Whether an ssh server greets at the host's address.
pub(crate) fn sshd_greets(node: &Node) -> bool {
    let address = SocketAddr::from((node.address, 22));
    let mut greeting = [0; 4];
    TcpStream::connect_timeout(&address, Duration::from_secs(1))
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.read_exact(&mut greeting)
        })
        .is_ok_and(|()| &greeting == b"SSH-")
}

/// Starts sshd and waits until it greets.
pub(crate) fn start_sshd(node: &Node, inside: &LabHost) -> Result<()> {
    // -E: a daemon has no standard error.
    let script = "mkdir -p /run/sshd && exec /usr/sbin/sshd -E /var/log/sshd.log";
    let output = inside.run(&Cmd::changes("sh").args(["-c", script]))?;
    if output.status == 0 && wait_until(DAEMON_TIMEOUT, || sshd_greets(node)) {
        return Ok(());
    }
    let said = output.stderr_text().into_owned();
    Err(failed(node, inside, "sshd", "var/log/sshd.log", &said))
}

/// Version of the host's engine, if the engine answers.
pub(crate) fn engine_version(node: &Node, inside: &LabHost) -> Option<String> {
    let cmd = match node.engine {
        Engine::Docker26 | Engine::Docker28 => {
            Cmd::reads("docker").args(["version", "--format", "{{.Server.Version}}"])
        }
        Engine::Podman => Cmd::reads("podman").args(["version", "--format", "{{.Client.Version}}"]),
    };
    let version = inside.text(&cmd.timeout(ANSWER_TIMEOUT)).ok()?;
    (!version.is_empty()).then_some(version)
}

/// Starts the host's engine and waits until it answers. Podman has no daemon.
pub(crate) fn start_engine(node: &Node, inside: &LabHost) -> Result<String> {
    if node.engine == Engine::Podman {
        return engine_version(node, inside).ok_or_else(|| {
            failed(
                node,
                inside,
                "podman",
                "var/log",
                "podman version printed nothing",
            )
        });
    }
    let start = Cmd::changes("bash")
        .args(["-c", START_DOCKERD])
        .timeout(DAEMON_TIMEOUT);
    inside.text(&start).map_err(|error| {
        failed(
            node,
            inside,
            "dockerd",
            "var/log/dockerd.log",
            &error.to_string(),
        )
    })
}

fn program(node: &Node) -> &'static str {
    match node.engine {
        Engine::Docker26 | Engine::Docker28 => "docker",
        Engine::Podman => "podman",
    }
}

/// Whether the host's engine has the image, by its id: any other busybox would make the hosts differ.
pub(crate) fn has_image(node: &Node, inside: &LabHost, image: &Image) -> Result<bool> {
    let inspect = Cmd::reads(program(node)).args(["image", "inspect", "--format", "{{.Id}}", NAME]);
    let output = inside.run(&inspect)?;
    let bare = |id: &str| id.trim().trim_start_matches("sha256:").to_owned();
    Ok(bare(&output.stdout_text()) == bare(&image.id))
}

/// Loads the image into the host's engine.
pub(crate) fn load_image(node: &Node, inside: &LabHost, image: &Image) -> Result<()> {
    let archive = std::fs::read(&image.archive).map_err(at(&image.archive))?;
    let load = Cmd::changes(program(node))
        .args(["load", "--quiet"])
        .stdin(&archive);
    inside.text(&load)?;
    Ok(())
}

/// Whether a host reaches another one by the lab's network.
pub(crate) fn reaches(inside: &LabHost, other: &Node) -> std::result::Result<(), String> {
    let script = r#"exec 3<>"/dev/tcp/$1/22" && read -r -t 4 greeting <&3 && case $greeting in SSH-*) ;; *) exit 1 ;; esac"#;
    let cmd = Cmd::reads("timeout").args([
        "5",
        "bash",
        "-c",
        script,
        "bash",
        &other.address.to_string(),
    ]);
    let output = inside.run(&cmd).map_err(|error| error.to_string())?;
    if output.status == 0 {
        return Ok(());
    }
    let said = tail(&output.stderr_text(), 1);
    Err(if said.is_empty() {
        "no answer on port 22".to_owned()
    } else {
        said
    })
}

fn failed(node: &Node, inside: &LabHost, daemon: &str, log: &str, said: &str) -> LabError {
    let lines = inside
        .text(&Cmd::reads("tail").args(["-n", "8", &format!("/{log}")]))
        .unwrap_or_default();
    LabError::Daemon {
        host: node.name.clone(),
        daemon: daemon.to_owned(),
        said: if lines.is_empty() {
            tail(said, 8)
        } else {
            lines
        },
        log: PathBuf::from(format!("{}/upper/{log}", node.dir.display())),
    }
}
