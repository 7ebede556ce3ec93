//! Why a checkpoint or a restore failed: reads what an engine said and what CRIU logged, and names cause and fix.
//!
//! What it knows are rules, written as data in `rules/*.toml`: signs in a log, versions they hold for, cause,
//! fix, source. [`explain`] reads a log once, front to back, in constant memory.

mod judge;
mod page;
mod rule;
mod scan;
mod versions;

use std::io::{self, BufRead};

use schemars::JsonSchema;
use serde::Serialize;

pub use page::{index, page};
pub use rule::{Component, Confidence, FOLLOWUP, Known, NOISE, RULES, Rank, Rule, Sign};
use scan::Scan;
use versions::Versions;

/// What the caller knows beside the log. It stands above what the log says.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The kernel of the host that failed, as `uname -r` prints it.
    pub kernel: Option<String>,
    /// CRIU's version on that host.
    pub criu: Option<String>,
    /// `docker`, `podman`, `lxd`; another name says nothing.
    pub engine: Option<String>,
    /// The engine's version.
    pub engine_version: Option<String>,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Evidence {
    /// Counted from 1.
    pub line: usize,
    /// The line, without control characters, cut where it is very long.
    pub text: String,
}

/// A cause and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// The rule's id; its page is `docs/rules/<id>.md`.
    pub id: &'static str,
    /// One line.
    pub title: &'static str,
    /// The mechanism.
    pub cause: &'static str,
    /// Commands and sentences, best first.
    pub fix: Vec<&'static str>,
    /// How sure it is.
    pub confidence: Confidence,
    /// The lines that say so, ascending.
    pub evidence: Vec<Evidence>,
    /// Where this is known from.
    pub source: String,
}

/// A cause that the log resembles, or a line that looks like an error, and why it is not the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuledOut {
    /// The rule's id, or `noise`.
    pub id: &'static str,
    /// The rule's title.
    pub title: &'static str,
    /// Why not.
    pub why: String,
}

/// What a log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explanation {
    /// Best first; empty if nothing is known.
    pub diagnoses: Vec<Diagnosis>,
    /// What it is not.
    pub ruled_out: Vec<RuledOut>,
    /// Error lines that no rule has a word for, in the log's order: with no diagnosis, start at the first.
    pub unexplained: Vec<Evidence>,
    /// What to fetch to know more; empty if the first diagnosis is sure.
    pub collect: Vec<String>,
    /// Lines read.
    pub lines: usize,
    /// Of these, lines that look like errors and are known to mean nothing.
    pub noise: usize,
    /// The log is of a run that succeeded.
    pub succeeded: bool,
}

/// Explains a log: an engine's message, CRIU's dump.log or restore.log, or all of them one after the other.
///
/// Any bytes will do; time grows with the length of the log, memory does not.
///
/// # Errors
/// Only those of reading `log`.
pub fn explain(mut log: impl BufRead, given: &Given) -> io::Result<Explanation> {
    let scan = Scan::read(&mut log, Versions::new(given))?;
    let (diagnoses, mut ruled_out) = judge::judge(&scan);
    ruled_out.extend(judge::noise(&scan));
    let sure = diagnoses
        .first()
        .is_some_and(|d| d.confidence == Confidence::High);
    let succeeded = scan.succeeded && !scan.failed;
    if succeeded && diagnoses.is_empty() {
        ruled_out.push(RuledOut {
            id: "succeeded",
            title: "The run succeeded",
            why: "the log ends with CRIU's word of success".to_owned(),
        });
    }
    Ok(Explanation {
        unexplained: judge::unexplained(&scan),
        collect: if sure {
            Vec::new()
        } else {
            judge::collect(&scan)
        },
        diagnoses,
        ruled_out,
        lines: scan.lines,
        noise: scan.noise,
        succeeded,
    })
}

/// The rule with this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.id == id)
}
