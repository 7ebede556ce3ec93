//! What a migration leaves to be read.

use crate::{Choice, Failure, Mode, PreCopy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The container runs on the destination.
    Migrated,
    /// It failed, and the container runs on the source as before.
    RolledBack,
    /// It failed, and it could not be proven where the container runs: a person must look.
    InDoubt,
    /// It was not begun; nothing was changed.
    Refused,
    /// A dry run: nothing was changed.
    Planned,
}

/// One phase and what it took.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// Seconds it took.
    pub seconds: f64,
    /// Bytes it moved or made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Where the time of a downtime went, in seconds; what is not known is missing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct DowntimeParts {
    /// Its network was locked and it was frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<f64>,
    /// CRIU's dump; in mode post-copy, until its pages could be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump: Option<f64>,
    /// What was sent after the dump, and the words between the hosts and this machine: all that is none of the
    /// others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<f64>,
    /// CRIU's restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<f64>,
    /// From then until the engine let it start: Docker attaches the network then, Podman did so before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<f64>,
    /// From then until the engine said that it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
}

impl DowntimeParts {
    /// The parts of a downtime of so many seconds.
    pub(crate) fn of(self, downtime: f64) -> Self {
        let known = [
            self.freeze,
            self.dump,
            self.restore,
            self.network,
            self.start,
        ];
        let known = known.into_iter().sum::<Option<f64>>();
        DowntimeParts {
            wire: known.map(|known| (downtime - known).max(0.0)),
            ..self
        }
    }

    /// Each by its name, in the order in which they come.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        [
            ("freeze", self.freeze),
            ("dump", self.dump),
            ("wire", self.wire),
            ("restore", self.restore),
            ("network", self.network),
            ("start", self.start),
        ]
        .into_iter()
        .filter_map(|(name, seconds)| Some((name, seconds?)))
        .collect()
    }
}

/// A command of a dry run's plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlannedCommand {
    /// The phase it belongs to.
    pub phase: String,
    /// The host it would run on.
    pub host: String,
    /// The command line.
    pub line: String,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FailureReport {
    /// What happened, doing what.
    pub what: String,
    /// The host it happened on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The phase in which it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why, where the logs tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The last telling lines of CRIU's log.
    pub log: Vec<String>,
    /// The way out, to be pasted.
    pub fix: Vec<String>,
}

impl FailureReport {
    /// The report of a failure in a phase.
    pub fn new(failure: &Failure, phase: Option<&str>) -> Self {
        FailureReport {
            what: failure.what.clone(),
            host: failure.host.clone(),
            phase: phase.map(str::to_owned),
            cause: failure.cause.clone(),
            log: failure.log.clone(),
            fix: failure.fix.clone(),
        }
    }
}

/// The whole migration: one document. Times in seconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// Name and version of this document's form.
    pub schema: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Id of the migration, for `transship migrate status` and `undo`; empty where it was not begun.
    pub id: String,
    /// How the container was moved; where it was refused before mode auto could choose, the default.
    pub mode: Mode,
    /// What mode auto chose, and why; none where the mode was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// The container's name on the source.
    pub container: String,
    /// Its name on the destination.
    pub name: String,
    /// The host it came from, as the user wrote it.
    pub source: String,
    /// The host it was to go to.
    pub destination: String,
    /// The phases that were run, in order.
    pub phases: Vec<PhaseReport>,
    /// From the last moment it was seen running on the source to the first on the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_seconds: Option<f64>,
    /// Where that time went; none where nothing of it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_parts: Option<DowntimeParts>,
    /// From the first look at the hosts to the end of the last phase.
    pub total_seconds: f64,
    /// Bytes sent towards the destination on the wire, those of the image too where it was moved, encryption and
    /// framing included; none where nothing crossed a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Bytes that came back (acknowledgements).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
    /// What mode pre-copy sent while the container ran, and why it sent no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_copy: Option<PreCopy>,
    /// Size of the tarball.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tarball_bytes: Option<u64>,
    /// The commands of a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlannedCommand>,
    /// What the user should know although it went well enough.
    pub warnings: Vec<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureReport>,
    /// Where the container is now, as a sentence.
    pub state: String,
    /// What to type next.
    pub next: Vec<String>,
    /// The exit code of the command line.
    pub exit_code: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_other_part_of_a_downtime_is_the_wire() {
        let measured = DowntimeParts {
            freeze: Some(0.0625),
            dump: Some(0.125),
            wire: None,
            restore: Some(0.25),
            network: Some(0.0),
            start: Some(0.03125),
        };
        let parts = measured.of(0.5).named();
        assert_eq!(parts[2], ("wire", 0.03125));
        assert_eq!(parts.iter().map(|(_, seconds)| seconds).sum::<f64>(), 0.5);
        // Clocks are read one after the other.
        assert_eq!(measured.of(0.4).wire, Some(0.0));
        let unknown = DowntimeParts {
            network: None,
            ..measured
        };
        assert_eq!(unknown.of(0.5).wire, None);
        let names: Vec<_> = unknown.named().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["freeze", "dump", "restore", "start"]);
    }
}
