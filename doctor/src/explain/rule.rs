//! The rules as the build script writes them: statics, nothing to parse at run time.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Serialize;

/// How sure a diagnosis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// One of several possible causes.
    Low,
    /// The likely cause; others give the same message.
    Medium,
    /// The message can mean nothing else.
    High,
}

impl Confidence {
    pub(super) fn lower(self) -> Self {
        match self {
            Self::High => Self::Medium,
            _ => Self::Low,
        }
    }
}

/// What kind of line a sign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Names the cause itself.
    Cause,
    /// Follows from several causes: counts only where no cause is named.
    Symptom,
    /// Appears in good runs too.
    Hint,
}

/// A program whose version a sign may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The kernel of the host the log comes from.
    Kernel,
    /// CRIU.
    Criu,
    /// Docker's daemon.
    Docker,
    /// Podman.
    Podman,
    /// LXD, Incus or LXC.
    Lxd,
    /// runc.
    Runc,
    /// crun.
    Crun,
    /// containerd.
    Containerd,
}

impl Component {
    /// The name as it is written in rules and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Criu => "criu",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Lxd => "lxd",
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Containerd => "containerd",
        }
    }
}

/// One way in which a cause shows. Patterns are indices into the table of all patterns.
#[derive(Debug)]
pub struct Sign {
    /// One of these lines must be there; they are the evidence.
    pub any: &'static [usize],
    /// Each of these must be there too, anywhere.
    pub all: &'static [usize],
    /// None of these may be there.
    pub none: &'static [usize],
    /// Versions it holds for: a known version outside rules the sign out, an unknown one makes it less sure.
    pub with: &'static [(Component, &'static str)],
    /// Versions that must be known and inside, or the sign says nothing.
    pub need: &'static [(Component, &'static str)],
    /// What kind of line it is.
    pub rank: Rank,
    /// Goes before other signs of its rank that come earlier in the log.
    pub weight: i32,
    /// How sure the sign is.
    pub confidence: Confidence,
}

/// A cause of failure, with the signs it shows and what to do.
#[derive(Debug)]
pub struct Rule {
    /// Short, in kebab case, names the mechanism; the name of its page under `docs/rules/`.
    pub id: &'static str,
    /// The file of `rules/` it stands in.
    pub theme: &'static str,
    /// One line.
    pub title: &'static str,
    /// The mechanism, in a sentence or two.
    pub cause: &'static str,
    /// Commands and sentences, best first.
    pub fix: &'static [&'static str],
    /// Threads, commits and source files it was learned from.
    pub source: &'static [&'static str],
    /// Causes that this one explains: they are not reported beside it.
    pub over: &'static [&'static str],
    /// Logs, written for the test, that must be explained by this rule.
    pub examples: &'static [&'static str],
    /// Any of them is enough.
    pub signs: &'static [Sign],
}

/// A regular expression, case-insensitive, for one line.
#[derive(Debug)]
pub struct Pattern {
    /// As it stands in the rules.
    pub regex: &'static str,
    /// Every line that matches contains one of these, in some case.
    pub literals: &'static [&'static str],
    /// A line that matches is known; others are only conditions of a sign.
    pub meaning: bool,
}

/// A line whose meaning is known and which is no cause.
#[derive(Debug)]
pub struct Known {
    /// An index into the table of all patterns.
    pub pattern: usize,
    /// Why it does not matter.
    pub why: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// The compiled pattern `index`; compiled when first asked for, since a log meets few of them.
pub(super) fn regex(index: usize) -> &'static Regex {
    static COMPILED: OnceLock<Vec<OnceLock<Regex>>> = OnceLock::new();
    let slots = COMPILED.get_or_init(|| PATTERNS.iter().map(|_| OnceLock::new()).collect());
    slots[index].get_or_init(|| {
        RegexBuilder::new(PATTERNS[index].regex)
            .case_insensitive(true)
            .unicode(false)
            .build()
            .expect("the build script has parsed every pattern")
    })
}
