//! All moves and floors, one after the other.

use crate::document::{Document, Mode, Phase, Row, Side, medians};
use crate::{Size, floor, own, peaks, targets, workload};
use engine::{Engine, Kind};
use host::{Cmd, Host};
use migrate::{Failure, Options, Outcome, Reach};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What is to be measured.
pub struct Wanted {
    /// Memory of the processes that are moved.
    pub sizes: Vec<Size>,
    /// How they are moved; all that the engine of the hosts has, where none is named.
    pub modes: Vec<Mode>,
    /// How often each move is made.
    pub runs: u32,
    /// The image of the container, with the program `hog`.
    pub image: String,
    /// How the hosts are reached.
    pub reach: Reach,
    /// Where journals of migrations are kept.
    pub journal: Option<PathBuf>,
}

/// Two hosts with the engine that both have.
struct Pair {
    hosts: [Arc<dyn Host>; 2],
    kind: Kind,
    sides: Vec<Side>,
}

/// What one move came to, besides its row.
enum After {
    GoesOn,
    /// A person must look: nothing more is tried.
    Stop,
}

/// Says what would be measured; changes nothing.
///
/// # Errors
/// Where the hosts have no engine in common, or a mode that it does not have was asked for.
pub fn plan(hosts: [Arc<dyn Host>; 2], wanted: &Wanted) -> Result<Document, Failure> {
    let pair = look(hosts)?;
    let modes = modes(pair.kind, wanted)?;
    let [a, b] = [pair.hosts[0].name(), pair.hosts[1].name()];
    let mut document = blank(&pair, wanted);
    for size in &wanted.sizes {
        for mode in &modes {
            document.plan.push(format!(
                "{size}, mode {}: {a} → {b} → {a}, {} times",
                mode.as_str(),
                wanted.runs
            ));
        }
        document.plan.push(format!(
            "{size}: CRIU alone, its page server, TCP: {a} → {b}"
        ));
    }
    document.plan.push(format!("a plain start on {a} and {b}"));
    document.complete = true;
    Ok(document)
}

/// Measures. `tell` hears a line for each thing that begins; when `interrupted` becomes true, the move under
/// way is undone, what was made is removed, and what was measured so far is returned.
///
/// # Errors
/// Only where nothing could be measured: as for [`plan`], or a host failed at once.
pub fn run(
    hosts: [Arc<dyn Host>; 2],
    wanted: &Wanted,
    tell: &(dyn Fn(&str) + Send + Sync),
    interrupted: &AtomicBool,
) -> Result<Document, Failure> {
    let begin = Instant::now();
    let pair = look(hosts)?;
    let modes = modes(pair.kind, wanted)?;
    let mut document = blank(&pair, wanted);
    pair.forget()?;
    let result = pair.measure(wanted, &modes, tell, interrupted, &mut document);
    let is_interrupted = interrupted.load(Ordering::SeqCst);
    // In doubt nothing is removed: a person is to look.
    let stopped = matches!(result, Ok(After::Stop));
    if !stopped && let Err(failure) = pair.forget() {
        document
            .notes
            .push(format!("not removed: {}", failure.what));
    }
    if let Err(failure) = &result {
        document
            .notes
            .push(format!("not all was measured: {}", failure.what));
        document
            .notes
            .extend(failure.fix.iter().map(|fix| format!("fix: {fix}")));
    }
    document.complete = matches!(result, Ok(After::GoesOn)) && !is_interrupted;
    document.medians = medians(&document.rows);
    document.targets = targets::of(&document);
    document.total_seconds = begin.elapsed().as_secs_f64();
    let failed = document.rows.iter().any(|row| row.failure.is_some());
    document.exit_code = match () {
        () if is_interrupted => 130,
        () if stopped => 7,
        () if failed || !document.complete => 1,
        () => 0,
    };
    Ok(document)
}

impl Pair {
    fn forget(&self) -> Result<(), Failure> {
        for host in &self.hosts {
            workload::forget(&**host, self.kind)?;
        }
        Ok(())
    }

    fn measure(
        &self,
        wanted: &Wanted,
        modes: &[Mode],
        tell: &(dyn Fn(&str) + Send + Sync),
        interrupted: &AtomicBool,
        document: &mut Document,
    ) -> Result<After, Failure> {
        let over = || interrupted.load(Ordering::SeqCst);
        for &size in &wanted.sizes {
            for run in 0..=wanted.runs {
                for &mode in modes {
                    // The first time at the first size is not counted: programs, runtime and image come to the hosts.
                    if run == 0 && size != wanted.sizes[0] {
                        continue;
                    }
                    workload::start(&*self.hosts[0], self.kind, &wanted.image, size)?;
                    for (from, to) in [(0, 1), (1, 0)] {
                        if over() {
                            return Ok(After::GoesOn);
                        }
                        let (source, destination) = (&self.hosts[from], &self.hosts[to]);
                        tell(&format!(
                            "{size}, mode {}, {} → {}, {}",
                            mode.as_str(),
                            source.name(),
                            destination.name(),
                            if run == 0 {
                                "not counted".to_owned()
                            } else {
                                format!("run {run} of {}", wanted.runs)
                            }
                        ));
                        let (row, after) =
                            self.one((from, to), wanted, (mode, size, run), interrupted);
                        let failed = row.failure.is_some();
                        if run > 0 || (failed && !over()) {
                            document.rows.push(row);
                        }
                        if let After::Stop = after {
                            return Ok(After::Stop);
                        }
                        if failed {
                            break;
                        }
                    }
                    self.forget()?;
                }
            }
            if over() {
                return Ok(After::GoesOn);
            }
            tell(&format!("{size}, CRIU alone, its page server, TCP"));
            let (source, destination) = (&*self.hosts[0], &*self.hosts[1]);
            floor::pages(
                source,
                destination,
                self.kind,
                &wanted.image,
                (size, wanted.runs),
                document,
            );
        }
        for host in &self.hosts {
            if !over() {
                tell(&format!("plain starts on {}", host.name()));
                floor::start(&**host, self.kind, &wanted.image, wanted.runs, document);
            }
        }
        Ok(After::GoesOn)
    }

