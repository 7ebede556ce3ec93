//! Versions as engines print them, which is seldom semver.

use semver::{BuildMetadata, Prerelease, Version};

/// Reads a version leniently: leading `v`, leading zeros, missing numbers and suffixes of editions
/// and distributions are taken as they come (`17.09.1-ce`, `26.1.5+dfsg1`, `1.7.24~ds1`).
/// Only a suffix that starts with `rc`, `beta` or `alpha` counts as a pre-release; every other is kept as build metadata.
pub(crate) fn lenient(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches('v');
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let mut numbers = text[..end].split('.').filter(|part| !part.is_empty());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next().map_or(Some(0), |part| part.parse().ok())?;
    let patch = numbers.next().map_or(Some(0), |part| part.parse().ok())?;
    let mut version = Version::new(major, minor, patch);
    let suffix: String = text[end..]
        .trim_start_matches(['-', '+', '~'])
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || letter == '.' {
                letter
            } else {
                '-'
            }
        })
        .collect();
    if ["rc", "beta", "alpha"]
        .iter()
        .any(|word| suffix.starts_with(word))
    {
        version.pre = Prerelease::new(&suffix).ok()?;
    } else {
        version.build = BuildMetadata::new(&suffix).unwrap_or_default();
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_they_are_printed() {
        for (text, numbers, pre, build) in [
            ("17.09.1-ce", (17, 9, 1), "", "ce"),
            ("26.1.5+dfsg1", (26, 1, 5), "", "dfsg1"),
            ("28.5.2+dfsg4", (28, 5, 2), "", "dfsg4"),
            ("1.7.24~ds1", (1, 7, 24), "", "ds1"),
            ("v1.6.33", (1, 6, 33), "", ""),
            ("18.06.0-ce-rc2", (18, 6, 0), "", "ce-rc2"),
            ("29.0.0-rc.1", (29, 0, 0), "rc.1", ""),
            ("20.10", (20, 10, 0), "", ""),
        ] {
            let version = lenient(text).unwrap();
            assert_eq!(
                (version.major, version.minor, version.patch),
                numbers,
                "{text}"
            );
            assert_eq!(
                (version.pre.as_str(), version.build.as_str()),
                (pre, build),
                "{text}"
            );
        }
        for nonsense in ["", "unknown", "dev", "-1", "99999999999999999999.1"] {
            assert_eq!(lenient(nonsense), None, "{nonsense}");
        }
    }
}
