//! How much memory a measured process has, if any to speak of.

use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Memory in whole MiB: `1M`, `64M`, `1G`; `0` is the counter of the thesis, a shell with hardly any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Size(u32);

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSize(String);

impl fmt::Display for BadSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "`{}` is no size: write MiB or GiB as 1M, 64M, 1G, at most 64G, or 0 for a shell that counts",
            self.0
        )
    }
}

impl std::error::Error for BadSize {}

impl Size {
    /// In MiB.
    #[must_use]
    pub fn mib(self) -> u32 {
        self.0
    }

    /// Whether it is the counter: a shell that prints numbers.
    #[must_use]
    pub fn is_counter(self) -> bool {
        self.0 == 0
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let bad = || BadSize(text.to_owned());
        if text == "0" {
            return Ok(Size(0));
        }
        let (number, factor) = match text.strip_suffix(['M', 'm']) {
            Some(number) => (number, 1),
            None => (text.strip_suffix(['G', 'g']).ok_or_else(bad)?, 1024),
        };
        let number: u32 = number.parse().map_err(|_| bad())?;
        let mib = number.checked_mul(factor).ok_or_else(bad)?;
        if (1..=64 << 10).contains(&mib) {
            Ok(Size(mib))
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_counter() {
            write!(formatter, "counter")
        } else if self.0.is_multiple_of(1024) {
            write!(formatter, "{} GiB", self.0 / 1024)
        } else {
            write!(formatter, "{} MiB", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        let read = |text: &str| text.parse::<Size>().map(Size::mib);
        assert_eq!(read("1M"), Ok(1));
        assert_eq!(read("64m"), Ok(64));
        assert_eq!(read("4G"), Ok(4096));
        assert_eq!(read("0"), Ok(0));
        assert_eq!("0".parse::<Size>().unwrap().to_string(), "counter");
        for bad in [
            "",
            "M",
            "0M",
            "1",
            "1K",
            "-1M",
            "65G",
            "9999999999G",
            "1.5G",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!("1G".parse::<Size>().unwrap().to_string(), "1 GiB");
        assert_eq!("1025M".parse::<Size>().unwrap().to_string(), "1025 MiB");
    }
}
