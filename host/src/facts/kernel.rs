//! The kernel: name, version, configuration, modules.

use super::transcript::{Transcript, keyed};
use semver::Version;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What `uname` says, and how long the kernel has run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kernel {
    /// `Linux`.
    pub name: String,
    /// `6.18.44-fc-v657`.
    pub release: String,
    /// The release as a version.
    pub version: Option<Version>,
    /// When and how it was built (`#1 SMP PREEMPT_DYNAMIC …`).
    pub build: String,
    /// `x86_64`, `aarch64` …
    pub machine: String,
    /// Bits of a word of a program (`getconf LONG_BIT`).
    pub bits: Option<u32>,
    /// The host's own name.
    pub hostname: String,
    /// Identifier of this boot; equal on two "hosts" that share one kernel.
    pub boot_id: Option<String>,
    /// Seconds since boot.
    pub uptime: Option<f64>,
    /// What the hypervisor is called by systemd-detect-virt; `none` on bare metal.
    pub virtualization: Option<String>,
    /// Whether the commands ran inside a container themselves.
    pub in_container: bool,
}

/// How an option of the kernel's configuration is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Setting {
    /// Compiled in.
    BuiltIn,
    /// A module.
    Module,
    /// Not set.
    Off,
    /// The configuration could not be read.
    Unknown,
}

/// The kernel's configuration: the options that the probe asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelConfig {
    /// The file it was read from.
    pub source: String,
    /// Options that are set, without `CONFIG_`.
    pub options: BTreeMap<String, String>,
}

/// What is known of the modules that matter here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Modules {
    /// Folder of the running kernel's modules; `None` where it is missing, after an upgrade for
    /// example, so that nothing can be loaded until the next boot.
    pub folder: Option<String>,
    /// Compiled in, by modules.builtin.
    pub builtin: BTreeSet<String>,
    /// There as a file, by modules.dep.
    pub files: BTreeSet<String>,
    /// Loaded now.
    pub loaded: BTreeSet<String>,
}

/// Reads the sections `uname`, `bits` and `boot`.
#[must_use]
pub fn parse(transcript: &Transcript) -> Option<Kernel> {
    let mut lines = transcript.text("uname").lines().map(str::trim);
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (name, release, build, machine, hostname) = (next(), next(), next(), next(), next());
    if release.is_empty() {
        return None;
    }
    let boot = transcript.text("boot");
    let first = |key| {
        keyed(boot, key)
            .next()
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    Some(Kernel {
        version: crate::version::lenient(&release),
        bits: transcript.text("bits").trim().parse().ok(),
        boot_id: first("boot_id"),
        uptime: first("uptime").and_then(|text| text.split(' ').next()?.parse().ok()),
        virtualization: first("virt"),
        in_container: first("container").is_some(),
        name,
        release,
        build,
        machine,
        hostname,
    })
}

/// Reads the section `kernel-config`: a line `from FILE`, then `CONFIG_X=y`.
#[must_use]
pub fn parse_config(text: &str) -> Option<KernelConfig> {
    let source = keyed(text, "from").next()?.to_owned();
    let options = text
        .lines()
        .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Some(KernelConfig { source, options })
}

impl KernelConfig {
    /// How an option is set, its name without `CONFIG_`.
    #[must_use]
    pub fn get(&self, option: &str) -> Setting {
        match self.options.get(option).map(String::as_str) {
            Some("m") => Setting::Module,
            Some("n") | None => Setting::Off,
            Some(_) => Setting::BuiltIn,
        }
    }
}

/// Reads the section `modules`.
#[must_use]
pub fn parse_modules(text: &str) -> Modules {
    let set = |key| keyed(text, key).map(str::to_owned).collect();
    Modules {
        folder: keyed(text, "folder").next().map(str::to_owned),
        builtin: set("builtin"),
        files: set("file"),
        loaded: set("loaded"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_is_not_named_is_off() {
        let config =
            parse_config("from /proc/config.gz\nCONFIG_UNIX_DIAG=m\nCONFIG_FHANDLE=y\n").unwrap();
        assert_eq!(config.source, "/proc/config.gz");
        assert_eq!(config.get("UNIX_DIAG"), Setting::Module);
        assert_eq!(config.get("FHANDLE"), Setting::BuiltIn);
        assert_eq!(config.get("MEM_SOFT_DIRTY"), Setting::Off);
        assert_eq!(parse_config(""), None);
    }
}
