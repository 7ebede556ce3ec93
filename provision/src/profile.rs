//! What a profile consists of.

use crate::change::ENCODED;
use host::Facts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// apt's source for the one package that comes from another suite.
pub(crate) const SUITE_SOURCE: &str = "/etc/apt/sources.list.d/transship-suite.list";
/// Keeps everything else of that suite away.
pub(crate) const SUITE_PIN: &str = "/etc/apt/preferences.d/transship-suite";
/// Keeps versions that a profile names.
pub(crate) const VERSION_PIN: &str = "/etc/apt/preferences.d/transship-versions";
/// Kernel parameters.
pub(crate) const SYSCTL: &str = "/etc/sysctl.d/60-transship.conf";
/// Docker's configuration.
pub const DAEMON_JSON: &str = "/etc/docker/daemon.json";
/// Says that Docker's daemon has not yet taken its configuration over, and how it will.
pub(crate) const PENDING: &str = "/etc/transship/pending";
/// Keys of foreign repositories.
const KEYS: &str = "/etc/transship/keys";

const DOCKER_KEY: &str = include_str!("../profiles/docker.asc");

/// What a host is to become.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// What it is, in a sentence.
    pub about: String,
    /// `docker` or `podman`.
    pub engine: Engine,
    /// Keys of daemon.json.
    #[serde(default)]
    pub daemon: Map<String, Value>,
    /// Whether containers come back through transship's own runtime, which is then installed, and
    /// registered with Docker; Podman is given its path.
    #[serde(default)]
    pub runtime: bool,
    /// The distributions that it knows.
    pub release: Vec<Release>,
}

/// A container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

/// A profile's data for one release of a distribution.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// `debian`, `ubuntu`.
    pub id: String,
    /// `13`, `16.04`.
    pub version: String,
    /// `trixie`.
    pub codename: String,
    /// Why this engine.
    pub why: String,
    /// Packages without which apt cannot read the sources that are added: they come before these.
    #[serde(default)]
    pub first: Vec<String>,
    /// Packages of any version.
    pub packages: Vec<String>,
    /// Packages that must have one version, and keep it.
    #[serde(default)]
    pub pinned: Vec<Pinned>,
    /// A foreign repository.
    pub repository: Option<Repository>,
    /// Where CRIU comes from: the first that fits the running kernel.
    pub criu: Vec<CriuSource>,
}

/// A package and its one version.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// Name.
    pub package: String,
    /// Version as Debian writes it; with `*` at its end any that begins so.
    pub version: String,
}

impl Pinned {
    /// Whether a version is the one.
    #[must_use]
    pub fn allows(&self, version: &str) -> bool {
        match self.version.strip_suffix('*') {
            Some(begin) => version.starts_with(begin),
            None => version == self.version,
        }
    }
}

/// A repository that is not the distribution's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Name of its source and of its key.
    pub name: String,
    /// Address, suite and components.
    pub source: String,
    /// The armoured key that signs it; Docker's own without one.
    pub key: Option<String>,
}

/// Where CRIU can come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriuSource {
    /// What kind of place.
    pub from: From,
    /// The suite, for [`From::Suite`].
    pub suite: Option<String>,
    /// The archive, for [`From::Ppa`].
    pub ppa: Option<String>,
    /// The version that it has at least.
    pub offers: String,
    /// CRIU's packages there.
    pub packages: Vec<String>,
    /// What these need there in a newer version than the release has, as patterns of apt's; for [`From::Suite`].
    #[serde(default)]
    pub along: Vec<String>,
    /// What it is, in words.
    pub why: String,
    /// Taken although the doctor has doubts; this says so.
    pub unjudged: Option<String>,
}

/// Kinds of places that packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// The release's own archive.
    Archive,
    /// Another suite of the same mirror, for these packages alone.
    Suite,
    /// A personal package archive of Ubuntu's.
    Ppa,
}

impl Profile {
    /// The release of a host, if the profile knows it.
    #[must_use]
    pub fn release_for(&self, facts: &Facts) -> Option<&Release> {
        let os = facts.os.as_ref()?;
        self.release
            .iter()
            .find(|release| release.id == os.id && release.version == os.version_id)
    }

    /// Keys that daemon.json must have; transship's runtime among them where the profile uses it and
    /// the program `installed`.
    pub(crate) fn daemon_keys(&self, installed: bool) -> Map<String, Value> {
        let mut keys = self.daemon.clone();
        if self.runtime && installed {
            keys.extend(runtime_keys());
        }
        keys
    }

