//! Runs the phases, and undoes them.

use crate::context::{Context, Measured, Side};
use crate::event::{Event, Observer};
use crate::inspection::{self, Subject};
use crate::journal::{Journal, Reach, Record};
use crate::report::{FailureReport, Outcome, PhaseReport, PlannedCommand, Report};
use crate::{Failure, Kind, Mode, Options, copy, tarball};
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
        let subject = inspection::inspect(&source, &destination, options)?;
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
        Ok(subject)
    })();
    let subject = match outcome {
        Ok(subject) => subject,
        Err(failure) => {
            let failure: Failure = failure;
            report.total_seconds = start.elapsed().as_secs_f64();
            return refused(report, &failure);
        }
    };
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
        Mode::Copy => copy::phases(options.copy_bind),
        Mode::PostCopy => copy::post_copy(options.copy_bind),
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
        .try_for_each(|phase| phase.undo(context))
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

pub(crate) fn blank(source: &str, destination: &str, options: &Options) -> Report {
    Report {
        schema: "transship/migrate/1".into(),
        outcome: Outcome::Refused,
        id: String::new(),
        mode: options.mode,
        container: options.container.to_string(),
        name: options
            .name
            .as_ref()
            .unwrap_or(&options.container)
            .to_string(),
        source: source.into(),
        destination: destination.into(),
        phases: Vec::new(),
        downtime_seconds: None,
        total_seconds: 0.0,
        bytes_sent: None,
        bytes_received: None,
        tarball_bytes: None,
        plan: Vec::new(),
        warnings: Vec::new(),
        failure: None,
        state: String::new(),
        next: Vec::new(),
        exit_code: 0,
    }
}

/// The report of a migration between hosts that could not even be connected.
pub fn refuse(source: &str, destination: &str, options: &Options, failure: &Failure) -> Report {
    refused(blank(source, destination, options), failure)
}

/// The report of a migration that was not begun.
pub(crate) fn refused(mut report: Report, failure: &Failure) -> Report {
    report.outcome = Outcome::Refused;
    report.exit_code = match failure.kind {
        Kind::Usage => 2,
        Kind::Unreachable => 3,
        Kind::Interrupted => 130,
        Kind::Refused | Kind::Failed => 4,
    };
    report.failure = Some(FailureReport::new(failure, None));
    report.state = "nothing was changed".into();
    report
}

/// The report, and the last word in the journal.
pub(crate) fn finish(
    mut report: Report,
    mut context: Context,
    end: End,
    plan: Vec<PlannedCommand>,
) -> Report {
    let (container, source, destination) = (
        report.container.clone(),
        report.source.clone(),
        report.destination.clone(),
    );
    let measured = &context.measured;
    report.id.clone_from(&context.id);
    report.warnings = context.warnings.clone();
    report.tarball_bytes = measured.tarball_bytes;
    report.bytes_sent = measured.wire.map(|wire| wire.sent);
    report.bytes_received = measured.wire.map(|wire| wire.received);
    report.plan = plan;
    match end {
        End::Committed if context.options.dry_run => {
            report.outcome = Outcome::Planned;
            report.tarball_bytes = None;
            report.state = format!("nothing was changed: {container} runs on {source}");
        }
        End::Committed => {
            report.outcome = Outcome::Migrated;
            report.downtime_seconds = match (
                measured.last_sign_on_source,
                measured.first_sign_on_destination,
            ) {
                (Some(last), Some(first)) => Some(first.duration_since(last).as_secs_f64()),
                _ => None,
            };
            report.state = format!("{} runs on {destination}", report.name);
            report.next = vec![move_back(&report, &context.options.reach)];
        }
        End::Undone(failure, "prepare") if failure.kind == Kind::Refused => {
            report = refused(report, &failure);
        }
        End::Undone(failure, phase) => {
            report.outcome = Outcome::RolledBack;
            report.exit_code = if failure.kind == Kind::Interrupted {
                130
            } else {
                6
            };
            report.failure = Some(FailureReport::new(&failure, Some(phase)));
            report.state = if context.source_done {
                format!("{container} goes on on {source} since an earlier undo")
            } else if measured.stood_still {
                format!(
                    "{container} runs on {source}: it was frozen for a moment and goes on where it was"
                )
            } else if measured.last_sign_on_source.is_some() {
                format!(
                    "{container} runs on {source} again, from its checkpoint; it was not started anew"
                )
            } else {
                format!("{container} runs on {source}: it was never stopped")
            };
        }
        End::Doubt(failure, phase, doubt) => {
            report.outcome = Outcome::InDoubt;
            report.exit_code = 7;
            report.failure = Some(FailureReport::new(&failure, Some(phase)));
            report.state = doubt.what;
            report.next = doubt.fix;
            report.next.push(format!(
                "or, once both hosts answer, here: {}",
                undo_line(&context.id)
            ));
        }
    }
    if let Some(journal) = &mut context.journal {
        journal.record.outcome = Some(report.outcome);
        journal.record.left = context.left;
        if journal.record.is_over() {
            // It holds the container's configuration, passwords in its environment too.
            journal.record.known = None;
        }
        if let Err(failure) = journal.save(true) {
            report.warnings.push(failure.what);
        }
    }
    if context.left && report.outcome != Outcome::InDoubt {
        report.next.push(format!(
            "what is left of it on the hosts: {}",
            undo_line(&context.id)
        ));
    }
    report
}

/// The command that undoes, or finishes, a migration.
pub(crate) fn undo_line(id: &str) -> String {
    format!("transship migrate undo {id}")
}

pub(crate) fn move_back(report: &Report, reach: &Reach) -> String {
    let mut words = vec!["migrate".to_owned(), report.name.clone()];
    words.extend([
        "--from".to_owned(),
        report.destination.clone(),
        "--to".to_owned(),
        report.source.clone(),
    ]);
    if report.name != report.container {
        words.extend(["--name".to_owned(), report.container.clone()]);
    }
    words.extend(["--mode".to_owned(), report.mode.as_str().to_owned()]);
    let words: Vec<_> = words.iter().map(|word| host::quote(word)).collect();
    format!("{} {}", reach.invocation(), words.join(" "))
}
