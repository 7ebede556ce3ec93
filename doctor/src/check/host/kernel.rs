//! Kernel: version, modules, parameters, namespaces.

use crate::check::catalogue::{Check, meta};
use crate::check::subject::{Subject, list, size};
use crate::check::verdict::{Group, Outcome};
use host::facts::criu::{DIRTY_TRACKING, Feature};
use host::facts::kernel::Setting;
use semver::Version;

/// CRIU's lazy page server asks for a pipe of this many bytes (measured: with less it dies later
/// with `page-pipe: splice: -1: Bad file descriptor`).
const LAZY_PIPE: u64 = 4 << 20;

pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    vec![
        Check::new(
            meta(
                "kernel.version",
                Group::Kernel,
                "The kernel is new enough",
                "`uname -r`. It fails below Linux 3.11, the first that CRIU works on, and below 4.2, where CRIU is misled by overlay mounts",
                "CRIU needs what the kernel tells about processes, and containers live on overlay mounts",
                "upgrade the kernel; on Ubuntu 16.04: `apt-get install -y linux-generic-hwe-16.04`, then reboot",
            ),
            version,
        ),
        Check::new(
            meta(
                "kernel.config",
                Group::Kernel,
                "The kernel's configuration can be read",
                "/proc/config.gz, /boot/config-RELEASE and the folders under /lib/modules. It warns where all are missing",
                "without it the checks kernel.config-* cannot tell whether the kernel was built for checkpoints",
                "`modprobe configs`, or install the package of the kernel's image again",
            ),
            config,
        ),
        Check::new(
            meta(
                "kernel.modules",
                Group::Kernel,
                "The running kernel's modules are installed",
                "whether /lib/modules/RELEASE exists where modules are needed",
                "after an upgrade of the kernel and before the reboot nothing can be loaded: CRIU then finds no socket diagnostics, Docker no network",
                "reboot into the installed kernel",
            ),
            modules,
        ),
        Check::new(
            meta(
                "kernel.namespaces",
                Group::Kernel,
                "The kernel has the namespaces that containers use",
                "/proc/self/ns",
                "a container is mount, network, process, host name and message namespaces; CRIU restores each of them",
                "use a kernel that has them",
            ),
            namespaces,
        ),
        Check::new(
            meta(
                "kernel.time-namespace",
                Group::Kernel,
                "The kernel has time namespaces",
                "/proc/self/ns/time, there since Linux 5.6. It warns where it is missing",
                "CLOCK_MONOTONIC counts from boot: without a time namespace it jumps for a program that moves to a host with another uptime",
                "upgrade to Linux 5.6 or later with CRIU 3.14 or later; programs that do not measure time with the monotonic clock do not need it",
            ),
            time_namespace,
        ),
        Check::new(
            meta(
                "kernel.soft-dirty",
                Group::Kernel,
                "The kernel tracks which memory changes",
                "CRIU's feature mem_dirty_track, else CONFIG_MEM_SOFT_DIRTY. It warns where it is missing: on aarch64 always, and on many kernels for clouds",
                "pre-copy (`runc checkpoint --pre-dump`) sends memory while the program runs and then only what changed; modes copy and tarball do not need it",
                "use mode copy, or a kernel with CONFIG_MEM_SOFT_DIRTY=y",
            ),
            soft_dirty,
        ),
        Check::new(
            meta(
                "kernel.userfaultfd",
                Group::Kernel,
                "The kernel can hand in missing memory later",
                "CRIU's features uffd and uffd-noncoop, else CONFIG_USERFAULTFD. It warns where they are missing, and where vm.unprivileged_userfaultfd is 0 and root has no CAP_SYS_PTRACE",
                "post-copy (CRIU's lazy pages) starts the program before its memory has come; modes copy and tarball do not need it",
                "use mode copy, or a kernel with CONFIG_USERFAULTFD=y (Linux 4.11 or later)",
            ),
            userfaultfd,
        ),
        Check::new(
            meta(
                "kernel.pipe-max-size",
                Group::Kernel,
                "CRIU can enlarge its pipes",
                "fs.pipe-max-size of at least 4 MiB, or CAP_SYS_RESOURCE, which is above that limit. It warns otherwise",
                "CRIU's lazy page server sets a pipe of 4 MiB, does not notice that it could not, and dies during post-copy",
                "`sysctl -w fs.pipe-max-size=16777216`",
            ),
            pipe_max_size,
        ),
        Check::new(
            meta(
                "kernel.ptrace-scope",
                Group::Kernel,
                "Processes may be traced",
                "kernel.yama.ptrace_scope. It fails at 3, where not even root may, and warns at 2 where root has no CAP_SYS_PTRACE",
                "CRIU stops processes and reads them by tracing",
                "`sysctl -w kernel.yama.ptrace_scope=1`; 3 can only be taken back by a reboot",
            ),
            ptrace_scope,
        ),
        Check::new(
            meta(
                "kernel.ns-last-pid",
                Group::Kernel,
                "Process ids can be chosen",
                "/proc/sys/kernel/ns_last_pid, or clone3 with set_tid (Linux 5.5 and CRIU 3.14). It fails without both",
                "a restored process must have the id it had before",
                "use a kernel with CONFIG_CHECKPOINT_RESTORE=y",
            ),
            ns_last_pid,
        ),
        Check::new(
            meta(
                "kernel.ip-forward",
                Group::Kernel,
                "The kernel forwards packets to containers",
                "net.ipv4.ip_forward where an engine answers. It warns where it is off",
                "containers on a bridge reach nobody and nobody reaches them, before a migration as after it",
                "`sysctl -w net.ipv4.ip_forward=1`",
            ),
            ip_forward,
        ),
    ]
}

