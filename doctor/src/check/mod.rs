//! Checks: pure functions from facts to verdicts. They run nothing and change nothing.

mod catalogue;
mod container;
mod host;
mod known;
mod pair;
mod report;
mod subject;
mod verdict;

pub use catalogue::{Check, Meta, catalogue};
pub use container::{Inmate, UNDUMPABLE, pause, place, undumpable};
pub use host::memory_is_tracked;
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

/// Judges whether a running container can be moved.
#[must_use]
pub fn container(inmate: &Inmate<'_>) -> Report {
    let mut names = vec![("CONTAINER", inmate.name), ("SOURCE", inmate.source.name)];
    if let Some((destination, _)) = &inmate.destination {
        names.push(("DESTINATION", destination.name));
    }
    names.push(("HOST", inmate.source.name));
    let verdicts = catalogue::run(&container::checks(), inmate, &names);
    Report::of_container(inmate, verdicts)
}
