//! A host under examination.

use host::facts::cgroup::CgroupVersion;
use host::facts::engines::{DockerServer, Podman};
use host::facts::kernel::Setting;
use host::{CriuCheck, Facts};
use semver::Version;

/// A host: what the user calls it, its facts, and what CRIU said there if it was asked.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The name that the user typed; fixes use it.
    pub name: &'a str,
    /// Its facts.
    pub facts: &'a Facts,
    /// CRIU's own judgement.
    pub criu: Option<&'a CriuCheck>,
}

impl<'a> Subject<'a> {
    /// The kernel's version.
    pub(super) fn kernel(&self) -> Option<&'a Version> {
        self.facts.kernel.as_ref()?.version.as_ref()
    }

    /// The kernel's release, for people.
    pub(super) fn release(&self) -> &'a str {
        let kernel = self.facts.kernel.as_ref();
        kernel.map_or("unknown", |kernel| kernel.release.as_str())
    }

    /// CRIU's version.
    pub(super) fn criu_version(&self) -> Option<&'a Version> {
        self.facts.criu.as_ref()?.tool.version.as_ref()
    }

    /// CRIU's version as it writes it: `3.11`, not `3.11.0`.
    pub(super) fn criu_text(&self) -> String {
        match self.criu_version() {
            Some(version) if version.patch == 0 => format!("{}.{}", version.major, version.minor),
            Some(version) => version.to_string(),
            None => "of unknown version".to_owned(),
        }
    }

    /// The Docker daemon, if one answers.
    pub(super) fn docker(&self) -> Option<&'a DockerServer> {
        self.facts.docker.as_ref()?.server.as_ref()
    }

    /// Podman, if it works.
    pub(super) fn podman(&self) -> Option<&'a Podman> {
        let podman = self.facts.podman.as_ref()?;
        podman.text.is_some().then_some(podman)
    }

    /// The machine's name for its architecture.
    pub(super) fn machine(&self) -> Option<&'a str> {
        Some(self.facts.kernel.as_ref()?.machine.as_str())
    }

    /// How an option of the kernel is set.
    pub(super) fn setting(&self, option: &str) -> Setting {
        let config = self.facts.kernel_config.as_ref();
        config.map_or(Setting::Unknown, |config| config.get(option))
    }

    /// The cgroup version in use.
    pub(super) fn cgroup(&self) -> Option<CgroupVersion> {
        Some(self.facts.cgroup.as_ref()?.version)
    }

    /// A sysctl as a number.
    pub(super) fn sysctl(&self, name: &str) -> Option<u64> {
        self.facts.sysctls.get(name)?.parse().ok()
    }

    /// Whether our commands have a capability; `None` where it is unknown.
    pub(super) fn has_capability(&self, name: &str) -> Option<bool> {
        let effective = self.facts.identity.effective.as_ref()?;
        Some(effective.contains(name))
    }

    /// The command that installs a package on this host, where its distribution is known.
    pub(super) fn install(&self, package: &str) -> String {
        let like = |id| self.facts.os.as_ref().is_some_and(|os| os.is_like(id));
        if like("debian") || like("ubuntu") {
            format!("apt-get install -y {package}")
        } else if like("fedora") || like("rhel") || like("centos") {
            format!("dnf install -y {package}")
        } else if like("suse") || like("opensuse") {
            format!("zypper install -y {package}")
        } else {
            format!("install the package {package}")
        }
    }

    /// The command that has transship prepare this host.
    pub(super) fn provision(&self) -> String {
        format!("transship provision {}", host::quote(self.name))
    }

    /// The host in one line: system, kernel, engines, CRIU.
    #[must_use]
    pub fn headline(&self) -> String {
        let mut parts = Vec::new();
        if let Some(os) = &self.facts.os {
            parts.push(os.name.clone());
        }
        if let Some(kernel) = &self.facts.kernel {
            parts.push(format!("{} {}", kernel.name, kernel.release));
        }
        if let Some(docker) = self.docker() {
            parts.push(format!("Docker {}", docker.text));
        }
        if let Some(version) = self.podman().and_then(|podman| podman.text.as_ref()) {
            parts.push(format!("Podman {version}"));
        }
        parts.push(match &self.facts.criu {
            Some(_) => format!("CRIU {}", self.criu_text()),
            None => "no CRIU".to_owned(),
        });
        parts.join(", ")
    }
}

/// Bytes as a person reads them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 || value.fract() < 0.05 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A list in a sentence: `a, b and c`.
pub(super) fn list<S: AsRef<str>>(items: &[S]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lists_read_well() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(1 << 20), "1 MiB");
        assert_eq!(size(1_610_612_736), "1.5 GiB");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }
}
