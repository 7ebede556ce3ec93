//! Runs the phases, and undoes them.

use crate::context::{Context, Measured, Side};
use crate::ending::{blank, finish, refused};
use crate::event::{Event, Observer};
use crate::inspection::{self, Subject};
use crate::journal::{Journal, Record};
use crate::report::{PhaseReport, PlannedCommand, Report};
use crate::{Choice, Failure, Kind, Mode, Options, auto, copy, tarball};
use host::{Dry, Host};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// One step of a migration, with the way back.
pub(crate) trait Phase {
    /// Its name, as in the report.
    fn name(&self) -> &'static str;

    /// What it does, for a person.
    fn title(&self, context: &Context) -> String;

    /// Does it.
    fn run(&mut self, context: &mut Context) -> Result<(), Failure>;

    /// Takes back what [`Phase::run`] did, as far as it came. What cannot be taken back but harms
    /// nobody is a warning.
    ///
    /// # Errors
    /// Where it cannot be proven any more that exactly one copy of the container runs.
    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt>;

    /// Whether Ctrl-C ends the migration before and after this phase. Where the container has gone on at
    /// the destination and only waits for its memory, it does not.
    fn can_be_interrupted(&self) -> bool {
        true
    }
}

/// It cannot be proven where the container runs: what is known, and what a person must type.
#[derive(Debug)]
pub(crate) struct Doubt {
    pub what: String,
    pub fix: Vec<String>,
}

/// The phases of a mode: those that can be undone, the commit point, those that only warn.
pub(crate) struct Phases {
    pub before_commit: Vec<Box<dyn Phase>>,
    pub after_commit: Vec<Box<dyn Phase>>,
}

/// Moves a container. Whatever happens, the report says how it ended and where the container is.
pub fn run(
    source: Arc<dyn Host>,
    destination: Arc<dyn Host>,
    options: &Options,
    observer: &Observer,
    interrupted: &AtomicBool,
) -> Report {
    let start = Instant::now();
    let mut report = blank(source.name(), destination.name(), options);
    let plan = Arc::new(Mutex::new(Vec::new()));
    let phase_now = Arc::new(Mutex::new("check"));
    let outcome = (|| {
        observer(Event::Begin {
            phase: "check",
            title: format!(
                "look at {}, {} and {}",
                source.name(),
                destination.name(),
                options.container
            ),
        });
        let found = if options.auto {
            let (subject, choice) = auto::inspect(&source, &destination, options)?;
            (subject, Some(choice))
        } else {
            (inspection::inspect(&source, &destination, options)?, None)
        };
        let seconds = start.elapsed().as_secs_f64();
        observer(Event::End {
            phase: "check",
            seconds,
            bytes: None,
        });
        report.phases.push(PhaseReport {
            name: "check".into(),
            seconds,
            bytes: None,
        });
        Ok(found)
    })();
    let (subject, choice): (Subject, Option<Choice>) = match outcome {
        Ok(found) => found,
        Err(failure) => {
            let failure: Failure = failure;
            report.total_seconds = start.elapsed().as_secs_f64();
            return refused(report, &failure);
        }
    };
    let options = &Options {
        mode: choice.as_ref().map_or(options.mode, |choice| choice.mode),
        ..options.clone()
    };
    report.mode = options.mode;
    report.choice = choice;
    let (source, destination) = if options.dry_run {
        let dry = |host: Arc<dyn Host>| -> Arc<dyn Host> {
            let (plan, phase_now) = (Arc::clone(&plan), Arc::clone(&phase_now));
            Arc::new(Dry::new(host, move |host, line| {
                plan.lock()
                    .expect("no panic while held")
                    .push(PlannedCommand {
                        phase: (*phase_now.lock().expect("no panic while held")).to_owned(),
                        host: host.to_owned(),
                        line: line.to_owned(),
                    });
            }))
        };
        (dry(source), dry(destination))
    } else {
        (source, destination)
    };
    let mut context = match context(
        subject,
        (source, destination),
        options,
        observer,
        interrupted,
    ) {
        Ok(context) => context,
        Err(failure) => {
            report.total_seconds = start.elapsed().as_secs_f64();
            return refused(report, &failure);
        }
    };
    let mut phases = phases(options);
    let result = drive(&mut phases, &mut context, &phase_now, &mut report.phases);
    report.total_seconds = start.elapsed().as_secs_f64();
    finish(
        report,
        context,
        result,
        std::mem::take(&mut *plan.lock().expect("no panic while held")),
    )
}

/// The phases of a mode.
pub(crate) fn phases(options: &Options) -> Phases {
    match options.mode {
        Mode::Copy | Mode::PostCopy | Mode::PreCopy => copy::phases(options),
        Mode::Tarball => tarball::phases(),
    }
}

