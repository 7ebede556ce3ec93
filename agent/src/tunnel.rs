//! A stream of bytes between a process here and one on the other host that outlives the connection that
//! carries it.
//!
//! Neither CRIU's page server nor its lazy-pages daemon survives the loss of its connection, and with
//! either the container's memory would be lost. So each talks to a socket of its own host, and what it says
//! is numbered, kept until the other side has acknowledged it, and sent again over a new connection where
//! the old one broke or fell silent. Only after a silence of a given length it is given up.

use crate::error::{AgentError, Result};
use crate::job::{Link, Token};
use crate::link::{self, Duplex, Incoming, Wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::Connection;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Most that is kept unacknowledged, and most that waits for the local process.
const WINDOW: usize = 8 << 20;
/// Bytes of one frame.
const PIECE: usize = 64 * 1024;
/// How often a side is heard from at least.
const BEAT: Duration = Duration::from_millis(250);
/// After this much silence a connection is thought broken, and another is tried.
const SILENCE: Duration = Duration::from_secs(3);
/// How often things that no file descriptor tells are looked at.
const TICK: Duration = Duration::from_millis(25);
/// Pause between two tries to connect.
const AGAIN: Duration = Duration::from_millis(250);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(2);

const HELLO: u8 = 1;
const ACK: u8 = 2;
const DATA: u8 = 3;
const END: u8 = 4;
const LOST: u8 = 5;
const GOES: u8 = 6;

/// How a side comes to a connection.
pub(crate) enum Way {
    /// It connects, again and again.
    Connect {
        link: Link,
        token: Token,
        wire: Arc<Wire>,
    },
    /// It is given those that were accepted.
    Accept(Receiver<Incoming>),
}

/// What others may learn and say while it runs.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Bytes that came from the other side.
    pub received: AtomicU64,
    /// Set to end it now.
    pub stop: AtomicBool,
    /// This side: the container goes on at the destination from now on. Other side: it said so.
    pub goes: AtomicBool,
    /// There is no connection at the moment.
    pub cut: AtomicBool,
    /// The destination's daemon has all pages.
    pub done: AtomicBool,
    /// They will not come any more.
    pub lost: AtomicBool,
}

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

