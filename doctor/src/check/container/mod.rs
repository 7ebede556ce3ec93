//! Checks of a running container: what in it cannot be checkpointed, and what the destination lacks for it.

mod cost;
mod files;
mod mounts;
mod network;
mod place;
mod process;
mod sockets;

pub use cost::pause;

use super::catalogue::{self, Check};
use super::pair::Link;
use super::subject::Subject;
use super::verdict::{Status, Verdict};
use engine::Container as Inspected;
use host::Facts;
use host::facts::container::{Container, Destination, OpenFile, Place, Process};

/// Options of CRIU's that `podman container checkpoint` and `restore` have too.
const PODMAN_SWITCHES: [&str; 2] = ["tcp-established", "file-locks"];

/// A container under examination.
#[derive(Debug, Clone, Copy)]
pub struct Inmate<'a> {
    /// Its name, as the user typed it.
    pub name: &'a str,
    /// What its processes have open.
    pub container: &'a Container,
    /// The engine's description; `None` where the engine knows no such container.
    pub inspected: Option<&'a Inspected>,
    /// Where it runs.
    pub source: Subject<'a>,
    /// Where it shall run, and what stands there.
    pub destination: Option<(Subject<'a>, &'a Destination)>,
    /// What was measured between the two.
    pub link: Option<Link>,
}

/// What is to be asked of the destination for a container.
#[must_use]
pub fn place(name: &str, container: &Container, inspected: &Inspected) -> Place {
    let mut place = Place {
        engine: container.engine.clone().unwrap_or_default(),
        name: name.to_owned(),
        image: inspected.image_ref().to_owned(),
        paths: Vec::new(),
        networks: Vec::new(),
        volumes: Vec::new(),
    };
    for mount in inspected.mounts() {
        match (mount.kind.as_str(), mount.volume) {
            // What nobody named is made anew with the container.
            ("volume", Some(name)) if !mount.anonymous => place.volumes.push(name),
            ("bind", _) => place.paths.push(mount.source),
            _ => {}
        }
    }
    let opened = files::on_binds(container, inspected);
    place.paths.extend(opened.into_iter().map(|(path, _)| path));
    place.paths.sort();
    place.paths.dedup();
    let networks = inspected.networks().into_iter();
    place.networks = networks
        .map(|network| network.name)
        .filter(|name| !matches!(name.as_str(), "bridge" | "host" | "none" | "podman"))
        .collect();
    place
}

/// All checks of a container.
pub(super) fn checks<'p>() -> Vec<Check<Inmate<'p>>> {
    let mut checks = process::checks();
    checks.extend(files::checks());
    checks.extend(sockets::checks());
    checks.extend(place::checks());
    checks.extend(mounts::checks());
    checks.extend(network::checks());
    checks.extend(cost::checks());
    checks
}

/// The checks of what CRIU cannot dump, wherever it runs and whatever an engine tells it.
pub const UNDUMPABLE: [&str; 7] = [
    "container.ptrace",
    "container.inotify",
    "container.devices",
    "container.gpu",
    "container.kernel-objects",
    "container.unix-sockets",
    "container.sockets",
];

/// Those of these checks that fail for the container `name` of the host `on`.
#[must_use]
pub fn undumpable(on: &str, name: &str, container: &Container) -> Vec<Verdict> {
    // They ask nothing of a host.
    let facts = Facts::parse("");
    let inmate = Inmate {
        name,
        container,
        inspected: None,
        source: Subject {
            name: on,
            facts: &facts,
            criu: None,
        },
        destination: None,
        link: None,
    };
    let mut checks = checks();
    checks.retain(|check| UNDUMPABLE.contains(&&*check.meta.id));
    let names = [("CONTAINER", name), ("SOURCE", on), ("HOST", on)];
    let mut verdicts = catalogue::run(&checks, &inmate, &names);
    verdicts.retain(|verdict| verdict.status == Status::Fail);
    verdicts
}

impl<'a> Inmate<'a> {
    /// Its open files with their processes.
    fn files(&self) -> impl Iterator<Item = (&'a Process, &'a OpenFile)> {
        let processes = self.container.processes.iter();
        processes.flat_map(|process| process.files.iter().map(move |file| (process, file)))
    }

    /// Those of its open files that satisfy a condition, each as `program (pid 7) has X open`.
    fn open(&self, which: impl Fn(&OpenFile) -> bool) -> Vec<String> {
        let mut said: Vec<String> = Vec::new();
        for (process, file) in self.files().filter(|(_, file)| which(file)) {
            let text = format!("{} has {} open", who(process), file.target);
            if !said.contains(&text) {
                said.push(text);
            }
        }
        said
    }

    fn podman(&self) -> bool {
        self.container.engine.as_deref() == Some("podman")
    }

    /// The program of its engine, for commands to paste.
    fn engine(&self) -> &'static str {
        if self.podman() { "podman" } else { "docker" }
    }

    /// Whether crun runs it. runc has CRIU read /etc/criu/runc.conf above all that the engine asks
    /// for; crun names no file, so that only CRIU's own default.conf is read, below what is asked.
    fn crun(&self) -> bool {
        self.podman()
            && self.inspected.is_some_and(|inspected| {
                let runtime = inspected.raw()["OCIRuntime"].as_str();
                runtime.is_some_and(|runtime| runtime.rsplit('/').next() == Some("crun"))
            })
    }

    /// The value of an option in the configuration that CRIU reads for this container, empty for a
    /// switch. What Podman has an option for, it always tells crun's CRIU itself.
    fn criu_option(&self, name: &str) -> Option<&'a str> {
        let file_name = if self.crun() {
            if PODMAN_SWITCHES.contains(&name) {
                return None;
            }
            "/default.conf"
        } else {
            "/runc.conf"
        };
        let criu = self.source.facts.criu.as_ref()?;
        let mut lines = criu
            .configuration
            .iter()
            .filter(|(file, _)| file.ends_with(file_name))
            .flat_map(|(_, lines)| lines);
        lines.find_map(|line| {
            let rest = line.trim().trim_start_matches('-').strip_prefix(name)?;
            let ends = rest.is_empty() || rest.starts_with(|c: char| c == '=' || c.is_whitespace());
            ends.then(|| rest.trim_start_matches(|c: char| c == '=' || c.is_whitespace()))
        })
    }

    /// How to switch an option of CRIU's on.
    fn switch_on(&self, option: &str) -> String {
        let switch = option.split(' ').next().unwrap_or_default();
        if self.podman() && PODMAN_SWITCHES.contains(&switch) {
            format!(
                "podman container checkpoint --{switch} {}   # and --{switch} at the restore",
                self.name
            )
        } else {
            let file = if self.crun() { "default" } else { "runc" };
            format!(
                "echo {} >>/etc/criu/{file}.conf   # on both hosts",
                host::quote(option)
            )
        }
    }
}

/// A process as a person knows it.
fn who(process: &Process) -> String {
    format!("{} (pid {})", process.name, process.pid)
}

/// The first of many, and how many more there are.
fn some(items: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = items[..items.len().min(SHOWN)].join("; ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// A number of things: `1 socket`, `2 sockets`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
