//! The lock of a container's network: nothing comes in, nothing goes out, nobody is answered.
//!
//! The kernel goes on acknowledging for processes that stand still. What it acknowledged after the dump would be
//! lost with the source; what it acknowledges for restored processes that do not go on yet would be lost with the
//! destination, where the migration is undone then.

/// The table that drops everything, before all others. What an engine itself announces of an address goes out:
/// Docker 28 takes it for a failure of its own if that is kept back.
const RULES: &str = "table inet transship {
  chain in { type filter hook input priority -400; policy drop; }
  chain out { type filter hook output priority -400; policy drop; icmpv6 type nd-neighbor-advert accept; }
}
";

/// The table that keeps a host from answering for an address that is, or may be, elsewhere.
pub const ARP: &str = "table arp transship {
  chain in { type filter hook input priority 0; policy drop; }
  chain out { type filter hook output priority 0; policy drop; }
}
";

/// Locks, or with `unlock` unlocks, the network namespace that it is run in. `open` lets all through at once, for
/// `unlock` to follow: to take tables away the kernel waits some 15 ms. Where all is as usual one call does it, since a
/// container stands still meanwhile.
const SCRIPT: &str = r#"
if command -v nft >/dev/null; then
    # Not every kernel has a table for ARP; without it a neighbour may ask for the address once more.
    if [ "$1" = lock ]; then
        printf '%s%s' "$2" "$3" | nft -f - 2>/dev/null && exit 0
        printf %s "$2" | nft -f -
        exit
    fi
    if [ "$1" = open ]; then
        inet='chain inet transship in { policy accept; }; chain inet transship out { policy accept; }'
        nft "$inet; chain arp transship in { policy accept; }; chain arp transship out { policy accept; }" 2>/dev/null || nft "$inet"
        exit
    fi
    nft 'delete table inet transship; delete table arp transship' 2>/dev/null && exit 0
    nft delete table arp transship 2>/dev/null
    ! nft list table inet transship >/dev/null 2>&1 || exec nft delete table inet transship
else
    [ "$1" = lock ] && how=-I || how=-D
    for tables in iptables ip6tables; do
        for chain in INPUT OUTPUT; do
            [ "$tables $chain" != "ip6tables OUTPUT" ] && but= || but='! -p ipv6-icmp'
            "$tables" -w "$how" "$chain" $but -m comment --comment transship -j DROP || [ "$1" != lock ] || exit 1
        done
    done 2>/dev/null
fi
"#;

/// The arguments of `sh` that lock the network namespace in which it runs.
#[must_use]
pub fn lock() -> [&'static str; 6] {
    ["-c", SCRIPT, "sh", "lock", RULES, ARP]
}

/// Those that let all through.
#[must_use]
pub fn open() -> [&'static str; 4] {
    ["-c", SCRIPT, "sh", "open"]
}

/// Those that unlock it; that it is not locked is right too.
#[must_use]
pub fn unlock() -> [&'static str; 4] {
    ["-c", SCRIPT, "sh", "unlock"]
}
