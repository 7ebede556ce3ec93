//! Versions: given by the caller, or read from the log itself.

use std::sync::OnceLock;

use regex::bytes::Regex;
use semver::{Version, VersionReq};

use super::Given;
use super::rule::Component;

/// What is known about the programs at work.
#[derive(Debug, Default)]
pub(super) struct Versions {
    known: Vec<(Component, Version)>,
    given: Vec<Component>,
    engine: Option<Component>,
}

/// Whether a condition on versions holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    Unknown,
    No(String),
}

impl Versions {
    pub(super) fn new(given: &Given) -> Self {
        let mut versions = Self::default();
        for (component, text) in [
            (Component::Kernel, &given.kernel),
            (Component::Criu, &given.criu),
        ] {
            if let Some(version) = text.as_deref().and_then(lenient) {
                versions.known.push((component, version));
                versions.given.push(component);
            }
        }
        versions.engine = given.engine.as_deref().and_then(engine);
        if let (Some(engine), Some(version)) = (
            versions.engine,
            given.engine_version.as_deref().and_then(lenient),
        ) {
            versions.known.push((engine, version));
            versions.given.push(engine);
        }
        versions
    }

    /// Learns from a line of the log. What the caller gave stands above what a log says; two logs of two hosts
    /// may name two versions, then both count.
    pub(super) fn read(&mut self, line: &[u8]) {
        for (component, regex) in readers() {
            if let Some(found) = regex.captures(line) {
                let text = String::from_utf8_lossy(&found[1]).into_owned();
                self.learn(*component, &text);
            }
        }
    }

    /// Learns that a line of the log can only come from `engine`.
    pub(super) fn read_engine(&mut self, engine: Component) {
        self.engine.get_or_insert(engine);
    }

    fn learn(&mut self, component: Component, text: &str) {
        let Some(version) = lenient(text) else { return };
        if self.given.contains(&component) || self.known.contains(&(component, version.clone())) {
            return;
        }
        self.known.push((component, version));
    }

    /// Whether `component` is known to be in `range`.
    pub(super) fn holds(&self, component: Component, range: &str) -> Holds {
        let is_engine = matches!(
            component,
            Component::Docker | Component::Podman | Component::Lxd
        );
        if is_engine && let Some(engine) = self.engine.filter(|e| *e != component) {
            return Holds::No(format!("the engine is {}", engine.name()));
        }
        if is_engine && range == "*" {
            return match self.engine {
                Some(_) => Holds::Yes,
                None => Holds::Unknown,
            };
        }
        let versions: Vec<&Version> = self
            .known
            .iter()
            .filter(|(c, _)| *c == component)
            .map(|(_, v)| v)
            .collect();
        if versions.is_empty() {
            return Holds::Unknown;
        }
        let range_read = VersionReq::parse(range).expect("the build script has parsed every range");
        if versions.iter().any(|v| range_read.matches(v)) {
            Holds::Yes
        } else {
            let list: Vec<String> = versions.iter().map(|v| v.to_string()).collect();
            Holds::No(format!(
                "it takes {} {range}, and this is {}",
                component.name(),
                list.join(", ")
            ))
        }
    }

    pub(super) fn engine(&self) -> Option<Component> {
        self.engine
    }

    pub(super) fn knows(&self, component: Component) -> bool {
        self.known.iter().any(|(c, _)| *c == component)
    }
}

fn engine(name: &str) -> Option<Component> {
    match name.to_ascii_lowercase().as_str() {
        "docker" | "moby" => Some(Component::Docker),
        "podman" => Some(Component::Podman),
        "lxd" | "incus" | "lxc" => Some(Component::Lxd),
        _ => None,
    }
}