/// What the phases share, from what was found; the journal begins here.
fn context<'a>(
    subject: Subject,
    (source, destination): (Arc<dyn Host>, Arc<dyn Host>),
    options: &'a Options,
    observer: &'a Observer,
    interrupted: &'a AtomicBool,
) -> Result<Context<'a>, Failure> {
    let mut context = Context {
        new_name: options.name.clone().unwrap_or_else(|| subject.name.clone()),
        name: subject.name,
        tool: String::new(),
        layout: None,
        left_behind: subject.left_behind,
        log_kept: None,
        options,
        source: Side {
            host: source,
            engine: subject.source_engine,
        },
        destination: Side {
            host: destination,
            engine: subject.destination_engine,
        },
        container: subject.container,
        image: subject.image,
        memory: subject.memory,
        ahead: subject.ahead,
        observer,
        interrupted,
        measured: Measured::default(),
        warnings: Vec::new(),
        id: "dry-run".to_owned(),
        journal: None,
        source_done: false,
        left: false,
    };
    for warning in subject.warnings {
        context.warn(warning);
    }
    if !options.dry_run {
        let home = options.journal.as_deref().ok_or_else(|| {
            Failure::refused("local", "there is no folder for the journal of migrations: neither XDG_STATE_HOME nor HOME is set")
                .fix("export HOME=FOLDER")
        })?;
        let record = Record::new(&context)?;
        context.id.clone_from(&record.id);
        context.journal = Some(Journal::begin(home, record)?);
    }
    Ok(context)
}

/// How the phases ended.
pub(crate) enum End {
    Committed,
    Undone(Failure, &'static str),
    Doubt(Failure, &'static str, Doubt),
}

fn drive(
    phases: &mut Phases,
    context: &mut Context,
    phase_now: &Mutex<&'static str>,
    done: &mut Vec<PhaseReport>,
) -> End {
    for index in 0..phases.before_commit.len() {
        let phase = &mut phases.before_commit[index];
        let name = phase.name();
        *phase_now.lock().expect("no panic while held") = name;
        let can = phase.can_be_interrupted();
        let result = if can && context.is_interrupted() {
            Err(Failure::new(
                Kind::Interrupted,
                format!("interrupted before {name}"),
            ))
        } else {
            // On disk before anything stands still; then only to be found by another process.
            let durable = name == "freeze" || name == "checkpoint";
            context
                .note(Some(name), durable)
                .and_then(|()| one(&mut **phase, context, done))
        };
        let result = match result {
            // The last moment to turn back: what follows cannot be undone.
            Ok(())
                if can && index + 1 == phases.before_commit.len() && context.is_interrupted() =>
            {
                Err(Failure::new(
                    Kind::Interrupted,
                    format!("interrupted after {name}"),
                ))
            }
            other => other,
        };
        if let Err(failure) = result {
            context.tell(Event::Undoing {
                why: failure.what.clone(),
            });
            return match take_back(&mut phases.before_commit[..=index], context) {
                Ok(()) => End::Undone(failure, name),
                Err(doubt) => End::Doubt(failure, name, doubt),
            };
        }
    }
    if let Some(journal) = &mut context.journal {
        journal.record.committed = true;
    }
    if let Err(failure) = context.note(None, true) {
        context.warn(failure.what);
    }
    wind_up(&mut phases.after_commit, context, phase_now, done);
    End::Committed
}

/// Undoes phases, last first.
pub(crate) fn take_back(phases: &mut [Box<dyn Phase>], context: &mut Context) -> Result<(), Doubt> {
    phases
        .iter_mut()
        .rev()
        .try_for_each(|phase| phase.undo(context))?;
    context.measured.ended.take().map_or(Ok(()), Err)
}

/// Runs the phases after the commit point: they only warn.
pub(crate) fn wind_up(
    phases: &mut [Box<dyn Phase>],
    context: &mut Context,
    phase_now: &Mutex<&'static str>,
    done: &mut Vec<PhaseReport>,
) {
    for phase in phases {
        *phase_now.lock().expect("no panic while held") = phase.name();
        if let Err(failure) = one(&mut **phase, context, done) {
            let mut text = failure.what;
            for fix in failure.fix {
                text = format!("{text}; {fix}");
            }
            context.leave(text);
        }
    }
}

fn one(
    phase: &mut dyn Phase,
    context: &mut Context,
    done: &mut Vec<PhaseReport>,
) -> Result<(), Failure> {
    let name = phase.name();
    if !context.options.dry_run {
        context.tell(Event::Begin {
            phase: name,
            title: phase.title(context),
        });
    }
    context.measured.phase_bytes = None;
    let start = Instant::now();
    phase.run(context)?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = context.measured.phase_bytes;
    context.tell(Event::End {
        phase: name,
        seconds,
        bytes,
    });
    done.push(PhaseReport {
        name: name.to_owned(),
        seconds,
        bytes,
    });
    Ok(())
}
