//! The destination of a post-copy: the container goes on before its memory is there.

use crate::destination::{Starting, finished, shout, tell};
use crate::error::{AgentError, Result};
use crate::job::{COMPLETE, Event, ReceiveJob, Took};
use crate::keep::{KeepJob, Keeper, end, open};
use crate::lazy::Daemon;
use crate::link::Incoming;
use crate::pagemap::{PAGE, lazy_pages};
use crate::tunnel::{SILENCE, Shared, Tunnel, Way};
use runtime::{marks, pending};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// How often the runtime's sign is looked for.
const LOOK: Duration = Duration::from_millis(1);
/// How long a daemon that ended may take until it is known how.
const MOMENT: Duration = Duration::from_secs(2);
/// How often is told what is left.
const TELL: Duration = Duration::from_millis(100);

/// What is needed to fetch pages.
pub(crate) struct Pages {
    /// For how long the source may be out of reach.
    pub limit: Duration,
    /// Connections from there.
    pub offered: Receiver<Incoming>,
    pub shared: Arc<Shared>,
    /// Waits to be told whom it guards.
    pub keeper: Keeper,
}

impl Pages {
    /// Lets the container go on and fetches its memory. Until all of it has come, whatever goes wrong ends
    /// the container: it never runs with a page that is not its own.
    pub fn fetch(
        self,
        job: &ReceiveJob,
        bytes: u64,
        gate: &OwnedFd,
        started: Starting<'_>,
        control: &mut (dyn Write + Send),
    ) -> Result<()> {
        let total = lazy_pages(&job.images);
        let (daemon, local) = Daemon::start(&job.images, &job.pending.join("work"))?;
        let Pages {
            limit,
            offered,
            shared,
            keeper,
        } = self;
        std::thread::scope(|scope| {
            let (carrying, daemon) = (Arc::clone(&shared), &daemon);
            let carried = scope.spawn(move || carry(local, offered, limit, carrying, daemon));
            // From here on an end of whoever steers ends nothing.
            shared.goes.store(true, Relaxed);
            let opened = marks::now();
            let goes = go(
                job,
                bytes,
                gate,
                started,
                control,
                (daemon, keeper),
                &shared,
            );
            let mut guard = match goes {
                Ok(guard) => guard,
                Err(error) => {
                    shared.stop.store(true, Relaxed);
                    let why = carried.join().ok().and_then(Result::err);
                    daemon.kill();
                    return Err(match (error, why) {
                        (AgentError::Ended, Some(why)) => why,
                        (error, _) => error,
                    });
                }
            };
            let (tell_later, told) = sync_channel(1);
            let telling = scope.spawn(move || {
                // Whoever hears may be slow or gone; what is told last is told in any case.
                while let Ok(event) = told.recv() {
                    let _ = tell(control, &event);
                }
            });
            let _ = tell_later.send(Event::Started {
                took: Took::since(opened, &job.images),
            });
            let result = come(carried, &shared, || {
                guard.look();
                let have = shared.received.load(Relaxed) / PAGE;
                let _ = tell_later.try_send(Event::Pages {
                    left: total.saturating_sub(have),
                    total,
                    cut: shared.cut.load(Relaxed),
                });
            });
            let event = match &result {
                Ok(()) => {
                    guard.done();
                    let _ = std::fs::write(job.images.with_file_name(COMPLETE), "");
                    Event::Complete { wire: None }
                }
                Err(why) => {
                    let ended = guard.lost();
                    daemon.kill();
                    Event::Lost {
                        why: why.to_string(),
                        ended,
                    }
                }
            };
            let _ = tell_later.send(event);
            drop(tell_later);
            let _ = telling.join();
            // The scope ends once the source knows it too, or we were told to stop.
            result
        })
    }
}

/// Waits until all pages have come, though the source may not know it yet, or until they will not come any more;
/// `now_and_then` is called meanwhile.
fn come(
    carried: ScopedJoinHandle<'_, Result<()>>,
    shared: &Shared,
    mut now_and_then: impl FnMut(),
) -> Result<()> {
    let mut since = Instant::now();
    while !carried.is_finished() {
        // With the link cut, its last words may take longer than the keeper waits for ours.
        if shared.done.load(Relaxed) {
            return Ok(());
        }
        std::thread::sleep(LOOK);
        if since.elapsed() > TELL {
            since = Instant::now();
            now_and_then();
        }
    }
    carried
        .join()
        .unwrap_or_else(|_| Err(AgentError::Other("the thread with the pages ended".into())))
}

fn carry(
    local: UnixStream,
    offered: Receiver<Incoming>,
    limit: Duration,
    shared: Arc<Shared>,
    daemon: &Daemon,
) -> Result<()> {
    let ended = |_: bool| {
        daemon.ended_well()?;
        shared.done.store(true, Relaxed);
        Ok(())
    };
    let result = Tunnel::new(
        local,
        Way::Accept(offered),
        limit,
        Arc::clone(&shared),
        &ended,
    )
    .run();
    if shared.done.load(Relaxed) {
        return Ok(());
    }
    shared.lost.store(true, Relaxed);
    result
}

