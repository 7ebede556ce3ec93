//! Profiles: those that there are, and which is wanted.

use crate::profile::Profile;
use host::Facts;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Which profile is wanted.
#[derive(Debug, Clone)]
pub enum Choice {
    /// The one that fits the distribution, and the engine that is there.
    Auto,
    /// This one.
    Named(Name),
    /// One of the user's own, from a file.
    Own(Arc<Profile>),
}

/// The profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The verified environment: Ubuntu 16.04 and Docker 17.09.1.
    Docker1709,
    /// Docker on current distributions.
    Docker,
    /// Podman on current distributions.
    Podman,
}

impl Name {
    /// All profiles.
    pub const ALL: [Name; 3] = [Name::Docker1709, Name::Docker, Name::Podman];

    /// The profile's data.
    #[must_use]
    pub fn profile(self) -> Profile {
        let text = match self {
            Name::Docker1709 => include_str!("../profiles/docker-17.09.toml"),
            Name::Docker => include_str!("../profiles/docker.toml"),
            Name::Podman => include_str!("../profiles/podman.toml"),
        };
        let profile = toml::from_str(text).expect("profiles are read by the tests");
        Profile {
            name: self.to_string(),
            ..profile
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Name::Docker1709 => "docker-17.09",
            Name::Docker => "docker",
            Name::Podman => "podman",
        })
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Choice::Auto);
        }
        if Path::new(text).extension().is_some_and(|end| end == "toml") {
            let read = std::fs::read_to_string(text).map_err(|error| error.to_string())?;
            let profile: Profile = toml::from_str(&read).map_err(|error| error.to_string())?;
            return Ok(Choice::Own(Arc::new(Profile {
                name: text.to_owned(),
                ..profile
            })));
        }
        Name::ALL
            .into_iter()
            .find(|name| name.to_string() == text)
            .map(Choice::Named)
            .ok_or_else(|| {
                "one of auto, docker-17.09, docker, podman, or a file that ends in .toml".to_owned()
            })
    }
}

impl Choice {
    /// The profile for a host, and why.
    #[must_use]
    pub fn for_host(&self, facts: &Facts) -> (Profile, String) {
        let asked = || "you asked for it".to_owned();
        match self {
            Choice::Own(profile) => (Profile::clone(profile), asked()),
            Choice::Named(name) => (name.profile(), asked()),
            Choice::Auto => {
                let (name, why) = auto(facts);
                (name.profile(), why)
            }
        }
    }

    /// The profile of the user's own, if it is one.
    #[must_use]
    pub fn own(&self) -> Option<&Profile> {
        match self {
            Choice::Own(profile) => Some(profile),
            Choice::Auto | Choice::Named(_) => None,
        }
    }
}

fn auto(facts: &Facts) -> (Name, String) {
    let os = facts.os.as_ref();
    let system = os.map_or("this system", |os| os.name.as_str());
    if Name::Docker1709.profile().release_for(facts).is_some() {
        let why = format!("{system} is the system that it was verified on");
        return (Name::Docker1709, why);
    }
    let answers = facts
        .docker
        .as_ref()
        .is_some_and(|docker| docker.server.is_some());
    let podman = facts
        .podman
        .as_ref()
        .is_some_and(|podman| podman.text.is_some());
    match (&facts.docker, podman) {
        (Some(_), _) if answers => (Name::Docker, format!("{system} runs Docker")),
        // A client of Docker's alone is no reason to start a daemon where Podman works.
        (Some(_), true) => (
            Name::Podman,
            format!("{system} has Podman, and no Docker daemon that answers"),
        ),
        (None, true) => (Name::Podman, format!("{system} has Podman and no Docker")),
        (Some(_), false) => (
            Name::Docker,
            format!("{system} has Docker, which does not run"),
        ),
        (None, false) => (Name::Docker, format!("{system} has no container engine")),
    }
}

/// All profiles.
#[must_use]
pub fn all() -> Vec<Profile> {
    Name::ALL.map(Name::profile).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_they_print() {
        for name in Name::ALL {
            let choice = name.to_string().parse().unwrap();
            assert!(matches!(choice, Choice::Named(read) if read == name));
        }
        assert!("podman-3".parse::<Choice>().is_err());
    }
}
