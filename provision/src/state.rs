//! What provision needs to know of a host beyond its facts: apt, the files it writes, its own program.

use crate::change::JOURNAL;
use crate::profile::{self, Profile};
use host::facts::Transcript;
use host::{Cmd, Facts, Host, HostError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PROBE: &str = include_str!("state.sh");
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// A source of Debian packages that the host already uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `http://…/debian`.
    pub uri: String,
    /// The key file that signs it, where the source names one.
    pub signed_by: Option<String>,
}

/// State of what provision changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Installed packages and their versions.
    pub packages: BTreeMap<String, String>,
    /// Packages that are held.
    pub holds: BTreeSet<String>,
    /// Whether dpkg was interrupted.
    pub interrupted: bool,
    /// The Debian mirror of the host's own sources.
    pub mirror: Option<Mirror>,
    /// Text of apt's sources, all files.
    pub sources: String,
    /// SHA-256 of the installed program.
    pub binary: Option<String>,
    /// Whether the runtime that engines call is that program.
    pub runtime: bool,
    /// Versions of the program that are there, by the names of their folders.
    pub versions: BTreeSet<String>,
    /// Containers that our runtime starts, by name; looked for where things are to be put back.
    pub containers: Vec<String>,
    /// Whether Docker's daemon starts with the host (`enabled`); `None` where no init knows it.
    pub unit: Option<String>,
    /// Files that we wrote and that have been changed since.
    pub edited: BTreeSet<String>,
    /// Users who were asked for and do not exist.
    pub unknown_users: BTreeSet<String>,
    /// Members of group docker.
    pub docker_group: BTreeSet<String>,
    /// Text of the files that provision writes, by path.
    pub files: BTreeMap<String, String>,
}

/// A host as it was found: facts and state.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Facts.
    pub facts: Facts,
    /// State.
    pub state: State,
}

impl Survey {
    /// Looks at a host; nothing is changed. A profile of the user's `own` has packages and files of its
    /// own; `users` are looked for. `containers` has those looked for that need our runtime.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub(crate) fn take(
        host: &dyn Host,
        own: Option<&Profile>,
        users: &[String],
        containers: bool,
    ) -> host::Result<Survey> {
        let mut profiles = crate::choice::all();
        profiles.extend(own.cloned());
        let names: BTreeSet<String> = profiles.iter().flat_map(Profile::package_names).collect();
        let files = profiles
            .iter()
            .flat_map(Profile::files)
            .collect::<BTreeSet<_>>();
        let cmd = Cmd::reads("sh")
            .args(["-s", "transship-state"])
            .arg(if containers { "containers" } else { "" })
            .arg(users.join(" "))
            .args([crate::binary::VERSIONS, runtime::PATH, runtime::REGISTERED])
            .args(names)
            .arg("--")
            .args(files)
            .stdin(PROBE.as_bytes())
            .timeout(PROBE_TIMEOUT);
        // One after the other: a second login costs more than the shorter of the two saves.
        let facts = Facts::gather(host)?;
        let output = host.run(&cmd)?;
        let state = State::parse(&output.stdout_text());
        state
            .map(|state| Survey { facts, state })
            .ok_or_else(|| HostError::failed(host.name(), &cmd, &output))
    }
}

