//! Checks: pure functions from facts to verdicts. They run nothing and change nothing.

mod catalogue;
mod host;
mod known;
mod pair;
mod report;
mod subject;
mod verdict;

pub use catalogue::{Check, Meta, catalogue};
pub use pair::{Link, Pair};
pub use report::{Counts, GroupReport, Report};
pub use subject::Subject;
pub(crate) use subject::size;
pub use verdict::{Group, Outcome, Status, Verdict};

/// Judges one host.
#[must_use]
pub fn host(subject: &Subject<'_>) -> Report {
    let mut checks = host::checks();
    checks.extend(known::checks());
    Report::of_host(
        subject,
        catalogue::run(&checks, subject, &[("HOST", subject.name)]),
    )
}

/// Judges whether containers can move from one host to another. Each host is judged apart, by [`host`].
#[must_use]
pub fn pair(pair: &Pair<'_>) -> Report {
    let names = [
        ("SOURCE", pair.source.name),
        ("DESTINATION", pair.destination.name),
    ];
    Report::of_pair(pair, catalogue::run(&pair::checks(), pair, &names))
}
