//! Features of the kernel as CRIU finds them, each with what it is for.

use crate::check::catalogue::{Check, Meta};
use crate::check::subject::Subject;
use crate::check::verdict::{Group, Outcome};
use host::facts::criu::Feature;

/// What is lost without a feature.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    /// Containers of engines cannot be moved.
    Fails,
    /// Containers that use it cannot be moved.
    Limits,
    /// Nothing: CRIU does it another way, or only unusual programs notice.
    Nothing,
}
use Without::{Fails, Limits, Nothing};

/// Name, what is lost without it, what it is for. Names: CRIU's feature_list in criu/cr-check.c.
/// mem_dirty_track, uffd and uffd-noncoop have checks of their own (kernel.soft-dirty, kernel.userfaultfd).
const FEATURES: [(&str, Without, &str); 42] = [
    (
        "seccomp_suspend",
        Fails,
        "CRIU suspends a container's system call filter while it works inside its processes",
    ),
    (
        "seccomp_filters",
        Fails,
        "system call filters, which engines give every container, can be read",
    ),
    ("mnt_id", Fails, "each open file tells its mount"),
    (
        "fdinfo_lock",
        Limits,
        "file locks are listed for each open file",
    ),
    ("cgroupns", Limits, "cgroup namespaces can be restored"),
    (
        "tcp_half_closed",
        Limits,
        "TCP connections that one side has closed can be restored",
    ),
    (
        "can_map_vdso",
        Limits,
        "the kernel's page of fast calls can be placed where it was",
    ),
    ("sk_ns", Limits, "sockets tell their network namespace"),
    (
        "sk_unix_file",
        Limits,
        "Unix sockets tell the file they are bound to",
    ),
    (
        "nsid",
        Limits,
        "network namespaces have ids, which links between them need",
    ),
    (
        "link_nsid",
        Limits,
        "a link can be made into another network namespace",
    ),
    (
        "external_net_ns",
        Limits,
        "a network namespace of somebody else can be joined, as engines' containers do",
    ),
    (
        "aio_remap",
        Limits,
        "asynchronous input and output (AIO) goes on after a move",
    ),
    ("timerfd", Limits, "timers that are files can be restored"),
    ("userns", Limits, "user namespaces can be restored"),
    (
        "loginuid",
        Nothing,
        "the login id of processes can be set again",
    ),
    ("net_diag_raw", Limits, "raw sockets can be listed"),
    (
        "kcmp_epoll",
        Limits,
        "files that an epoll watches can be told apart",
    ),
    (
        "timens",
        Limits,
        "time namespaces keep the monotonic clock going",
    ),
    ("tun", Limits, "tunnel devices can be restored"),
    (
        "tun_ns",
        Nothing,
        "tunnel devices in other namespaces are found",
    ),
    (
        "compat_cr",
        Nothing,
        "32-bit programs on a 64-bit kernel can be moved",
    ),
    (
        "get_rseq_conf",
        Limits,
        "restartable sequences, which glibc 2.35 and later use, can be read from a process",
    ),
    (
        "clone3_set_tid",
        Nothing,
        "a process gets its id in one step; otherwise CRIU sets kernel.ns_last_pid first",
    ),
    ("newifindex", Nothing, "network links get back their number"),
    (
        "nftables",
        Nothing,
        "nftables rules inside a container are carried along",
    ),
    (
        "has_ipt_legacy",
        Nothing,
        "legacy iptables rules inside a container are carried along",
    ),
    (
        "network_lock_nftables",
        Nothing,
        "a container's network can be locked with nftables instead of iptables",
    ),
    (
        "pidfd_store",
        Nothing,
        "pre-dumps notice that a process id was used again",
    ),
    (
        "ns_pid",
        Nothing,
        "processes tell their ids in each namespace at once",
    ),
    (
        "apparmor_stacking",
        Nothing,
        "AppArmor profiles on top of each other can be restored",
    ),
    (
        "sockopt_buf_lock",
        Nothing,
        "fixed sizes of socket buffers stay fixed",
    ),
    (
        "memfd_hugetlb",
        Nothing,
        "memory files on huge pages can be restored",
    ),
    (
        "move_mount_set_group",
        Nothing,
        "mounts are restored in the newer, simpler way (mount-v2)",
    ),
    (
        "openat2",
        Nothing,
        "files are opened without leaving the container's root",
    ),
    (
        "ipv6_freebind",
        Nothing,
        "IPv6 addresses that are not there yet can be bound",
    ),
    ("pagemap_scan", Nothing, "memory is searched faster"),
    (
        "pagemap_scan_guard_pages",
        Nothing,
        "guard pages of new C libraries (glibc 2.42) are seen",
    ),
    (
        "timer_cr_ids",
        Nothing,
        "POSIX timers with high ids are restored at once instead of slowly",
    ),
    (
        "overlayfs_maps",
        Nothing,
        "files mapped from an overlay are told with their right path",
    ),
    (
        "breakpoints",
        Nothing,
        "hardware breakpoints let CRIU stop a process at the right place quickly",
    ),
    ("autofs", Nothing, "automount points can be moved"),
];

pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    FEATURES
        .iter()
        .map(|(feature, without, purpose)| {
            let consequence = match without {
                Fails => "It fails where CRIU does not find it.",
                Limits => {
                    "It warns where CRIU does not find it: containers that use it cannot be moved."
                }
                Nothing => "It never warns: CRIU does without it, or only unusual programs notice.",
            };
            let meta = Meta {
                id: format!("criu.feature-{}", feature.replace('_', "-")).into(),
                group: Group::Criu,
                title: format!("CRIU finds the kernel's feature {feature}").into(),
                what: format!("`criu check --feature {feature}`. {consequence}").into(),
                why: (*purpose).into(),
                fix: "upgrade the kernel, or CRIU where it does not know the feature".into(),
                source: "CRIU, criu/cr-check.c".into(),
            };
            Check::new(meta, move |subject| judge(subject, feature, *without))
        })
        .collect()
}

fn judge(subject: &Subject<'_>, feature: &str, without: Without) -> Outcome {
    if subject.facts.criu.is_none() {
        return Outcome::skip("CRIU is not installed");
    }
    let Some(criu) = subject.criu else {
        return Outcome::skip("CRIU was not asked");
    };
    let found = criu.feature(feature);
    match (found, without) {
        (Feature::Supported, _) => Outcome::ok(format!("{feature} is there")),
        (Feature::Unknown, _) => Outcome::skip(format!("this CRIU does not know {feature}")),
        (Feature::NotJudged, _) => Outcome::skip("CRIU does not start or answer, see criu.works"),
        (Feature::TimedOut, _) => Outcome::warn(format!("CRIU did not answer about {feature}"))
            .found("no answer within 30 seconds")
            .fix(format!("criu check --feature {feature} -v4")),
        (Feature::Missing, Nothing) => Outcome::ok(format!("CRIU does without {feature}")),
        (Feature::Missing, Limits) => {
            Outcome::warn(format!("{feature} is missing")).found(format!(
                "CRIU does not find {feature} on Linux {}",
                subject.release()
            ))
        }
        (Feature::Missing, Fails) => Outcome::fail(format!("{feature} is missing")).found(format!(
            "CRIU does not find {feature} on Linux {}",
            subject.release()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_asks_for_every_feature() {
        let probe = include_str!("../../../../host/src/facts/criu.sh");
        for (feature, ..) in FEATURES {
            assert!(
                probe
                    .split_whitespace()
                    .any(|word| word.trim_end_matches(';') == feature),
                "{feature}"
            );
        }
    }
}
