//! One move of the container, and the row that it makes.

use crate::document::{Mode, Phase, Row, Tcp};
use crate::setup::{Pair, options, ours};
use crate::{Client, Link, Size, Wanted, own, peaks, workload};
use migrate::Outcome;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// After the move somebody who is connected must hear again within this time.
const HEARS: Duration = Duration::from_secs(120);

/// What is moved, how, over which link and for the how manieth time.
pub(crate) struct Move<'a> {
    /// What the counter prints first, where it is one.
    pub mark: &'a str,
    pub link: &'a Link,
    pub mode: Mode,
    pub size: Size,
    /// From 1 on; 0 is not counted.
    pub run: u32,
}

/// What one move came to, besides its row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    GoesOn,
    /// A person must look: nothing more is tried.
    Stop,
}

impl Pair {
    /// Moves the container from one of the hosts to the other.
    pub fn one(
        &self,
        (from, to): (usize, usize),
        wanted: &Wanted,
        what: &Move<'_>,
        interrupted: &AtomicBool,
    ) -> (Row, After) {
        let (source, destination) = (&self.hosts[from], &self.hosts[to]);
        let mut row = Row {
            mode: what.mode,
            size_mib: what.size,
            link: what.link.name.clone(),
            run: what.run,
            source: source.name().into(),
            destination: destination.name().into(),
            file_bytes: None,
            bytes_sent: None,
            bytes_received: None,
            downtime_seconds: None,
            tcp: None,
            total_seconds: 0.0,
            phases: Vec::new(),
            downtime_parts: Vec::new(),
            peaks: Vec::new(),
            memory_whole: false,
            failure: None,
        };
        let client = match &wanted.tcp {
            Some(service) => match Client::begin(service.address) {
                Ok(client) => Some(client),
                Err(error) => {
                    let address = service.address;
                    row.failure = Some(format!("nobody answers at {address} from here: {error}"));
                    return (row, After::GoesOn);
                }
            },
            None => None,
        };
        let watch = peaks::Watch::begin([&**source, &**destination], what.mode, what.size);
        let after = match ours(what.mode) {
            Some(mode) => {
                let report = migrate::run(
                    Arc::clone(source),
                    Arc::clone(destination),
                    &options(mode, wanted),
                    &|_| {},
                    interrupted,
                );
                fill(&mut row, &report);
                if report.outcome == Outcome::InDoubt {
                    After::Stop
                } else {
                    After::GoesOn
                }
            }
            None => {
                if let Err(failure) = own::migrate(&**source, &**destination, &mut row) {
                    row.failure = Some(failure.what);
                }
                After::GoesOn
            }
        };
        row.peaks = watch.end();
        if let Some(client) = client {
            judge(&mut row, client);
        }
        if row.failure.is_none() {
            match workload::check(&**destination, self.kind, what.size, what.mark) {
                Ok(()) => row.memory_whole = true,
                Err(failure) => {
                    row.failure = Some(format!("its memory is not what it was: {}", failure.what));
                }
            }
        }
        (row, after)
    }
}

/// What somebody saw who was connected all the time.
fn judge(row: &mut Row, client: Client) {
    let hears = row.failure.is_some() || client.hears(HEARS);
    let seen = client.end();
    row.tcp = Some(Tcp {
        longest_pause_seconds: seen.longest.as_secs_f64(),
        answers: seen.answers,
        resets: seen.resets,
    });
    let why = match (seen.wrong, seen.resets) {
        (Some(wrong), _) => format!("the TCP client: {wrong}"),
        (None, 0) if hears => return,
        (None, 0) => format!(
            "the TCP client had no answer for {} s after the move",
            HEARS.as_secs()
        ),
        (None, resets) => format!("the TCP client's connection was lost, {resets} times"),
    };
    row.failure.get_or_insert(why);
}

fn fill(row: &mut Row, report: &migrate::Report) {
    row.file_bytes = report.tarball_bytes;
    row.bytes_sent = report.bytes_sent;
    row.bytes_received = report.bytes_received;
    row.downtime_seconds = report.downtime_seconds;
    row.total_seconds = report.total_seconds;
    row.phases = report
        .phases
        .iter()
        .map(|phase| Phase {
            name: phase.name.clone(),
            seconds: phase.seconds,
        })
        .collect();
    row.downtime_parts = report
        .downtime_parts
        .iter()
        .flat_map(|parts| parts.named())
        .map(|(name, seconds)| Phase {
            name: name.to_owned(),
            seconds,
        })
        .collect();
    row.failure = report.failure.as_ref().map(|failure| {
        let at = failure
            .phase
            .as_deref()
            .map(|phase| format!("{phase}: "))
            .unwrap_or_default();
        let mut words = vec![format!("{at}{}", failure.what), report.state.clone()];
        words.extend(failure.fix.iter().map(|fix| format!("fix: {fix}")));
        if report.outcome == Outcome::InDoubt {
            words.extend(report.next.iter().map(|next| format!("do: {next}")));
        }
        words.join("; ")
    });
}
