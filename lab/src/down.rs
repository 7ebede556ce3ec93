//! Taking a lab down, whatever is left of it.

use crate::cgroup::Layout;
use crate::config::LabConfig;
use crate::error::{LabError, Result, at};
use crate::event::{Event, step};
use crate::machine::{Lock, need_root, need_tools};
use crate::{boot, net};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Takes a lab down: no process, mount, interface, network namespace, cgroup or folder stays, however
/// broken it was. The cache stays. Of `config` only the name and the state folder matter. Returns
/// whether there was anything to take down.
///
/// # Errors
/// Not root, or something would not go away.
pub fn down(config: &LabConfig, on: &mut dyn FnMut(Event)) -> Result<bool> {
    need_root()?;
    config.validate()?;
    need_tools(false)?;
    let state = config.state_dir();
    let _lock = if state.is_dir() {
        Some(Lock::take(&state, on)?)
    } else {
        None
    };
    take_down(config, on)
}

/// [`down`] for a caller that holds the lab's lock.
pub(crate) fn take_down(config: &LabConfig, on: &mut dyn FnMut(Event)) -> Result<bool> {
    let layout = Layout::of_this_machine()?;
    let state = config.state_dir();
    let bridge = config.bridge();
    let labels = labels(config, &layout)?;
    let has_bridge = net::links()?.iter().any(|link| link.ifname == bridge);
    if labels.is_empty() && !has_bridge && !state.exists() {
        return Ok(false);
    }
    step(on, &format!("lab {} down", config.name), |_| {
        let stuck = |what: String| LabError::Stuck {
            name: config.name.clone(),
            what,
        };
        let folders: Vec<(String, PathBuf)> = labels
            .iter()
            .map(|label| {
                (
                    label.clone(),
                    state.join(label.rsplit('-').next().unwrap_or(label)),
                )
            })
            .collect();
        let hosts: Vec<_> = folders
            .iter()
            .map(|(l, f)| (l.clone(), f.as_path()))
            .collect();
        let left = boot::end(&hosts, &layout);
        if !left.is_empty() {
            return Err(stuck(format!("processes {left:?} do not end")));
        }
        for label in &labels {
            net::remove_link(label)?;
            net::remove_netns(label)?;
            if let Some(left) = layout.remove(label).first() {
                return Err(stuck(format!("cgroup {} does not go", left.display())));
            }
        }
        net::remove_link(&bridge)?;
        // Last, so that a `down` that is killed half-way finds the way when it is called again.
        if state.exists() {
            std::fs::remove_dir_all(&state).map_err(at(&state))?;
        }
        Ok(true)
    })
}

/// Labels of all hosts that anything is left of, wherever it is: folders, interfaces, network
/// namespaces, cgroups. None of them alone is trusted, since any may be gone.
fn labels(config: &LabConfig, layout: &Layout) -> Result<BTreeSet<String>> {
    let prefix = format!("{}-", config.bridge());
    let mut labels = net::labels(&prefix)?;
    labels.extend(layout.labels(&prefix));
    if let Ok(entries) = std::fs::read_dir(config.state_dir()) {
        let folders = entries
            .flatten()
            .filter(|entry| entry.path().join("root").is_dir());
        labels.extend(
            folders.map(|entry| format!("{prefix}{}", entry.file_name().to_string_lossy())),
        );
    }
    Ok(labels)
}
