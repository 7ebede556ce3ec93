//! The host as such.

use crate::check::catalogue::{Check, meta};
use crate::check::subject::{Subject, list};
use crate::check::verdict::{Group, Outcome};

/// What CRIU cannot work without, as root with fewer rights (CRIU: capabilities(7) in its manual
/// page, and what its sources ask for).
const NEEDED: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_ADMIN",
    "CAP_MKNOD",
];

pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    vec![
        Check::new(
            meta(
                "system.os",
                Group::System,
                "The operating system is known",
                "`/etc/os-release`. Any Linux is taken as it is; Ubuntu 16.04 is the system that the profile docker-17.09 was verified on. It warns where the file is missing",
                "fixes name the package manager of the system, and some rules hold for one distribution's kernels or packages only",
                "none is needed for migrations; for better advice, install the distribution's package with /etc/os-release (base-files on Debian and Ubuntu)",
            ),
            os,
        ),
        Check::new(
            meta(
                "system.architecture",
                Group::System,
                "The host is a 64-bit machine that CRIU and transship know",
                "`uname -m` and `getconf LONG_BIT`. It fails on 32-bit systems and warns on those that transship was not tried on",
                "the page transfer and the restored processes need a 64-bit kernel with 64-bit programs",
                "use a 64-bit installation (x86_64 or aarch64)",
            ),
            architecture,
        ),
        Check::new(
            meta(
                "system.container",
                Group::System,
                "The host is a machine of its own, not a container",
                "whether the commands themselves run inside a container",
                "CRIU inside a container sees mounts and control groups of another world, and the engine there restores into nested namespaces",
                "run transship against the machine that the container is on",
            ),
            container,
        ),
        Check::new(
            meta(
                "system.root",
                Group::System,
                "Commands run as root",
                "the user id of the commands on the host",
                "CRIU freezes and rebuilds processes of other users, and both Docker's and Podman's checkpoints are for root alone",
                "log in as root (`root@HOST`), or let the user use sudo without a password",
            ),
            root,
        ),
        Check::new(
            meta(
                "system.capabilities",
                Group::System,
                "Root has the capabilities that CRIU needs",
                "the effective capabilities of the commands. It fails where one is missing that CRIU cannot do without, and warns without CAP_SYS_RESOURCE",
                "root in a confined system may have fewer rights than root usually has",
                "run transship where root is not confined: give the machine, container or service that it logs in to all capabilities",
            ),
            capabilities,
        ),
        Check::new(
            meta(
                "system.facts",
                Group::System,
                "What the host says of itself can be read",
                "whether a parser of transship's broke down on what a program or a file of the host said. It warns where one did; the rest is judged",
                "checks that hang on such a part take it for missing",
                "report it, with the output of `transship doctor --json`",
            ),
            |subject: &Subject<'_>| read(&subject.facts.broken),
        ),
        Check::new(
            meta(
                "system.tools",
                Group::System,
                "tar, gzip and sha256sum are installed",
                "whether the programs are in PATH",
                "files of a container and, in mode tarball, its images are packed and verified with them",
                "install the packages tar, gzip and coreutils",
            ),
            tools,
        ),
    ]
}

fn os(subject: &Subject<'_>) -> Outcome {
    match &subject.facts.os {
        Some(os) if os.id == "ubuntu" && os.version_id == "16.04" => Outcome::ok(format!(
            "{}: the system that the profile docker-17.09 was verified on",
            os.name
        )),
        Some(os) => Outcome::ok(os.name.clone()),
        None => Outcome::warn("the operating system is not known")
            .found("there is no readable /etc/os-release"),
    }
}

fn architecture(subject: &Subject<'_>) -> Outcome {
    let Some(kernel) = &subject.facts.kernel else {
        return Outcome::skip("uname said nothing");
    };
    let machine = kernel.machine.as_str();
    if kernel.bits == Some(32) {
        return Outcome::fail("programs here are 32-bit")
            .found(format!("{machine} kernel, 32-bit programs"));
    }
    match machine {
        "x86_64" | "aarch64" => Outcome::ok(format!("{machine}, 64-bit")),
        "ppc64le" | "s390x" | "riscv64" | "loongarch64" | "mips64" => {
            Outcome::warn(format!("transship was not tried on {machine}"))
                .found(machine)
                .because("CRIU knows it, but fewer people use it there")
                .fix("try a container that may be lost first")
        }
        _ => Outcome::fail(format!("{machine} is not supported")).found(machine),
    }
}

fn container(subject: &Subject<'_>) -> Outcome {
    let Some(kernel) = &subject.facts.kernel else {
        return Outcome::skip("uname said nothing");
    };
    if kernel.in_container {
        return Outcome::warn("the host is a container itself")
            .found("/.dockerenv or /run/.containerenv is there");
    }
    let machine = kernel.virtualization.as_deref().unwrap_or("none");
    Outcome::ok(match machine {
        "none" => "not inside a container".to_owned(),
        other => format!("a virtual machine ({other}), not a container"),
    })
}

fn root(subject: &Subject<'_>) -> Outcome {
    let identity = &subject.facts.identity;
    match identity.uid {
        Some(0) => Outcome::ok(match &identity.sudo {
            Some(user) => format!("commands run as root, for {user} through sudo"),
            None => "commands run as root".to_owned(),
        }),
        Some(uid) => Outcome::fail("commands do not run as root").found(format!(
            "user {} (uid {uid})",
            identity.user.as_deref().unwrap_or("?")
        )),
        None => Outcome::skip("id said nothing"),
    }
}

fn capabilities(subject: &Subject<'_>) -> Outcome {
    let Some(effective) = &subject.facts.identity.effective else {
        return Outcome::skip("/proc/self/status could not be read");
    };
    if subject.facts.identity.uid != Some(0) {
        return Outcome::skip("only root's capabilities matter, see system.root");
    }
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|name| !effective.contains(*name))
        .collect();
    if !missing.is_empty() {
        return Outcome::fail("root lacks capabilities that CRIU needs")
            .found(format!("without {}", list(&missing)));
    }
    if !effective.contains("CAP_SYS_RESOURCE") {
        return Outcome::warn("root lacks CAP_SYS_RESOURCE")
            .found("CapEff without CAP_SYS_RESOURCE")
            .because("CRIU then cannot raise limits of restored processes above those it runs under, nor enlarge pipes beyond fs.pipe-max-size")
            .fix("give root the capability, or live with it: kernel.pipe-max-size says whether post-copy is safe without it");
    }
    Outcome::ok("root has the capabilities that CRIU needs")
}

/// What is said of parts of a probe whose parsers broke down.
pub(in crate::check) fn read(broken: &[String]) -> Outcome {
    if broken.is_empty() {
        return Outcome::ok("what the host says of itself can be read");
    }
    Outcome::warn("a parser broke down, which is a mistake in transship").found(list(broken))
}

fn tools(subject: &Subject<'_>) -> Outcome {
    let missing: Vec<&str> = ["tar", "gzip", "sha256sum"]
        .into_iter()
        .filter(|tool| !subject.facts.tools.contains_key(*tool))
        .collect();
    if missing.is_empty() {
        return Outcome::ok("tar, gzip and sha256sum are installed");
    }
    let packages: Vec<&str> = missing
        .iter()
        .map(|tool| {
            if *tool == "sha256sum" {
                "coreutils"
            } else {
                tool
            }
        })
        .collect();
    let sentence = format!("{} not installed", list(&missing));
    let outcome = if missing.contains(&"tar") {
        Outcome::fail(sentence)
    } else {
        Outcome::warn(sentence)
    };
    outcome.fix(subject.install(&packages.join(" ")))
}
