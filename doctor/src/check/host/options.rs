//! Options of the kernel's configuration, each with what it is for.

use crate::check::catalogue::{Check, Meta};
use crate::check::subject::Subject;
use crate::check::verdict::{Group, Outcome};
use host::facts::kernel::Setting;

/// What becomes of migrations without an option.
#[derive(Clone, Copy)]
enum Without {
    /// None works.
    Fails,
    /// Containers that use it do not move.
    Limits,
}
use Without::{Fails, Limits};

/// Option, what becomes of migrations without it, and what it is for. After CRIU's own list of
/// what a kernel needs, and Docker's.
const OPTIONS: [(&str, Without, &str); 27] = [
    (
        "CHECKPOINT_RESTORE",
        Fails,
        "it lets a process's ids, memory layout and /proc/PID/map_files be read and set again",
    ),
    ("NAMESPACES", Fails, "containers are made of namespaces"),
    (
        "PID_NS",
        Fails,
        "a restored process gets its old id in a namespace of its own",
    ),
    ("NET_NS", Fails, "a container's network is a namespace"),
    ("UTS_NS", Fails, "a container's host name is a namespace"),
    (
        "IPC_NS",
        Fails,
        "a container's message queues and shared memory are a namespace",
    ),
    (
        "FHANDLE",
        Fails,
        "CRIU finds files that are watched by their handle",
    ),
    (
        "EVENTFD",
        Fails,
        "programs that wait for events use eventfd",
    ),
    ("EPOLL", Fails, "programs that wait for events use epoll"),
    (
        "UNIX_DIAG",
        Fails,
        "CRIU asks the kernel for Unix sockets and their peers through it",
    ),
    (
        "INET_DIAG",
        Fails,
        "CRIU asks the kernel for internet sockets through it",
    ),
    (
        "INET_TCP_DIAG",
        Fails,
        "CRIU asks the kernel for TCP sockets through it",
    ),
    (
        "INET_UDP_DIAG",
        Limits,
        "CRIU asks the kernel for UDP sockets through it",
    ),
    (
        "PACKET_DIAG",
        Limits,
        "CRIU asks the kernel for packet sockets through it",
    ),
    (
        "NETLINK_DIAG",
        Limits,
        "CRIU asks the kernel for netlink sockets through it",
    ),
    (
        "NETFILTER_XT_MARK",
        Limits,
        "CRIU marks its own packets while a container's network is locked",
    ),
    ("TUN", Limits, "containers with a tunnel device need it"),
    (
        "SECCOMP_FILTER",
        Limits,
        "engines confine containers with filters, which a restore sets again",
    ),
    (
        "CGROUP_FREEZER",
        Limits,
        "engines and CRIU freeze a container with cgroup v1 through it",
    ),
    (
        "MEMCG",
        Limits,
        "memory limits of containers are set again through it",
    ),
    (
        "CGROUP_PIDS",
        Limits,
        "process limits of containers are set again through it",
    ),
    (
        "OVERLAY_FS",
        Limits,
        "engines keep the layers of images as overlay mounts",
    ),
    (
        "VETH",
        Limits,
        "containers on a bridge are connected with it",
    ),
    (
        "BRIDGE",
        Limits,
        "the default network of containers is a bridge",
    ),
    (
        "TIME_NS",
        Limits,
        "the monotonic clock goes on for a program that moves",
    ),
    (
        "MEM_SOFT_DIRTY",
        Limits,
        "pre-copy (`runc checkpoint --pre-dump`) learns from it which memory changed",
    ),
    (
        "USERFAULTFD",
        Limits,
        "post-copy (CRIU's lazy pages) hands in memory through it",
    ),
];

pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    OPTIONS
        .iter()
        .map(|(option, without, purpose)| {
            let consequence = match without {
                Fails => "It fails where the option is off.",
                Limits => "It warns where the option is off.",
            };
            let meta = Meta {
                id: format!("kernel.config-{}", option.to_lowercase().replace('_', "-")).into(),
                group: Group::Kernel,
                title: format!("The kernel is built with CONFIG_{option}").into(),
                what: format!(
                    "CONFIG_{option} in the kernel's configuration; a module is as good as compiled in. {consequence}"
                )
                .into(),
                why: (*purpose).into(),
                fix: format!("use a kernel with CONFIG_{option}=y; distributions' standard kernels have it as far as they can").into(),
                source: "CRIU's list of kernel options, and the kernel's own help texts".into(),
            };
            Check::new(meta, move |subject| judge(subject, option, *without))
        })
        .collect()
}

fn judge(subject: &Subject<'_>, option: &str, without: Without) -> Outcome {
    match (subject.setting(option), without) {
        (Setting::BuiltIn, _) => Outcome::ok(format!("CONFIG_{option} is compiled in")),
        (Setting::Module, _) => Outcome::ok(format!("CONFIG_{option} is a module")),
        (Setting::Unknown, _) => Outcome::skip("the kernel's configuration is found nowhere"),
        // Their own checks ask CRIU too, and say what follows; one warning is enough.
        (Setting::Off, _) if option == "MEM_SOFT_DIRTY" => {
            Outcome::skip("CONFIG_MEM_SOFT_DIRTY is off, see kernel.soft-dirty")
        }
        (Setting::Off, _) if option == "USERFAULTFD" => {
            Outcome::skip("CONFIG_USERFAULTFD is off, see kernel.userfaultfd")
        }
        (Setting::Off, _) if option == "TIME_NS" => {
            Outcome::skip("CONFIG_TIME_NS is off, see kernel.time-namespace")
        }
        (Setting::Off, Fails) => Outcome::fail(format!("CONFIG_{option} is off")),
        (Setting::Off, Limits) => Outcome::warn(format!("CONFIG_{option} is off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_asks_for_every_option() {
        let probe = include_str!("../../../../host/src/facts/probe.sh");
        for (option, ..) in OPTIONS {
            let asked = probe
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .any(|word| word == option);
            assert!(asked, "{option}");
        }
    }
}
