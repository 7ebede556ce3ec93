//! Memory, from /proc/meminfo.

use schemars::JsonSchema;
use serde::Serialize;

/// Memory in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What programs can still get; `None` before Linux 3.14.
    pub available: Option<u64>,
    /// Swap.
    pub swap_total: Option<u64>,
    /// Unused swap.
    pub swap_free: Option<u64>,
    /// Reserved huge pages, their number.
    pub huge_pages: Option<u64>,
    /// Bytes of huge pages of the usual size that nobody has or was promised.
    pub huge_free: Option<u64>,
}

/// Reads /proc/meminfo; `None` where it has no total.
#[must_use]
pub fn parse(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let rest = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut words = rest.split_whitespace();
        let value: u64 = words.next()?.parse().ok()?;
        match words.next() {
            Some("kB") => value.checked_mul(1024),
            _ => Some(value),
        }
    };
    let huge_free = || {
        let pages = field("HugePages_Free")?.saturating_sub(field("HugePages_Rsvd")?);
        pages.checked_mul(field("Hugepagesize")?)
    };
    Some(Memory {
        total: field("MemTotal")?,
        available: field("MemAvailable"),
        swap_total: field("SwapTotal"),
        swap_free: field("SwapFree"),
        huge_pages: field("HugePages_Total"),
        huge_free: huge_free(),
    })
}
