//! The document as Markdown.

use crate::document::{Document, Phase, Target};
use std::fmt::Write as _;

/// A size as people say it.
fn size(bytes: Option<f64>) -> String {
    match bytes {
        None => "–".into(),
        Some(bytes) if bytes < 1024.0 => format!("{bytes:.0} B"),
        Some(bytes) if bytes < 1024.0 * 1024.0 => format!("{:.1} KiB", bytes / 1024.0),
        Some(bytes) => format!("{:.1} MiB", bytes / (1024.0 * 1024.0)),
    }
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or("–".into(), |seconds| format!("{seconds:.3}"))
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('\n', " ")
}

/// What a ratio is, and whether that is enough.
#[must_use]
pub fn bound(target: &Target) -> String {
    format!(
        "{} {}",
        if target.at_least { "≥" } else { "≤" },
        target.bound
    )
}

/// The whole document. `plot` is the path of its plot, as a link in the text.
#[must_use]
pub fn text(document: &Document, plot: &str) -> String {
    let mut out = String::new();
    put(&mut out, document, plot);
    out
}

/// Memory, mode, host and process.
type Key<'a> = (crate::Size, &'a str, &'a str, &'a str);

/// A floor in a cell: what there is none of is a dash.
fn floor(seconds: Option<f64>) -> String {
    match seconds {
        // A connection within a machine carries a MiB in less.
        Some(seconds) if seconds < 0.01 => format!("{seconds:.4}"),
        other => self::seconds(other),
    }
}

