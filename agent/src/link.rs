//! The direct way between the two hosts: TLS 1.3 on a port of the destination.
//!
//! The destination makes a key for this one migration and tells its fingerprint over SSH; the source
//! takes no other. The source in turn shows a token that both were told over SSH. So whoever
//! sits on the network can neither read, alter nor feed the stream; one who connects first is sent away.

use crate::error::{AgentError, Result};
use crate::job::{Link, Token};
use crate::lanes::{self, Joined, Split};
use crate::tls;
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufReader, ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long reaching the other host may take, for each of its addresses.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the other side may take to come, and to say who it is.
const MEET: Duration = Duration::from_secs(10);
/// A link that moves nothing for so long is dead, while nobody stands still for it.
const SILENCE: Duration = Duration::from_secs(60);
/// How soon, and how often, the other host's kernel is asked whether it is there.
const ASK: Duration = Duration::from_secs(1);
/// Bytes read from the network at once.
const BUFFER: usize = 256 * 1024;
/// So many are greeted at once.
const MOST_GUESTS: usize = 64;
/// So many are remembered who showed something else than what was asked for.
const MOST_HELD: usize = 64;
/// A connection needs a name; it means nothing here.
const NAME: &str = "transship";

pub(crate) type Incoming = StreamOwned<ServerConnection, Buffered>;

/// A connection that is read in large pieces: rustls asks for a few KiB at a time.
pub(crate) struct Buffered(BufReader<TcpStream>);

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Buffered {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0.get_mut().write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.get_mut().flush()
    }
}
pub(crate) type Outgoing = StreamOwned<ClientConnection, Counted>;

/// A connection that counts its bytes, both ways.
pub(crate) struct Counted {
    tcp: TcpStream,
    wire: Arc<Wire>,
    /// How long it took to connect, which is a round trip.
    round_trip: Duration,
}

/// Bytes on the wire, encryption included.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    sent: AtomicU64,
    received: AtomicU64,
    /// The connections of a stream that has several.
    lanes: OnceLock<Vec<TcpStream>>,
}

impl Wire {
    /// Sent and received so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.received.load(Relaxed))
    }

    /// Makes the connections of its stream die soon.
    pub fn hasten(&self, limit: Duration) -> Result<()> {
        hasten(self.lanes.get().into_iter().flatten(), limit)
    }
}

/// From now on these connections are dead once the other host's kernel has given no sign for so long, or has taken
/// nothing of what waits for it. It is asked: that nobody there has anything to say is no silence.
pub(crate) fn hasten<'a>(
    connections: impl IntoIterator<Item = &'a TcpStream>,
    limit: Duration,
) -> Result<()> {
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    for tcp in connections {
        sockopt::set_tcp_user_timeout(tcp, millis)
            .and_then(|()| sockopt::set_tcp_keepidle(tcp, ASK))
            .and_then(|()| sockopt::set_tcp_keepintvl(tcp, ASK))
            .and_then(|()| sockopt::set_socket_keepalive(tcp, true))
            .map_err(failed)?;
    }
    Ok(())
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.tcp.read(buffer)?;
        self.wire.received.fetch_add(n as u64, Relaxed);
        Ok(n)
    }
}

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let n = self.tcp.write(buffer)?;
        self.wire.sent.fetch_add(n as u64, Relaxed);
        Ok(n)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> std::io::Result<usize> {
        let n = self.tcp.write_vectored(buffers)?;
        self.wire.sent.fetch_add(n as u64, Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.tcp.flush()
    }
}

/// What carries an encrypted connection.
pub(crate) trait Duplex: Read + Write + Send {
    /// The connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Duplex for Buffered {
    fn tcp(&self) -> &TcpStream {
        self.0.get_ref()
    }
}

impl Duplex for Counted {
    fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

fn failed(error: impl std::fmt::Display) -> AgentError {
    AgentError::Broken(format!("the direct link: {error}"))
}

/// A port that the source may connect to.
pub(crate) struct Listener {
    tcp: TcpListener,
    config: Arc<ServerConfig>,
    fingerprint: String,
}

impl Listener {
    pub fn open() -> Result<Self> {
        let any = [
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        ];
        let tcp = TcpListener::bind(&any[..]).map_err(failed)?;
        tcp.set_nonblocking(true).map_err(failed)?;
        let (config, fingerprint) = tls::server()?;
        Ok(Listener {
            tcp,
            config,
            fingerprint,
        })
    }

    /// How the source reaches and knows it, at these addresses.
    pub fn link(&self, addresses: Vec<IpAddr>) -> Result<Link> {
        Ok(Link {
            addresses,
            port: self.tcp.local_addr().map_err(failed)?.port(),
            fingerprint: self.fingerprint.clone(),
        })
    }

    /// Takes the connections of one stream, as many as the source wants.
    pub fn accept_lanes(&self, token: &Token) -> Result<Joined<Incoming>> {
        let mut reception = self.receive();
        let mut first = reception.accept(token)?;
        let mut count = [0];
        first.read_exact(&mut count).map_err(failed)?;
        let [count @ 1..=lanes::MOST] = count else {
            return Err(failed("it wants more connections than there can be"));
        };
        let mut all = vec![first];
        for lane in 1..count {
            all.push(reception.accept(&token.of_lane(lane))?);
        }
        Ok(Joined::new(all))
    }

