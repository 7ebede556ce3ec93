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
        if plain(name) && name.len() > 1 {
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

/// What names a container that is there already, in whichever engine: a name, an id, or the start
/// of one. It can never be taken for an option or a path.
///
/// Podman takes names of one letter, which Docker refuses (`NameRegex` in podman's
/// `libpod/define`, `^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`), and both find a container by the first
/// characters of its id, even by one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference(String);

/// A text that names no container of any engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no container: letters, digits, `_`, `.` and `-`, the first a letter or digit")]
pub struct BadReference(pub String);

impl Reference {
    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        if plain(text) {
            Ok(Reference(text.to_owned()))
        } else {
            Err(BadReference(text.to_owned()))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether a text has only the characters of names, a letter or digit first.
fn plain(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
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

    #[test]
    fn one_letter_is_enough_to_name_what_is_there() {
        for good in ["w", "7", "web"] {
            assert_eq!(good.parse::<Reference>().unwrap().as_str(), good);
        }
        for bad in ["", "-f", ".hidden", "a/b", "a b", "a\n", "a;b", "/web"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }
}
