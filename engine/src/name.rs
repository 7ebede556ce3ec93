//! Names of containers and checkpoints.

use std::fmt;
use std::str::FromStr;

/// The name (or id) of a container, or the name of a checkpoint, as Docker allows them: it can
/// never be taken for an option or a path.
///
/// Source: `RestrictedNameChars` in moby's `daemon/names`, `[a-zA-Z0-9][a-zA-Z0-9_.-]`; one or more of the latter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// A text that Docker does not take as a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name that Docker takes: letters, digits, `_`, `.` and `-`, at least two of them, the first a letter or digit"
)]
pub struct BadName(pub String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadName`] for whatever Docker would refuse.
    pub fn new(name: &str) -> Result<Self, BadName> {
        let mut bytes = name.bytes();
        let first = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if first && rest && name.len() > 1 {
            Ok(Name(name.to_owned()))
        } else {
            Err(BadName(name.to_owned()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        Name::new(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_docker_takes_them() {
        for good in ["web", "a1", "web_1.x-y", "0a"] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "", "a", "-f", ".hidden", "a/b", "../x", "a b", "a\n", "a;b", "ä1", "/web",
        ] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }
}