    /// Names of all packages that it may ask for.
    #[must_use]
    pub fn package_names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for release in &self.release {
            names.extend(release.first.iter().chain(&release.packages).cloned());
            names.extend(release.pinned.iter().map(|pinned| pinned.package.clone()));
            names.extend(release.criu.iter().flat_map(|criu| criu.packages.clone()));
        }
        names
    }

    /// Paths of all files that it may write, and undo's journal.
    #[must_use]
    pub fn files(&self) -> BTreeSet<String> {
        let fixed = [
            SUITE_SOURCE,
            SUITE_PIN,
            VERSION_PIN,
            SYSCTL,
            DAEMON_JSON,
            PENDING,
            crate::change::JOURNAL,
        ];
        let mut files: BTreeSet<String> = fixed.into_iter().map(str::to_owned).collect();
        for repository in self.release.iter().filter_map(|r| r.repository.as_ref()) {
            files.extend([repository.list(), repository.key_file()]);
        }
        files
    }
}

impl Release {
    /// What it is called: `ubuntu-24.04`.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.id, self.version)
    }

    /// Facts of a host of which only the system is known, and the kernel's version where it is given.
    pub(crate) fn facts(&self, kernel: Option<&str>) -> Facts {
        let mut text = format!(
            "@@transship facts 1 @@0\n@@0 begin os-release\nID={}\nNAME={0}\nVERSION_ID=\"{}\"\nVERSION_CODENAME={}\n\n@@0 end os-release 0\n",
            self.id, self.version, self.codename
        );
        if let Some(kernel) = kernel {
            text.push_str(&format!(
                "@@0 begin uname\nLinux\n{kernel}\n#1\nx86_64\nhost\n\n@@0 end uname 0\n"
            ));
        }
        Facts::parse(&text)
    }

    /// What keeps apt at the versions that the profile names.
    pub(crate) fn version_pin(&self) -> String {
        let pins = self.pinned.iter().map(|pin| {
            format!(
                "Package: {}\nPin: version {}\nPin-Priority: 1001\n",
                pin.package, pin.version
            )
        });
        pins.collect::<Vec<_>>().join("\n")
    }
}

impl CriuSource {
    /// Names and patterns of what comes from another suite.
    pub(crate) fn of_suite(&self) -> Vec<&str> {
        let all = self.packages.iter().chain(&self.along);
        all.map(String::as_str).collect()
    }

    /// What has apt take that from there, and nothing else.
    pub(crate) fn suite_pin(&self, suite: &str) -> String {
        format!(
            "Package: *\nPin: release a={suite}\nPin-Priority: 50\n\nPackage: {}\nPin: release a={suite}\nPin-Priority: 990\n",
            self.of_suite().join(" ")
        )
    }
}

impl Repository {
    /// Its file of sources.
    pub(crate) fn list(&self) -> String {
        format!("/etc/apt/sources.list.d/transship-{}.list", self.name)
    }

    /// Where its key lies on the host.
    pub(crate) fn key_file(&self) -> String {
        format!("{KEYS}/{}{ENCODED}", self.name)
    }

    /// Its key without its armour, in Base64: apt before 1.4 reads no other.
    pub(crate) fn key(&self) -> String {
        let armoured = self.key.as_deref().unwrap_or(DOCKER_KEY);
        // Headers end with an empty line; a checksum begins with `=`.
        let body = armoured.trim().lines().map(str::trim);
        body.skip_while(|line| !line.is_empty())
            .take_while(|line| !line.starts_with('=') && !line.starts_with('-'))
            .collect()
    }

    /// The line of its source.
    pub(crate) fn line(&self) -> String {
        format!(
            "deb [arch=amd64 signed-by={}] {}\n",
            self.key_file(),
            self.source
        )
    }
}

/// What daemon.json says where Docker knows our runtime (dockerd's manual, "Runtime options").
pub(crate) fn runtime_keys() -> Map<String, Value> {
    let runtimes = json!({ runtime::REGISTERED: { "path": runtime::PATH } });
    Map::from_iter([("runtimes".to_owned(), runtimes)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::all;

    #[test]
    fn every_profile_reads_and_names_a_place_for_criu() {
        for profile in all() {
            assert!(!profile.release.is_empty(), "{}", profile.name);
            for release in &profile.release {
                assert!(!release.criu.is_empty(), "{}", release.codename);
                for source in &release.criu {
                    assert!(host::version::lenient(&source.offers).is_some());
                    assert_eq!(source.from == From::Suite, source.suite.is_some());
                    assert_eq!(source.from == From::Ppa, source.ppa.is_some());
                }
                assert_eq!(
                    !release.pinned.is_empty(),
                    release.repository.is_some(),
                    "{}",
                    release.codename
                );
            }
        }
    }
}
