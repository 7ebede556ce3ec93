//! Changes: what a plan is made of, what is shown, what is run, what cloud-init gets.

use crate::profile::DAEMON_JSON;
use host::Cmd;
use std::time::Duration;

/// Where a host keeps what undo has to do, a line for each thing.
pub const JOURNAL: &str = "/etc/transship/undo";
/// Where a host keeps the hashes of the files that we wrote, as sha256sum prints them.
pub(crate) const WRITTEN: &str = "/etc/transship/written";
/// What is added to the name of a file that is kept as it was before the first change.
pub const BACKUP: &str = ".transship-backup";
/// What is added to the name of a file of ours that the user has changed, when it is put back.
pub const UNDONE: &str = ".transship-undone";
/// Files whose names end so are no text: keys, as old versions of apt read them.
pub(crate) const ENCODED: &str = ".gpg";

/// Seconds that apt waits for another one.
pub(crate) const APT_LOCK_SECONDS: u64 = 120;
/// Packages come from far away and unpack slowly.
const APT_TIMEOUT: Duration = Duration::from_secs(1800);
/// daemon.sh gives up by itself after at most 60 s of waiting and as much of slow answers.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(400);

/// A file as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// All of it; the Base64 of it for what is no text.
    pub contents: String,
    /// Permissions.
    pub mode: u32,
}

impl File {
    /// Whether the contents are Base64.
    #[must_use]
    pub fn encoded(&self) -> bool {
        self.path.ends_with(ENCODED)
    }

    /// How write.sh is to take it.
    fn how(&self) -> &'static str {
        if self.encoded() {
            "base64"
        } else if self.path == DAEMON_JSON {
            "configuration"
        } else {
            "text"
        }
    }
}

/// One thing that is done to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A file is written; what was there is kept.
    Write(File),
    /// A command is run.
    Run(Cmd),
}

impl Action {
    /// The command that does it.
    #[must_use]
    pub fn cmd(&self) -> Cmd {
        match self {
            Action::Run(cmd) => cmd.clone(),
            Action::Write(file) => script("transship-write", include_str!("write.sh"))
                .args([&file.path, &format!("{:o}", file.mode), file.how()])
                .stdin(file.contents.as_bytes()),
        }
    }
}

/// A change: a sentence, and the commands that make it true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The step it belongs to.
    pub step: &'static str,
    /// What is true afterwards.
    pub sentence: String,
    /// What is done, in order; the first that fails ends it.
    pub actions: Vec<Action>,
}

impl Change {
    pub(crate) fn new(step: &'static str, sentence: impl Into<String>) -> Self {
        Change {
            step,
            sentence: sentence.into(),
            actions: Vec::new(),
        }
    }

    pub(crate) fn run(mut self, cmd: Cmd) -> Self {
        self.actions.push(Action::Run(cmd));
        self
    }

    pub(crate) fn write(mut self, path: &str, contents: &str) -> Self {
        self.actions.push(Action::Write(File {
            path: path.to_owned(),
            contents: contents.to_owned(),
            mode: 0o644,
        }));
        self
    }

    /// Files that it writes; what was there is kept beside them.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        self.actions
            .iter()
            .filter_map(|action| match action {
                Action::Write(file) => Some(file.path.as_str()),
                Action::Run(_) => None,
            })
            .collect()
    }
}

fn script(name: &str, text: &str) -> Cmd {
    Cmd::changes("sh").args(["-c", text, name])
}

/// apt-get, which asks nothing, keeps changed configuration files, and waits for another one.
pub(crate) fn apt_get(args: &[&str]) -> Cmd {
    Cmd::changes("apt-get")
        .args([
            "-y",
            "-o",
            &format!("DPkg::Lock::Timeout={APT_LOCK_SECONDS}"),
        ])
        .args(["-o", "Dpkg::Options::=--force-confold"])
        .args(args.iter().copied())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .timeout(APT_TIMEOUT)
}

/// Notes for undo.
pub(crate) fn note(lines: &[String]) -> Cmd {
    script("transship-note", include_str!("note.sh")).args(lines.to_vec())
}

/// Marks what is still to be done with a daemon.
pub(crate) fn pending(path: &str, how: &str) -> Cmd {
    let text = r#"mkdir -p "$(dirname "$1")" && printf '%s\n' "$2" >"$1""#;
    script("transship-pending", text).args([path, how])
}

/// Puts a file back; `how` is the journal's word for it.
pub(crate) fn restore(how: &str, path: &str) -> Cmd {
    script("transship-restore", include_str!("restore.sh")).args([how, path])
}

/// Starts, restarts or reloads Docker's daemon and waits until it answers, and knows the runtime that
/// its configuration names.
pub(crate) fn daemon(how: &str) -> Cmd {
    script("transship-docker-daemon", include_str!("daemon.sh"))
        .args([how, runtime::REGISTERED])
        .timeout(DAEMON_TIMEOUT)
}

/// Installs the program itself.
pub(crate) fn install(path: &str, bytes: &[u8]) -> Cmd {
    script("transship-install", include_str!("binary.sh"))
        .arg(path)
        .stdin(bytes)
        .timeout(APT_TIMEOUT)
}

/// Gives a program more names.
pub(crate) fn link(program: &str, links: &[&str]) -> Cmd {
    script("transship-link", include_str!("link.sh"))
        .arg(program)
        .args(links.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::{Host, Local};

    #[test]
    fn scripts_are_scripts() {
        for text in [
            include_str!("write.sh"),
            include_str!("note.sh"),
            include_str!("restore.sh"),
            include_str!("daemon.sh"),
            include_str!("binary.sh"),
            include_str!("link.sh"),
            include_str!("state.sh"),
        ] {
            let check = Cmd::reads("sh").args(["-n"]).stdin(text.as_bytes());
            Local.text(&check).unwrap();
        }
    }
}
