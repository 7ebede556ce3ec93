//! Versions as distributions, kernels and CRIU write them, as far as they can be compared.

use semver::{BuildMetadata, Prerelease, Version};

/// Reads a version leniently: `3.17.1-2+deb12u2`, `5.4`, `v1.1.12+ds1`, `6.18.44-fc-v657`,
/// `17.09.1~ce-0~ubuntu`, `5:20.10.21~3-0~ubuntu-jammy`, and CRIU's number `40101`.
///
/// What a distribution adds (revision, flavour, build) is dropped, so that `3.17.1-2` equals
/// `3.17.1`. Only true pre-releases are kept (`rc4`, `-dev`, `~beta1`), their number apart, so
/// that `rc10` is later than `rc7`. `None` where the text does not start with a version.
#[must_use]
pub fn lenient(text: &str) -> Option<Version> {
    let text = text.trim();
    // Debian's epoch.
    let text = match text.split_once(':') {
        Some((epoch, rest)) if is_number(epoch) => rest,
        _ => text,
    };
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let (major, mut rest) = number(text)?;
    let mut parts = [major, 0, 0];
    for part in &mut parts[1..] {
        let Some((value, after)) = rest.strip_prefix('.').and_then(number) else {
            break;
        };
        (*part, rest) = (value, after);
    }
    // CRIU's API gives one number: 4.1.1 is 40101.
    if (10_000..10_000_000).contains(&major) && rest.is_empty() && is_number(text) {
        parts = [major / 10_000, major / 100 % 100, major % 100];
    }
    Some(Version {
        major: parts[0],
        minor: parts[1],
        patch: parts[2],
        pre: prerelease(rest),
        build: BuildMetadata::EMPTY,
    })
}

/// The first word of a text that reads as a version with at least one dot in it
/// (`runc version 1.1.15+ds1`, `iptables v1.8.11 (nf_tables)`).
#[must_use]
pub fn find(text: &str) -> Option<Version> {
    text.split(|c: char| c.is_whitespace() || c == ',' || c == '(' || c == ')')
        .filter(|word| word.contains('.'))
        .find_map(lenient)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number at the start of a text, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn prerelease(rest: &str) -> Prerelease {
    let word = rest
        .trim_start_matches(['-', '~', '.', '_'])
        .to_ascii_lowercase();
    for name in ["alpha", "beta", "dev", "pre", "rc"] {
        let Some(after) = word.strip_prefix(name) else {
            continue;
        };
        let after = after.trim_start_matches(['.', '-']);
        let written = match number(after) {
            Some((count, _)) => format!("{name}.{count}"),
            None if after.starts_with(|c: char| c.is_ascii_alphabetic()) => continue,
            None => name.to_owned(),
        };
        return Prerelease::new(&written).unwrap_or(Prerelease::EMPTY);
    }
    Prerelease::EMPTY
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> String {
        lenient(text).map_or_else(|| "none".to_owned(), |version| version.to_string())
    }

    #[test]
    fn reads_what_programs_and_packages_write() {
        for (text, expected) in [
            ("3.17.1-2+deb12u2", "3.17.1"),
            ("5.4", "5.4.0"),
            ("v1.1.12+ds1", "1.1.12"),
            ("6.18.44-fc-v657", "6.18.44"),
            ("40101", "4.1.1"),
            ("31700", "3.17.0"),
            ("17.09.1-ce", "17.9.1"),
            ("17.09.1~ce-0~ubuntu", "17.9.1"),
            ("5:20.10.21~3-0~ubuntu-jammy", "20.10.21"),
            ("26.1.5+dfsg1", "26.1.5"),
            ("1.7.24~ds1-6+deb13u1", "1.7.24"),
            ("5.4.0-1046-azure", "5.4.0"),
            ("4.4.0-210-generic", "4.4.0"),
            ("1.0.0-rc4", "1.0.0-rc.4"),
            ("1.0.0~rc10+dfsg2-1", "1.0.0-rc.10"),
            ("6.13-rc2", "6.13.0-rc.2"),
            ("4.2-dev", "4.2.0-dev"),
            ("2.41-12+deb13u4", "2.41.0"),
            ("1.0.0-rc4+dev.12", "1.0.0-rc.4"),
            ("13", "13.0.0"),
            ("", "none"),
            ("unknown", "none"),
            ("99999999999999999999999.1", "none"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn distributions_additions_do_not_change_the_order() {
        assert_eq!(lenient("3.17.1-2+deb12u2"), lenient("3.17.1"));
        assert!(lenient("1.0.0-rc10") > lenient("1.0.0-rc7"));
        assert!(lenient("1.0.0-rc93") < lenient("1.0.0"));
    }

    #[test]
    fn finds_a_version_in_a_sentence() {
        assert_eq!(
            find("runc version 1.1.15+ds1\ncommit: x").unwrap(),
            Version::new(1, 1, 15)
        );
        assert_eq!(
            find("iptables v1.8.11 (nf_tables)").unwrap(),
            Version::new(1, 8, 11)
        );
        assert_eq!(find("no number"), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = (lenient(&text), find(&text));
        }

        #[test]
        fn plain_versions_read_as_themselves(major in 0u64..9000, minor in 0u64..9000, patch in 0u64..9000) {
            prop_assert_eq!(
                lenient(&format!("{major}.{minor}.{patch}")),
                Some(Version::new(major, minor, patch))
            );
        }
    }
}
