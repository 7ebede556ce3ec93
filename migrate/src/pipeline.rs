//! Runs the phases, and undoes them.

use crate::context::{Context, Measured, Side};
use crate::event::{Event, Observer};
use crate::inspection::{self, Subject};
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
    let Subject {
        name,
        source_docker,
        destination_docker,
        container,
        image,
        memory,
        left_behind,
        warnings,
    } = subject;
    let mut context = Context {
        new_name: options.name.clone().unwrap_or_else(|| name.clone()),
        name,
        layout: None,
        left_behind,
        log_kept: None,
        options,
        source: Side {
            host: source,
            docker: source_docker,
        },
        destination: Side {
            host: destination,
            docker: destination_docker,
        },
        container,
        image,
        memory,
        observer,
        interrupted,
        measured: Measured::default(),
        warnings: Vec::new(),
    };
    for warning in warnings {
        context.warn(warning);
    }
    let mut phases = match options.mode {
        Mode::Copy => copy::phases(),
        Mode::Tarball => tarball::phases(),
    };
    let result = drive(&mut phases, &mut context, &phase_now, &mut report.phases);
    report.total_seconds = start.elapsed().as_secs_f64();
    finish(
        report,
        context,
        result,
        std::mem::take(&mut *plan.lock().expect("no panic while held")),
    )
}

/// How the phases ended.
enum End {
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
        let result = if context.is_interrupted() {
            Err(Failure::new(
                Kind::Interrupted,
                format!("interrupted before {name}"),
            ))
        } else {
            one(&mut **phase, context, done)
        };
        let result = match result {
            // The last moment to turn back: what follows cannot be undone.
            Ok(()) if index + 1 == phases.before_commit.len() && context.is_interrupted() => Err(
                Failure::new(Kind::Interrupted, format!("interrupted after {name}")),
            ),
            other => other,
        };
        if let Err(failure) = result {
            context.tell(Event::Undoing {
                why: failure.what.clone(),
            });
            for phase in phases.before_commit[..=index].iter_mut().rev() {
                if let Err(doubt) = phase.undo(context) {
                    return End::Doubt(failure, name, doubt);
                }
            }
            return End::Undone(failure, name);
        }
    }
    for phase in &mut phases.after_commit {
        *phase_now.lock().expect("no panic while held") = phase.name();
        if let Err(failure) = one(&mut **phase, context, done) {
            let mut text = failure.what;
            for fix in failure.fix {
                text = format!("{text}; {fix}");
            }
            context.warn(text);
        }
    }
    End::Committed
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

fn blank(source: &str, destination: &str, options: &Options) -> Report {
    Report {
        schema: "transship/migrate/1".into(),
        outcome: Outcome::Refused,
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
fn refused(mut report: Report, failure: &Failure) -> Report {
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

fn finish(mut report: Report, context: Context, end: End, plan: Vec<PlannedCommand>) -> Report {
    let (container, source, destination) = (
        report.container.clone(),
        report.source.clone(),
        report.destination.clone(),
    );
    let measured = &context.measured;
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
            report.next = vec![move_back(&report, &context.options.invocation)];
        }
        End::Undone(failure, phase) => {
            report.outcome = Outcome::RolledBack;
            report.exit_code = if failure.kind == Kind::Interrupted {
                130
            } else {
                6
            };
            report.failure = Some(FailureReport::new(&failure, Some(phase)));
            report.state = if measured.stood_still {
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
        }
    }
    report
}

fn move_back(report: &Report, invocation: &str) -> String {
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
    format!("{invocation} {}", words.join(" "))
}
