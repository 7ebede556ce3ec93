//! runc while it restores, as a child of ours.

use crate::watch::Watch;
use crate::{gate, processes};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(1);

/// Starts it.
pub(crate) fn spawn(command: &mut Command) -> Result<Child, String> {
    let started = command.spawn();
    started.map_err(|error| format!("runc cannot be started: {error}"))
}

/// Its process id.
pub(crate) fn number(runc: &Child) -> Result<i32, String> {
    i32::try_from(runc.id()).map_err(|error| format!("runc: {error}"))
}

/// Ends it, and all that it started.
pub(crate) fn end(runc: &mut Child) {
    // Another may have the number of one that has ended.
    if runc.try_wait().is_ok_and(|ended| ended.is_some()) {
        return;
    }
    if let Ok(pid) = number(runc) {
        processes::kill(pid);
    }
    let _ = runc.wait();
}

/// Work that goes on beside CRIU.
pub(crate) type Beside<'scope> = ScopedJoinHandle<'scope, Result<(), String>>;

/// Begins to work on what CRIU restores, by its process id, once that is there.
pub(crate) fn beside<'scope>(
    runc: i32,
    work: &'scope (impl Fn(i32) -> Result<(), String> + Sync),
    scope: &'scope Scope<'scope, '_>,
) -> Option<Beside<'scope>> {
    let first = processes::apart(runc)?;
    Some(scope.spawn(move || work(first)))
}

/// Waits for the end of a restore, and ends one that hangs; `meanwhile` is called again and again.
pub(crate) fn watched(
    runc: &mut Child,
    gate: &OwnedFd,
    mut meanwhile: impl FnMut(),
) -> Result<ExitStatus, String> {
    let mut watch = Watch::new(number(runc)?);
    loop {
        let ended = runc.try_wait().map_err(|error| format!("runc: {error}"))?;
        if let Some(status) = ended {
            return Ok(status);
        }
        meanwhile();
        // CRIU waits for ever for memory that nobody brings any more, or for what was killed, and runc for what a
        // killed CRIU left.
        let why = if !gate::is_held(gate, LOOK) {
            "the migration that was to bring this container ended"
        } else if watch.is_over() {
            "CRIU, or the container's first process, was killed while it was restored"
        } else {
            continue;
        };
        end(runc);
        return Err(why.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    use std::sync::Mutex;

    #[test]
    fn work_begins_once_there_is_something_with_a_network_of_its_own() {
        let worked = Mutex::new(Vec::new());
        let work = |pid| {
            worked.lock().unwrap().push(pid);
            Ok(())
        };
        // In the place of runc: first there is only CRIU; all of it is still at work afterwards.
        let script =
            "sleep 60 & echo; read go; unshare --net sh -c 'echo $$; exec sleep 60' & wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped());
        let mut runc = spawn(command.stdout(Stdio::piped())).unwrap();
        let mut out = BufReader::new(runc.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let pid = number(&runc).unwrap();
        std::thread::scope(|scope| assert!(beside(pid, &work, scope).is_none()));
        drop(runc.stdin.take());
        out.read_line(&mut line).unwrap();
        std::thread::scope(|scope| assert!(beside(pid, &work, scope).is_some()));
        assert_eq!(
            *worked.lock().unwrap(),
            [line.trim().parse::<i32>().unwrap()]
        );
        end(&mut runc);
    }
}
