//! What the doctor's verbs answer, each as one document.

use crate::check::{Link, Report};
use crate::explain::Explanation;
use crate::hardware;
use schemars::JsonSchema;
use serde::Serialize;

/// The judgement of hosts, of the pair and of a container. Times in seconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Doctor {
    /// Name and version of this document's form.
    pub schema: &'static str,
    /// Whether all hosts answered and nothing failed; with `--strict`, nor warned.
    pub passed: bool,
    /// Hosts that could not be examined.
    pub unreachable: Vec<Unreachable>,
    /// Each host by itself, the source first.
    pub hosts: Vec<Report>,
    /// Whether containers of the first host can move to the second.
    pub pair: Option<Report>,
    /// What was measured between the two.
    pub link: Option<Link>,
    /// The container that was asked for.
    pub container: Option<Report>,
    /// What else is to be known: ids to ignore that no check has, say.
    pub notes: Vec<String>,
}

/// A host that could not be examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unreachable {
    /// The host, as the user wrote it.
    pub host: String,
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub fix: Vec<String>,
}

impl Doctor {
    /// Name and version of the form.
    pub const SCHEMA: &'static str = "transship/doctor/1";

    /// All reports, hosts first.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.hosts.iter().chain(&self.pair).chain(&self.container)
    }

    fn reports_mut(&mut self) -> impl Iterator<Item = &mut Report> {
        let hosts = self.hosts.iter_mut();
        hosts.chain(&mut self.pair).chain(&mut self.container)
    }

    /// What to do about all that is not well.
    pub fn fixes(&mut self) -> impl Iterator<Item = &mut String> {
        let groups = self.reports_mut().flat_map(|report| &mut report.groups);
        let verdicts = groups.flat_map(|group| &mut group.verdicts);
        verdicts.flat_map(|verdict| &mut verdict.fix)
    }

    /// Turns failures of these checks into warnings; ids that no check has are noted.
    pub fn ignore(&mut self, ids: &[String]) {
        let mut unknown: Vec<&str> = ids.iter().map(String::as_str).collect();
        for report in self.reports_mut() {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let missing = report.ignore(&ids);
            unknown.retain(|id| missing.contains(id));
        }
        let notes = unknown
            .iter()
            .map(|id| format!("no check of this run is called {id}"));
        self.notes.extend(notes);
    }

    /// Judges the whole: sets [`Doctor::passed`].
    pub fn judge(&mut self, strict: bool) {
        self.passed =
            self.unreachable.is_empty() && self.reports().all(|report| report.passes(strict));
    }
}

/// What logs say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explain {
    /// Name and version of this document's form.
    pub schema: &'static str,
    /// The logs that were read, as files or as what they are.
    pub logs: Vec<String>,
    /// What they say.
    #[serde(flatten)]
    pub explanation: Explanation,
}

impl Explain {
    /// Name and version of the form.
    pub const SCHEMA: &'static str = "transship/explain/1";
}

/// What a host is made of. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Hardware {
    /// Name and version of this document's form.
    pub schema: &'static str,
    /// What it is made of.
    #[serde(flatten)]
    pub report: hardware::Report,
}

impl Hardware {
    /// Name and version of the form.
    pub const SCHEMA: &'static str = "transship/hardware/1";
}
