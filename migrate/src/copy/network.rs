//! The network of a frozen container: locked, since the kernel goes on acknowledging for a process that
//! stands still, and what it acknowledged after the dump would be lost.

use host::Cmd;

/// The table that drops everything, before all others.
const RULES: &str = "table inet transship {
  chain in { type filter hook input priority -400; policy drop; }
  chain out { type filter hook output priority -400; policy drop; }
}
";

/// The table that keeps a frozen container's host from answering for an address that moves.
const ARP: &str = "table arp transship {
  chain in { type filter hook input priority 0; policy drop; }
  chain out { type filter hook output priority 0; policy drop; }
}
";

/// Locks, or with `unlock` unlocks, the network namespace that it is run in.
const SCRIPT: &str = r#"
if command -v nft >/dev/null; then
    # Not every kernel has a table for ARP; without it a neighbour may ask for the address once more.
    if [ "$1" = lock ]; then nft -f - || exit 1; printf %s "$2" | nft -f - 2>/dev/null; exit 0; fi
    nft delete table arp transship 2>/dev/null
    ! nft list table inet transship >/dev/null 2>&1 || exec nft delete table inet transship
else
    [ "$1" = lock ] && how=-I || how=-D
    for tables in iptables ip6tables; do
        for chain in INPUT OUTPUT; do "$tables" -w "$how" "$chain" -m comment --comment transship -j DROP || [ "$1" != lock ] || exit 1; done
    done 2>/dev/null
fi
"#;

fn cmd(pid: u32, what: &[&str]) -> Cmd {
    Cmd::changes("nsenter")
        .args([
            "--target",
            &pid.to_string(),
            "--net",
            "sh",
            "-c",
            SCRIPT,
            "sh",
        ])
        .args(what.iter().copied())
}

/// Locks the network of the container whose first process has this id on its host.
pub(super) fn lock(pid: u32) -> Cmd {
    cmd(pid, &["lock", ARP]).stdin(RULES.as_bytes())
}

/// Unlocks it; that it is not locked is right too.
pub(super) fn unlock(pid: u32) -> Cmd {
    cmd(pid, &["unlock"])
}
