//! The links that migrations go over: the hosts' own, or one slowed down to a rate.

use crate::Size;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Links of common kinds, with the rates that their standards name: 802.11g, Bluetooth 2.0 (EDR), 802.15.4.
const KINDS: [(&str, Option<u64>); 4] = [
    ("lan", None),
    ("wifi", Some(54_000_000)),
    ("bluetooth", Some(2_000_000)),
    ("zigbee", Some(250_000)),
];

/// Slower than this, and the hosts can hardly be talked to over the same link.
const LEAST: u64 = 64_000;
const MOST: u64 = 100_000_000_000;

/// Bytes that take longer than this on a link are not moved over it: hours would tell no more than minutes.
const LONGEST_SECONDS: u64 = 120;

/// A link between the hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Link {
    /// Its name in the rows.
    pub name: String,
    /// The rate to which everything that leaves the hosts is slowed down; none: the link as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_per_second: Option<u64>,
}

/// A text that is no link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLink(String);

impl fmt::Display for BadLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        write!(
            formatter,
            "`{}` is no link: write {}, a rate as 250k, 10M, 1G (bits a second, 64k to 100G), or NAME=RATE",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for BadLink {}

impl Link {
    /// The hosts' own.
    #[must_use]
    pub fn own() -> Self {
        Link {
            name: KINDS[0].0.into(),
            bits_per_second: None,
        }
    }

    /// Whether so much memory is moved over it.
    #[must_use]
    pub fn takes(&self, size: Size) -> bool {
        let seconds = |rate| size.bytes() * 8 / rate;
        self.bits_per_second
            .is_none_or(|rate| seconds(rate) <= LONGEST_SECONDS)
    }
}

impl FromStr for Link {
    type Err = BadLink;

    fn from_str(text: &str) -> Result<Self, BadLink> {
        let bad = || BadLink(text.to_owned());
        if let Some((name, bits_per_second)) = KINDS.iter().find(|(name, _)| *name == text) {
            return Ok(Link {
                name: (*name).into(),
                bits_per_second: *bits_per_second,
            });
        }
        let (name, bits) = text.split_once('=').unwrap_or((text, text));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        // The name of one kind with the rate of another would deceive the reader.
        let deceives = name == KINDS[0].0;
        if name.is_empty() || name.len() > 20 || !name.chars().all(plain) || deceives {
            return Err(bad());
        }
        Ok(Link {
            name: name.into(),
            bits_per_second: Some(rate(bits).ok_or_else(bad)?),
        })
    }
}

/// Bits a second: `250k`, `10M`, `1G`.
fn rate(text: &str) -> Option<u64> {
    let units = [("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let bits = number.parse::<u64>().ok()?.checked_mul(*factor)?;
    (LEAST..=MOST).contains(&bits).then_some(bits)
}

impl fmt::Display for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits_per_second {
            None => write!(formatter, "{}, as it is", self.name),
            Some(bits) if bits.is_multiple_of(1_000_000) => {
                write!(formatter, "{}, {} Mbit/s", self.name, bits / 1_000_000)
            }
            Some(bits) => write!(formatter, "{}, {} kbit/s", self.name, bits / 1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_by_kind_by_rate_and_by_both() {
        let read = |text: &str| text.parse::<Link>().map(|link| link.to_string());
        assert_eq!(read("lan").unwrap(), "lan, as it is");
        assert_eq!(read("wifi").unwrap(), "wifi, 54 Mbit/s");
        assert_eq!(read("zigbee").unwrap(), "zigbee, 250 kbit/s");
        assert_eq!(read("10M").unwrap(), "10M, 10 Mbit/s");
        assert_eq!(read("1G").unwrap(), "1G, 1000 Mbit/s");
        assert_eq!(read("dsl=1500k").unwrap(), "dsl, 1500 kbit/s");
        for bad in [
            "",
            "LAN",
            "lan=10M",
            "10",
            "10m",
            "63k",
            "0k",
            "101G",
            "=10M",
            "a b=10M",
            "x=$(id)",
            "x=1.5M",
            "tooooooooooooooo-long=1M",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_takes_too_long_is_not_moved() {
        let takes = |link: &str, size: &str| {
            let link: Link = link.parse().unwrap();
            link.takes(size.parse().unwrap())
        };
        assert!(takes("lan", "64G"));
        assert!(takes("zigbee", "1M") && !takes("zigbee", "64M"));
        assert!(takes("10M", "64M") && !takes("10M", "1G"));
    }
}
