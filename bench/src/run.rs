//! All moves and floors, one after the other.

use crate::document::{Document, Mode};
use crate::medians::medians;
use crate::moves::{After, Move};
use crate::setup::Pair;
use crate::shape::Shaped;
use crate::{Link, Service, Size, floor, targets, workload};
use host::Host;
use migrate::{Failure, Reach};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What is to be measured.
pub struct Wanted {
    /// Memory of the processes that are moved.
    pub sizes: Vec<Size>,
    /// How they are moved; all that works between the hosts, where none is named.
    pub modes: Vec<Mode>,
    /// How often each move is made.
    pub runs: u32,
    /// The links that they are moved over.
    pub links: Vec<Link>,
    /// Where the container serves a client over TCP meanwhile.
    pub tcp: Option<Service>,
    /// The image of the container, with the program `hog`, and `tcps` where it serves a client.
    pub image: String,
    /// How the hosts are reached.
    pub reach: Reach,
    /// Where journals of migrations are kept.
    pub journal: Option<PathBuf>,
}

/// Says what would be measured; changes nothing.
///
/// # Errors
/// Where the hosts have no engine in common, or cannot do what was asked for.
pub fn plan(hosts: [Arc<dyn Host>; 2], wanted: &Wanted) -> Result<Document, Failure> {
    let pair = Pair::look(hosts, wanted)?;
    let [a, b] = [pair.hosts[0].name(), pair.hosts[1].name()];
    let mut document = pair.blank(wanted);
    for link in &wanted.links {
        for size in wanted.sizes.iter().filter(|size| link.takes(**size)) {
            for mode in &pair.modes {
                document.plan.push(format!(
                    "{size}, mode {}: {a} → {b} → {a}, {} times ({link})",
                    mode.as_str(),
                    wanted.runs
                ));
            }
            document.plan.push(format!(
                "{size}: CRIU alone, its page server, TCP: {a} → {b} ({link})"
            ));
        }
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
    let pair = Pair::look(hosts, wanted)?;
    let mut bench = Bench {
        document: pair.blank(wanted),
        pair: &pair,
        wanted,
        tell,
        interrupted,
    };
    pair.forget()?;
    let result = bench.measure();
    let mut document = bench.document;
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
    document.medians = medians(&document);
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
}

/// One that is under way.
struct Bench<'a> {
    document: Document,
    pair: &'a Pair,
    wanted: &'a Wanted,
    tell: &'a (dyn Fn(&str) + Send + Sync),
    interrupted: &'a AtomicBool,
}

impl Bench<'_> {
    fn over(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    fn measure(&mut self) -> Result<After, Failure> {
        let (wanted, hosts) = (self.wanted, &self.pair.hosts);
        // Not counted, and over the link as it is: programs, runtime and image come to the hosts.
        if let Some(&size) = wanted.sizes.first()
            && self.moves(&Link::own(), size, 0)? == After::Stop
        {
            return Ok(After::Stop);
        }
        for link in &wanted.links {
            if self.over() {
                return Ok(After::GoesOn);
            }
            let begun = self.document.rows.len();
            let shaped = Shaped::begin(hosts, link)?;
            let result = self.over_link(link);
            if let Err(failure) = shaped.end() {
                for row in &mut self.document.rows[begun..] {
                    row.failure.get_or_insert_with(|| failure.what.clone());
                }
                return Err(failure);
            }
            if result? == After::Stop {
                return Ok(After::Stop);
            }
        }
        for host in hosts {
            if !self.over() {
                (self.tell)(&format!("plain starts on {}", host.name()));
                let (kind, image) = (self.pair.kind, &wanted.image);
                floor::start(&**host, kind, image, wanted.runs, &mut self.document);
            }
        }
        Ok(After::GoesOn)
    }

    /// All sizes over one link.
    fn over_link(&mut self, link: &Link) -> Result<After, Failure> {
        let wanted = self.wanted;
        for &size in wanted.sizes.iter().filter(|size| link.takes(**size)) {
            for run in 1..=wanted.runs {
                if self.moves(link, size, run)? == After::Stop {
                    return Ok(After::Stop);
                }
            }
            if self.over() {
                return Ok(After::GoesOn);
            }
            (self.tell)(&format!(
                "{size}, CRIU alone, its page server, TCP ({link})"
            ));
            let floors = floor::Pages {
                source: &*self.pair.hosts[0],
                destination: &*self.pair.hosts[1],
                kind: self.pair.kind,
                image: &wanted.image,
                link,
                size,
                runs: wanted.runs,
            };
            floors.measure(&mut self.document);
        }
        Ok(After::GoesOn)
    }

    /// There and back once in each mode.
    fn moves(&mut self, link: &Link, size: Size, run: u32) -> Result<After, Failure> {
        let (pair, wanted) = (self.pair, self.wanted);
        for &mode in &pair.modes {
            if self.over() {
                return Ok(After::GoesOn);
            }
            let mark = workload::start(&*pair.hosts[0], pair.kind, wanted, size)?;
            for (from, to) in [(0, 1), (1, 0)] {
                if self.over() {
                    return Ok(After::GoesOn);
                }
                let (source, destination) = (pair.hosts[from].name(), pair.hosts[to].name());
                let which = if run == 0 {
                    "not counted".to_owned()
                } else {
                    format!("run {run} of {} ({link})", wanted.runs)
                };
                let mode_name = mode.as_str();
                (self.tell)(&format!(
                    "{size}, mode {mode_name}, {source} → {destination}, {which}"
                ));
                let what = Move {
                    mark: &mark,
                    link,
                    mode,
                    size,
                    run,
                };
                let (row, after) = pair.one((from, to), wanted, &what, self.interrupted);
                let failed = row.failure.is_some();
                // One that was interrupted says nothing of moves, unless it must be looked at.
                let undone = failed && self.over() && after == After::GoesOn;
                if !undone && (run > 0 || failed) {
                    self.document.rows.push(row);
                }
                if after == After::Stop {
                    return Ok(After::Stop);
                }
                if failed {
                    break;
                }
            }
            pair.forget()?;
        }
        Ok(After::GoesOn)
    }
}
