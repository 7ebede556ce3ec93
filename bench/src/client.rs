//! Somebody who is connected to a container while it moves: the longest wait for an answer is the downtime
//! that a user sees.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where the program `tcps` listens.
const PORT: u16 = 7000;
/// Between an answer and the next request.
const EVERY: Duration = Duration::from_millis(10);
/// How soon it hears that it is to stop.
const HEARS: Duration = Duration::from_millis(100);
/// How long the service may take to listen.
const STARTS: Duration = Duration::from_secs(10);
/// How long connecting may take, in one try.
const CONNECTS: Duration = Duration::from_secs(5);

/// What it saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Answers, each the right one.
    pub answers: u64,
    /// The longest wait for one.
    pub longest: Duration,
    /// How often the connection was lost.
    pub resets: u32,
    /// An answer that was not the right one; none was asked for after it.
    pub wrong: Option<String>,
}

/// A client of `tcps` that sends numbered requests, one after the other, in a thread of its own.
pub struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// How many requests were sent and answered.
    answers: AtomicU64,
    seen: Mutex<Seen>,
}

impl Shared {
    fn seen(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Client {
    /// Connects, as soon as the service listens, and asks from now on.
    ///
    /// # Errors
    /// Nobody answers there.
    pub fn begin(address: IpAddr) -> std::io::Result<Self> {
        let begin = Instant::now();
        let first = loop {
            match connect(address) {
                Err(_) if begin.elapsed() < STARTS => std::thread::sleep(EVERY),
                other => break other?,
            }
        };
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        let thread = std::thread::spawn(move || ask(address, first, &its));
        Ok(Client {
            shared,
            thread: Some(thread),
        })
    }

    /// Whether it gave up, since an answer was wrong.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for an answer to a request that is sent from now on; false where none comes in that time.
    #[must_use]
    pub fn hears(&self, within: Duration) -> bool {
        // The next may answer what was asked long ago.
        let enough = self.shared.answers.load(SeqCst) + 2;
        let begin = Instant::now();
        while begin.elapsed() < within && !self.gave_up() {
            if self.shared.answers.load(SeqCst) >= enough {
                return true;
            }
            std::thread::sleep(EVERY);
        }
        false
    }

    /// Stops it. A request that is not answered yet counts with the time that it waited.
    #[must_use]
    pub fn end(mut self) -> Seen {
        self.stop();
        let seen = &self.shared.seen;
        seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop();
    }
}

fn connect(address: IpAddr) -> std::io::Result<TcpStream> {
    let to = TcpStream::connect_timeout(&SocketAddr::new(address, PORT), CONNECTS)?;
    to.set_nodelay(true)?;
    to.set_read_timeout(Some(HEARS))?;
    Ok(to)
}

/// Why it asks no more on a connection.
enum End {
    Told,
    Lost,
    Wrong(String),
}

fn ask(address: IpAddr, first: TcpStream, shared: &Shared) {
    let mut connection = Some(first);
    let mut asked = Instant::now();
    while !shared.stop.load(SeqCst) {
        let Some(to) = connection.take() else {
            connection = connect(address).ok();
            if connection.is_none() {
                std::thread::sleep(EVERY);
            }
            continue;
        };
        match converse(&to, shared, &mut asked) {
            End::Told => return,
            End::Lost => shared.seen(|seen| seen.resets += 1),
            End::Wrong(what) => return shared.seen(|seen| seen.wrong = Some(what)),
        }
    }
    shared.seen(|seen| seen.longest = seen.longest.max(asked.elapsed()));
}

/// Asks on one connection until it ends. `asked` is when the request was first sent that is not answered yet,
/// be it on an earlier connection.
fn converse(mut to: &TcpStream, shared: &Shared, asked: &mut Instant) -> End {
    let mut from = BufReader::new(to);
    for number in 0_u64.. {
        if to.write_all(format!("{number}\n").as_bytes()).is_err() {
            return End::Lost;
        }
        let mut line = Vec::new();
        loop {
            match from.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => break,
                Ok(_) => return End::Lost,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return End::Lost,
            }
            if shared.stop.load(SeqCst) {
                shared.seen(|seen| seen.longest = seen.longest.max(asked.elapsed()));
                return End::Told;
            }
        }
        let waited = asked.elapsed();
        // The server's count of its answers on this connection, and the request.
        let (said, right) = (
            String::from_utf8_lossy(&line).trim().to_owned(),
            format!("{number} {number}"),
        );
        if said != right {
            return End::Wrong(format!("`{said}` answered request {number}"));
        }
        shared.seen(|seen| {
            seen.answers += 1;
            seen.longest = seen.longest.max(waited);
        });
        shared.answers.fetch_add(1, SeqCst);
        if shared.stop.load(SeqCst) {
            return End::Told;
        }
        std::thread::sleep(EVERY);
        *asked = Instant::now();
    }
    End::Told
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    /// Answers as `tcps` does, so often on each connection; what it says then instead, if anything.
    fn serve(listener: &TcpListener, connections: &[(u64, &str)]) {
        for (answers, last) in connections {
            let (mut to, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(to.try_clone().unwrap()).lines();
            for number in 0..*answers {
                let line = lines.next().unwrap().unwrap();
                to.write_all(format!("{number} {line}\n").as_bytes())
                    .unwrap();
            }
            let _ = lines.next();
            to.write_all(last.as_bytes()).unwrap();
        }
    }

    /// The client knows one port only, which somebody may use at the usual address.
    const HERE: Ipv4Addr = Ipv4Addr::new(127, 70, 0, 1);

    #[test]
    fn what_is_lost_or_wrong_is_seen_and_each_wait_is_measured() {
        let listener = TcpListener::bind((HERE, PORT)).unwrap();
        let server = std::thread::spawn(move || {
            serve(&listener, &[(5, ""), (3, "7 3\n")]);
            listener
        });
        let client = Client::begin(HERE.into()).unwrap();
        let listener = server.join().unwrap();
        assert!(!client.hears(Duration::from_secs(60)), "it gave up");
        let seen = client.end();
        assert_eq!((seen.answers, seen.resets), (8, 1));
        assert_eq!(seen.wrong.as_deref(), Some("`7 3` answered request 3"));

        // A request without an answer counts with the time that it waited.
        let server = std::thread::spawn(move || {
            let (to, _) = listener.accept().unwrap();
            std::thread::sleep(Duration::from_millis(300));
            drop(to);
        });
        let client = Client::begin(HERE.into()).unwrap();
        assert!(!client.hears(Duration::from_millis(200)));
        let seen = client.end();
        assert_eq!((seen.answers, seen.resets), (0, 0));
        assert!(seen.longest >= Duration::from_millis(200));
        server.join().unwrap();
    }
}