impl State {
    /// State from the text of its probe; `None` where the probe did not run.
    #[must_use]
    pub fn parse(text: &str) -> Option<State> {
        let transcript = Transcript::parse(text);
        if transcript.is_empty() {
            return None;
        }
        let pairs = |section: &str| -> BTreeMap<String, String> {
            let lines = transcript.text(section).lines();
            lines
                .filter_map(|line| line.trim().split_once(' '))
                .map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()))
                .collect()
        };
        let files = transcript
            .sections()
            .filter_map(|(name, section)| {
                let path = name.strip_prefix("file:")?;
                Some((path.to_owned(), section.text.clone()))
            })
            .collect();
        Some(State {
            packages: pairs("packages"),
            holds: transcript
                .text("holds")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            interrupted: !transcript.text("audit").trim().is_empty(),
            mirror: mirror(transcript.text("sources")),
            sources: transcript.text("sources").to_owned(),
            binary: pairs("hash").into_keys().next(),
            runtime: transcript.text("runtime").trim() == "same",
            unknown_users: transcript
                .text("unknown-users")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            versions: transcript
                .text("versions")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            containers: transcript
                .text("containers")
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
            docker_group: transcript
                .text("docker-group")
                .trim()
                .rsplit(':')
                .next()
                .unwrap_or_default()
                .split(',')
                .filter(|user| !user.is_empty())
                .map(str::to_owned)
                .collect(),
            unit: Some(transcript.text("service").trim())
                .filter(|unit| !unit.is_empty())
                .map(str::to_owned),
            edited: transcript
                .text("edited")
                .lines()
                .map(str::to_owned)
                .filter(|path| !path.is_empty())
                .collect(),
            files,
        })
    }

    /// Whether apt has a source (address, suite, components) in a file other than `ours`: written a
    /// second time with another key file, apt would refuse to read either.
    pub(crate) fn has_source(&self, source: &str, ours: &str) -> bool {
        let stanzas = self
            .sources
            .split("# transship file ")
            .filter(|file| !file.starts_with(ours))
            .flat_map(|file| file.split("\n\n"))
            .flat_map(|stanza| {
                let lines = stanza
                    .lines()
                    .filter(|line| !line.trim_start().starts_with('#'));
                let (single, fields): (Vec<&str>, Vec<&str>) =
                    lines.partition(|line| line.trim_start().starts_with("deb "));
                single
                    .into_iter()
                    .map(str::to_owned)
                    .chain([fields.join(" ")])
                    .collect::<Vec<String>>()
            });
        stanzas.into_iter().any(|stanza| {
            let words: Vec<&str> = stanza
                .split_whitespace()
                .map(|word| word.trim_end_matches('/'))
                .collect();
            source.split_whitespace().all(|word| words.contains(&word))
        })
    }

    /// What undo would have to do, a line for each thing.
    pub(crate) fn journal(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.files.get(JOURNAL).map_or("", String::as_str).lines()
    }

    /// Whether a file holds exactly this.
    pub(crate) fn has_file(&self, path: &str, contents: &str) -> bool {
        self.files.get(path).is_some_and(|text| text == contents)
    }
}

/// The first source that is a Debian archive, in either form that apt reads; what we wrote ourselves is none.
fn mirror(sources: &str) -> Option<Mirror> {
    sources
        .split("# transship file ")
        .filter(|file| !file.starts_with(profile::SUITE_SOURCE))
        .find_map(|file| one_line(file).or_else(|| deb822(file)))
}

fn is_archive(uri: &str) -> bool {
    let path = uri.trim_end_matches('/');
    uri.contains("://") && path.ends_with("/debian")
}

fn one_line(text: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let uri = rest
            .split_whitespace()
            .next()
            .filter(|uri| is_archive(uri))?;
        let signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="));
        Some(Mirror {
            uri: uri.trim_end_matches('/').to_owned(),
            signed_by: signed_by.map(str::to_owned),
        })
    })
}

fn deb822(text: &str) -> Option<Mirror> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        if field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no")) {
            return None;
        }
        let uri = field("URIs")?
            .split_whitespace()
            .find(|uri| is_archive(uri))?;
        Some(Mirror {
            uri: uri.trim_end_matches('/').to_owned(),
            // A key written into the stanza itself is no path.
            signed_by: field("Signed-By")
                .filter(|path| path.starts_with('/'))
                .map(str::to_owned),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_the_users_own_is_known_in_both_forms() {
        let known = |sources: &str| {
            let state = State {
                sources: sources.to_owned(),
                ..State::default()
            };
            state.has_source("https://d.example/ubuntu noble stable", "/ours.list")
        };
        assert!(known(
            "deb [signed-by=/k.asc] https://d.example/ubuntu/ noble stable test\n"
        ));
        assert!(known(
            "Types: deb\nURIs: https://d.example/ubuntu\nSuites: noble\nComponents: stable\nSigned-By: /k\n"
        ));
        assert!(!known("# deb https://d.example/ubuntu noble stable\n"));
        assert!(!known("deb https://d.example/ubuntu jammy stable\n"));
        assert!(!known(
            "# transship file /ours.list\ndeb https://d.example/ubuntu noble stable\n"
        ));
    }

    #[test]
    fn the_mirror_is_found_in_both_forms_and_never_our_own_source() {
        let line = "# transship file /etc/apt/sources.list\ndeb [arch=amd64 signed-by=/k.gpg] http://m.example/debian/ trixie main\n";
        assert_eq!(
            mirror(line),
            Some(Mirror {
                uri: "http://m.example/debian".to_owned(),
                signed_by: Some("/k.gpg".to_owned())
            })
        );
        let stanza = "# transship file /etc/apt/sources.list.d/debian.sources\nTypes: deb\n# comment\nURIs: http://m.example/debian\nSuites: trixie\nSigned-By: /k.gpg\n";
        assert_eq!(mirror(stanza), mirror(line));
        let own = format!(
            "# transship file {}\ndeb http://old.example/debian testing main\n{line}",
            profile::SUITE_SOURCE
        );
        assert_eq!(mirror(&own), mirror(line));
        assert_eq!(mirror("deb http://m.example/debian-security x main"), None);
    }
}
