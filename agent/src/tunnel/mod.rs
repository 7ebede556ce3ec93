//! A stream of bytes between a process here and one on the other host that outlives the connection that
//! carries it.
//!
//! Neither CRIU's page server nor its lazy-pages daemon survives the loss of its connection, and with
//! either the container's memory would be lost. So each talks to a socket of its own host, and what it says
//! is numbered, kept until the other side has acknowledged it, and sent again over a new connection where
//! the old one broke or fell silent. Only after a silence of a given length it is given up.

mod carrier;
mod shared;
mod way;

use crate::error::{AgentError, Result};
use carrier::{ACK, Carrier, DATA, END, GOES, HELLO, LOST, Open};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use way::AGAIN;

pub(crate) use shared::Shared;
pub(crate) use way::Way;

/// Most that is kept unacknowledged, and most that waits for the local process.
const WINDOW: usize = 8 << 20;
/// Bytes of one frame.
const PIECE: usize = 64 * 1024;
/// How often a side is heard from at least.
const BEAT: Duration = Duration::from_millis(250);
/// After this much silence a connection is thought broken, and another is tried.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
/// How often things that no file descriptor tells are looked at.
const TICK: Duration = Duration::from_millis(25);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the end of the local process means: an error says why the stream is lost.
pub(crate) type OnEnd<'a> = dyn Fn(bool) -> std::result::Result<(), String> + Sync + 'a;

/// One side of the stream.
pub(crate) struct Tunnel<'a> {
    local: UnixStream,
    way: Way,
    /// After this much silence all is lost.
    limit: Duration,
    shared: Arc<Shared>,
    on_end: &'a OnEnd<'a>,
    /// Ours, from `base` on, not acknowledged.
    out: VecDeque<u8>,
    base: u64,
    /// Handed to the connection, counted from the start.
    sent: u64,
    /// Theirs, not yet given to the local process.
    pending: VecDeque<u8>,
    /// Received, counted from the start; and how much of it they know of.
    have: u64,
    told: u64,
    local_ended: bool,
    remote_ended: bool,
    goes_told: bool,
}

impl<'a> Tunnel<'a> {
    pub fn new(
        local: UnixStream,
        way: Way,
        limit: Duration,
        shared: Arc<Shared>,
        on_end: &'a OnEnd<'a>,
    ) -> Self {
        Tunnel {
            local,
            way,
            limit,
            shared,
            on_end,
            out: VecDeque::new(),
            base: 0,
            sent: 0,
            pending: VecDeque::new(),
            have: 0,
            told: 0,
            local_ended: false,
            remote_ended: false,
            goes_told: false,
        }
    }

    /// Carries until both sides have ended.
    ///
    /// # Errors
    /// The link did not come back in time, the process on either side ended too early, or it was told to stop.
    pub fn run(mut self) -> Result<()> {
        self.local
            .set_nonblocking(true)
            .map_err(AgentError::receiving)?;
        let mut carrier: Option<Carrier> = None;
        let mut heard = Instant::now();
        let mut tried = heard.checked_sub(AGAIN).unwrap_or(heard);
        loop {
            if self.shared.stop.load(Relaxed) {
                self.farewell(carrier, Some("the migration was ended"));
                return Err(AgentError::Ended);
            }
            if let Some(found) = self.way.next(carrier.is_some(), &mut tried) {
                carrier = Some(self.greet(found)?);
            }
            if let Some(now) = &mut carrier {
                heard = now.heard.max(heard);
                if now.heard.elapsed() > SILENCE {
                    carrier = None;
                }
            }
            self.shared.cut.store(carrier.is_none(), Relaxed);
            if heard.elapsed() > self.limit {
                return self.unless_complete(AgentError::Link(self.limit.as_secs()));
            }
            match self.step(&mut carrier) {
                Ok(()) => {}
                Err(Stop::Connection) => carrier = None,
                Err(Stop::Here(why)) => {
                    self.farewell(carrier, Some(&why));
                    return Err(AgentError::Other(why));
                }
                Err(Stop::There(why)) => return self.unless_complete(AgentError::Other(why)),
            }
            // The process here ended well, and the other has its last words.
            if self.local_ended && (self.remote_ended || self.out.is_empty()) {
                self.farewell(carrier, None);
                return Ok(());
            }
        }
    }

