//! Explanations of failures for people.

use super::human::out;
use super::wrap::{fix, wrap};
use console::style;
use doctor::document::Explain;
use doctor::explain::{Confidence, Diagnosis};

/// How many further causes are told in full; `verbose` tells all.
const TOLD: usize = 3;

/// Prints what logs say: causes, best first; without one what was ruled out. Then what to fetch.
pub fn explained(document: &Explain, verbose: bool) {
    let explanation = &document.explanation;
    if document.logs.len() > 1 {
        out("Logs, as if one after the other:");
        for log in &document.logs {
            out(&format!("  {log}"));
        }
        out("");
    }
    let told = if verbose { usize::MAX } else { TOLD };
    for (index, diagnosis) in explanation.diagnoses.iter().take(told).enumerate() {
        if index > 0 {
            out("");
        }
        one(diagnosis);
    }
    let more = explanation.diagnoses.len().saturating_sub(told);
    if more > 0 {
        out(&format!("\n{more} less likely; -v tells them."));
    }
    if explanation.diagnoses.is_empty() {
        unknown(document);
    }
    if verbose || explanation.diagnoses.is_empty() {
        for ruled_out in &explanation.ruled_out {
            out(&wrap(
                "  not     ",
                &format!("{}: {}", ruled_out.title, ruled_out.why),
            ));
        }
    }
    if !explanation.collect.is_empty() {
        out("\nTo know more, collect:");
        for text in &explanation.collect {
            out(&fix("  - ", text));
        }
    }
}

fn one(diagnosis: &Diagnosis) {
    let sure = match diagnosis.confidence {
        Confidence::High => "sure",
        Confidence::Medium => "likely",
        Confidence::Low => "possible",
    };
    out(&wrap(
        &format!("{} ", style("✗").red().bold()),
        &format!("{} [{}, {sure}]", diagnosis.title, diagnosis.id),
    ));
    out(&wrap("  why     ", diagnosis.cause));
    for text in &diagnosis.fix {
        out(&fix("  fix     ", text));
    }
    for evidence in &diagnosis.evidence {
        out(&wrap(
            &format!("  line {:<3}", evidence.line),
            &evidence.text,
        ));
    }
    out(&wrap("  source  ", &diagnosis.source));
}

fn unknown(document: &Explain) {
    let explanation = &document.explanation;
    if explanation.succeeded {
        out("This run succeeded: nothing in the log is a failure.");
        return;
    }
    out(&format!(
        "No known cause in {} line{} of {}.",
        explanation.lines,
        if explanation.lines == 1 { "" } else { "s" },
        document.logs.join(", ")
    ));
    for evidence in &explanation.unexplained {
        out(&wrap(
            &format!("  line {:<3}", evidence.line),
            &evidence.text,
        ));
    }
}
