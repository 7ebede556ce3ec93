//! Whether a host is the one that it was the last time.

use crate::{Cmd, Host, HostError, Local, Result};
use std::path::PathBuf;

/// A key that known_hosts files have for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownKey {
    pub kind: String,
    pub base64: String,
    pub revoked: bool,
}

/// All keys known for the host; `ssh-keygen -F` reads hashed and plain names alike.
pub(super) fn look_up(known_as: &str, files: &[PathBuf]) -> Result<Vec<KnownKey>> {
    let mut keys = Vec::new();
    for file in files.iter().filter(|file| file.exists()) {
        let cmd = Cmd::reads("ssh-keygen").args(["-F", known_as, "-f", &file.to_string_lossy()]);
        // Status 1: the host is not in the file.
        let output = Local.run(&cmd)?;
        keys.extend(parse(&output.stdout_text()));
    }
    Ok(keys)
}

fn parse(text: &str) -> Vec<KnownKey> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace().peekable();
            let marker = words.next_if(|word| word.starts_with('@'));
            // A certificate authority signs host certificates, which libssh2 does not know.
            if marker == Some("@cert-authority") {
                return None;
            }
            let (_names, kind, base64) = (words.next()?, words.next()?, words.next()?);
            Some(KnownKey {
                kind: kind.to_owned(),
                base64: base64.to_owned(),
                revoked: marker == Some("@revoked"),
            })
        })
        .collect()
}

/// What known_hosts says of the key that a host showed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    Yes,
    New,
    Changed,
    Revoked,
}

/// Judges the key that the host showed. A host with known keys that shows one of another kind counts
/// as changed: its known kinds were asked for first.
pub(super) fn judge(keys: &[KnownKey], base64: &str) -> Known {
    if keys.iter().any(|key| key.revoked && key.base64 == base64) {
        Known::Revoked
    } else if keys.iter().any(|key| !key.revoked && key.base64 == base64) {
        Known::Yes
    } else if keys.iter().any(|key| !key.revoked) {
        Known::Changed
    } else {
        Known::New
    }
}

/// Remembers the key of a new host in the user's first known_hosts file.
pub(super) fn remember(
    host: &str,
    known_as: &str,
    kind: &str,
    base64: &str,
    files: &[PathBuf],
) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let Some(file) = files.first() else {
        return Ok(());
    };
    let write = || -> std::io::Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).append(true).mode(0o600).open(file)?;
        writeln!(file, "{known_as} {kind} {base64}")
    };
    write().map_err(|error| HostError::Unreachable {
        host: host.to_owned(),
        what: format!(
            "its new key cannot be written to {}: {error}",
            file.display()
        ),
        fix: format!("ssh-keyscan {known_as} >> {}", file.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: &str = "# Host a found: line 1 \n|1|abc=|def= ssh-ed25519 AAAA comment\n\
        # Host a found: line 2 \n@revoked a ssh-rsa BBBB\n@cert-authority a ssh-rsa CCCC\n";

    #[test]
    fn a_known_key_is_known_and_another_is_a_change() {
        let keys = parse(FOUND);
        assert_eq!(keys.len(), 2);
        assert_eq!(judge(&keys, "AAAA"), Known::Yes);
        assert_eq!(judge(&keys, "BBBB"), Known::Revoked);
        assert_eq!(judge(&keys, "DDDD"), Known::Changed);
        assert_eq!(judge(&[], "AAAA"), Known::New);
    }
}
