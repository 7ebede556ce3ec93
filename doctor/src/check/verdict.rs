//! What a check comes to.

use schemars::JsonSchema;
use serde::Serialize;

/// How a check ended; the order is that of a group, whose status is its highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It could not be judged, and why.
    Skip,
    /// The check's sentence is true.
    Ok,
    /// Something does not work, or may not, that some migrations need.
    Warn,
    /// Migrations do not work.
    Fail,
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The host as such.
    System,
    /// Kernel: version, configuration, parameters.
    Kernel,
    /// CRIU, and how it fits kernel and C library.
    Criu,
    /// Docker, Podman and their runtimes.
    Engine,
    /// Packet filters.
    Network,
    /// AppArmor and SELinux.
    Security,
    /// Disk and memory.
    Space,
    /// What earlier migrations left.
    Leftovers,
    /// Whether two hosts fit each other.
    Pair,
    /// A running container.
    Container,
}

impl Group {
    /// The name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Group::System => "system",
            Group::Kernel => "kernel",
            Group::Criu => "criu",
            Group::Engine => "engine",
            Group::Network => "network",
            Group::Security => "security",
            Group::Space => "space",
            Group::Leftovers => "leftovers",
            Group::Pair => "pair",
            Group::Container => "container",
        }
    }
}

/// What a check's function returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub(super) status: Status,
    pub(super) sentence: String,
    pub(super) found: Option<String>,
    pub(super) because: Option<String>,
    pub(super) fix: Vec<String>,
}

impl Outcome {
    fn new(status: Status, sentence: impl Into<String>) -> Self {
        Outcome {
            status,
            sentence: sentence.into(),
            found: None,
            because: None,
            fix: Vec::new(),
        }
    }

    /// All is well; the sentence is true.
    pub(super) fn ok(sentence: impl Into<String>) -> Self {
        Outcome::new(Status::Ok, sentence)
    }

    /// It could not be judged.
    pub(super) fn skip(reason: impl Into<String>) -> Self {
        Outcome::new(Status::Skip, reason)
    }

    /// Some migrations will not work.
    pub(super) fn warn(sentence: impl Into<String>) -> Self {
        Outcome::new(Status::Warn, sentence)
    }

    /// Migrations will not work.
    pub(super) fn fail(sentence: impl Into<String>) -> Self {
        Outcome::new(Status::Fail, sentence)
    }

    /// What was found, where the sentence does not say it.
    pub(super) fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    /// Why it is needed, where the check's own reason is too general.
    pub(super) fn because(mut self, because: impl Into<String>) -> Self {
        self.because = Some(because.into());
        self
    }

    /// A command that mends it, or a sentence where no command can.
    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }
}

/// A check's answer for one host or pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdict {
    /// Stable name of the check (`criu.works`), also of its page in docs/checks/.
    pub id: String,
    /// What it is about.
    pub group: Group,
    /// How it ended.
    pub status: Status,
    /// A sentence that is true: what holds, what does not, or why it was not judged.
    pub sentence: String,
    /// What was found on the host; always there for warnings and failures.
    pub found: Option<String>,
    /// Why it matters; always there for warnings and failures.
    pub needed_because: Option<String>,
    /// What to do, first things first: commands that can be pasted, or sentences.
    pub fix: Vec<String>,
    /// Whether the user asked to ignore it; a failure is then a warning.
    pub ignored: bool,
}
