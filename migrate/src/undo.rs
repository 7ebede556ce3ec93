//! `migrate status` and `migrate undo`: what the journal has, and the way back after transship itself was
//! killed.

use crate::context::{Context, Measured, Side};
use crate::copy::pages;
use crate::ending;
use crate::event::{Event, Observer};
use crate::journal::{self, Found, Journal, Record};
use crate::pipeline::{self, Doubt, End};
use crate::prepare::Which;
use crate::report::Report;
use crate::{Failure, Kind, Mode, Options, Outcome, leftover};
use engine::{Container, Name};
use host::Host;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How a migration in the journal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its process runs.
    UnderWay,
    /// Its process was killed before the container ran on the destination for good: `undo` it.
    Interrupted,
    /// Its process was killed while it cleaned up: the container runs on the destination; `undo` finishes.
    Unfinished,
    /// It ended in doubt: `undo` tries again.
    InDoubt,
    /// It ended, and something was left on a host: `undo` removes it.
    Left,
    /// The container was moved.
    Migrated,
    /// It failed or was undone; the container runs on the source.
    RolledBack,
    /// It was refused; nothing was changed.
    Refused,
}

/// A migration in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Migration {
    /// Its id.
    pub id: String,
    /// The container's name on the source.
    pub container: String,
    /// Its name on the destination.
    pub name: String,
    /// How it is moved.
    pub mode: Mode,
    /// The host it comes from.
    pub source: String,
    /// The host it goes to.
    pub destination: String,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// The process that runs it, or ran it.
    pub process: u32,
    /// The last phase that was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// How it stands.
    pub state: State,
    /// What to type, where something is to be done.
    pub next: Vec<String>,
}

/// The journal: one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Status {
    /// Name and version of this document's form.
    pub schema: String,
    /// The migrations, the newest first.
    pub migrations: Vec<Migration>,
}

impl From<Found> for Migration {
    fn from(found: Found) -> Self {
        let record = found.record;
        let state = match record.outcome {
            _ if found.under_way => State::UnderWay,
            None if record.committed => State::Unfinished,
            None => State::Interrupted,
            Some(Outcome::InDoubt) => State::InDoubt,
            Some(_) if record.left => State::Left,
            Some(Outcome::Migrated) => State::Migrated,
            Some(Outcome::Refused | Outcome::Planned) => State::Refused,
            Some(Outcome::RolledBack) => State::RolledBack,
        };
        let next = match state {
            State::UnderWay => vec![format!("to stop and undo it: kill -INT {}", record.process)],
            _ if record.is_over() => Vec::new(),
            _ => vec![ending::undo_line(&record.id)],
        };
        Migration {
            phase: record.phases.last().cloned(),
            id: record.id,
            container: record.container,
            name: record.name,
            mode: record.mode,
            source: record.source,
            destination: record.destination,
            started: record.started,
            process: record.process,
            state,
            next,
        }
    }
}

/// What the journal has: all migrations, or one.
///
/// # Errors
/// The journal cannot be read, or has no migration of that id.
pub fn status(home: &Path, id: Option<&str>) -> Result<Status, Failure> {
    let found = match id {
        None => journal::all(home)?,
        Some(id) => vec![journal::find(home, id).ok_or_else(|| journal::unknown(home, id))?],
    };
    Ok(Status {
        schema: "transship/migrate-status/1".into(),
        migrations: found.into_iter().map(Migration::from).collect(),
    })
}

/// The hosts of a migration, connected anew.
type Connect<'a> = dyn Fn(&Record) -> Result<(Arc<dyn Host>, Arc<dyn Host>), Failure> + 'a;

