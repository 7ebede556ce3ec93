//! Verdicts, grouped and counted, for a reporter.

use super::container::Inmate;
use super::pair::Pair;
use super::subject::Subject;
use super::verdict::{Group, Status, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

/// The judgement of one host, or of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// The host, or `A → B`.
    pub subject: String,
    /// What it is, in one line.
    pub headline: String,
    /// Verdicts by group, in the order in which they build on each other.
    pub groups: Vec<GroupReport>,
    /// How many of each.
    pub counts: Counts,
    /// Parts of the probe that took too long: what hangs on them could not be judged.
    pub timed_out: Vec<String>,
}

/// The verdicts of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GroupReport {
    /// Which group.
    pub group: Group,
    /// The worst status in it.
    pub status: Status,
    /// Its verdicts.
    pub verdicts: Vec<Verdict>,
}

/// How many verdicts of each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Counts {
    /// Passed.
    pub ok: usize,
    /// Warnings.
    pub warn: usize,
    /// Failures.
    pub fail: usize,
    /// Not judged.
    pub skip: usize,
}

impl Report {
    pub(super) fn of_host(subject: &Subject<'_>, verdicts: Vec<Verdict>) -> Self {
        Report {
            timed_out: subject.facts.timed_out.clone(),
            ..Report::new(subject.name.to_owned(), subject.headline(), verdicts)
        }
    }

    pub(super) fn of_pair(pair: &Pair<'_>, verdicts: Vec<Verdict>) -> Self {
        let subject = format!("{} → {}", pair.source.name, pair.destination.name);
        let headline = format!(
            "whether containers of {} run on {}",
            pair.source.name, pair.destination.name
        );
        Report::new(subject, headline, verdicts)
    }

    pub(super) fn of_container(inmate: &Inmate<'_>, verdicts: Vec<Verdict>) -> Self {
        let image = inmate
            .inspected
            .map_or("", |inspected| inspected.image_ref());
        let headline = match &inmate.destination {
            Some((destination, _)) => {
                format!("{image} on {}, to {}", inmate.source.name, destination.name)
            }
            None => format!("{image} on {}", inmate.source.name),
        };
        Report::new(inmate.name.to_owned(), headline, verdicts)
    }

    fn new(subject: String, headline: String, verdicts: Vec<Verdict>) -> Self {
        let mut groups: Vec<GroupReport> = Vec::new();
        for verdict in verdicts {
            match groups.iter_mut().find(|known| known.group == verdict.group) {
                Some(group) => group.verdicts.push(verdict),
                None => groups.push(GroupReport {
                    group: verdict.group,
                    status: verdict.status,
                    verdicts: vec![verdict],
                }),
            }
        }
        groups.sort_by_key(|group| group.group);
        let mut report = Report {
            subject,
            headline,
            groups,
            counts: Counts::default(),
            timed_out: Vec::new(),
        };
        report.count();
        report
    }

    fn count(&mut self) {
        self.counts = Counts::default();
        for group in &mut self.groups {
            let worst = group.verdicts.iter().map(|verdict| verdict.status).max();
            group.status = worst.unwrap_or(Status::Skip);
            for verdict in &group.verdicts {
                match verdict.status {
                    Status::Ok => self.counts.ok += 1,
                    Status::Warn => self.counts.warn += 1,
                    Status::Fail => self.counts.fail += 1,
                    Status::Skip => self.counts.skip += 1,
                }
            }
        }
    }

    /// Turns failures of these checks into warnings: ignored is not hidden. Returns the ids that
    /// no check of this report has.
    pub fn ignore<'i>(&mut self, ids: &[&'i str]) -> Vec<&'i str> {
        let mut unknown = ids.to_vec();
        for verdict in self.groups.iter_mut().flat_map(|group| &mut group.verdicts) {
            if !ids.contains(&verdict.id.as_str()) {
                continue;
            }
            unknown.retain(|id| *id != verdict.id);
            verdict.ignored = true;
            if verdict.status == Status::Fail {
                verdict.status = Status::Warn;
            }
        }
        self.count();
        unknown
    }

    /// Whether nothing failed; with `strict` neither failed nor warned, but for what was ignored.
    #[must_use]
    pub fn passes(&self, strict: bool) -> bool {
        self.verdicts().all(|verdict| match verdict.status {
            Status::Fail => false,
            Status::Warn => !strict || verdict.ignored,
            Status::Ok | Status::Skip => true,
        })
    }

    /// All verdicts, group by group.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.groups.iter().flat_map(|group| &group.verdicts)
    }

    /// A verdict by its check's id.
    #[must_use]
    pub fn verdict(&self, id: &str) -> Option<&Verdict> {
        self.verdicts().find(|verdict| verdict.id == id)
    }
}
