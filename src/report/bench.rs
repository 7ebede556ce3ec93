//! What a benchmark came to, for people.

use super::human::{labelled, out, size};
use bench::{Document, markdown};
use console::style;
use std::path::Path;

/// Prints the medians, what the hosts take without us, and the ratios; `folder` is where all of it was written.
pub fn figures(document: &Document, folder: Option<&Path>) {
    for line in &document.plan {
        out(line);
    }
    if !document.medians.is_empty() {
        out("link      memory   mode      from → to         downtime      total        sent");
    }
    for one in &document.medians {
        let seconds =
            |seconds: Option<f64>| seconds.map_or("–".into(), |value| format!("{value:.3} s"));
        let sent = one
            .bytes_sent
            .map(|bytes| size(bytes as u64))
            .unwrap_or_default();
        let pause = one
            .longest_pause_seconds
            .map(|pause| format!("  a client waited {pause:.3} s"))
            .unwrap_or_default();
        let failed = match one.failed {
            0 => String::new(),
            failed => format!("  {failed} failed"),
        };
        out(&format!(
            "{:<9} {:<8} {:<9} {:<16} {:>9} {:>10} {sent:>11}{pause}{failed}",
            one.link,
            one.size_mib.to_string(),
            one.mode.as_str(),
            format!("{} → {}", one.source, one.destination),
            seconds(one.downtime_seconds),
            seconds(one.total_seconds),
        ));
    }
    if !document.floors.is_empty() {
        out("\nWithout transship");
    }
    for floor in &document.floors {
        let memory = floor
            .size_mib
            .map(|size| size.to_string())
            .unwrap_or_default();
        out(&format!(
            "{:<9} {memory:<8} {:<42} {:<7} {:>8.3} s",
            floor.link.as_deref().unwrap_or_default(),
            markdown::meaning(&floor.what),
            floor.host,
            floor.seconds
        ));
    }
    if !document.targets.is_empty() {
        out("\nRatios");
    }
    for target in &document.targets {
        let mark = if target.reached {
            style("✓").green()
        } else {
            style("✗").red()
        };
        out(&format!(
            "{mark} {:<58} {:>8.2}  {}",
            target.what,
            target.figure,
            markdown::bound(target)
        ));
    }
    for row in &document.rows {
        if let Some(why) = &row.failure {
            let what = format!(
                "{} {} {} {} → {}, run {}: {why}",
                row.link,
                row.size_mib,
                row.mode.as_str(),
                row.source,
                row.destination,
                row.run
            );
            labelled(&style("✗").for_stderr().red().bold().to_string(), &what);
        }
    }
    for note in &document.notes {
        labelled(&style("!").for_stderr().yellow().to_string(), note);
    }
    if let Some(folder) = folder {
        let how = if document.complete {
            ""
        } else {
            ", as far as it came"
        };
        out(&format!(
            "\nWritten{how}: {}/figures.md, .svg, .json",
            folder.display()
        ));
    }
}
