//! Results for people.

use console::{measure_text_width, style};
use migrate::{Outcome, PreCopy, Report};
use std::io::Write as _;

/// A size as people say it.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} bytes")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Phases between which the container stands still, first and last.
const FIRST_DOWN: [&str; 2] = ["checkpoint", "freeze"];
const LAST_DOWN: &str = "restore";

pub(super) fn out(text: &str) {
    // A reader that went away is nobody to tell about it.
    let _ = writeln!(std::io::stdout(), "{text}");
}

pub(super) fn err(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints how a migration ended: the result to standard output, what went wrong to standard error.
pub fn migration(report: &Report) {
    match report.outcome {
        Outcome::Planned => plan(report),
        Outcome::Migrated => {
            out(&format!(
                "{}: {} → {}, mode {}\n",
                report.container,
                report.source,
                report.destination,
                report.mode.as_str()
            ));
            chosen(report, out);
            table(report);
        }
        Outcome::RolledBack | Outcome::InDoubt | Outcome::Refused => chosen(report, err),
    }
    for warning in &report.warnings {
        told(&style("!").for_stderr().yellow().to_string(), warning);
    }
    match &report.failure {
        Some(failure) => {
            let cross = style("✗").for_stderr().red().bold().to_string();
            match &failure.phase {
                Some(phase) => told(&cross, &format!("{phase} failed: {}", failure.what)),
                None => told(&cross, &failure.what),
            }
            if let Some(cause) = &failure.cause {
                told("  why   ", cause);
            }
            for line in &failure.log {
                labelled("  log   ", line);
            }
            for fix in &failure.fix {
                labelled("  fix   ", fix);
            }
            told("  state ", &report.state);
            for next in &report.next {
                labelled("  do    ", next);
            }
        }
        None => {
            out(&style(format!("{}.", report.state)).bold().to_string());
            for next in &report.next {
                out(&format!("Back: {next}"));
            }
        }
    }
}

/// Prints what went wrong before there was anything to report.
pub fn failure(what: &str, fixes: &[String]) {
    told(&style("✗").for_stderr().red().bold().to_string(), what);
    for fix in fixes {
        labelled("  fix   ", fix);
    }
}

/// Prints how a lab is; after `up` also what to do with it.
pub fn lab(status: &lab::Status, fresh: bool) {
    if !status.exists {
        out(&format!("There is no lab {}.", status.name));
        return;
    }
    for host in &status.hosts {
        let version = host.version.as_deref().unwrap_or("no answer");
        let how = if host.up {
            "up".to_owned()
        } else {
            format!("down: {}", host.why.join("; "))
        };
        out(&format!(
            "  {:<3} {:<15} {:<10} {version:<18} {how}",
            host.name,
            host.address,
            host.engine.to_string()
        ));
    }
    if let (true, Some(config)) = (fresh && status.up, &status.ssh_config) {
        let config = host::quote(&config.to_string_lossy()).into_owned();
        out(&format!(
            "\nNext: ssh -F {config} a\n      transship doctor --ssh-config {config} a b"
        ));
    }
}

/// A sentence on standard error with a label before it; on a terminal it is broken between words.
pub(super) fn told(label: &str, text: &str) {
    let term = console::Term::stderr();
    let width = usize::from(term.size().1).saturating_sub(measure_text_width(label) + 1);
    if !term.is_term() || width < 20 {
        return labelled(label, text);
    }
    labelled(
        label,
        &textwrap::fill(text, textwrap::Options::new(width).break_words(false)),
    );
}

/// Text on standard error with a label before it, as it is, so that it can be pasted; further lines
/// stand below its text.
pub(super) fn labelled(label: &str, text: &str) {
    let indent = " ".repeat(measure_text_width(label) + 1);
    err(&format!(
        "{label} {}",
        text.trim_end().replace('\n', &format!("\n{indent}"))
    ));
}

/// Which mode auto chose, and why, if it was to choose.
fn chosen(report: &Report, print: fn(&str)) {
    let Some(choice) = &report.choice else {
        return;
    };
    print(&format!("  auto chose {}:", choice.mode.as_str()));
    for reason in &choice.reasons {
        print(&super::wrap::wrap("  - ", reason));
    }
    print("");
}

fn table(report: &Report) {
    let first = report
        .phases
        .iter()
        .position(|phase| FIRST_DOWN.contains(&&*phase.name));
    let last = report
        .phases
        .iter()
        .position(|phase| phase.name == LAST_DOWN);
    for (index, phase) in report.phases.iter().enumerate() {
        let bytes = phase.bytes.map(size).unwrap_or_default();
        let rate = phase
            .bytes
            .filter(|bytes| *bytes > 0 && phase.seconds > 0.0)
            .map(|bytes| format!("{}/s", size((bytes as f64 / phase.seconds) as u64)))
            .unwrap_or_default();
        let bracket = match (first, last) {
            (Some(first), Some(last)) if index == first => {
                if last == first {
                    "─"
                } else {
                    "┐"
                }
            }
            (Some(_), Some(last)) if index == last => "┘",
            (Some(first), Some(last)) if index > first && index < last => "│",
            _ => "",
        };
        let down = match (first, last, report.downtime_seconds) {
            (Some(first), Some(last), Some(seconds)) if index == (first + last) / 2 => {
                format!(" down {seconds:.3} s")
            }
            _ => String::new(),
        };
        out(format!(
            "  {:<11} {:>9.3} s  {bytes:>11}  {rate:>13}  {bracket}{down}",
            phase.name, phase.seconds
        )
        .trim_end());
    }
    if let Some(pre_copy) = &report.pre_copy {
        rounds(pre_copy);
    }
    let mut facts = Vec::new();
    if let Some(bytes) = report.tarball_bytes {
        facts.push(format!("tarball {bytes} bytes"));
    }
    if let (Some(sent), Some(received)) = (report.bytes_sent, report.bytes_received) {
        facts.push(format!(
            "on the wire {sent} bytes sent, {received} received"
        ));
    }
    if !facts.is_empty() {
        out(&format!("\n  {}", facts.join("; ")));
    }
    if let Some(seconds) = report.downtime_seconds {
        out(&format!(
            "  downtime {seconds:.3} s, total {:.3} s",
            report.total_seconds
        ));
        if let Some(parts) = &report.downtime_parts {
            let parts: Vec<_> = parts
                .named()
                .iter()
                .map(|(name, seconds)| format!("{name} {seconds:.3}"))
                .collect();
            out(&super::wrap::wrap(
                "  of it ",
                &format!("{} s", parts.join(", ")),
            ));
        }
        out("");
    }
}

/// What each round brought, and why there were no more.
fn rounds(pre_copy: &PreCopy) {
    out("");
    for (number, round) in (1..).zip(&pre_copy.rounds) {
        out(&format!(
            "  round {number:<5} {:>9.3} s  {:>11}  {} pages",
            round.seconds,
            size(round.bytes),
            round.pages
        ));
    }
    if let Some(stop) = pre_copy.stop {
        out(&format!("  no more rounds: {}", stop.because()));
    }
}

fn plan(report: &Report) {
    out(&format!(
        "Plan: {} from {} to {}, mode {}\n",
        report.container,
        report.source,
        report.destination,
        report.mode.as_str()
    ));
    chosen(report, out);
    let mut phase = "";
    for command in &report.plan {
        if command.phase != phase {
            phase = &command.phase;
            out(&style(phase).bold().to_string());
        }
        out(&format!("  {}$ {}", command.host, command.line));
    }
    out("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_say_them() {
        assert_eq!(size(33), "33 bytes");
        assert_eq!(size(33_894), "33.1 KiB");
        assert_eq!(size(1 << 30), "1.0 GiB");
    }
}
