//! `transship provision` for people.

use super::human::{labelled, out, told};
use console::{Term, style};
use provision::{BACKUP, ChangeReport, HostReport, Outcome, Report};

/// Prints plans: what would change on each host.
pub fn plan(hosts: &[HostReport], verbose: bool) {
    for host in hosts {
        let profile = host.profile.as_deref().unwrap_or_default();
        match host.outcome {
            Outcome::Planned => {
                out(&format!("{}  {profile}", style(&host.host).bold()));
                out(&wrapped("  why  ", host.why.as_deref().unwrap_or_default()));
                for change in &host.changes {
                    plan_of(change, verbose);
                }
                for note in &host.notes {
                    out(&wrapped("  note ", note));
                }
            }
            Outcome::Ok => out(&format!(
                "{}  {profile}: nothing to do",
                style(&host.host).bold()
            )),
            _ => failed(host),
        }
    }
}

/// In the width of a terminal; as it is where a program reads it.
fn wrapped(label: &str, text: &str) -> String {
    if Term::stdout().is_term() {
        super::wrap::wrap(label, text)
    } else {
        format!("{label}{text}")
    }
}

fn plan_of(change: &ChangeReport, verbose: bool) {
    out(&wrapped("  + ", &change.sentence));
    for command in &change.commands {
        // Scripts of ours say what they do in the sentence; --json has them whole.
        if !command.line.contains('\n') || verbose {
            out(&style(format!("      {}", command.line)).dim().to_string());
        }
    }
    for file in &change.files {
        let text = format!("writes {file}; one from before transship is kept as {file}{BACKUP}");
        out(&style(wrapped("      ", &text)).dim().to_string());
    }
}

/// Prints how it ended: a line for each host, and what to do next.
pub fn provision(report: &Report, invocation: &str) {
    for host in &report.hosts {
        for change in host
            .changes
            .iter()
            .filter(|change| change.seconds.is_some())
        {
            if change.status == provision::Status::Done {
                out(&wrapped(&format!("{}  + ", host.host), &change.sentence));
            }
        }
    }
    for host in &report.hosts {
        let unreachable = u8::from(host.outcome == Outcome::Unreachable);
        let refused = u8::from(host.outcome == Outcome::Refused);
        out(&format!(
            "{}  ok={} changed={} failed={} refused={refused} unreachable={unreachable}",
            style(&host.host).bold(),
            host.ok,
            host.changed,
            host.failed
        ));
    }
    for host in &report.hosts {
        for note in &host.notes {
            told(
                &style("!").for_stderr().yellow().to_string(),
                &format!("{}: {note}", host.host),
            );
        }
        for verdict in &host.doctor {
            told(
                &style("✗").for_stderr().red().to_string(),
                &format!("{}: the doctor still finds {verdict}", host.host),
            );
        }
        if host.failure.is_some() {
            failed(host);
        }
    }
    if report.exit_code == 0 {
        let hosts: Vec<String> = report
            .hosts
            .iter()
            .map(|host| host::quote(&host.host).into_owned())
            .collect();
        let undone = report
            .hosts
            .iter()
            .any(|host| host.profile.as_deref() == Some("undo"));
        let verb = if undone { "provision" } else { "doctor" };
        out(&format!("Next: {invocation} {verb} {}", hosts.join(" ")));
    }
}

fn failed(host: &HostReport) {
    let Some(failure) = &host.failure else {
        return;
    };
    let cross = style("✗").for_stderr().red().bold().to_string();
    // What a host says of itself begins with its name already.
    let name = format!("{}: ", host.host);
    let what = failure.what.strip_prefix(&name).unwrap_or(&failure.what);
    told(&cross, &format!("{name}{what}"));
    for fix in &failure.fix {
        labelled("  fix   ", fix);
    }
    told("  state ", &failure.state);
}

/// Asks on the terminal; `None` where there is none.
pub fn confirm(question: &str) -> Option<bool> {
    if !(console::user_attended() && console::user_attended_stderr()) {
        return None;
    }
    let term = Term::stderr();
    let _ = term.write_str(&format!("{question} [y/N] "));
    let answer = term.read_line().unwrap_or_default();
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}