/// Undoes a migration whose process is gone: what it began, last first, so that the container goes on at
/// the source. One that was committed is finished instead. Doing it again is harmless.
pub fn undo(home: &Path, id: &str, connect: &Connect, observer: &Observer) -> Report {
    let start = Instant::now();
    let Some(Found { record, .. }) = journal::find(home, id) else {
        return nothing(id, &journal::unknown(home, id));
    };
    let options = match options(home, &record) {
        Ok(options) => options,
        Err(failure) => return nothing(id, &failure),
    };
    let mut report = ending::blank(&record.source, &record.destination, &options);
    report.id.clone_from(&record.id);
    match Journal::take_over(home, id) {
        Err(failure) => ending::refused(report, &failure),
        Ok(None) => {
            let what = format!("{id} is under way: process {} runs it", record.process);
            let fix = format!("to stop and undo it: kill -INT {}", record.process);
            ending::refused(report, &Failure::refused("local", what).fix(fix))
        }
        Ok(Some(journal)) if journal.record.is_over() => over(report, &journal.record),
        Ok(Some(journal)) => {
            let never = AtomicBool::new(false);
            let begun = connect(&record)
                .and_then(|hosts| resume(journal, hosts, &options, observer, &never));
            match begun {
                Err(failure) => {
                    let mut report = ending::refused(report, &failure);
                    report.state =
                        format!("nothing was changed by this; {id} is still to be undone");
                    report
                }
                Ok(mut context) => {
                    let end = match is_there(&record, &context) {
                        Ok(true) => {
                            let now = Mutex::new("clean");
                            let mut phases = pipeline::phases(context.options).after_commit;
                            pipeline::wind_up(&mut phases, &mut context, &now, &mut report.phases);
                            End::Committed
                        }
                        Ok(false) => back(&record, &mut context),
                        Err(doubt) => {
                            let why = Failure::failed("local", format!("{id} was interrupted"));
                            End::Doubt(why, "pages", doubt)
                        }
                    };
                    report.total_seconds = start.elapsed().as_secs_f64();
                    let mut report = ending::finish(report, context, end, Vec::new());
                    if report.outcome == Outcome::RolledBack {
                        // That is what was asked for.
                        report.exit_code = 0;
                        report.failure = None;
                    }
                    report
                }
            }
        }
    }
}

/// Whether the container runs on the destination for good. With post-copy the agents may have brought it
/// that far alone, even where that was in doubt; else, where it is in doubt and the user says `undo`, it is taken back.
fn is_there(record: &Record, context: &Context) -> Result<bool, Doubt> {
    if record.committed {
        return Ok(true);
    }
    let alone = (record.mode == Mode::PostCopy || record.then_post_copy)
        && record.phases.iter().any(|phase| phase == "restore");
    if alone {
        return match pages::went_through(context) {
            Err(_) if record.outcome == Some(Outcome::InDoubt) => Ok(false),
            known => known,
        };
    }
    Ok(false)
}

/// A report where there is no migration to report of.
fn nothing(id: &str, failure: &Failure) -> Report {
    let options = Options {
        container: Name::new("unknown").expect("it is a name"),
        name: None,
        mode: Mode::Copy,
        auto: false,
        keep_source: false,
        copy_bind: false,
        max_downtime: None,
        then_post_copy: false,
        ignore: Vec::new(),
        dry_run: false,
        reach: journal::Reach::default(),
        tcp_established: false,
        link_timeout: crate::LINK_TIMEOUT,
        journal: None,
    };
    let mut report = ending::blank("unknown", "unknown", &options);
    report.id = id.to_owned();
    ending::refused(report, failure)
}

/// What the user asked for then.
fn options(home: &Path, record: &Record) -> Result<Options, Failure> {
    let name =
        |text: &str| Name::new(text).map_err(|error| Failure::failed("local", error.to_string()));
    let container = name(&record.container)?;
    let other = name(&record.name)?;
    Ok(Options {
        name: (other != container).then_some(other),
        container,
        mode: record.mode,
        auto: false,
        keep_source: record.keep_source,
        copy_bind: record.copy_bind,
        max_downtime: None,
        then_post_copy: record.then_post_copy,
        ignore: Vec::new(),
        dry_run: false,
        reach: record.reach.clone(),
        tcp_established: record.tcp_established,
        link_timeout: crate::LINK_TIMEOUT,
        journal: Some(home.to_owned()),
    })
}

