//! Smaller facts: C library, init, packages, clock, sysctls, what failed migrations left.

use super::transcript::{Transcript, keyed};
use semver::Version;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The C library of the host (containers have their own).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Libc {
    /// `glibc` or `musl`.
    pub name: String,
    /// Its version.
    pub version: Option<Version>,
    /// The text it was read from.
    pub text: String,
}

/// What starts services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Init {
    /// Name of process 1.
    pub pid1: String,
    /// Whether systemd runs the host.
    pub systemd: bool,
    /// State of units that matter here (`active`, `inactive` …).
    pub units: BTreeMap<String, String>,
}

/// Clock of the host; seconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Clock {
    /// When the probe started, by the host's clock.
    pub first: f64,
    /// When it ended, by the host's clock.
    pub last: f64,
    /// When it was asked for, by our clock; `None` in a transcript.
    pub asked: Option<f64>,
    /// When its answer was there, by our clock.
    pub answered: Option<f64>,
    /// What the kernel reads the time from (`tsc`, `kvm-clock` …).
    pub source: Option<String>,
}

impl Clock {
    /// How far the host's clock is ahead of ours at least and at most, in seconds: the probe
    /// started after we asked and ended before we had the answer.
    #[must_use]
    pub fn ahead(&self) -> Option<(f64, f64)> {
        Some((self.last - self.answered?, self.first - self.asked?))
    }
}

/// What earlier migrations left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Leftovers {
    /// Files and folders under /run/transship and /var/lib/transship.
    pub entries: Vec<String>,
    /// Mounts of a CRIU that was killed, while none runs.
    pub mounts: Vec<String>,
    /// Lines of iptables and nft that belong to CRIU: a network that is still locked.
    pub network_locks: Vec<String>,
}

/// Reads the section `libc`.
#[must_use]
pub fn libc(text: &str) -> Option<Libc> {
    let line = text.lines().find(|line| !line.trim().is_empty())?.trim();
    let lower = text.to_lowercase();
    let name = if lower.contains("musl") {
        "musl"
    } else if lower.contains("glibc") || lower.contains("gnu libc") || lower.contains("ldd (") {
        "glibc"
    } else {
        return None;
    };
    // "glibc 2.41", "ldd (Ubuntu GLIBC 2.23-0ubuntu11) 2.23", musl's "Version 1.2.3".
    let version = line
        .rsplit(' ')
        .next()
        .and_then(crate::version::lenient)
        .or_else(|| crate::version::find(text));
    Some(Libc {
        name: name.to_owned(),
        version,
        text: line.to_owned(),
    })
}

/// Reads the section `init`.
#[must_use]
pub fn init(text: &str) -> Option<Init> {
    Some(Init {
        pid1: keyed(text, "pid1").next()?.to_owned(),
        systemd: keyed(text, "systemd").next().is_some(),
        units: keyed(text, "unit")
            .filter_map(|line| line.split_once(' '))
            .map(|(unit, state)| (unit.to_owned(), state.trim().to_owned()))
            .collect(),
    })
}

/// Reads the section `packages`: name and version, one a line.
#[must_use]
pub fn packages(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect()
}

/// Reads the sections `clock.first` and `clock.last`, and takes our own times in.
#[must_use]
pub fn clock(transcript: &Transcript, ours: Option<(Duration, Duration)>) -> Option<Clock> {
    let seconds = |section: &str| {
        let text = transcript.text(section).trim();
        // A date that does not know %N leaves the letter.
        let text = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        text.parse::<f64>().ok()
    };
    let first = seconds("clock.first")?;
    Some(Clock {
        first,
        last: seconds("clock.last").unwrap_or(first),
        asked: ours.map(|(asked, _)| asked.as_secs_f64()),
        answered: ours.map(|(_, answered)| answered.as_secs_f64()),
        source: keyed(transcript.text("boot"), "clocksource")
            .next()
            .map(str::to_owned),
    })
}

/// Reads the section `sysctl`: `fs/pipe-max-size:1048576`, names then written with dots.
#[must_use]
pub fn sysctls(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.contains('/') && !name.contains(' '))
        .map(|(name, value)| (name.replace('/', "."), value.trim().to_owned()))
        .collect()
}

/// Reads the sections `leftovers` and `iptables-chains`.
#[must_use]
pub fn leftovers(transcript: &Transcript) -> Leftovers {
    let lines: BTreeSet<&str> = transcript
        .text("iptables-chains")
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("CRIU"))
        .collect();
    Leftovers {
        entries: keyed(transcript.text("leftovers"), "entry")
            .map(str::to_owned)
            .collect(),
        mounts: keyed(transcript.text("leftovers"), "mount")
            .map(str::to_owned)
            .collect(),
        network_locks: lines.into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_c_libraries() {
        let read = |text| libc(text).map(|found| (found.name, found.version.unwrap().to_string()));
        let glibc = |version: &str| Some(("glibc".to_owned(), version.to_owned()));
        assert_eq!(
            read("glibc 2.41\nldd (Debian GLIBC 2.41-12) 2.41"),
            glibc("2.41.0")
        );
        assert_eq!(
            read("ldd (Ubuntu GLIBC 2.23-0ubuntu11) 2.23\n"),
            glibc("2.23.0")
        );
        assert_eq!(
            read("musl libc (x86_64)\nVersion 1.2.3"),
            Some(("musl".to_owned(), "1.2.3".to_owned()))
        );
        assert_eq!(read("sh: ldd: not found"), None);
    }

    #[test]
    fn the_clock_lies_between_question_and_answer() {
        let clock = Clock {
            first: 105.2,
            last: 105.6,
            asked: Some(100.0),
            answered: Some(101.0),
            source: None,
        };
        let (least, most) = clock.ahead().unwrap();
        assert!((least - 4.6).abs() < 1e-9 && (most - 5.2).abs() < 1e-9);
    }
}
