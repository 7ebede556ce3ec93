//! What a migration's end comes to: the report, its last word in the journal, what to type next.

use crate::context::Context;
use crate::journal::Reach;
use crate::pipeline::End;
use crate::report::{FailureReport, Outcome, PlannedCommand, Report};
use crate::{Failure, Kind, Options, ask};

pub(crate) fn blank(source: &str, destination: &str, options: &Options) -> Report {
    Report {
        schema: "transship/migrate/1".into(),
        outcome: Outcome::Refused,
        id: String::new(),
        mode: options.mode,
        choice: None,
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
        downtime_parts: None,
        total_seconds: 0.0,
        bytes_sent: None,
        bytes_received: None,
        pre_copy: None,
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
    // Its names, also where it was called by its id, which the one on the destination has not.
    report.container = context.name.to_string();
    report.name = context.new_name.to_string();
    let (container, source, destination) = (
        report.container.clone(),
        report.source.clone(),
        report.destination.clone(),
    );
    let measured = &context.measured;
    report.id.clone_from(&context.id);
    report.warnings = context.warnings.clone();
    report.tarball_bytes = measured.tarball_bytes;
    let image = measured.image_wire;
    report.bytes_sent = measured.wire.map(|wire| wire.sent + image.sent);
    report.bytes_received = measured.wire.map(|wire| wire.received + image.received);
    report.pre_copy.clone_from(&measured.pre_copy);
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
            report.downtime_parts = report
                .downtime_seconds
                .map(|seconds| measured.downtime.of(seconds))
                .filter(|parts| !parts.named().is_empty());
            report.state = format!("{} runs on {destination}", report.name);
            let options = &context.options;
            let kept = kept_options(
                options.tcp_established,
                options.copy_bind,
                options.then_post_copy,
            );
            let ignored = options.ignore.iter().cloned();
            let ignored = ignored.flat_map(|id| ["--ignore".to_owned(), id]);
            let back = move_back(&report, &options.reach, kept.chain(ignored));
            report.next = vec![back];
            if options.keep_source {
                // Its name and its volumes are in the way.
                let gone = context.kind().remove_moved(&context.name).line();
                report.next.insert(0, format!("on {source}: {gone}"));
            }
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
            report.state = if measured.started_anew {
                format!(
                    "{container} runs on {source}, where it ended while it stood frozen: it was started anew since"
                )
            } else if context.source_done {
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
                untouched(&context)
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

/// How the source stands, which was never frozen: somebody else may have ended it meanwhile.
fn untouched(context: &Context) -> String {
    let (name, on) = (&context.name, context.source.name());
    let now = ask::container(&*context.source.host, context.kind(), &context.source_id());
    match now {
        Ok(None) => {
            format!("{name} is gone from {on}: somebody removed it, transship did not touch it")
        }
        Ok(Some(now)) if now.paused() => {
            format!("{name} stands paused on {on}: somebody paused it, transship did not touch it")
        }
        Ok(Some(now)) if !now.running() => {
            format!("{name} has ended on {on}: transship did not touch it")
        }
        _ => format!("{name} runs on {on}: it was never stopped"),
    }
}

/// The command that undoes, or finishes, a migration.
pub(crate) fn undo_line(id: &str) -> String {
    format!("transship migrate undo {id}")
}

/// The options that a container needs on its way back too.
pub(crate) fn kept_options(
    tcp_established: bool,
    copy_bind: bool,
    then_post_copy: bool,
) -> impl Iterator<Item = String> {
    [
        ("--tcp-established", tcp_established),
        ("--copy-bind", copy_bind),
        ("--then-post-copy", then_post_copy),
    ]
    .into_iter()
    .filter(|(_, given)| *given)
    .map(|(option, _)| option.to_owned())
}

/// The command that moves a container back.
pub(crate) fn move_back(
    report: &Report,
    reach: &Reach,
    kept: impl Iterator<Item = String>,
) -> String {
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
    words.extend(kept);
    let words: Vec<_> = words.iter().map(|word| host::quote(word)).collect();
    format!("{} {}", reach.invocation(), words.join(" "))
}
