//! What was measured, as one document. Times in seconds, sizes in bytes unless a name says otherwise.

use crate::Size;
use schemars::JsonSchema;
use serde::Serialize;

/// How a container is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `transship migrate --mode tarball`, the workflow of the thesis.
    Tarball,
    /// `transship migrate --mode copy`.
    Copy,
    /// `transship migrate --mode post-copy`.
    PostCopy,
    /// Podman's own: `podman container checkpoint --export`, a copy, `podman container restore --import`.
    Podman,
}

impl Mode {
    /// As on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Tarball => "tarball",
            Mode::Copy => "copy",
            Mode::PostCopy => "post-copy",
            Mode::Podman => "podman",
        }
    }
}

/// One of the two hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Side {
    /// As the user wrote it.
    pub name: String,
    /// Engine and its version.
    pub engine: String,
    /// Version of its kernel.
    pub kernel: String,
    /// How many processors it has.
    pub processors: u32,
}

/// A phase of one move.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Seconds it took.
    pub seconds: f64,
}

/// The most memory that a process of transship took on a host during a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Peak {
    /// The host.
    pub host: String,
    /// Name of the process: `transship` for the agents, `transship-runti` for the runtime that waits.
    pub process: String,
    /// Its largest resident memory (VmHWM).
    pub bytes: u64,
}

/// One move: a row of the thesis's table 4.1, and more.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// How it was moved.
    pub mode: Mode,
    /// Memory of the process, MiB; every other page is random.
    pub size_mib: Size,
    /// Which run it was, from 1 on.
    pub run: u32,
    /// Where it came from.
    pub source: String,
    /// Where it was to go.
    pub destination: String,
    /// Size of the tarball, where the mode makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Bytes sent towards the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Bytes that came back (acknowledgements).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
    /// For how long the container stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_seconds: Option<f64>,
    /// All of it.
    pub total_seconds: f64,
    /// Its phases.
    pub phases: Vec<Phase>,
    /// The most memory that processes of ours took, where the container was large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peaks: Vec<Peak>,
    /// After the move the process checked all pages of its memory, and each was what it had been.
    pub memory_whole: bool,
    /// What went wrong; nothing where it went well. Such a row counts in no median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The medians of all runs of a mode, a size and a direction.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Median {
    /// How it was moved.
    pub mode: Mode,
    /// Memory of the process, MiB.
    pub size_mib: Size,
    /// Where it came from.
    pub source: String,
    /// Where it went.
    pub destination: String,
    /// How many moves these are medians of.
    pub good: u32,
    /// How many failed.
    pub failed: u32,
    /// Size of the tarball.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<f64>,
    /// Bytes sent towards the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<f64>,
    /// Bytes that came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<f64>,
    /// For how long the container stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_seconds: Option<f64>,
    /// All of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_seconds: Option<f64>,
    /// Of each phase.
    pub phases: Vec<Phase>,
}

/// What the machines take without us: medians. What could not be measured is missing, and a note says why.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FloorRow {
    /// What was measured: `start`, `start-runtime`, `criu-dump`, `criu-restore`, `page-server`, `tcp`.
    pub what: String,
    /// Memory of the process, MiB, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_mib: Option<Size>,
    /// The host, or the source.
    pub host: String,
    /// Seconds.
    pub seconds: f64,
}

/// A ratio of two figures of this document, and what it should be.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Target {
    /// What is compared, as a sentence.
    pub what: String,
    /// The ratio, or the difference in milliseconds where `what` says so.
    pub figure: f64,
    /// At least, or at most, this.
    pub bound: f64,
    /// Whether `bound` is the least; else it is the most.
    pub at_least: bool,
    /// Whether it was reached.
    pub reached: bool,
}

/// The whole benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Document {
    /// Name and version of this document's form.
    pub schema: String,
    /// Whether everything that was asked for was tried; else it was interrupted, or a host was lost.
    pub complete: bool,
    /// The two hosts.
    pub hosts: Vec<Side>,
    /// The container's image.
    pub image: String,
    /// How often each move was made.
    pub runs: u32,
    /// What a dry run would do, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// Every move, in order.
    pub rows: Vec<Row>,
    /// Their medians.
    pub medians: Vec<Median>,
    /// What the machines take without us.
    pub floors: Vec<FloorRow>,
    /// The ratios that count.
    pub targets: Vec<Target>,
    /// What could not be measured, and why.
    pub notes: Vec<String>,
    /// How long all of it took.
    pub total_seconds: f64,
    /// The exit code of the command line.
    pub exit_code: u8,
}

