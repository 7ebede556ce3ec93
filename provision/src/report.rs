//! What provision leaves to be read.

use crate::change::Change;
use crate::plan::{Plan, Refusal};
use host::{Cmd, HostError};
use schemars::JsonSchema;
use serde::Serialize;

/// How it ended for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// There was nothing to do.
    Ok,
    /// Something would change; nothing was done.
    Planned,
    /// It was changed, and needs nothing more.
    Changed,
    /// A change failed; those before it stay, and another run goes on from there.
    Failed,
    /// It cannot become what is wanted; nothing was done.
    Refused,
    /// It could not be reached or looked at.
    Unreachable,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Not done.
    Pending,
    /// Done.
    Done,
    /// It failed.
    Failed,
}

/// A command of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CommandReport {
    /// The command line, to be pasted into a shell.
    pub line: String,
    /// Its standard input, where that is text of less than 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Bytes of its standard input.
    #[serde(skip_serializing_if = "is_zero")]
    pub stdin_bytes: u64,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A change of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ChangeReport {
    /// The step it belongs to.
    pub step: String,
    /// What is true afterwards.
    pub sentence: String,
    /// What is run, in order.
    pub commands: Vec<CommandReport>,
    /// Files that it writes.
    pub files: Vec<String>,
    /// How it ended.
    pub status: Status,
    /// Seconds it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// What went wrong on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FailureReport {
    /// What happened, doing what.
    pub what: String,
    /// The way out.
    pub fix: Vec<String>,
    /// In what state the host is.
    pub state: String,
}

/// A host's part.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HostReport {
    /// The host, as the user wrote it.
    pub host: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The profile; `undo` where things were put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Why this profile and these versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How many steps had nothing to do.
    pub ok: usize,
    /// How many changes were made.
    pub changed: usize,
    /// How many failed.
    pub failed: usize,
    /// The plan and how far it came.
    pub changes: Vec<ChangeReport>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What the doctor still holds against a host that needs no change (any more): ids and sentences of failed
    /// checks. A plan does not ask it.
    pub doctor: Vec<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureReport>,
}

/// All hosts.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// `transship/provision/1`.
    pub schema: &'static str,
    /// One entry for each host, in the order in which they were named.
    pub hosts: Vec<HostReport>,
    /// The exit code of the program.
    pub exit_code: u8,
}

/// Largest standard input that a report shows.
const SHOWN: usize = 64 << 10;

impl From<&Cmd> for CommandReport {
    fn from(cmd: &Cmd) -> Self {
        CommandReport {
            line: cmd.line(),
            stdin: Some(&cmd.stdin)
                .filter(|stdin| !stdin.is_empty() && stdin.len() < SHOWN)
                .and_then(|stdin| String::from_utf8(stdin.clone()).ok()),
            stdin_bytes: cmd.stdin.len() as u64,
        }
    }
}

impl From<&Change> for ChangeReport {
    fn from(change: &Change) -> Self {
        ChangeReport {
            step: change.step.to_owned(),
            sentence: change.sentence.clone(),
            commands: change
                .actions
                .iter()
                .map(|action| (&action.cmd()).into())
                .collect(),
            files: change.files().into_iter().map(str::to_owned).collect(),
            status: Status::Pending,
            seconds: None,
        }
    }
}

impl HostReport {
    /// A host whose plan is known and not begun.
    #[must_use]
    pub fn planned(host: &str, plan: &Plan) -> Self {
        HostReport {
            host: host.to_owned(),
            outcome: if plan.changes.is_empty() {
                Outcome::Ok
            } else {
                Outcome::Planned
            },
            profile: Some(plan.profile.clone()),
            why: Some(plan.why.clone()),
            ok: plan.ok,
            changed: 0,
            failed: 0,
            changes: plan.changes.iter().map(Into::into).collect(),
            notes: plan.notes.clone(),
            doctor: Vec::new(),
            failure: None,
        }
    }

    fn without_plan(host: &str, outcome: Outcome, failure: FailureReport) -> Self {
        HostReport {
            host: host.to_owned(),
            outcome,
            profile: None,
            why: None,
            ok: 0,
            changed: 0,
            failed: usize::from(outcome == Outcome::Failed),
            changes: Vec::new(),
            notes: Vec::new(),
            doctor: Vec::new(),
            failure: Some(failure),
        }
    }

    /// A host that cannot become what is wanted.
    #[must_use]
    pub fn refused(host: &str, refusal: &Refusal) -> Self {
        let failure = FailureReport {
            what: refusal.what.clone(),
            fix: refusal.fix.clone(),
            state: format!("{host} is as it was"),
        };
        HostReport::without_plan(host, Outcome::Refused, failure)
    }

    /// A host that could not be looked at.
    #[must_use]
    pub fn unreachable(host: &str, error: &HostError) -> Self {
        let fix = match error {
            HostError::Unreachable { fix, .. } => vec![fix.clone()],
            _ => Vec::new(),
        };
        let failure = FailureReport {
            what: error.to_string(),
            fix,
            state: format!("{host} is as it was"),
        };
        HostReport::without_plan(host, Outcome::Unreachable, failure)
    }
}

impl Report {
    /// The report of all hosts, with the exit code that follows: the worst of theirs.
    #[must_use]
    pub fn new(hosts: Vec<HostReport>) -> Self {
        // The worst first: what failed half-way, then what was not reached, refused, or only planned.
        let exit_code = [1, 3, 4, 5]
            .into_iter()
            .find(|code| hosts.iter().any(|host| host.exit_code() == *code))
            .unwrap_or(0);
        Report {
            schema: "transship/provision/1",
            hosts,
            exit_code,
        }
    }
}

impl HostReport {
    fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Ok | Outcome::Changed if !self.doctor.is_empty() => 4,
            Outcome::Ok | Outcome::Changed => 0,
            Outcome::Failed => 1,
            Outcome::Unreachable => 3,
            Outcome::Refused => 4,
            Outcome::Planned => 5,
        }
    }
}