    /// A daemon that has ended well has all pages: whatever becomes of the other side then is no loss.
    fn unless_complete(&self, why: AgentError) -> Result<()> {
        if self.local_ended && matches!(self.way, Way::Accept(_)) {
            return Ok(());
        }
        Err(why)
    }

    fn greet(&mut self, mut carrier: Carrier) -> Result<Carrier> {
        carrier
            .sock
            .tcp()
            .set_nonblocking(true)
            .map_err(AgentError::receiving)?;
        carrier.frame(HELLO, &self.have.to_le_bytes());
        self.goes_told = false;
        Ok(carrier)
    }

    fn step(&mut self, carrier: &mut Option<Carrier>) -> std::result::Result<(), Stop> {
        if let Some(carrier) = carrier {
            if !carrier.greeted {
                // What came with the connection itself wakes nobody.
                self.hear_there(carrier)?;
            }
            self.fill(carrier);
        }
        let mut fds = Vec::with_capacity(2);
        let mut wanted = PollFlags::empty();
        if !self.local_ended && self.out.len() < WINDOW {
            wanted |= PollFlags::IN;
        }
        if !self.pending.is_empty() {
            wanted |= PollFlags::OUT;
        }
        let local = self.local.try_clone().map_err(|_| Stop::Connection)?;
        // A socket that is not asked anything still tells of its end, again and again.
        if !wanted.is_empty() {
            fds.push(PollFd::new(&local, wanted));
        }
        let tcp = carrier
            .as_ref()
            .and_then(|carrier| carrier.sock.tcp().try_clone().ok());
        if let (Some(carrier), Some(tcp)) = (&carrier, &tcp) {
            let mut wanted = PollFlags::empty();
            if self.pending.len() < WINDOW {
                wanted |= PollFlags::IN;
            }
            if carrier.tls.wants_write() {
                wanted |= PollFlags::OUT;
            }
            if !wanted.is_empty() {
                fds.push(PollFd::new(tcp, wanted));
            }
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(TICK.subsec_nanos()),
        };
        // Interrupted is as good as nothing.
        let _ = poll(&mut fds, Some(&timeout));
        drop(fds);
        self.hear_here()?;
        if let Some(carrier) = carrier {
            self.fill(carrier);
            carrier.write().map_err(|_| Stop::Connection)?;
            if self.pending.len() < WINDOW {
                self.hear_there(carrier)?;
            }
        }
        self.say_here()
    }

    /// Gives the connection what there is to say, as long as it takes it.
    fn fill(&mut self, carrier: &mut Carrier) {
        while !carrier.tls.wants_write() {
            let from = usize::try_from(self.sent - self.base).unwrap_or(usize::MAX);
            if carrier.beat.elapsed() >= BEAT || self.have - self.told >= (WINDOW / 8) as u64 {
                carrier.frame(ACK, &self.have.to_le_bytes());
                self.told = self.have;
                carrier.beat = Instant::now();
            } else if !carrier.greeted {
                return;
            } else if self.shared.goes.load(Relaxed) && !self.goes_told {
                carrier.frame(GOES, &[]);
                self.goes_told = true;
            } else if from < self.out.len() {
                let (front, back) = self.out.as_slices();
                let piece = if from < front.len() {
                    &front[from..]
                } else {
                    &back[from - front.len()..]
                };
                let piece = &piece[..piece.len().min(PIECE)];
                carrier.frame(DATA, piece);
                self.sent += piece.len() as u64;
            } else if self.local_ended && !carrier.end_told {
                carrier.frame(END, &[]);
                carrier.end_told = true;
            } else {
                return;
            }
        }
    }

