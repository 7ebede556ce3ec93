//! What the hosts are and can do, found out before anything is made.

use crate::document::{Document, Mode, Side};
use crate::{Link, Wanted, shape, workload};
use engine::{Engine, Kind};
use host::{Cmd, Host};
use migrate::{Failure, Kind as Sort, LINK_TIMEOUT, Options};
use std::sync::Arc;

/// Two hosts with the engine that both have, and what is measured between them.
pub(crate) struct Pair {
    pub hosts: [Arc<dyn Host>; 2],
    pub kind: Kind,
    pub sides: Vec<Side>,
    /// The first also brings the image along.
    pub modes: Vec<Mode>,
}

impl Pair {
    /// The engine that both hosts have, Docker first, and its modes.
    ///
    /// # Errors
    /// Refuses what would not work.
    pub fn look(hosts: [Arc<dyn Host>; 2], wanted: &Wanted) -> Result<Self, Failure> {
        let [first, second] = &hosts;
        let (engines, others) = (Engine::probe(&**first)?.0, Engine::probe(&**second)?.0);
        let both = engines.iter().find_map(|engine| {
            let other = others.iter().find(|other| other.kind() == engine.kind())?;
            Some([engine, other])
        });
        let Some(both) = both else {
            let (a, b) = (first.name(), second.name());
            let what = format!("{a} and {b} have no engine in common");
            return Err(Failure::refused(b, what).fix(format!("transship doctor {a} {b}")));
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
        let modes = modes(&hosts, kind, wanted)?;
        workload::needs(&hosts, kind, wanted)?;
        if wanted
            .links
            .iter()
            .any(|link| link.bits_per_second.is_some())
        {
            shape::ways(&hosts)?;
        }
        Ok(Pair {
            hosts,
            kind,
            sides,
            modes,
        })
    }

    pub fn blank(&self, wanted: &Wanted) -> Document {
        let mut document = Document {
            schema: "transship/bench/1".into(),
            complete: false,
            hosts: self.sides.clone(),
            image: wanted.image.clone(),
            runs: wanted.runs,
            links: wanted.links.clone(),
            plan: Vec::new(),
            rows: Vec::new(),
            medians: Vec::new(),
            floors: Vec::new(),
            targets: Vec::new(),
            notes: Vec::new(),
            total_seconds: 0.0,
            exit_code: 0,
        };
        let left_out = wanted.links.iter().flat_map(|link| {
            let sizes = wanted.sizes.iter().filter(|size| !link.takes(**size));
            sizes.map(move |size| left_out(link, &size.to_string()))
        });
        document.notes.extend(left_out);
        document
    }
}

fn left_out(link: &Link, size: &str) -> String {
    format!("{size} over {link}: left out, its bytes alone would take minutes")
}

/// The modes that are measured: those asked for, else all that would work.
fn modes(hosts: &[Arc<dyn Host>; 2], kind: Kind, wanted: &Wanted) -> Result<Vec<Mode>, Failure> {
    let with_connections = wanted.tcp.is_some();
    let has: Vec<Mode> = match kind {
        Kind::Docker => &[Mode::Copy, Mode::PostCopy, Mode::PreCopy, Mode::Tarball][..],
        Kind::Podman => &[Mode::Copy, Mode::PostCopy, Mode::PreCopy, Mode::Podman],
    }
    .iter()
    .copied()
    .filter(|mode| !with_connections || mode.keeps_connections())
    .collect();
    let names: Vec<&str> = has.iter().map(|mode| mode.as_str()).collect();
    if let Some(other) = wanted.modes.iter().find(|mode| !has.contains(mode)) {
        let why = if with_connections && !other.keeps_connections() {
            "does not take TCP connections along".to_owned()
        } else {
            format!("does not work between hosts with {kind}")
        };
        let what = format!("mode {} {why}", other.as_str());
        return Err(Failure::new(Sort::Usage, what).fix(format!("--modes {}", names.join(","))));
    }
    let mut modes = Vec::new();
    let mut refused = None;
    for mode in has {
        let named = wanted.modes.contains(&mode);
        if !(named || wanted.modes.is_empty()) {
            continue;
        }
        match works(hosts, mode, wanted) {
            Ok(()) => modes.push(mode),
            Err(failure) if !named && failure.kind == Sort::Refused => {
                refused = refused.or(Some(failure));
            }
            Err(mut failure) => {
                // What `migrate` is told to do instead is no option here.
                failure.fix.retain(|fix| !fix.starts_with("--mode "));
                return Err(failure.fix("leave --modes out: all that work are measured"));
            }
        }
    }
    match refused {
        Some(failure) if modes.is_empty() => Err(failure),
        _ => Ok(modes),
    }
}

/// In both directions.
fn works(hosts: &[Arc<dyn Host>; 2], mode: Mode, wanted: &Wanted) -> Result<(), Failure> {
    let Some(mode) = ours(mode) else {
        return Ok(());
    };
    let options = options(mode, wanted);
    let [a, b] = hosts;
    migrate::suits(&**a, &**b, &options)?;
    migrate::suits(&**b, &**a, &options)
}

/// The mode of `migrate`, where it is one of ours.
pub(crate) fn ours(mode: Mode) -> Option<migrate::Mode> {
    match mode {
        Mode::Tarball => Some(migrate::Mode::Tarball),
        Mode::Copy => Some(migrate::Mode::Copy),
        Mode::PostCopy => Some(migrate::Mode::PostCopy),
        Mode::PreCopy => Some(migrate::Mode::PreCopy),
        Mode::Podman => None,
    }
}

pub(crate) fn options(mode: migrate::Mode, wanted: &Wanted) -> Options {
    Options {
        container: workload::name(),
        name: None,
        mode,
        auto: false,
        keep_source: false,
        copy_bind: false,
        tcp_established: wanted.tcp.is_some(),
        link_timeout: LINK_TIMEOUT,
        max_downtime: None,
        then_post_copy: false,
        ignore: Vec::new(),
        dry_run: false,
        reach: wanted.reach.clone(),
        journal: wanted.journal.clone(),
    }
}
