//! The doctor's judgement for people.

use super::human::{err, failure, out};
use super::wrap::{fix, wrap};
use console::{StyledObject, style};
use doctor::check::{GroupReport, Report, Status, Verdict};
use doctor::document::Doctor;
use doctor::hardware;

/// Prints the judgement of hosts, pair and container: what is well in a line for each group, what
/// is not with all that is known of it. `verbose` shows every check.
pub fn examined(document: &Doctor, verbose: bool, invocation: &str) {
    let first = document.hosts.first();
    for report in document.reports() {
        let seen = first.filter(|first| !std::ptr::eq(*first, report));
        one(report, seen, verbose);
        out("");
    }
    for host in &document.unreachable {
        failure(&host.what, &host.fix);
    }
    for note in &document.notes {
        err(&wrap("! ", note));
    }
    let count = |status| {
        let verdicts = document.reports().flat_map(Report::verdicts);
        verdicts.filter(|verdict| verdict.status == status).count()
    };
    let (failures, warnings) = (count(Status::Fail), count(Status::Warn));
    if document.hosts.is_empty() {
        return;
    }
    let summary = match (failures, warnings) {
        (0, 0) => "Nothing stands in the way.".to_owned(),
        (0, warnings) => format!("Nothing failed; {}.", plural(warnings, "warning")),
        (failures, 0) => format!("{}.", plural(failures, "failure")),
        (failures, warnings) => format!(
            "{}, {}.",
            plural(failures, "failure"),
            plural(warnings, "warning")
        ),
    };
    out(&style(summary).bold().to_string());
    if failures == 0
        && let [from, to] = &document.hosts[..]
    {
        let name = document
            .container
            .as_ref()
            .map_or("CONTAINER", |report| report.subject.as_str());
        out(&format!(
            "Next: {invocation} migrate {} --from {} --to {}",
            host::quote(name),
            host::quote(&from.subject),
            host::quote(&to.subject)
        ));
    }
    if failures + warnings > 0 && !verbose {
        out("Each check is described in docs/checks/ by its [id].");
    }
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Prints a report. What was said of `seen` before in the same words is not said again.
fn one(report: &Report, seen: Option<&Report>, verbose: bool) {
    out(&wrap(
        &format!("{}  ", style(&report.subject).bold()),
        &report.headline,
    ));
    for group in &report.groups {
        if verbose {
            group.verdicts.iter().for_each(verdict);
        } else {
            collapsed(group, seen);
        }
    }
    if !report.timed_out.is_empty() {
        out(&wrap(
            "  ! ",
            &format!(
                "took too long on {}, so what hangs on them was not judged: {}",
                report.subject,
                report.timed_out.join(", ")
            ),
        ));
    }
}

fn symbol(status: Status) -> StyledObject<&'static str> {
    match status {
        Status::Ok => style("✓").green(),
        Status::Warn => style("!").yellow(),
        Status::Fail => style("✗").red().bold(),
        Status::Skip => style("-").dim(),
    }
}

/// Checks whose sentence is what one asked for (how much, how long), so it is told where it is good too.
const FIGURES: [&str; 3] = [
    "container.memory",
    "container.dirty-rate",
    "container.downtime",
];

/// A group in one line where all is well, else what is not well and how many are.
fn collapsed(group: &GroupReport, seen: Option<&Report>) {
    let count = |status| group.verdicts.iter().filter(|v| v.status == status).count();
    let bad = |verdict: &&Verdict| matches!(verdict.status, Status::Warn | Status::Fail);
    let mut failures: Vec<&Verdict> = group.verdicts.iter().filter(bad).collect();
    failures.sort_by_key(|verdict| std::cmp::Reverse(verdict.status));
    for one in &failures {
        let same = |seen: &&Report| {
            let before = seen.verdict(&one.id);
            before.is_some_and(|before| (&before.found, &before.fix) == (&one.found, &one.fix))
        };
        match seen.filter(same) {
            Some(seen) => head(one, &format!(", as on {}", seen.subject)),
            None => verdict(one),
        }
    }
    let figure = |v: &&Verdict| v.status == Status::Ok && FIGURES.contains(&v.id.as_str());
    let figures: Vec<&Verdict> = group.verdicts.iter().filter(figure).collect();
    figures.iter().for_each(|figure| head(figure, ""));
    let good = count(Status::Ok) - figures.len();
    let skipped = count(Status::Skip);
    let mut words = Vec::new();
    if good > 0 {
        let of = if failures.is_empty() && figures.is_empty() {
            ""
        } else {
            "other "
        };
        words.push(plural(good, &format!("{of}check")) + " good");
    }
    if skipped > 0 {
        words.push(format!("{skipped} not judged"));
    }
    if words.is_empty() {
        return;
    }
    let status = if good > 0 { Status::Ok } else { Status::Skip };
    out(&format!(
        "  {} {:<10} {}",
        symbol(status),
        group.group.title(),
        words.join(", ")
    ));
}

/// A verdict in one sentence, with its id.
fn head(verdict: &Verdict, more: &str) {
    let ignored = if verdict.ignored { ", ignored" } else { "" };
    out(&wrap(
        &format!(
            "  {} {:<10} ",
            symbol(verdict.status),
            verdict.group.title()
        ),
        &format!("{}{more} [{}{ignored}]", verdict.sentence, verdict.id),
    ));
}

/// A verdict; one that is not good with its three parts.
fn verdict(verdict: &Verdict) {
    head(verdict, "");
    if let Some(found) = verdict.found.as_ref().filter(|f| **f != verdict.sentence) {
        out(&wrap("      found   ", found));
    }
    if let Some(because) = &verdict.needed_because {
        out(&wrap("      because ", because));
    }
    for text in &verdict.fix {
        out(&fix("      fix     ", text));
    }
}

/// Prints what a host is made of.
pub fn hardware(report: &hardware::Report) {
    out(&style(&report.subject).bold().to_string());
    let width = report.lines.iter().map(|line| line.label.len()).max();
    let width = width.unwrap_or_default();
    for line in &report.lines {
        out(&wrap(&format!("  {:<width$}  ", line.label), &line.text));
    }
}