    fn hear_here(&mut self) -> std::result::Result<(), Stop> {
        let mut buffer = [0; PIECE];
        while !self.local_ended && self.out.len() < WINDOW {
            match self.local.read(&mut buffer) {
                Ok(0) => {
                    (self.on_end)(self.remote_ended).map_err(Stop::Here)?;
                    self.local_ended = true;
                }
                Ok(n) => self.out.extend(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Reset: it ended with something of ours unread.
                Err(_) => {
                    (self.on_end)(self.remote_ended).map_err(Stop::Here)?;
                    self.local_ended = true;
                }
            }
        }
        Ok(())
    }

    fn say_here(&mut self) -> std::result::Result<(), Stop> {
        while !self.pending.is_empty() {
            let (front, _) = self.pending.as_slices();
            match self.local.write(front) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It is gone: reading tells.
                Err(_) => self.pending.clear(),
            }
        }
        if self.remote_ended && !self.local_ended {
            let _ = self.local.shutdown(std::net::Shutdown::Write);
        }
        Ok(())
    }

    fn hear_there(&mut self, carrier: &mut Carrier) -> std::result::Result<(), Stop> {
        while self.pending.len() < WINDOW {
            let open = carrier.read().map_err(|_| Stop::Connection)?;
            while let Some((kind, payload)) = carrier.next() {
                self.frame(carrier, kind, &payload)?;
            }
            match open {
                Open::More => {}
                Open::Later => return Ok(()),
                Open::Ended => return Err(Stop::Connection),
            }
        }
        Ok(())
    }

    fn frame(
        &mut self,
        carrier: &mut Carrier,
        kind: u8,
        payload: &[u8],
    ) -> std::result::Result<(), Stop> {
        match kind {
            HELLO | ACK => {
                let theirs = <[u8; 8]>::try_from(payload).map_or(0, u64::from_le_bytes);
                let more = theirs
                    .checked_sub(self.base)
                    .and_then(|more| usize::try_from(more).ok())
                    .filter(|more| *more <= self.out.len())
                    .ok_or_else(|| Stop::Here("the two hosts count differently".into()))?;
                self.out.drain(..more);
                self.base = theirs;
                if kind == HELLO {
                    carrier.greeted = true;
                    self.sent = self.base;
                }
            }
            DATA => {
                self.pending.extend(payload);
                self.have += payload.len() as u64;
                self.shared.received.store(self.have, Relaxed);
            }
            END => self.remote_ended = true,
            GOES => self.shared.goes.store(true, Relaxed),
            LOST => return Err(Stop::There(String::from_utf8_lossy(payload).into_owned())),
            _ => return Err(Stop::Connection),
        }
        Ok(())
    }

    /// Says the last words and waits a moment for the other side to have them.
    fn farewell(&mut self, carrier: Option<Carrier>, lost: Option<&str>) {
        let Some(mut carrier) = carrier else { return };
        if let Some(why) = lost {
            carrier.frame(LOST, why.as_bytes());
        }
        carrier.beat = Instant::now();
        let until = Instant::now() + FAREWELL;
        while Instant::now() < until {
            if lost.is_none() {
                self.fill(&mut carrier);
            }
            if !carrier.tls.wants_write() {
                break;
            }
            if carrier.write().is_err() {
                return;
            }
            if carrier.tls.wants_write() {
                std::thread::sleep(TICK / 5);
            }
        }
        carrier.tls.send_close_notify();
        let _ = carrier.write();
        let _ = carrier.sock.tcp().shutdown(std::net::Shutdown::Write);
        // What is closed with something unread in it is reset, and our last words with it.
        while Instant::now() < until && matches!(carrier.read(), Ok(Open::More | Open::Later)) {
            std::thread::sleep(TICK / 5);
        }
    }
}

/// Why a step did not end well.
enum Stop {
    /// The connection broke; another may come.
    Connection,
    /// The process here ended too early.
    Here(String),
    /// The other side says why it is lost.
    There(String),
}

#[cfg(test)]
mod tests;
