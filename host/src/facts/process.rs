//! What our own commands may do on the host.

use super::transcript::{Transcript, keyed};
use serde::Serialize;
use std::collections::BTreeSet;

/// Capabilities by number (linux/capability.h).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Who our commands run as.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Identity {
    /// User id; 0 is root.
    pub uid: Option<u32>,
    /// User's name.
    pub user: Option<String>,
    /// Who became root through sudo.
    pub sudo: Option<String>,
    /// Names of the groups.
    pub groups: BTreeSet<String>,
    /// Effective capabilities, `CAP_…`; `None` where /proc could not be read.
    pub effective: Option<BTreeSet<String>>,
    /// Bounding set: what a program started from here can ever get.
    pub bounding: Option<BTreeSet<String>>,
    /// Seccomp mode of our own process: 0 none, 1 strict, 2 filter.
    pub seccomp: Option<u32>,
    /// Kinds of namespaces that the kernel offers (`time`, `cgroup` …).
    pub namespaces: BTreeSet<String>,
}

/// Reads the sections `identity`, `status` and `namespaces`.
#[must_use]
pub fn parse(transcript: &Transcript) -> Identity {
    let identity = transcript.text("identity");
    let status = transcript.text("status");
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    Identity {
        uid: keyed(identity, "uid")
            .next()
            .and_then(|uid| uid.parse().ok()),
        user: keyed(identity, "user").next().map(str::to_owned),
        sudo: keyed(identity, "sudo").next().map(str::to_owned),
        groups: keyed(identity, "groups")
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect(),
        effective: field("CapEff").and_then(capabilities),
        bounding: field("CapBnd").and_then(capabilities),
        seccomp: field("Seccomp").and_then(|mode| mode.parse().ok()),
        namespaces: transcript
            .text("namespaces")
            .split_whitespace()
            .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            .map(str::to_owned)
            .collect(),
    }
}

/// Names of the bits of a mask as /proc/PID/status writes it.
#[must_use]
pub fn capabilities(mask: &str) -> Option<BTreeSet<String>> {
    let mask = u64::from_str_radix(mask, 16).ok()?;
    let names = CAPABILITIES.iter().enumerate();
    Some(
        names
            .filter(|(bit, _)| mask >> bit & 1 == 1)
            .map(|(_, name)| (*name).to_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_bits() {
        let all = capabilities("000001ffffffffff").unwrap();
        let without = capabilities("000001fffeffffff").unwrap();
        assert_eq!(all.len(), 41);
        let missing: Vec<_> = all.difference(&without).collect();
        assert_eq!(missing, ["CAP_SYS_RESOURCE"]);
        assert_eq!(capabilities("xyz"), None);
    }
}
