//! Which Debian mirror this machine uses, read from its own apt sources.

use crate::error::{LabError, Result};
use std::path::Path;

/// The mirror of this machine's apt sources, without a slash at the end.
///
/// # Errors
/// [`LabError::NoMirror`] where no source is a Debian archive.
pub(crate) fn of_this_machine() -> Result<String> {
    let folder = Path::new("/etc/apt");
    let mut files = vec![folder.join("sources.list")];
    if let Ok(entries) = std::fs::read_dir(folder.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    files
        .iter()
        .filter_map(|path| Some((path, std::fs::read_to_string(path).ok()?)))
        .find_map(|(path, text)| {
            if path.extension().is_some_and(|e| e == "sources") {
                from_deb822(&text)
            } else {
                from_list(&text)
            }
        })
        .ok_or(LabError::NoMirror)
}

/// An archive that has whole suites: its path ends with `/debian`. Security and backports archives
/// and other vendors' repositories end otherwise.
fn archive(uri: &str) -> Option<String> {
    let uri = uri.trim_end_matches('/');
    (uri.starts_with("http") && uri.ends_with("/debian")).then(|| uri.to_owned())
}

/// One-line style, sources.list(5): `deb [options] uri suite component...`.
fn from_list(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        archive(rest.split_whitespace().next()?)
    })
}

/// deb822 style, sources.list(5): stanzas with a field `URIs`.
fn from_deb822(text: &str) -> Option<String> {
    text.split("\n\n")
        .filter(|stanza| {
            !stanza
                .lines()
                .any(|l| l.to_ascii_lowercase().replace(' ', "") == "enabled:no")
        })
        .flat_map(str::lines)
        .filter_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case("uris").then_some(value)
        })
        .flat_map(str::split_whitespace)
        .find_map(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_sources_with_and_without_options() {
        let text = "# deb http://old.example/debian x main\n\
                    deb https://vendor.example/apt stable main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian/ bookworm main\n";
        assert_eq!(from_list(text).unwrap(), "http://m.example/debian");
        assert_eq!(
            from_list("deb http://m.example/debian-security b main"),
            None
        );
    }

    #[test]
    fn deb822_sources_skip_what_is_switched_off() {
        let text = "Types: deb\nEnabled: no\nURIs: http://off.example/debian\n\n\
                    # comment: here\nTypes: deb\nURIs: http://s.example/debian-security http://m.example/debian\nSuites: x\n";
        assert_eq!(from_deb822(text).unwrap(), "http://m.example/debian");
    }
}
