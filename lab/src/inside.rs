//! Commands inside a host of the lab.

use crate::cgroup::Layout;
use crate::config::{Engine, Node};
use crate::disk::PODMAN_QUIET;
use host::{Cmd, Host, Local, Output, Stream};
use std::path::{Path, PathBuf};

/// A host of a lab that is up, as a [`Host`]: commands run in it without ssh.
#[derive(Debug, Clone)]
pub struct LabHost {
    name: String,
    engine: Engine,
    pid: u32,
    joins: Vec<PathBuf>,
}

/// Joins the host's cgroups, then its namespaces: nsenter leaves a process in the cgroup of its
/// caller, which the host could not even name.
const ENTER: &str = r#"
set -eu
pid=$1; shift
while [ "$1" != -- ]; do echo $$ >"$1"; shift; done
shift
exec nsenter --target "$pid" --all -- "$@"
"#;

impl LabHost {
    pub(crate) fn new(node: &Node, layout: &Layout, pid: u32) -> LabHost {
        LabHost {
            name: node.name.clone(),
            engine: node.engine,
            pid,
            joins: layout.joins(&node.label),
        }
    }

    /// Process id of its init on this machine.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The command that, run on this machine, runs `cmd` in the host.
    #[must_use]
    pub fn wrap(&self, cmd: &Cmd) -> Cmd {
        let mut wrapped = cmd.clone();
        wrapped.program = "sh".to_owned();
        wrapped.args = vec![
            "-c".to_owned(),
            ENTER.to_owned(),
            "sh".to_owned(),
            self.pid.to_string(),
        ];
        let joins = self
            .joins
            .iter()
            .map(|path| path.to_string_lossy().into_owned());
        wrapped.args.extend(joins);
        wrapped.args.push("--".to_owned());
        wrapped.args.push(cmd.program.clone());
        wrapped.args.extend(cmd.args.iter().cloned());
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut env = vec![
            ("PATH".to_owned(), path.to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
        ];
        if self.engine == Engine::Podman {
            env.push((PODMAN_QUIET.0.to_owned(), PODMAN_QUIET.1.to_owned()));
        }
        env.append(&mut wrapped.env);
        wrapped.env = env;
        wrapped
    }
}

impl Host for LabHost {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, cmd: &Cmd) -> host::Result<Output> {
        Local.run(&self.wrap(cmd))
    }

    fn open(&self, cmd: &Cmd) -> host::Result<Box<dyn Stream>> {
        Local.open(&self.wrap(cmd))
    }
}

/// Process id and start time of a host's init, as init itself wrote them down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Init {
    pub(crate) pid: u32,
    start: u64,
}

impl Init {
    /// The init that the folder of a host tells of.
    pub(crate) fn recorded(folder: &Path) -> Option<Init> {
        let text = std::fs::read_to_string(folder.join("init")).ok()?;
        let (pid, start) = text.lines().next()?.split_once(' ')?;
        Some(Init {
            pid: pid.parse().ok()?,
            start: start.parse().ok()?,
        })
    }

    /// Whether init has made all its mounts.
    pub(crate) fn is_ready(folder: &Path) -> bool {
        std::fs::read_to_string(folder.join("init")).is_ok_and(|text| text.ends_with("ready\n"))
    }

    /// Whether it still runs: the same process, not another one with its number.
    pub(crate) fn is_alive(self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        state_and_start(&stat).is_some_and(|(state, start)| state != 'Z' && start == self.start)
    }
}

/// State and start time, fields 3 and 22 of /proc/PID/stat, proc(5). The name in field 2 may have
/// spaces and parentheses.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let mut rest = stat.rsplit_once(") ")?.1.split(' ');
    let state = rest.next()?.chars().next()?;
    Some((state, rest.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_start_time_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 3 2";
        assert_eq!(state_and_start(stat), Some(('S', 987_654)));
        assert_eq!(state_and_start(""), None);
    }

    #[test]
    fn an_init_is_known_by_its_start_time_too() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (_, start) = state_and_start(&stat).unwrap();
        let pid = std::process::id();
        assert!(Init { pid, start }.is_alive());
        assert!(
            !Init {
                pid,
                start: start + 1
            }
            .is_alive()
        );
    }

    #[test]
    fn a_wrapped_command_keeps_its_arguments_and_environment() {
        let node = &crate::LabConfig::default().nodes()[0];
        let host = LabHost::new(node, &Layout::V2("/cg".into()), 7);
        let cmd = Cmd::reads("echo").args(["a b", "--"]).env("X", "1");
        let line = host.wrap(&cmd).line();
        assert!(
            line.ends_with("7 /cg/ts-lab-a/init/cgroup.procs -- echo 'a b' --"),
            "{line}"
        );
        assert!(line.contains("HOME=/root X=1 "), "{line}");
    }
}
