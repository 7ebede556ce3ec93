//! The operating system, from os-release.

use os_release::OsRelease;
use schemars::JsonSchema;
use serde::Serialize;

/// What `/etc/os-release` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Os {
    /// `debian`, `ubuntu`, `fedora` …
    pub id: String,
    /// What it derives from, nearest first.
    pub id_like: Vec<String>,
    /// The name for people: `Debian GNU/Linux 13 (trixie)`.
    pub name: String,
    /// `13`, `16.04`; empty for rolling releases.
    pub version_id: String,
    /// `trixie`, `xenial`; empty where the release has none.
    pub codename: String,
}

impl Os {
    /// Whether this is the distribution `id`, or one derived from it.
    #[must_use]
    pub fn is_like(&self, id: &str) -> bool {
        self.id == id || self.id_like.iter().any(|like| like == id)
    }
}

/// Reads an os-release file; `None` where it names no system.
#[must_use]
pub fn parse(text: &str) -> Option<Os> {
    let release: OsRelease = text
        .lines()
        .map(str::trim)
        // The crate takes a lone quote for a quoted word and slices it backwards.
        .filter(|line| {
            !matches!(
                line.split_once('=').map(|(_, value)| value.trim()),
                Some("\"" | "'")
            )
        })
        .map(str::to_owned)
        .collect();
    if release.id.is_empty() && release.name.is_empty() {
        return None;
    }
    let name = [&release.pretty_name, &release.name, &release.id]
        .into_iter()
        .find(|name| !name.is_empty())?
        .clone();
    Some(Os {
        id_like: release
            .id_like
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        name,
        id: release.id,
        version_id: release.version_id,
        codename: release.version_codename,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ubuntu() {
        let os = parse("NAME=\"Ubuntu\"\nVERSION_ID=\"16.04\"\nID=ubuntu\nID_LIKE=debian\nPRETTY_NAME=\"Ubuntu 16.04.7 LTS\"\nVERSION_CODENAME=xenial\n").unwrap();
        assert_eq!(
            (os.name.as_str(), os.version_id.as_str()),
            ("Ubuntu 16.04.7 LTS", "16.04")
        );
        assert!(os.is_like("debian") && os.is_like("ubuntu") && !os.is_like("fedora"));
    }

    #[test]
    fn a_lone_quote_is_no_reason_to_die() {
        assert_eq!(parse("NAME=\"\nID=x\n").unwrap().id, "x");
        assert_eq!(parse("nothing"), None);
    }
}