/// A migration that ended: there is nothing to undo.
fn over(mut report: Report, record: &Record) -> Report {
    report.outcome = record.outcome.unwrap_or(Outcome::Refused);
    if report.outcome == Outcome::Migrated {
        let what = format!(
            "{} was moved to {}: there is nothing to undo",
            record.container, record.destination
        );
        let back = ending::move_back(
            &report,
            &record.reach,
            ending::kept_options(
                record.tcp_established,
                record.copy_bind,
                record.then_post_copy,
            ),
        );
        return ending::refused(report, &Failure::new(Kind::Refused, what).fix(back));
    }
    report.state = format!(
        "there is nothing to undo: {} was left on {} as it was",
        record.container, record.source
    );
    report
}

/// What the phases shared when they were interrupted.
fn resume<'a>(
    journal: Journal,
    (source, destination): (Arc<dyn Host>, Arc<dyn Host>),
    options: &'a Options,
    observer: &'a Observer,
    never: &'a AtomicBool,
) -> Result<Context<'a>, Failure> {
    let damaged = || {
        Failure::failed(
            "local",
            format!("the record of {} is damaged", journal.record.id),
        )
    };
    let known = journal.record.known.clone().ok_or_else(damaged)?;
    let raw = serde_json::to_vec(&known.container).map_err(|_| damaged())?;
    let container = Container::parse(&raw).ok_or_else(damaged)?;
    let new_id = known.new_id.as_deref().map(Name::new).transpose();
    let id = journal.record.id.clone();
    // The source's folder is removed last: without it, nothing is left to be done there.
    let source_done = journal.record.phases.iter().any(|phase| phase != "prepare")
        && !leftover::is_ours(&*source, &options.container, &id)?;
    let stood = journal
        .record
        .phases
        .iter()
        .any(|phase| phase == "checkpoint");
    Ok(Context {
        name: options.container.clone(),
        new_name: options
            .name
            .clone()
            .unwrap_or_else(|| options.container.clone()),
        tool: known.tool,
        layout: known.layout,
        left_behind: known.left_behind,
        log_kept: None,
        source: Side {
            host: source,
            engine: known.source,
        },
        destination: Side {
            host: destination,
            engine: known.destination,
        },
        container,
        image: known.image,
        memory: known.memory,
        ahead: 0,
        observer,
        interrupted: never,
        measured: Measured {
            new_id: new_id.map_err(|_| damaged())?,
            last_sign_on_source: (stood && !source_done).then(Instant::now),
            ..Measured::default()
        },
        warnings: Vec::new(),
        id,
        journal: Some(journal),
        source_done,
        left: false,
        options,
    })
}

/// Undoes the phases that were begun.
fn back(record: &Record, context: &mut Context) -> End {
    let why = Failure::failed("local", format!("{} was interrupted", record.id));
    context.tell(Event::Undoing {
        why: format!("{} as far as it came", record.id),
    });
    let phase = record.phases.last().map_or("prepare", String::as_str);
    let mut phases = pipeline::phases(context.options).before_commit;
    let begun = phases
        .iter()
        .filter(|phase| record.phases.iter().any(|begun| begun == phase.name()))
        .count();
    let last = phases
        .iter()
        .map(|phase| phase.name())
        .find(|name| *name == phase)
        .unwrap_or("prepare");
    for which in [Which::Destination, Which::Source] {
        if let Err(doubt) = halt(context, which) {
            return End::Doubt(why, last, doubt);
        }
    }
    match pipeline::take_back(&mut phases[..begun], context) {
        Ok(()) => End::Undone(why, last),
        Err(doubt) => End::Doubt(why, last, doubt),
    }
}

/// Ends what the killed migration started on a host and is still at work there.
fn halt(context: &Context, which: Which) -> Result<(), Doubt> {
    let side = which.of(context);
    let halt = leftover::halt(&context.name);
    side.host.text(&halt).map(drop).map_err(|error| Doubt {
        what: format!(
            "what the migration started on {} could not be ended: {error}; {} is as it was left",
            side.name(),
            context.name
        ),
        fix: Vec::new(),
    })
}