/// A connection and what is known of it.
struct Carrier {
    tls: Connection,
    sock: Box<dyn Duplex>,
    buffer: Vec<u8>,
    /// They said how far they are.
    greeted: bool,
    end_told: bool,
    heard: Instant,
    beat: Instant,
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
            if let Some(found) = self.connect(carrier.is_some(), &mut tried) {
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
                return Err(AgentError::Link(self.limit.as_secs()));
            }
            match self.step(&mut carrier) {
                Ok(()) => {}
                Err(Stop::Connection) => carrier = None,
                Err(Stop::Here(why)) => {
                    self.farewell(carrier, Some(&why));
                    return Err(AgentError::Other(why));
                }
                Err(Stop::There(why)) => return Err(AgentError::Other(why)),
            }
            // The process here ended well, and the other has its last words.
            if self.local_ended && (self.remote_ended || self.out.is_empty()) {
                self.farewell(carrier, None);
                return Ok(());
            }
        }
    }

    /// A new connection, if there is one to be had.
    fn connect(&mut self, has: bool, tried: &mut Instant) -> Option<Carrier> {
        match &self.way {
            Way::Accept(from) => from.try_recv().ok().map(|stream| {
                let (tls, sock) = stream.into_parts();
                Carrier::new(tls.into(), Box::new(sock))
            }),
            Way::Connect { link, token, wire } => {
                if has || tried.elapsed() < AGAIN {
                    return None;
                }
                let stream = link::connect_counted(link, token, Arc::clone(wire)).ok();
                *tried = Instant::now();
                let (tls, sock) = stream?.into_parts();
                Some(Carrier::new(tls.into(), Box::new(sock)))
            }
        }
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

/// Whether a connection may bring more.
enum Open {
    More,
    Later,
    Ended,
}

impl Carrier {
    fn new(mut tls: Connection, sock: Box<dyn Duplex>) -> Self {
        tls.set_buffer_limit(None);
        Carrier {
            tls,
            sock,
            buffer: Vec::new(),
            greeted: false,
            end_told: false,
            heard: Instant::now(),
            beat: Instant::now(),
        }
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut writer = self.tls.writer();
        // Into a buffer without limit.
        let _ = writer.write_all(&[kind]);
        let _ = writer.write_all(&length.to_le_bytes());
        let _ = writer.write_all(payload);
    }

    fn write(&mut self) -> std::io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.sock) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has come into the buffer.
    fn read(&mut self) -> std::io::Result<Open> {
        match self.tls.read_tls(&mut self.sock) {
            Ok(0) => return Ok(Open::Ended),
            Ok(_) => self.heard = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Open::Later),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Open::More),
            Err(error) => return Err(error),
        }
        let state = self
            .tls
            .process_new_packets()
            .map_err(std::io::Error::other)?;
        let have = self.buffer.len();
        self.buffer
            .resize(have + state.plaintext_bytes_to_read(), 0);
        self.tls.reader().read_exact(&mut self.buffer[have..])?;
        Ok(Open::More)
    }

    /// Takes a whole frame out of the buffer.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let (header, rest) = self.buffer.split_first_chunk::<5>()?;
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let payload = rest.get(..length)?.to_vec();
        let kind = header[0];
        self.buffer.drain(..5 + length);
        Some((kind, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Listener;
    use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
    use std::sync::mpsc::channel;

    /// A way between two hosts that can be cut: it carries bytes to a port and back.
    struct Cable {
        port: u16,
        cut: Arc<AtomicBool>,
        dark: Arc<AtomicBool>,
    }

    impl Cable {
        fn to(port: u16) -> Cable {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let cable = Cable {
                port: listener.local_addr().unwrap().port(),
                cut: Arc::default(),
                dark: Arc::default(),
            };
            let (cut, dark) = (Arc::clone(&cable.cut), Arc::clone(&cable.dark));
            std::thread::spawn(move || {
                for from in listener.incoming().flatten() {
                    let to = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                    for (a, b) in [(&from, &to), (&to, &from)] {
                        let (mut a, mut b) = (a.try_clone().unwrap(), b.try_clone().unwrap());
                        let (cut, dark) = (Arc::clone(&cut), Arc::clone(&dark));
                        std::thread::spawn(move || {
                            let mut buffer = [0; 4096];
                            while let Ok(n @ 1..) = a.read(&mut buffer) {
                                while dark.load(Relaxed) && !cut.load(Relaxed) {
                                    std::thread::sleep(TICK);
                                }
                                if cut.load(Relaxed) || b.write_all(&buffer[..n]).is_err() {
                                    break;
                                }
                            }
                            let _ = a.shutdown(Shutdown::Both);
                            let _ = b.shutdown(Shutdown::Both);
                        });
                    }
                }
            });
            cable
        }
    }

    struct Ends {
        cable: Cable,
        /// The processes' own ends.
        here: UnixStream,
        there: UnixStream,
        shared: [Arc<Shared>; 2],
        results: [std::thread::JoinHandle<Result<()>>; 2],
    }

    fn tunnel(limit: Duration) -> Ends {
        let listener = Listener::open().unwrap();
        let mut link = listener.link(vec![Ipv4Addr::LOCALHOST.into()]).unwrap();
        let cable = Cable::to(link.port);
        link.port = cable.port;
        let token = Token([3; 32]);
        let (offer, offered) = channel();
        let shown = token.clone();
        std::thread::spawn(move || {
            loop {
                match listener.next(&shown) {
                    Ok(Some(stream)) => {
                        if offer.send(stream).is_err() {
                            return;
                        }
                    }
                    Ok(None) | Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        let wire = Arc::default();
        let ways = [Way::Connect { link, token, wire }, Way::Accept(offered)];
        let mut outer = Vec::new();
        let mut shared = Vec::new();
        let results = ways.map(|way| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            outer.push(ours);
            let mine = Arc::<Shared>::default();
            shared.push(Arc::clone(&mine));
            std::thread::spawn(move || {
                let on_end = |_: bool| Ok(());
                Tunnel::new(theirs, way, limit, mine, &on_end).run()
            })
        });
        let there = outer.pop().unwrap();
        Ends {
            cable,
            here: outer.pop().unwrap(),
            there,
            shared: shared.try_into().unwrap(),
            results,
        }
    }

    /// Sends `bytes` numbered bytes from one end to the other while `disturb` does what it does.
    fn arrives(mut ends: Ends, bytes: usize, disturb: impl FnOnce(&Cable)) {
        let sent: Vec<u8> = (0..bytes).map(|at| (at * 31 + at / 256) as u8).collect();
        let expected = sent.clone();
        let mut from = ends.here.try_clone().unwrap();
        let writer = std::thread::spawn(move || from.write_all(&sent).unwrap());
        let mut to = ends.there.try_clone().unwrap();
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; bytes];
            to.read_exact(&mut received).unwrap();
            received
        });
        disturb(&ends.cable);
        assert!(reader.join().unwrap() == expected, "bytes are missing");
        writer.join().unwrap();
        // And back: what is said after a cut, and last, arrives too.
        ends.there.write_all(b"all").unwrap();
        drop(ends.there);
        let mut answer = [0; 3];
        ends.here.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"all");
        drop(ends.here);
        for result in ends.results {
            result.join().unwrap().unwrap();
        }
    }

    #[test]
    fn what_is_sent_arrives_once_and_in_order_although_connections_break() {
        arrives(tunnel(Duration::from_secs(30)), 40 << 20, |cable| {
            for _ in 0..5 {
                std::thread::sleep(Duration::from_millis(60));
                cable.cut.store(true, Relaxed);
                std::thread::sleep(Duration::from_millis(60));
                cable.cut.store(false, Relaxed);
            }
        });
    }

    #[test]
    fn a_link_that_falls_silent_is_replaced() {
        arrives(tunnel(Duration::from_secs(30)), 20 << 20, |cable| {
            std::thread::sleep(Duration::from_millis(50));
            cable.dark.store(true, Relaxed);
            std::thread::sleep(SILENCE + Duration::from_secs(1));
            // What was under way is lost for good.
            cable.cut.store(true, Relaxed);
            cable.dark.store(false, Relaxed);
            std::thread::sleep(Duration::from_millis(50));
            cable.cut.store(false, Relaxed);
        });
    }

    #[test]
    fn a_link_that_does_not_come_back_is_given_up_by_both() {
        let ends = tunnel(Duration::from_secs(1));
        ends.cable.cut.store(true, Relaxed);
        ends.cable.dark.store(true, Relaxed);
        for result in ends.results {
            let why = result.join().unwrap().unwrap_err();
            assert!(matches!(why, AgentError::Link(1)), "{why}");
        }
    }

    #[test]
    fn whoever_is_told_to_stop_tells_the_other() {
        let ends = tunnel(Duration::from_secs(30));
        let [connects, accepts] = &ends.shared;
        connects.goes.store(true, Relaxed);
        while !accepts.goes.load(Relaxed) {
            std::thread::sleep(TICK);
        }
        connects.stop.store(true, Relaxed);
        let [one, other] = ends
            .results
            .map(|result| result.join().unwrap().unwrap_err());
        assert!(matches!(one, AgentError::Ended), "{one}");
        assert!(other.to_string().contains("was ended"), "{other}");
    }
}