    fn one(
        &self,
        (from, to): (usize, usize),
        wanted: &Wanted,
        (mode, size_mib, run): (Mode, Size, u32),
        interrupted: &AtomicBool,
    ) -> (Row, After) {
        let (source, destination) = (&self.hosts[from], &self.hosts[to]);
        let mut row = Row {
            mode,
            size_mib,
            run,
            source: source.name().into(),
            destination: destination.name().into(),
            file_bytes: None,
            bytes_sent: None,
            bytes_received: None,
            downtime_seconds: None,
            total_seconds: 0.0,
            phases: Vec::new(),
            peaks: Vec::new(),
            memory_whole: false,
            failure: None,
        };
        let watch = peaks::Watch::begin([&**source, &**destination], mode, size_mib);
        let after = match ours(mode) {
            Some(mode) => {
                let options = options(mode, wanted);
                let report = migrate::run(
                    Arc::clone(source),
                    Arc::clone(destination),
                    &options,
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
        if row.failure.is_none() {
            match workload::check(&**destination, self.kind) {
                Ok(()) => row.memory_whole = true,
                Err(failure) => {
                    row.failure = Some(format!("its memory is not what it was: {}", failure.what))
                }
            }
        }
        (row, after)
    }
}

fn options(mode: migrate::Mode, wanted: &Wanted) -> Options {
    Options {
        container: workload::name(),
        name: None,
        mode,
        auto: false,
        keep_source: false,
        copy_bind: false,
        tcp_established: false,
        link_timeout: migrate::LINK_TIMEOUT,
        max_downtime: None,
        then_post_copy: false,
        dry_run: false,
        reach: wanted.reach.clone(),
        journal: wanted.journal.clone(),
    }
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

/// The mode of `migrate`, where it is one of ours.
fn ours(mode: Mode) -> Option<migrate::Mode> {
    match mode {
        Mode::Tarball => Some(migrate::Mode::Tarball),
        Mode::Copy => Some(migrate::Mode::Copy),
        Mode::PostCopy => Some(migrate::Mode::PostCopy),
        Mode::Podman => None,
    }
}

/// The modes that an engine has; the first also brings the image along.
fn modes(kind: Kind, wanted: &Wanted) -> Result<Vec<Mode>, Failure> {
    let has: &[Mode] = match kind {
        Kind::Docker => &[Mode::Copy, Mode::PostCopy, Mode::Tarball],
        Kind::Podman => &[Mode::Copy, Mode::Podman],
    };
    if wanted.modes.is_empty() {
        return Ok(has.to_vec());
    }
    if let Some(other) = wanted.modes.iter().find(|mode| !has.contains(mode)) {
        let names: Vec<&str> = has.iter().map(|mode| mode.as_str()).collect();
        let what = format!(
            "mode {} does not work between hosts with {kind}",
            other.as_str()
        );
        return Err(
            Failure::new(migrate::Kind::Usage, what).fix(format!("--modes {}", names.join(",")))
        );
    }
    Ok(has
        .iter()
        .copied()
        .filter(|mode| wanted.modes.contains(mode))
        .collect())
}

/// The engine that both hosts have, Docker first.
fn look(hosts: [Arc<dyn Host>; 2]) -> Result<Pair, Failure> {
    let [first, second] = &hosts;
    let (engines, others) = (Engine::probe(&**first)?.0, Engine::probe(&**second)?.0);
    let both = engines.iter().find_map(|engine| {
        let other = others.iter().find(|other| other.kind() == engine.kind())?;
        Some([engine, other])
    });
    let Some(both) = both else {
        return Err(Failure::refused(
            second.name(),
            format!(
                "{} and {} have no engine in common",
                first.name(),
                second.name()
            ),
        )
        .fix(format!(
            "transship doctor {} {}",
            first.name(),
            second.name()
        )));
    };
    let mut sides = Vec::new();
    for (host, engine) in hosts.iter().zip(both) {
        let kernel = host.text(&Cmd::reads("uname").arg("-r"))?;
        let processors = host.text(&Cmd::reads("nproc"))?;
        sides.push(Side {
            name: host.name().into(),
            engine: format!("{} {}", engine.kind(), engine.version()),
            kernel,
            processors: processors.trim().parse().unwrap_or(0),
        });
    }
    let kind = both[0].kind();
    Ok(Pair { hosts, kind, sides })
}

fn blank(pair: &Pair, wanted: &Wanted) -> Document {
    Document {
        schema: "transship/bench/1".into(),
        complete: false,
        hosts: pair.sides.clone(),
        image: wanted.image.clone(),
        runs: wanted.runs,
        plan: Vec::new(),
        rows: Vec::new(),
        medians: Vec::new(),
        floors: Vec::new(),
        targets: Vec::new(),
        notes: Vec::new(),
        total_seconds: 0.0,
        exit_code: 0,
    }
}