/// Opens the gate, holds the user faults of what is restored, and lets it go on.
fn go(
    job: &ReceiveJob,
    bytes: u64,
    gate: &OwnedFd,
    started: Starting<'_>,
    control: &mut (dyn Write + Send),
    (daemon, keeper): (&Daemon, Keeper),
    shared: &Shared,
) -> Result<Guard> {
    if let Err(gone) = shout(gate, pending::GO) {
        finished(started)?;
        return Err(gone);
    }
    let _ = tell(control, &Event::Arrived { bytes });
    let pid = job.pending.join(pending::PID);
    let limit = Duration::from_secs(job.frozen_seconds);
    let mut linked = Instant::now();
    while !pid.exists() {
        if started.is_finished() {
            finished(started)?;
            return Err(AgentError::Other(
                "the engine started the container, but it was not restored".into(),
            ));
        }
        if shared.stop.load(Relaxed) || shared.lost.load(Relaxed) {
            // The runtime sees that the gate is closed, and ends the restore.
            return Err(AgentError::Ended);
        }
        if !shared.cut.load(Relaxed) || shared.done.load(Relaxed) {
            linked = Instant::now();
        } else if linked.elapsed() + SILENCE > limit {
            // CRIU may wait for a page, and the container stands frozen.
            return Err(AgentError::Link(job.frozen_seconds));
        }
        std::thread::sleep(LOOK);
    }
    let guarded = guarded(&pid, daemon)?;
    let keeper = match keeper.hold(&guarded) {
        Ok(keeper) => Some(keeper),
        // A small container has all its memory before it goes on.
        Err(_) if has_all(shared) => None,
        Err(error) => return Err(error),
    };
    let kept = job.pending.join(pending::KEPT);
    std::fs::write(&kept, "").map_err(|error| AgentError::file(&kept, error))?;
    let mut guard = Guard {
        keeper,
        job: guarded,
    };
    while !started.is_finished() {
        // The engine may take longer to say that it runs than the keeper waits for our word.
        if shared.done.load(Relaxed) {
            guard.done();
        }
        std::thread::sleep(LOOK);
    }
    match finished(started) {
        Ok(()) => Ok(guard),
        Err(error) => {
            guard.lost();
            Err(error)
        }
    }
}

/// Whether the last page has come; a daemon that has just ended is given a moment to have ended well.
fn has_all(shared: &Shared) -> bool {
    let since = Instant::now();
    while !shared.done.load(Relaxed) && !shared.lost.load(Relaxed) && since.elapsed() < MOMENT {
        std::thread::sleep(LOOK);
    }
    shared.done.load(Relaxed)
}

/// The restored container's first process, and the daemon with its user faults.
fn guarded(pid: &Path, daemon: &Daemon) -> Result<KeepJob> {
    let text = std::fs::read_to_string(pid).map_err(|error| AgentError::file(pid, error))?;
    let container = text
        .trim()
        .parse()
        .map_err(|_| AgentError::Other(format!("`{text}` is no process id")))?;
    let daemon = daemon
        .pid()
        .ok_or_else(|| AgentError::Other("CRIU's lazy-pages daemon is gone".into()))?;
    Ok(KeepJob { container, daemon })
}

/// The keeper, and how another is made if it goes.
struct Guard {
    keeper: Option<Keeper>,
    job: KeepJob,
}

impl Guard {
    /// Another keeper, where this one went.
    fn look(&mut self) {
        if self.keeper.as_ref().is_none_or(|keeper| !keeper.holds()) {
            self.keeper = Keeper::start(&self.job).ok();
        }
    }

    /// All pages have come: it is needed no more.
    fn done(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.done();
        }
    }

    /// Ends the container; whether that is certain.
    fn lost(mut self) -> bool {
        self.look();
        if let Some(keeper) = self.keeper {
            return keeper.lost().is_ok();
        }
        // Nobody holds them now: what still runs is ended at once.
        open(self.job.container)
            .and_then(|handle| end(self.job.container, &handle))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// The stream is open, and what happens to it is told.
    fn come_with(told: impl FnOnce(&Shared)) -> Result<()> {
        let shared = Shared::default();
        let (end, ended) = channel::<()>();
        std::thread::scope(|scope| {
            let carried = scope.spawn(move || {
                let _ = ended.recv();
                Err(AgentError::Ended)
            });
            told(&shared);
            let mut end = Some(end);
            let begun = Instant::now();
            let result = come(carried, &shared, || {
                if begun.elapsed() > MOMENT {
                    drop(end.take());
                }
            });
            drop(end);
            result
        })
    }

    #[test]
    fn all_pages_are_there_once_the_daemon_has_them_though_the_source_cannot_be_told() {
        come_with(|shared| shared.done.store(true, Relaxed)).unwrap();
    }

    #[test]
    fn they_will_not_come_where_the_stream_ends_before() {
        let why = come_with(|_| {}).unwrap_err();
        assert!(matches!(why, AgentError::Ended), "{why}");
    }
}
