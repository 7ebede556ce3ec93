//! What a migration tells while it runs.

use crate::Round;

/// Something that happened; reporters turn it into lines, nothing else prints.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A phase begins.
    Begin {
        /// Its name, as in the report.
        phase: &'static str,
        /// What it does, for a person.
        title: String,
    },
    /// Bytes moved so far in a phase.
    Progress {
        /// The phase's name.
        phase: &'static str,
        /// Bytes done.
        done: u64,
        /// About how many bytes there are in all, where that is known.
        total: Option<u64>,
    },
    /// A round of mode pre-copy was sent.
    Round {
        /// Its number, from 1 on.
        number: usize,
        /// What it was.
        round: Round,
    },
    /// The container runs on the destination, and so many pages of its memory have not come yet.
    Pages {
        /// Pages to come.
        left: u64,
        /// All that were to come.
        total: u64,
    },
    /// The two hosts do not reach each other, or do again; the container waits for pages meanwhile.
    Link {
        /// Whether they do.
        up: bool,
    },
    /// A phase ended well.
    End {
        /// Its name.
        phase: &'static str,
        /// How long it took.
        seconds: f64,
        /// Bytes it moved or made, where that says something.
        bytes: Option<u64>,
    },
    /// A phase failed; what was done is now undone, last first.
    Undoing {
        /// What went wrong, in one line.
        why: String,
    },
    /// Something that went on well enough, but that the user should know.
    Warning(String),
    /// A command that a dry run did not run.
    Planned {
        /// The host it would run on.
        host: String,
        /// The command line.
        line: String,
    },
}

/// Hears of everything that happens in a migration.
pub type Observer = dyn Fn(Event) + Send + Sync;