/// Where programs name their own version: CRIU's first log lines, `criu --version`, `docker version`, `docker
/// info`, `runc --version` and the like.
fn readers() -> &'static [(Component, Regex)] {
    static READERS: OnceLock<Vec<(Component, Regex)>> = OnceLock::new();
    READERS.get_or_init(|| {
        [
            (
                Component::Criu,
                r"^(?:\(\d+\.\d+\) ?)?Version: v?(\d+\.\d+[\w.]*)",
            ),
            (
                Component::Kernel,
                r"(?:Running on \S+ Linux|^Linux \S+|Kernel Version:) (\d+\.\d+[\w.-]*)",
            ),
            (
                Component::Docker,
                r"(?:Docker version|Server Version:|Docker Engine - \w+ Version:) v?(\d+\.\d+[\w.]*)",
            ),
            (Component::Podman, r"podman version v?(\d+\.\d+[\w.]*)"),
            (Component::Runc, r"^runc version v?(\d+\.\d+[\w.]*)"),
            (Component::Crun, r"^crun version v?(\d+\.\d+[\w.]*)"),
            (
                Component::Containerd,
                r"^containerd(?: \S+)? v?(\d+\.\d+\.\d+)",
            ),
        ]
        .into_iter()
        .map(|(c, p)| (c, Regex::new(p).expect("a constant")))
        .collect()
    })
}

/// The leading numbers of what programs and packages call a version: `6.18.44-fc`, `3.17.1-2+deb12u2`,
/// `5:28.5.2-1~ubuntu.24.04`, `17.09.1~ce`, `v4.2`. Missing parts are 0.
pub(super) fn lenient(text: &str) -> Option<Version> {
    let text = text.trim();
    let text = text.split_once(':').map_or(text, |(_epoch, rest)| rest);
    let text = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = text.split('.').map_while(|part| {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = part[..digits].parse::<u64>().ok()?;
        Some((number, digits == part.len()))
    });
    let mut numbers = [0; 3];
    for slot in &mut numbers {
        let Some((number, whole)) = parts.next() else {
            break;
        };
        *slot = number;
        if !whole {
            break;
        }
    }
    text.starts_with(|c: char| c.is_ascii_digit())
        .then(|| Version::new(numbers[0], numbers[1], numbers[2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_programs_write_them() {
        for (text, want) in [
            ("6.18.44-fc-v669", (6, 18, 44)),
            ("3.17.1-2+deb12u2", (3, 17, 1)),
            ("5:28.5.2-1~ubuntu.24.04~noble", (28, 5, 2)),
            ("17.09.1~ce-0~ubuntu", (17, 9, 1)),
            ("v4.2", (4, 2, 0)),
            ("6.13-6.15", (6, 13, 0)),
            ("4", (4, 0, 0)),
        ] {
            assert_eq!(
                lenient(text),
                Some(Version::new(want.0, want.1, want.2)),
                "{text}"
            );
        }
        assert_eq!(lenient("unknown"), None);
    }

    #[test]
    fn the_log_names_its_versions() {
        let mut versions = Versions::default();
        versions.read(b"(00.000031) Version: 3.16 (gitid v3.16)");
        versions.read(b"(00.000044) Running on node7 Linux 5.15.0-1046-azure #53 SMP");
        assert_eq!(versions.holds(Component::Criu, "<3.17"), Holds::Yes);
        assert!(matches!(
            versions.holds(Component::Kernel, ">=6.13"),
            Holds::No(_)
        ));
        assert_eq!(versions.holds(Component::Docker, "*"), Holds::Unknown);
    }

    #[test]
    fn the_caller_stands_above_the_log() {
        let mut versions = Versions::new(&Given {
            criu: Some("4.2".to_owned()),
            engine: Some("podman".to_owned()),
            ..Given::default()
        });
        versions.read(b"(00.000031) Version: 3.16 (gitid v3.16)");
        assert!(matches!(
            versions.holds(Component::Criu, "<4"),
            Holds::No(_)
        ));
        assert!(matches!(
            versions.holds(Component::Docker, "*"),
            Holds::No(_)
        ));
    }
}
