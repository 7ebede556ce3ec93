//! Starting and ending a host: its init with all namespaces and mounts.

use crate::cgroup::Layout;
use crate::config::Node;
use crate::error::{LabError, Result, at};
use crate::inside::{Init, LabHost};
use crate::machine::{tail, wait_until};
use crate::net;
use host::{Cmd, Host, Local};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const LAUNCH: &str = include_str!("launch.sh");
const INIT: &str = include_str!("init.sh");
/// Mounts take milliseconds; this is for a machine on its knees.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
const KILL_TIMEOUT: Duration = Duration::from_secs(15);

/// The host, if its init runs, is ready, and is still in the network namespace of its name; else
/// what is wrong, as a sentence.
pub(crate) fn running(node: &Node, layout: &Layout) -> std::result::Result<LabHost, String> {
    let init = Init::recorded(&node.dir).filter(|init| init.is_alive());
    let placed = init.and_then(|init| Some((init, net::is_in(init.pid, &node.label)?)));
    match placed {
        None => Err("its init does not run".to_owned()),
        Some(_) if !Init::is_ready(&node.dir) => Err("its init never got ready".to_owned()),
        Some((_, false)) => Err(format!("its network namespace {} is gone", node.label)),
        Some((init, true)) => Ok(LabHost::new(node, layout, init.pid)),
    }
}

/// Starts a host's init. Its cable and disk are there, nothing of it runs.
pub(crate) fn boot(node: &Node, layout: &Layout, lower: &Path) -> Result<LabHost> {
    let record = node.dir.join("init");
    if record.exists() {
        std::fs::remove_file(&record).map_err(at(&record))?;
    }
    let joins = layout.create(&node.label)?;
    let log = node.dir.join("init.log");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let launch = Cmd::changes("bash")
        .args(["-c", LAUNCH, "launch"])
        .arg(text(&net::netns(&node.label)))
        .arg(INIT)
        .arg(text(&log))
        .args(joins.iter().map(|path| text(path)))
        .arg("--")
        .args([text(&node.dir), text(lower), node.name.clone()])
        .args(layout.init_args());
    Local.text(&launch)?;
    let failed = || {
        let said = tail(&std::fs::read_to_string(&log).unwrap_or_default(), 5);
        LabError::Boot {
            name: node.lab.clone(),
            host: node.name.clone(),
            said: if said.is_empty() {
                "its init said nothing".to_owned()
            } else {
                said
            },
        }
    };
    let mut last = None;
    wait_until(INIT_TIMEOUT, || {
        last = Init::recorded(&node.dir);
        let ended = last.is_some_and(|init| !init.is_alive());
        let unborn = last.is_none() && layout.pids(&node.label).is_empty();
        Init::is_ready(&node.dir) || ended || unborn
    });
    match last {
        Some(init) if init.is_alive() && Init::is_ready(&node.dir) => {
            layout.settle(&node.label)?;
            Ok(LabHost::new(node, layout, init.pid))
        }
        _ => Err(failed()),
    }
}

/// Ends all processes of hosts: the recorded init, whatever is in the network namespace, whatever is
/// in the cgroups. Never by name. Returns what would not end.
pub(crate) fn end(hosts: &[(String, &Path)], layout: &Layout) -> BTreeSet<u32> {
    // Its kernel ends everything in a pid namespace whose init ends.
    for (_, folder) in hosts {
        if let Some(init) = Init::recorded(folder).filter(|init| init.is_alive()) {
            kill(init.pid);
        }
    }
    let left = || -> BTreeSet<u32> {
        let of = |label: &String| net::pids(label).into_iter().chain(layout.pids(label));
        let mut left: BTreeSet<u32> = hosts.iter().flat_map(|(label, _)| of(label)).collect();
        left.remove(&std::process::id());
        left
    };
    let mut now = BTreeSet::new();
    wait_until(KILL_TIMEOUT, || {
        now = left();
        now.iter().copied().for_each(kill);
        // Killed first, so that no frozen process runs another instruction.
        hosts.iter().for_each(|(label, _)| layout.thaw(label));
        now.is_empty()
    });
    now
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // That it has ended by itself is as good.
        let _ = kill_process(pid, Signal::KILL);
    }
}