/// The largest of all moves.
fn peaks(document: &Document) -> Vec<(Key<'_>, u64)> {
    let mut all: Vec<(Key<'_>, u64)> = Vec::new();
    for row in &document.rows {
        for peak in &row.peaks {
            let key = (row.size_mib, row.mode.as_str(), &*peak.host, &*peak.process);
            match all.iter_mut().find(|(other, _)| *other == key) {
                Some((_, bytes)) => *bytes = peak.bytes.max(*bytes),
                None => all.push((key, peak.bytes)),
            }
        }
    }
    all
}

fn put(out: &mut String, document: &Document, plot: &str) {
    // Writing to a string does not fail.
    macro_rules! line { ($($arg:tt)*) => { let _ = writeln!(out, $($arg)*); }; }
    line!("# What a migration takes\n");
    line!(
        "Made by `transship bench`; seconds, each the median where a move was made more than once (runs: {}). Compare figures of one table only: another machine has others.\n",
        document.runs
    );
    if !document.complete {
        line!("**Not complete: it ended early.**\n");
    }
    line!("| host | engine | kernel | processors |\n|---|---|---|---|");
    for side in &document.hosts {
        line!(
            "| {} | {} | {} | {} |",
            cell(&side.name),
            side.engine,
            side.kernel,
            side.processors
        );
    }
    line!("\n## Moves\n");
    let links: Vec<String> = document.links.iter().map(ToString::to_string).collect();
    line!("Links: {}.", links.join("; "));
    let pauses = document
        .medians
        .iter()
        .any(|one| one.longest_pause_seconds.is_some());
    let (pause, rule) = if pauses {
        (" client's pause |", "---|")
    } else {
        ("", "")
    };
    line!(
        "The last three columns are what the same hosts take at best: a plain start, `criu dump` and `criu restore` of such a process, such a size over TCP.\n"
    );
    line!(
        "| link | memory | mode | source | destination | file size | data sent | acknowledged | downtime |{pause} total | moves | a start | CRIU | TCP |\n|---|---|---|---|---|---|---|---|---|{rule}---|---|---|---|---|"
    );
    for one in &document.medians {
        let pause = if pauses {
            format!(" {} |", seconds(one.longest_pause_seconds))
        } else {
            String::new()
        };
        let moves = match one.failed {
            0 => one.good.to_string(),
            failed => format!("{}, {failed} failed", one.good),
        };
        line!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |{pause} {} | {moves} | {} | {} | {} |",
            one.link,
            one.size_mib,
            one.mode.as_str(),
            cell(&one.source),
            cell(&one.destination),
            size(one.file_bytes),
            size(one.bytes_sent),
            size(one.bytes_received),
            seconds(one.downtime_seconds),
            seconds(one.total_seconds),
            floor(one.floor.start_seconds),
            floor(one.floor.criu_seconds),
            floor(one.floor.tcp_seconds)
        );
    }
    line!("\n![size against time]({plot})\n\n## Where the time goes\n");
    line!("| link | memory | mode | from | phases | of the downtime |\n|---|---|---|---|---|---|");
    let seconds = |list: &[Phase]| {
        let words = list
            .iter()
            .map(|one| format!("{} {:.3}", one.name, one.seconds));
        words.collect::<Vec<String>>().join(", ")
    };
    for one in document.medians.iter().filter(|one| one.good > 0) {
        line!(
            "| {} | {} | {} | {} | {} | {} |",
            one.link,
            one.size_mib,
            one.mode.as_str(),
            cell(&one.source),
            seconds(&one.phases),
            seconds(&one.downtime_parts)
        );
    }
    if document.rows.iter().any(|row| !row.peaks.is_empty()) {
        line!("\n## The most memory that our processes took\n");
        line!("| memory | mode | host | process | largest |\n|---|---|---|---|---|");
        for (key, bytes) in peaks(document) {
            let (memory, mode, host, process) = key;
            let largest = size(Some(bytes as f64));
            line!(
                "| {memory} | {mode} | {} | {process} | {largest} |",
                cell(host)
            );
        }
    }
    line!("\n## What these hosts take without transship\n");
    line!("| what | link | memory | host | seconds |\n|---|---|---|---|---|");
    for row in &document.floors {
        let memory = row.size_mib.map_or("–".into(), |size| size.to_string());
        line!(
            "| {} | {} | {memory} | {} | {} |",
            meaning(&row.what),
            row.link.as_deref().unwrap_or("–"),
            cell(&row.host),
            floor(Some(row.seconds))
        );
    }
    line!("\n## Ratios\n\n| what | is | should be | |\n|---|---|---|---|");
    for target in &document.targets {
        let verdict = if target.reached {
            "reached"
        } else {
            "**missed**"
        };
        line!(
            "| {} | {:.2} | {} | {verdict} |",
            target.what,
            target.figure,
            bound(target)
        );
    }
    let failed: Vec<_> = document
        .rows
        .iter()
        .filter_map(|row| Some((row, row.failure.as_ref()?)))
        .collect();
    if !failed.is_empty() || !document.notes.is_empty() {
        line!("\n## What did not work\n");
        for (row, why) in failed {
            line!(
                "- {}, {}, {}, {} → {}, run {}: {}",
                row.size_mib,
                row.mode.as_str(),
                row.link,
                row.source,
                row.destination,
                row.run,
                cell(why)
            );
        }
        for note in &document.notes {
            line!("- {}", cell(note));
        }
    }
}

/// What a floor is, for people.
#[must_use]
pub fn meaning(what: &str) -> &str {
    match what {
        "start" => "a plain start",
        "start-runtime" => "a plain start through our runtime",
        "criu-dump" => "criu dump into memory, no container",
        "criu-restore" => "criu restore from memory, no container",
        "page-server" => "criu dump to criu page-server, unencrypted",
        "tcp" => "so many bytes over TCP",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets;

    #[test]
    fn tables_are_whole_whatever_is_in_them() {
        let mut document = targets::tests::document();
        document.targets = targets::of(&document);
        let text = text(&document, "figures.svg");
        for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
            let columns = |line: &str| line.replace("\\|", "").matches('|').count();
            let wanted = columns(table.lines().next().unwrap());
            assert!(table.lines().all(|line| columns(line) == wanted), "{table}");
        }
        assert!(
            text.contains("| downtime of tarball / of copy, 1 GiB | 15.00 | ≥ 20 | **missed** |"),
            "{text}"
        );
        assert!(
            text.contains("64 MiB, tarball, lan, a → b, run 1: restore: no &lt;room> \\| on b"),
            "{text}"
        );
        assert!(text.contains("0, 1 failed"), "{text}");
    }
}