    /// Receives whoever comes.
    pub fn receive(&self) -> Reception<'_> {
        let (offer, greeted) = channel();
        Reception {
            listener: self,
            offer,
            greeted,
            held: Vec::new(),
            busy: Arc::default(),
        }
    }
}

/// Whoever comes is greeted beside the others: one who says nothing keeps nobody waiting.
pub(crate) struct Reception<'a> {
    listener: &'a Listener,
    offer: Sender<Result<Guest>>,
    greeted: Receiver<Result<Guest>>,
    /// They showed something that nobody has asked for yet: connections of one stream come in any order.
    held: Vec<Guest>,
    /// How many are being greeted.
    busy: Arc<AtomicUsize>,
}

/// One who showed something, as a hash: so it is compared in constant time.
struct Guest {
    shown: blake3::Hash,
    stream: Incoming,
}

impl Reception<'_> {
    /// Takes the connection that shows the token.
    pub fn accept(&mut self, token: &Token) -> Result<Incoming> {
        let until = Instant::now() + MEET;
        let mut why = failed("nobody came");
        while Instant::now() < until {
            match self.next(token) {
                Ok(Some(stream)) => return Ok(stream),
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// The next that shows the token, if somebody came.
    pub fn next(&mut self, token: &Token) -> Result<Option<Incoming>> {
        loop {
            match self.listener.tcp.accept() {
                Ok((tcp, _)) if self.busy.load(Relaxed) < MOST_GUESTS => self.greet(tcp),
                // Too many: it may come again.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(failed(error)),
            }
        }
        if let Ok(guest) = self.greeted.try_recv() {
            if self.held.len() >= MOST_HELD {
                self.held.remove(0);
            }
            self.held.push(guest?);
        }
        let wanted = blake3::hash(&token.0);
        let at = self.held.iter().position(|guest| guest.shown == wanted);
        at.map(|at| {
            let stream = self.held.remove(at).stream;
            limits(stream.sock.tcp(), SILENCE)?;
            Ok(stream)
        })
        .transpose()
    }

    fn greet(&self, tcp: TcpStream) {
        let config = Arc::clone(&self.listener.config);
        let (offer, busy) = (self.offer.clone(), Arc::clone(&self.busy));
        busy.fetch_add(1, Relaxed);
        std::thread::spawn(move || {
            // There may be nobody any more who wants to know.
            let _ = offer.send(greet(tcp, config));
            busy.fetch_sub(1, Relaxed);
        });
    }
}

/// Hears what somebody shows.
fn greet(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Guest> {
    tcp.set_nonblocking(false).map_err(failed)?;
    limits(&tcp, CONNECT)?;
    let connection = ServerConnection::new(config).map_err(failed)?;
    let mut stream = StreamOwned::new(connection, Buffered(BufReader::with_capacity(BUFFER, tcp)));
    let mut shown = [0; 32];
    stream.read_exact(&mut shown).map_err(failed)?;
    Ok(Guest {
        shown: blake3::hash(&shown),
        stream,
    })
}

fn limits(tcp: &TcpStream, limit: Duration) -> Result<()> {
    tcp.set_read_timeout(Some(limit))
        .and_then(|()| tcp.set_write_timeout(Some(limit)))
        .and_then(|()| tcp.set_nodelay(true))
        .map_err(failed)
}

/// Connects to the destination with as many connections as `lanes` says for the round trip.
pub(crate) fn connect_lanes(
    link: &Link,
    token: &Token,
    lanes: fn(Duration) -> u8,
) -> Result<(Split<Outgoing>, Arc<Wire>)> {
    let wire = Arc::<Wire>::default();
    let mut first = connect_counted(link, token, Arc::clone(&wire))?;
    let count = lanes(first.sock.round_trip);
    first
        .write_all(&[count])
        .and_then(|()| first.flush())
        .map_err(failed)?;
    let here = Link {
        addresses: vec![first.sock.tcp.peer_addr().map_err(failed)?.ip()],
        ..link.clone()
    };
    let mut all = vec![first];
    for lane in 1..count {
        all.push(connect_counted(
            &here,
            &token.of_lane(lane),
            Arc::clone(&wire),
        )?);
    }
    let lanes = all.iter().map(|lane| lane.sock.tcp.try_clone());
    let lanes = lanes.collect::<std::io::Result<_>>().map_err(failed)?;
    wire.lanes.get_or_init(|| lanes);
    Ok((Split::new(all), wire))
}

/// Connects to the destination, at the first of its addresses that answers with its key; counted together
/// with others.
pub(crate) fn connect_counted(link: &Link, token: &Token, wire: Arc<Wire>) -> Result<Outgoing> {
    let config = tls::client(&link.fingerprint)?;
    let mut why = failed("the destination has no address");
    for address in &link.addresses {
        let address = SocketAddr::new(*address, link.port);
        match one(address, &config, token, Arc::clone(&wire)) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn one(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    token: &Token,
    wire: Arc<Wire>,
) -> Result<Outgoing> {
    let begun = Instant::now();
    let tcp = TcpStream::connect_timeout(&address, CONNECT).map_err(failed)?;
    let round_trip = begun.elapsed();
    limits(&tcp, CONNECT)?;
    let name = ServerName::try_from(NAME).map_err(failed)?;
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(failed)?;
    let mut stream = StreamOwned::new(
        connection,
        Counted {
            tcp,
            wire,
            round_trip,
        },
    );
    stream
        .write_all(&token.0)
        .and_then(|()| stream.flush())
        .map_err(failed)?;
    limits(&stream.sock.tcp, SILENCE)?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
