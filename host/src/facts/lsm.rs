//! Linux security modules.

use super::transcript::keyed;
use serde::Serialize;
use std::collections::BTreeMap;

/// Security modules of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Lsm {
    /// Active modules, of /sys/kernel/security/lsm; empty where that is not mounted.
    pub active: Vec<String>,
    /// AppArmor.
    pub apparmor: Option<AppArmor>,
    /// SELinux's mode in lower case: `enforcing`, `permissive`, `disabled`.
    pub selinux: Option<String>,
    /// The label that our own commands run under.
    pub label: Option<String>,
}

/// AppArmor on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppArmor {
    /// Whether the kernel enforces profiles.
    pub enabled: bool,
    /// First line of `apparmor_parser --version`.
    pub parser: Option<String>,
    /// Loaded profiles and their mode (`enforce`, `complain` …).
    pub profiles: BTreeMap<String, String>,
}

/// Reads the section `lsm`.
#[must_use]
pub fn parse(text: &str) -> Lsm {
    let first = |key| {
        keyed(text, key)
            .next()
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    let profiles: BTreeMap<String, String> = keyed(text, "profile")
        .filter_map(|line| line.strip_suffix(')')?.rsplit_once(" ("))
        .map(|(name, mode)| (name.to_owned(), mode.to_owned()))
        .collect();
    let parser = first("apparmor_parser");
    let status = first("aa-status");
    let enabled = first("apparmor").map(|value| value == "Y");
    let apparmor =
        (enabled.is_some() || parser.is_some() || !profiles.is_empty()).then(|| AppArmor {
            enabled: enabled.unwrap_or(status.as_deref() == Some("0") || !profiles.is_empty()),
            parser,
            profiles,
        });
    Lsm {
        active: first("list")
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        apparmor,
        selinux: first("selinux").map(|mode| mode.to_lowercase()),
        label: first("current"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_profiles_with_their_mode() {
        let lsm = parse(
            "list capability,apparmor\napparmor Y\nprofile docker-default (enforce)\nprofile /usr/bin/man (filter) (complain)\ncurrent unconfined\n",
        );
        let apparmor = lsm.apparmor.unwrap();
        assert!(apparmor.enabled);
        assert_eq!(apparmor.profiles["docker-default"], "enforce");
        assert_eq!(apparmor.profiles["/usr/bin/man (filter)"], "complain");
        assert_eq!(lsm.active, ["capability", "apparmor"]);
        assert_eq!(parse("current \n"), Lsm::default());
    }
}