fn version(subject: &Subject<'_>) -> Outcome {
    let Some(version) = subject.kernel() else {
        return Outcome::skip("the kernel's version is not known");
    };
    let release = subject.release();
    if *version < Version::new(3, 11, 0) {
        return Outcome::fail("the kernel is too old for CRIU").found(format!("Linux {release}"));
    }
    if *version < Version::new(4, 2, 0) {
        return Outcome::fail("the kernel shows overlay mounts wrongly")
            .found(format!("Linux {release}"))
            .because("before Linux 4.2 a file on an overlay has the wrong mount id, so CRIU does not find it");
    }
    Outcome::ok(format!("Linux {release} is new enough for CRIU"))
}

fn config(subject: &Subject<'_>) -> Outcome {
    match &subject.facts.kernel_config {
        Some(config) => Outcome::ok(format!("the kernel's configuration is {}", config.source)),
        None => Outcome::warn("the kernel's configuration is found nowhere")
            .found("no /proc/config.gz, no /boot/config of this kernel"),
    }
}

fn modules(subject: &Subject<'_>) -> Outcome {
    let modules = &subject.facts.modules;
    if let Some(folder) = &modules.folder {
        return Outcome::ok(format!("modules are in {folder}"));
    }
    let Some(config) = &subject.facts.kernel_config else {
        return Outcome::skip("whether this kernel needs modules is not known");
    };
    let as_modules: Vec<&String> = config
        .options
        .iter()
        .filter(|(_, value)| *value == "m")
        .map(|(name, _)| name)
        .collect();
    if as_modules.is_empty() {
        return Outcome::ok("everything that is needed is compiled in");
    }
    Outcome::warn("the running kernel's modules are not installed").found(format!(
        "no folder /lib/modules/{}, but {} {} there as modules",
        subject.release(),
        list(&as_modules),
        if as_modules.len() == 1 { "is" } else { "are" },
    ))
}

fn namespaces(subject: &Subject<'_>) -> Outcome {
    let found = &subject.facts.identity.namespaces;
    if found.is_empty() {
        return Outcome::skip("/proc/self/ns could not be read");
    }
    let missing: Vec<&str> = ["mnt", "net", "pid", "uts", "ipc"]
        .into_iter()
        .filter(|name| !found.contains(*name))
        .collect();
    if missing.is_empty() {
        return Outcome::ok("mount, network, process, host name and message namespaces are there");
    }
    Outcome::fail("the kernel lacks namespaces").found(format!("without {}", list(&missing)))
}

fn time_namespace(subject: &Subject<'_>) -> Outcome {
    let found = &subject.facts.identity.namespaces;
    if found.is_empty() {
        return Outcome::skip("/proc/self/ns could not be read");
    }
    if found.contains("time") {
        return Outcome::ok("time namespaces are there");
    }
    Outcome::warn("the kernel has no time namespaces").found(format!(
        "Linux {} without /proc/self/ns/time",
        subject.release()
    ))
}

/// Whether the kernel tells which memory a process changed: by what CRIU says of its feature
/// [`DIRTY_TRACKING`], else by CONFIG_MEM_SOFT_DIRTY. None where neither says.
#[must_use]
pub fn memory_is_tracked(asked: Option<Feature>, built: Setting) -> Option<bool> {
    match (asked, built) {
        (Some(Feature::Supported), _) => Some(true),
        (Some(Feature::Missing), _) => Some(false),
        (_, Setting::BuiltIn) => Some(true),
        (_, Setting::Off) => Some(false),
        _ => None,
    }
}

fn soft_dirty(subject: &Subject<'_>) -> Outcome {
    let asked = subject.criu.map(|criu| criu.feature(DIRTY_TRACKING));
    match memory_is_tracked(asked, subject.setting("MEM_SOFT_DIRTY")) {
        Some(true) => Outcome::ok("changed memory is tracked, so pre-copy is possible"),
        Some(false) => Outcome::warn("changed memory is not tracked, so pre-copy is not possible")
            .found(match asked {
                Some(Feature::Missing) => "CRIU: mem_dirty_track is not supported",
                _ => "the kernel was built without CONFIG_MEM_SOFT_DIRTY",
            }),
        None => Outcome::skip("neither CRIU nor the kernel's configuration says"),
    }
}

