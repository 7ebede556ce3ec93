//! The engines' commands as values. Names are [`Name`]s, so none of them can be an option. Podman's command
//! line is Docker's; where it is not, the difference is here.

use crate::{Kind, Name};
use host::Cmd;
use serde_json::Value;
use std::time::Duration;

/// A dump of a large container into a slow folder takes minutes; a hung one is given up after this.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(600);

/// What the engine may take on top of the time that it was told to wait.
const DEFAULT_MARGIN: Duration = Duration::from_secs(60);

/// What a container printed; all of it, unless limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// Only from this time on (RFC 3339, or seconds since 1970).
    pub since: Option<String>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only so many lines from the end.
    pub tail: Option<u64>,
}

impl Kind {
    fn reads(self, args: &[&str]) -> Cmd {
        Cmd::reads(self.program()).args(args.iter().copied())
    }

    fn changes(self, args: &[&str]) -> Cmd {
        Cmd::changes(self.program()).args(args.iter().copied())
    }

    /// Everything about a container, for [`Container::parse`](crate::Container::parse).
    #[must_use]
    pub fn inspect(self, container: &Name) -> Cmd {
        self.reads(&["inspect", "--type", "container", container.as_str()])
    }

    /// Everything about an image, by reference or id.
    #[must_use]
    pub fn inspect_image(self, image: &str) -> Cmd {
        self.reads(&["image", "inspect", "--", image])
    }

    /// Everything about a volume.
    #[must_use]
    pub fn inspect_volume(self, volume: &Name) -> Cmd {
        self.reads(&["volume", "inspect", volume.as_str()])
    }

    /// Names of all containers that have a volume, whether they run or not, one a line.
    #[must_use]
    pub fn containers_with_volume(self, volume: &Name) -> Cmd {
        self.reads(&["ps", "--all", "--format", "{{.Names}}", "--filter"])
            .arg(format!("volume={volume}"))
    }

    /// Makes a volume like another: same name, driver, options and labels, without its data. `inspected` is one entry of
    /// what [`inspect_volume`] printed; None where it is not.
    #[must_use]
    pub fn create_volume(self, inspected: &Value) -> Option<Cmd> {
        let name = Name::new(inspected["Name"].as_str()?).ok()?;
        let mut cmd = self.changes(&["volume", "create"]);
        if let Some(driver) = inspected["Driver"]
            .as_str()
            .filter(|driver| *driver != "local")
        {
            cmd = cmd.arg("--driver").arg(driver);
        }
        for (option, key) in [("--opt", "Options"), ("--label", "Labels")] {
            for (key, value) in inspected[key].as_object().into_iter().flatten() {
                cmd = cmd
                    .arg(option)
                    .arg(format!("{key}={}", value.as_str().unwrap_or_default()));
            }
        }
        Some(cmd.arg(name.as_str()))
    }

    /// Everything about a network.
    #[must_use]
    pub fn inspect_network(self, network: &Name) -> Cmd {
        self.reads(&["network", "inspect", network.as_str()])
    }

    /// Freezes a container, writes its state to a checkpoint below `dir` and ends it. The status may stay `Up` for
    /// seconds after this has returned: see [`Kind::state`] and [`Kind::wait_exit`].
    #[must_use]
    pub fn checkpoint_create(self, container: &Name, dir: &str, name: &Name) -> Cmd {
        self.changes(&[
            "checkpoint",
            "create",
            "--checkpoint-dir",
            dir,
            container.as_str(),
            name.as_str(),
        ])
        .timeout(CHECKPOINT_TIMEOUT)
    }

    /// Removes a checkpoint, also what a failed `checkpoint create` left behind.
    #[must_use]
    pub fn checkpoint_remove(self, container: &Name, dir: &str, name: &Name) -> Cmd {
        self.changes(&[
            "checkpoint",
            "rm",
            "--checkpoint-dir",
            dir,
            container.as_str(),
            name.as_str(),
        ])
    }

    /// Restores a created container from a checkpoint, of `dir` or of the container's own folder. On a container that
    /// runs already it does nothing and exits 0: what it restored must be verified.
    #[must_use]
    pub fn start_from(self, container: &Name, dir: Option<&str>, name: &Name) -> Cmd {
        let mut cmd = self.changes(&["start"]);
        if let Some(dir) = dir {
            cmd = cmd.arg("--checkpoint-dir").arg(dir);
        }
        cmd.arg("--checkpoint")
            .arg(name.as_str())
            .arg(container.as_str())
            .timeout(CHECKPOINT_TIMEOUT)
    }

    /// Starts a container afresh.
    #[must_use]
    pub fn start(self, container: &Name) -> Cmd {
        self.changes(&["start", container.as_str()])
    }

    /// Stops a container, giving it `grace` seconds before it is killed.
    #[must_use]
    pub fn stop(self, container: &Name, grace: u64) -> Cmd {
        let timeout = Duration::from_secs(grace) + DEFAULT_MARGIN;
        self.changes(&["stop", "-t", &grace.to_string(), container.as_str()])
            .timeout(timeout)
    }

    /// Ends a container at once.
    #[must_use]
    pub fn kill(self, container: &Name) -> Cmd {
        self.changes(&["kill", container.as_str()])
    }

    /// Freezes all processes of a container.
    #[must_use]
    pub fn pause(self, container: &Name) -> Cmd {
        self.changes(&["pause", container.as_str()])
    }

