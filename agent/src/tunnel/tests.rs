//! The stream over links that break.

use super::*;
use crate::job::Token;
use crate::link::Listener;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
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
        let mut reception = listener.receive();
        loop {
            match reception.next(&shown) {
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
fn who_has_all_when_the_link_goes_has_lost_nothing() {
    let mut ends = tunnel(Duration::from_secs(1));
    ends.cable.cut.store(true, Relaxed);
    ends.cable.dark.store(true, Relaxed);
    // The daemon's last words, which the page server does not hear.
    ends.there.write_all(b"close").unwrap();
    drop(ends.there);
    let [source, destination] = ends.results.map(|result| result.join().unwrap());
    assert!(matches!(source, Err(AgentError::Link(1))), "{source:?}");
    destination.unwrap();
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

#[test]
fn what_came_together_with_the_token_is_not_missed() {
    let listener = Listener::open().unwrap();
    let link = listener.link(vec![Ipv4Addr::LOCALHOST.into()]).unwrap();
    let token = Token([3; 32]);
    let accepted = std::thread::scope(|scope| {
        let accepted = scope.spawn(|| listener.receive().accept(&token).unwrap());
        let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port)).unwrap();
        let config = crate::tls::client(&link.fingerprint).unwrap();
        let name = "transship".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(config, name).unwrap();
        while client.is_handshaking() || client.wants_write() {
            client.complete_io(&mut tcp).unwrap();
        }
        let mut words = client.writer();
        words.write_all(&token.0).unwrap();
        words.write_all(&[HELLO, 8, 0, 0, 0]).unwrap();
        words.write_all(&7u64.to_le_bytes()).unwrap();
        // All in one piece.
        let mut piece = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut piece).unwrap();
        }
        tcp.write_all(&piece).unwrap();
        (accepted.join().unwrap(), tcp)
    });
    let (tls, sock) = accepted.0.into_parts();
    let mut carrier = Carrier::new(tls.into(), Box::new(sock));
    let (kind, said) = carrier.next().unwrap();
    assert_eq!((kind, said), (HELLO, 7u64.to_le_bytes().to_vec()));
}