fn userfaultfd(subject: &Subject<'_>) -> Outcome {
    let good = |feature| match subject.criu.map(|criu| criu.feature(feature)) {
        Some(Feature::Supported) => Some(true),
        Some(Feature::Missing) => Some(false),
        _ => None,
    };
    if subject.sysctl("vm.unprivileged_userfaultfd") == Some(0)
        && subject.has_capability("CAP_SYS_PTRACE") == Some(false)
    {
        return Outcome::warn("memory cannot be handed in later, so post-copy is not possible")
            .found("vm.unprivileged_userfaultfd is 0, and root has no CAP_SYS_PTRACE")
            .fix("sysctl -w vm.unprivileged_userfaultfd=1");
    }
    match (
        good("uffd"),
        good("uffd-noncoop"),
        subject.setting("USERFAULTFD"),
    ) {
        (Some(true), Some(true), _) => {
            Outcome::ok("memory can be handed in later, so post-copy is possible")
        }
        (Some(false), ..) | (_, Some(false), _) => {
            Outcome::warn("memory cannot be handed in later, so post-copy is not possible")
                .found("CRIU: uffd or uffd-noncoop is not supported")
        }
        (.., Setting::BuiltIn) => {
            Outcome::ok("the kernel was built with userfaultfd, which post-copy needs")
        }
        (.., Setting::Off) => {
            Outcome::warn("memory cannot be handed in later, so post-copy is not possible")
                .found("the kernel was built without CONFIG_USERFAULTFD")
        }
        _ => Outcome::skip("neither CRIU nor the kernel's configuration says"),
    }
}

fn pipe_max_size(subject: &Subject<'_>) -> Outcome {
    let Some(limit) = subject.sysctl("fs.pipe-max-size") else {
        return Outcome::skip("fs.pipe-max-size could not be read");
    };
    if limit >= LAZY_PIPE {
        return Outcome::ok(format!("fs.pipe-max-size is {}", size(limit)));
    }
    match subject.has_capability("CAP_SYS_RESOURCE") {
        Some(true) => Outcome::ok(format!(
            "fs.pipe-max-size is {}, and root may go beyond it",
            size(limit)
        )),
        Some(false) => Outcome::warn("CRIU cannot enlarge its pipes").found(format!(
            "fs.pipe-max-size is {}, and root has no CAP_SYS_RESOURCE",
            size(limit)
        )),
        None => Outcome::skip("root's capabilities are not known"),
    }
}

fn ptrace_scope(subject: &Subject<'_>) -> Outcome {
    if subject.facts.sysctls.is_empty() {
        return Outcome::skip("/proc/sys could not be read");
    }
    match subject.sysctl("kernel.yama.ptrace_scope") {
        Some(3) => Outcome::fail("nobody may trace a process here")
            .found("kernel.yama.ptrace_scope is 3")
            .fix("sed -i '/ptrace_scope/d' /etc/sysctl.conf /etc/sysctl.d/*.conf; reboot"),
        Some(2) if subject.has_capability("CAP_SYS_PTRACE") == Some(false) => {
            Outcome::warn("root may not trace processes here")
                .found("kernel.yama.ptrace_scope is 2, and root has no CAP_SYS_PTRACE")
                .fix("sysctl -w kernel.yama.ptrace_scope=1")
        }
        Some(scope) => Outcome::ok(format!("root may trace processes (ptrace_scope {scope})")),
        None => Outcome::ok("root may trace processes"),
    }
}

fn ns_last_pid(subject: &Subject<'_>) -> Outcome {
    if subject.facts.sysctls.contains_key("kernel.ns_last_pid") {
        return Outcome::ok("process ids can be chosen");
    }
    if subject.facts.sysctls.is_empty() {
        return Outcome::skip("/proc/sys could not be read");
    }
    let newer = subject.kernel() >= Some(&Version::new(5, 5, 0))
        && subject.criu_version() >= Some(&Version::new(3, 14, 0));
    if newer {
        return Outcome::ok("process ids can be chosen, through clone3");
    }
    Outcome::fail("process ids cannot be chosen")
        .found("/proc/sys/kernel/ns_last_pid is missing, and kernel or CRIU do not know clone3 with set_tid")
}

fn ip_forward(subject: &Subject<'_>) -> Outcome {
    if subject.docker().is_none() && subject.podman().is_none() {
        return Outcome::skip("there is no engine that answers");
    }
    match subject.sysctl("net.ipv4.ip_forward") {
        Some(0) => Outcome::warn("packets are not forwarded").found("net.ipv4.ip_forward is 0"),
        Some(_) => Outcome::ok("packets are forwarded to containers"),
        None => Outcome::skip("net.ipv4.ip_forward could not be read"),
    }
}