    /// Lets a frozen container go on.
    #[must_use]
    pub fn unpause(self, container: &Name) -> Cmd {
        self.changes(&["unpause", container.as_str()])
    }

    /// Removes a container that does not run. Its volumes stay, always.
    #[must_use]
    pub fn remove(self, container: &Name) -> Cmd {
        self.changes(&["rm", container.as_str()])
    }

    /// Ends and removes a container. Its volumes stay, always.
    #[must_use]
    pub fn remove_force(self, container: &Name) -> Cmd {
        self.changes(&["rm", "--force"])
            .args(self.at_once().iter().copied())
            .arg(container.as_str())
    }

    /// Ends and removes a container that has moved away, with the volumes that nobody named: they moved too.
    #[must_use]
    pub fn remove_moved(self, container: &Name) -> Cmd {
        self.changes(&["rm", "--force", "--volumes"])
            .args(self.at_once().iter().copied())
            .arg(container.as_str())
    }

    /// Podman's `rm --force` waits for the container's own end, unless told not to.
    fn at_once(self) -> &'static [&'static str] {
        match self {
            Kind::Docker => &[],
            Kind::Podman => &["--time", "0"],
        }
    }

    /// Names of all containers that run, one a line.
    #[must_use]
    pub fn names(self) -> Cmd {
        self.reads(&["ps", "--format", "{{.Names}}"])
    }

    /// Process ids, on the host, of all that runs in a container, one a line after a heading.
    #[must_use]
    pub fn processes(self, container: &Name) -> Cmd {
        match self {
            Kind::Docker => self.reads(&["top", container.as_str(), "-o", "pid"]),
            Kind::Podman => self.reads(&["top", container.as_str(), "hpid"]),
        }
    }

    /// Gives a container another name.
    #[must_use]
    pub fn rename(self, container: &Name, new: &Name) -> Cmd {
        self.changes(&["rename", container.as_str(), new.as_str()])
    }

    /// Sets what the engine does when the container ends; `policy` as [`Container::restart_policy`](crate::Container::restart_policy) tells it.
    #[must_use]
    pub fn set_restart_policy(self, container: &Name, policy: &str) -> Cmd {
        self.changes(&["update", "--restart", policy, container.as_str()])
    }

    /// Files of the container's own layer that were added, changed or deleted: lines `A /x`, `C /y`, `D /z`.
    #[must_use]
    pub fn diff(self, container: &Name) -> Cmd {
        self.reads(&["diff", container.as_str()])
    }

    /// What a container printed.
    #[must_use]
    pub fn logs(self, container: &Name, what: &Logs) -> Cmd {
        let mut cmd = self.reads(&["logs"]);
        if let Some(since) = &what.since {
            cmd = cmd.arg("--since").arg(since);
        }
        if what.timestamps {
            cmd = cmd.arg("--timestamps");
        }
        if let Some(tail) = what.tail {
            cmd = cmd.arg("--tail").arg(tail.to_string());
        }
        cmd.arg(container.as_str())
    }

    /// A container's state alone, as JSON: an object as `State` in [`inspect`].
    #[must_use]
    pub fn state(self, container: &Name) -> Cmd {
        self.reads(&[
            "inspect",
            "--type",
            "container",
            "--format",
            "{{json .State}}",
            container.as_str(),
        ])
    }

    /// Waits until a container has ended and prints its exit code (137 after a checkpoint).
    #[must_use]
    pub fn wait_exit(self, container: &Name, at_most: Duration) -> Cmd {
        Cmd::follows(self.program())
            .args(["wait", container.as_str()])
            .timeout(at_most)
    }

    /// What happened to a container between two times (RFC 3339, or seconds since 1970), one JSON object a line.
    #[must_use]
    pub fn events(self, container: &Name, since: &str, until: &str) -> Cmd {
        self.reads(&["events", "--format", "{{json .}}"])
            .args(["--since", since, "--until", until, "--filter"])
            .arg(format!("container={container}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_they_run() {
        let web = Name::new("web").unwrap();
        let cp = Name::new("cp1").unwrap();
        let create = Kind::Docker.checkpoint_create(&web, "/tmp/my dir", &cp);
        assert_eq!(
            create.line(),
            "docker checkpoint create --checkpoint-dir '/tmp/my dir' web cp1"
        );
        assert!(create.timeout > Duration::from_secs(300));
        assert_eq!(
            Kind::Docker.start_from(&web, Some("/d"), &cp).line(),
            "docker start --checkpoint-dir /d --checkpoint cp1 web"
        );
        assert_eq!(
            Kind::Docker.start_from(&web, None, &cp).line(),
            "docker start --checkpoint cp1 web"
        );
        let last = Logs {
            since: Some("0".to_owned()),
            timestamps: true,
            tail: Some(1),
        };
        assert_eq!(
            Kind::Docker.logs(&web, &last).line(),
            "docker logs --since 0 --timestamps --tail 1 web"
        );
        let volume = serde_json::json!({"Name": "data", "Driver": "local", "Labels": {"l": "1"}, "Options": {"type": "tmpfs"}});
        assert_eq!(
            Kind::Docker.create_volume(&volume).unwrap().args,
            [
                "volume",
                "create",
                "--opt",
                "type=tmpfs",
                "--label",
                "l=1",
                "data"
            ]
        );
        assert_eq!(
            Kind::Docker.create_volume(&serde_json::json!({"Name": "-f"})),
            None
        );
        assert!(Kind::Docker.stop(&web, 100).timeout > Duration::from_secs(100));
    }
}