/// The median; none of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The medians of rows, in the order in which they were first made.
pub(crate) fn medians(rows: &[Row]) -> Vec<Median> {
    let mut keys: Vec<&Row> = Vec::new();
    let same = |one: &Row, other: &Row| {
        (one.mode, one.size_mib, &one.source, &one.destination)
            == (
                other.mode,
                other.size_mib,
                &other.source,
                &other.destination,
            )
    };
    for row in rows {
        if !keys.iter().any(|key| same(key, row)) {
            keys.push(row);
        }
    }
    keys.into_iter()
        .map(|key| {
            let (good, failed): (Vec<&Row>, Vec<&Row>) = rows
                .iter()
                .filter(|row| same(row, key))
                .partition(|row| row.failure.is_none());
            let count = |rows: &[&Row]| u32::try_from(rows.len()).unwrap_or(u32::MAX);
            let of =
                |get: &dyn Fn(&Row) -> Option<f64>| median(good.iter().filter_map(|row| get(row)));
            let first = good.first().map_or(&[][..], |row| &row.phases);
            let phase = |name: &str| {
                median(
                    good.iter()
                        .flat_map(|row| &row.phases)
                        .filter(|phase| phase.name == name)
                        .map(|phase| phase.seconds),
                )
            };
            Median {
                mode: key.mode,
                size_mib: key.size_mib,
                source: key.source.clone(),
                destination: key.destination.clone(),
                good: count(&good),
                failed: count(&failed),
                file_bytes: of(&|row| row.file_bytes.map(|bytes| bytes as f64)),
                bytes_sent: of(&|row| row.bytes_sent.map(|bytes| bytes as f64)),
                bytes_received: of(&|row| row.bytes_received.map(|bytes| bytes as f64)),
                downtime_seconds: of(&|row| row.downtime_seconds),
                total_seconds: of(&|row| Some(row.total_seconds)),
                phases: first
                    .iter()
                    .filter_map(|one| {
                        Some(Phase {
                            name: one.name.clone(),
                            seconds: phase(&one.name)?,
                        })
                    })
                    .collect(),
            }
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(mode: Mode, size: &str, downtime: f64) -> Row {
        Row {
            mode,
            size_mib: size.parse().unwrap(),
            run: 1,
            source: "a".into(),
            destination: "b".into(),
            file_bytes: (mode == Mode::Tarball).then_some(1 << 20),
            bytes_sent: Some(2 << 20),
            bytes_received: Some(100),
            downtime_seconds: Some(downtime),
            total_seconds: downtime * 2.0,
            phases: vec![Phase {
                name: "move".into(),
                seconds: downtime / 2.0,
            }],
            peaks: Vec::new(),
            memory_whole: true,
            failure: None,
        }
    }

    #[test]
    fn the_middle_one_or_between_the_two() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn what_failed_is_counted_and_in_no_median() {
        let mut bad = row(Mode::Copy, "1M", 100.0);
        bad.failure = Some("no".into());
        let back = Row {
            source: "b".into(),
            destination: "a".into(),
            ..row(Mode::Copy, "1M", 7.0)
        };
        let rows = [
            row(Mode::Copy, "1M", 1.0),
            back,
            bad,
            row(Mode::Copy, "1M", 3.0),
            row(Mode::Tarball, "1M", 5.0),
        ];
        let medians = medians(&rows);
        assert_eq!(medians.len(), 3);
        assert_eq!((medians[0].good, medians[0].failed), (2, 1));
        assert_eq!(medians[0].downtime_seconds, Some(2.0));
        assert_eq!(
            medians[0].phases,
            [Phase {
                name: "move".into(),
                seconds: 1.0
            }]
        );
        assert_eq!(medians[1].downtime_seconds, Some(7.0));
        assert_eq!(medians[2].file_bytes, Some(f64::from(1 << 20)));
    }
}
