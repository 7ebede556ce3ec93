//! What can go wrong with a lab, and what to do about it.

use host::HostError;
use std::path::{Path, PathBuf};

/// Result of an operation on a lab.
pub type Result<T> = std::result::Result<T, LabError>;

/// What went wrong; [`LabError::host`] tells where, [`LabError::fix`] what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces, mounts and cgroups need root.
    #[error("a lab needs root")]
    NotRoot,
    /// The configuration cannot work.
    #[error("{what}")]
    BadConfig {
        /// What is wrong with it.
        what: String,
        /// What would be right.
        fix: String,
    },
    /// Programs that the lab is made with are not installed.
    #[error("this machine has no {}", programs.join(", "))]
    MissingTools {
        /// The programs.
        programs: Vec<String>,
        /// The Debian packages that have them.
        packages: Vec<String>,
    },
    /// Not enough room on a disk.
    #[error("{} has {available} MiB free, {needed} MiB are needed", path.display())]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// MiB needed.
        needed: u64,
        /// MiB available.
        available: u64,
    },
    /// Another interface or route of this machine has addresses of the lab's range.
    #[error("the range {subnet} is in use: {by}")]
    RangeInUse {
        /// The lab's name.
        name: String,
        /// The lab's range.
        subnet: String,
        /// Who has it.
        by: String,
        /// A range that is free.
        free: String,
    },
    /// The name's interfaces exist, but the lab does not.
    #[error("the name {name} is taken: there is an interface {interface}, but no {}", state.display())]
    NameTaken {
        /// The lab's name.
        name: String,
        /// The interface that is in the way.
        interface: String,
        /// Where the lab would have kept its state.
        state: PathBuf,
    },
    /// A lab of that name is there, made differently.
    #[error("lab {name} is there already, with {have}; asked for was {wanted}")]
    Differs {
        /// The lab's name.
        name: String,
        /// What it is made of.
        have: String,
        /// What was asked for.
        wanted: String,
    },
    /// There is no such lab.
    #[error("there is no lab {name}")]
    NoLab {
        /// The lab's name.
        name: String,
    },
    /// The lab has no such host.
    #[error("lab {name} has no host {host}, only {}", hosts.join(", "))]
    NoHost {
        /// The lab's name.
        name: String,
        /// The host that was asked for.
        host: String,
        /// The hosts there are.
        hosts: Vec<String>,
    },
    /// The host is not up.
    #[error("host {host} of lab {name} is down: {why}")]
    HostDown {
        /// The lab's name.
        name: String,
        /// The host.
        host: String,
        /// Why it counts as down.
        why: String,
    },
    /// No Debian mirror is known.
    #[error("no Debian mirror found in this machine's apt sources")]
    NoMirror,
    /// A root file system could not be built.
    #[error("the root file system {suite} could not be built from {mirror}:\n{said}")]
    Rootfs {
        /// Debian suite.
        suite: String,
        /// The mirror.
        mirror: String,
        /// The last lines of debootstrap or apt.
        said: String,
    },
    /// The image for containers could not be built.
    #[error("the image busybox could not be built: {what}")]
    Image {
        /// What happened.
        what: String,
    },
    /// A host's namespaces or mounts could not be made.
    #[error("host {host} does not start: {said}")]
    Boot {
        /// The lab's name.
        name: String,
        /// The host.
        host: String,
        /// The last lines of its init.
        said: String,
    },
    /// A daemon in a host does not come up.
    #[error("host {host}: {daemon} does not come up:\n{said}")]
    Daemon {
        /// The host.
        host: String,
        /// The daemon.
        daemon: String,
        /// The last lines of its log.
        said: String,
        /// Where the log is, from outside.
        log: PathBuf,
    },
    /// The hosts do not reach each other.
    #[error("host {from} does not reach host {to}: {said}")]
    Link {
        /// From here.
        from: String,
        /// To there.
        to: String,
        /// What the attempt said.
        said: String,
        /// The bridge between them.
        bridge: String,
    },
    /// This machine has no cgroup controllers to give to a host.
    #[error("no cgroup file system is mounted on this machine")]
    NoCgroups,
    /// Something of the lab would not go away.
    #[error("lab {name} is not gone: {what}")]
    Stuck {
        /// The lab's name.
        name: String,
        /// What is left.
        what: String,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A command failed.
    #[error(transparent)]
    Command(#[from] HostError),
}

impl LabError {
    /// Where it happened: a host of the lab, or `local`.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            LabError::NoHost { host, .. }
            | LabError::HostDown { host, .. }
            | LabError::Boot { host, .. }
            | LabError::Daemon { host, .. } => host,
            LabError::Link { from, .. } => from,
            LabError::Command(error) => error.host(),
            _ => "local",
        }
    }

    /// What to do about it: a command to paste where one helps, else a sentence.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            LabError::NotRoot => "run it as root, with sudo".to_owned(),
            LabError::BadConfig { fix, .. } => fix.clone(),
            LabError::MissingTools { packages, .. } => {
                format!("apt-get install {}", packages.join(" "))
            }
            LabError::NoSpace { path, .. } => {
                format!("make room: du -xh {} | sort -h | tail", path.display())
            }
            LabError::RangeInUse { name, free, .. } => {
                format!("transship lab up --lab {name} --subnet {free}")
            }
            LabError::NameTaken { name, .. } => format!(
                "transship lab down --lab {name}   # or choose another name: transship lab up --lab {name:.7}2"
            ),
            LabError::Differs { name, .. } => format!("transship lab down --lab {name}"),
            LabError::NoLab { name } => format!("transship lab up --lab {name}"),
            LabError::NoHost { name, hosts, .. } => match hosts.first() {
                Some(first) => format!("transship lab exec --lab {name} {first} -- COMMAND"),
                None => format!("transship lab up --lab {name}"),
            },
            LabError::HostDown { name, .. } => {
                format!("transship lab up --lab {name}   # repairs it")
            }
            LabError::NoMirror => {
                "transship lab up --mirror http://MIRROR/debian   # with the address of one".to_owned()
            }
            LabError::Rootfs { suite, mirror, .. } => format!(
                "see whether the mirror answers: curl -I {mirror}/dists/{suite}/Release   # or name another with --mirror"
            ),
            LabError::Image { .. } => {
                "look at what the compiler said; without gcc the image is made without the workloads".to_owned()
            }
            LabError::Boot { name, .. } => format!(
                "transship lab up --lab {name}   # once more; if it stays, this kernel lacks a namespace or overlayfs: modprobe overlay"
            ),
            LabError::Daemon { log, .. } => format!("the whole log: less {}", log.display()),
            LabError::Link { bridge, .. } => {
                format!("let this machine's firewall pass it: iptables -I FORWARD -i {bridge} -o {bridge} -j ACCEPT")
            }
            LabError::NoCgroups => "mount -t cgroup2 none /sys/fs/cgroup".to_owned(),
            LabError::Stuck { name, .. } => format!("transship lab down --lab {name}   # once more"),
            LabError::Io { path, .. } => format!("see what is there: ls -ld {}", path.display()),
            LabError::Command(HostError::NoProgram { program, .. }) => {
                format!("apt-get install the package that has {program}")
            }
            LabError::Command(_) => "run the command by hand to see more".to_owned(),
        }
    }
}

/// Gives an I/O error the path it is about.
pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> LabError {
    let path = path.to_owned();
    move |source| LabError::Io { path, source }
}
