//! Mode auto: what is to be known is found out, the modes' own inspections say what is possible, and
//! [`policy`](crate::policy) chooses.

use crate::copy::{connections, lazy, rounds, subject};
use crate::inspection::{self, Subject};
use crate::policy::{self, Choice, ModeFacts};
use crate::{Failure, Kind, Mode, Options};
use host::Host;
use host::facts::container::Container;
use host::facts::link;
use std::sync::Arc;

/// Looks at both hosts, chooses a mode, and says what was found for it.
///
/// # Errors
/// Where no mode would do: what mode copy, the default, is refused for.
pub(crate) fn inspect(
    source: &Arc<dyn Host>,
    destination: &Arc<dyn Host>,
    options: &Options,
) -> Result<(Subject, Choice), Failure> {
    let with = |mode| Options {
        mode,
        ..options.clone()
    };
    match inspection::inspect(source, destination, &with(Mode::Copy)) {
        Ok(subject) => {
            let choice = policy::choose(facts(&**source, &**destination, &subject, options)?);
            Ok((subject, choice))
        }
        Err(failure) if failure.kind == Kind::Refused => {
            let tarball = inspection::inspect(source, destination, &with(Mode::Tarball));
            let Ok(subject) = tarball else {
                return Err(failure);
            };
            if !whole(&subject) {
                return Err(failure.fix("--mode tarball, which moves its memory and no files"));
            }
            connections::none_open(&**source, &subject.container)?;
            let choice = policy::choose(ModeFacts {
                memory_bytes: Some(subject.memory),
                without_copy: Some(failure.what),
                ..ModeFacts::default()
            });
            Ok((subject, choice))
        }
        Err(failure) => Err(failure),
    }
}

/// Whether mode tarball, which moves memory alone, would move all of it: whoever lets us choose does
/// not choose to lose files.
fn whole(subject: &Subject) -> bool {
    subject.left_behind.is_empty() && subject.container.mounts().is_empty()
}

/// What the choice between copy, post-copy and pre-copy depends on.
fn facts(
    source: &dyn Host,
    destination: &dyn Host,
    found: &Subject,
    options: &Options,
) -> Result<ModeFacts, Failure> {
    let without_post_copy =
        refusal(lazy::serves(source).and_then(|()| lazy::fetches(destination)))?;
    let room = || subject::memory(destination, inspection::room(Mode::PreCopy, found.memory));
    let without_pre_copy = refusal(rounds::tracks(source).and_then(|()| room()))?;
    // The container is watched for a second; the link is measured meanwhile.
    let (watched, link) = std::thread::scope(|scope| {
        let watched = scope.spawn(|| Container::gather(source, found.container.id()));
        let link = link::measure(source, destination);
        (watched.join().expect("watching does not panic"), link)
    });
    // One whose processes could not be seen tells nothing of its connections.
    let watched = watched.ok().filter(|seen| !seen.processes.is_empty());
    let activity = watched.as_ref().and_then(|seen| seen.activity);
    Ok(ModeFacts {
        memory_bytes: Some(found.memory),
        bytes_per_second: link.throughput,
        direct: link.throughput_direct,
        round_trip_seconds: link.round_trip,
        processors: activity.map(|seen| seen.ran / seen.seconds),
        touched_bytes_per_second: activity.map(|seen| seen.touched as f64 / seen.seconds),
        connections: watched.map(|seen| {
            let sockets = seen.own_sockets().into_iter();
            sockets.filter(|socket| socket.connected()).count()
        }),
        tcp_established: options.tcp_established,
        without_copy: None,
        without_post_copy,
        without_pre_copy,
    })
}

/// What a mode would be refused for; any other failure is one.
fn refusal(judged: Result<(), Failure>) -> Result<Option<String>, Failure> {
    match judged {
        Ok(()) => Ok(None),
        Err(failure) if failure.kind == Kind::Refused => Ok(Some(failure.what)),
        Err(failure) => Err(failure),
    }
}
