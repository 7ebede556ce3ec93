//! Bringing a lab up, from nothing or from whatever is left of it.

use crate::cgroup::Layout;
use crate::config::{Engine, LabConfig, Node, recorded};
use crate::disk;
use crate::down::take_down;
use crate::error::{LabError, Result, at};
use crate::event::{Event, note, step};
use crate::image::{self, Image};
use crate::inside::LabHost;
use crate::machine::{Lock, need_root, need_space, need_tools, raise_pipe_size};
use crate::ssh::{self, Keys};
use crate::status::{Health, Status, look, sum_up};
use crate::{boot, daemons, net, rootfs};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::mpsc;

/// MiB that the disks of a new lab need.
const STATE_SPACE: u64 = 1024;

/// Brings a lab up, or repairs what is broken of it. A lab that is up stays as it is.
///
/// The first time for a Debian suite its root file system is built, which takes about a minute.
///
/// # Errors
/// Each tells what to do about it: [`LabError::fix`]. What was made until then stays, for another
/// `up` to go on from, or for [`down`](crate::down) to remove.
pub fn up(config: &LabConfig, on: &mut dyn FnMut(Event)) -> Result<Status> {
    need_root()?;
    config.validate()?;
    need_tools(false)?;
    let layout = Layout::of_this_machine()?;
    let _lock = open_state(config, on)?;
    raise_pipe_size(on)?;
    let mended_bridge = net::ensure_bridge(config)?;
    let seen = look(config, &layout)?;
    let nodes = config.nodes();
    let healthy = seen
        .iter()
        .zip(&nodes)
        .all(|(health, node)| health.why(node).is_empty());
    if healthy && !mended_bridge {
        note(on, format!("lab {} is up already", config.name));
        return Ok(sum_up(config, seen));
    }
    let mut lowers: BTreeMap<Engine, PathBuf> = BTreeMap::new();
    for node in &nodes {
        if let Entry::Vacant(entry) = lowers.entry(node.engine) {
            entry.insert(rootfs::ensure(config, node.engine, on)?);
        }
    }
    // Of the same root file system in all labs, so that the image is the same one.
    let busybox = match lowers.get(&Engine::Docker26) {
        Some(lower) => lower,
        None => &lowers[&nodes[0].engine],
    };
    let image = image::ensure(config, busybox, on)?;
    let keys = ssh::ensure(config)?;
    let work = Work {
        config,
        layout: &layout,
        lowers: &lowers,
        image: &image,
        keys: &keys,
    };
    let hosts = work.all(&nodes, seen, on)?;
    for (host, node) in hosts.iter().zip(&nodes) {
        for other in nodes.iter().filter(|other| *other != node) {
            daemons::reaches(host, other).map_err(|said| LabError::Link {
                from: node.name.clone(),
                to: other.name.clone(),
                said,
                bridge: config.bridge(),
            })?;
        }
    }
    Ok(sum_up(config, look(config, &layout)?))
}

/// Makes the state folder with the lab's configuration in it, or finds it there; locks it.
fn open_state(config: &LabConfig, on: &mut dyn FnMut(Event)) -> Result<Lock> {
    let state = config.state_dir();
    if !state.exists() {
        net::refuse_taken(config)?;
        std::fs::create_dir_all(&config.state_root).map_err(at(&config.state_root))?;
        need_space(&config.state_root, STATE_SPACE)?;
        disk::folder(&state, 0o700)?;
    }
    let mut lock = Lock::take(&state, on)?;
    match recorded(&config.record()) {
        Some(have) if same(&have, config) => return Ok(lock),
        Some(have) => {
            return Err(LabError::Differs {
                name: config.name.clone(),
                have: have.in_words(),
                wanted: config.in_words(),
            });
        }
        None => {}
    }
    if std::fs::read_dir(&state)
        .map_err(at(&state))?
        .next()
        .is_some()
    {
        note(
            on,
            format!("removing what is left of an earlier lab {}", config.name),
        );
        take_down(config, on)?;
        disk::folder(&state, 0o700)?;
        lock = Lock::take(&state, on)?;
    }
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    disk::write(&config.record(), &text, 0o600)?;
    Ok(lock)
}

/// Whether the lab that is there is the one asked for. The cache and the mirror matter only while it
/// is made.
fn same(have: &LabConfig, wanted: &LabConfig) -> bool {
    have.nodes() == wanted.nodes() && have.subnet == wanted.subnet
}

/// What bringing up a host takes.
struct Work<'a> {
    config: &'a LabConfig,
    layout: &'a Layout,
    lowers: &'a BTreeMap<Engine, PathBuf>,
    image: &'a Image,
    keys: &'a Keys,
}

impl Work<'_> {
    /// Brings all hosts up at once.
    fn all(
        &self,
        nodes: &[Node],
        seen: Vec<Health>,
        on: &mut dyn FnMut(Event),
    ) -> Result<Vec<LabHost>> {
        std::thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            let started: Vec<_> = nodes
                .iter()
                .zip(seen)
                .map(|(node, health)| {
                    let tell = tell.clone();
                    scope.spawn(move || {
                        let mut on = |event| {
                            // Whoever listened is gone only when `up` is.
                            let _ = tell.send(event);
                        };
                        self.one(node, health, &mut on)
                    })
                })
                .collect();
            drop(tell);
            told.into_iter().for_each(on);
            let results: Vec<Result<LabHost>> = started
                .into_iter()
                .map(|thread| thread.join().expect("bringing up a host cannot panic"))
                .collect();
            results.into_iter().collect()
        })
    }

    /// Brings one host up, or mends what is broken of it.
    fn one(&self, node: &Node, health: Health, on: &mut dyn FnMut(Event)) -> Result<LabHost> {
        let why = health.why(node);
        if !why.is_empty() && node.dir.join("upper").exists() {
            note(on, format!("host {}: {}", node.name, why.join(", ")));
        }
        let inside = match health.inside {
            Ok(inside) => {
                if !health.plugged {
                    step(on, &format!("host {}: network", node.name), |_| {
                        net::ensure_cable(self.config, node)
                    })?;
                }
                inside
            }
            Err(_) => step(on, &format!("host {}", node.name), |_| self.boot(node))?,
        };
        if !daemons::sshd_greets(node) {
            step(on, &format!("host {}: sshd", node.name), |_| {
                daemons::start_sshd(node, &inside)
            })?;
        }
        if health.version.is_none() {
            step(on, &format!("host {}: {}", node.name, node.engine), |_| {
                daemons::start_engine(node, &inside)
            })?;
        }
        if !daemons::has_image(node, &inside, self.image)? {
            step(on, &format!("host {}: image", node.name), |_| {
                daemons::load_image(node, &inside, self.image)
            })?;
        }
        Ok(inside)
    }

    fn boot(&self, node: &Node) -> Result<LabHost> {
        let left = boot::end(&[(node.label.clone(), node.dir.as_path())], self.layout);
        if !left.is_empty() {
            return Err(LabError::Stuck {
                name: node.lab.clone(),
                what: format!("processes {left:?} of host {} do not end", node.name),
            });
        }
        // What is left of its network may belong to a namespace that has no name any more.
        net::remove_link(&node.label)?;
        net::remove_netns(&node.label)?;
        disk::ensure(self.config, node, self.keys)?;
        net::ensure_cable(self.config, node)?;
        boot::boot(node, self.layout, &self.lowers[&node.engine])
    }
}
