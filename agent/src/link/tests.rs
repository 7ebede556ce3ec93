use super::*;

fn connect(link: &Link, token: &Token) -> Result<Outgoing> {
    connect_counted(link, token, Arc::default())
}

#[test]
fn several_connections_carry_one_stream() {
    let sent: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    let token = Token([7; 32]);
    let lanes: [fn(Duration) -> u8; 3] = [|_| 1, |_| 3, |_| lanes::MOST];
    for lanes in lanes {
        let listener = Listener::open().unwrap();
        let link = here(&listener);
        let (received, wire) = std::thread::scope(|scope| {
            let accepted = scope.spawn(|| {
                let mut joined = listener.accept_lanes(&token).unwrap();
                let mut received = vec![0; sent.len()];
                joined.read_exact(&mut received).unwrap();
                assert_eq!(joined.lanes().len(), usize::from(lanes(Duration::ZERO)));
                received
            });
            let (mut split, wire) = connect_lanes(&link, &token, lanes).unwrap();
            split.write_all(&sent).and_then(|()| split.flush()).unwrap();
            (accepted.join().unwrap(), wire)
        });
        assert!(received == sent);
        // All of them are counted, and given up sooner from when that is wanted.
        assert!(wire.bytes().0 > sent.len() as u64);
        wire.hasten(Duration::from_secs(5)).unwrap();
        let all = wire.lanes.get().unwrap();
        assert_eq!(all.len(), usize::from(lanes(Duration::ZERO)));
        for lane in all {
            assert_eq!(sockopt::tcp_user_timeout(lane).unwrap(), 5000);
            assert!(sockopt::socket_keepalive(lane).unwrap());
        }
    }
}

#[test]
fn who_knows_no_lanes_token_adds_none() {
    let listener = Listener::open().unwrap();
    let link = here(&listener);
    let token = Token([7; 32]);
    std::thread::scope(|scope| {
        let accepted = scope.spawn(|| listener.accept_lanes(&token).map(drop));
        let mut first = connect(&link, &token).unwrap();
        first.write_all(&[2]).and_then(|()| first.flush()).unwrap();
        // The first one's token again, and another lane's, are none of the second's.
        let _again = connect(&link, &token);
        let _other = connect(&link, &token.of_lane(2));
        let _second = connect(&link, &token.of_lane(1)).unwrap();
        accepted.join().unwrap().unwrap();
    });
    let claims = |count: u8| {
        std::thread::scope(|scope| {
            let accepted = scope.spawn(|| listener.accept_lanes(&token).map(drop));
            let mut first = connect(&link, &token).unwrap();
            first
                .write_all(&[count])
                .and_then(|()| first.flush())
                .unwrap();
            accepted.join().unwrap()
        })
    };
    for count in [0, lanes::MOST + 1] {
        let why = claims(count).unwrap_err().to_string();
        assert!(why.contains("more connections than"), "{count}: {why}");
    }
}

fn here(listener: &Listener) -> Link {
    listener.link(vec![Ipv4Addr::LOCALHOST.into()]).unwrap()
}

#[test]
fn the_two_find_each_other_and_strangers_are_sent_away() {
    let listener = Listener::open().unwrap();
    let link = here(&listener);
    let token = Token([7; 32]);
    let received = std::thread::scope(|scope| {
        let accepted = scope.spawn(|| listener.receive().accept(&token).unwrap());
        // One who does not know the token, and one who speaks no TLS, come first.
        let _stranger = connect(&link, &Token([8; 32]));
        TcpStream::connect((Ipv4Addr::LOCALHOST, link.port))
            .unwrap()
            .write_all(b"GET / HTTP/1.0\r\n\r\n")
            .unwrap();
        let mut stream = connect(&link, &token).unwrap();
        stream.write_all(&[5; 100_000]).unwrap();
        stream.flush().unwrap();
        let mut received = vec![0; 100_000];
        accepted.join().unwrap().read_exact(&mut received).unwrap();
        received
    });
    assert!(received.iter().all(|byte| *byte == 5));
}

/// Passes everything on between a client and `port`, and changes the byte at `at` that the client sends.
fn meddler(port: u16, at: usize) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (mut back, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut back, &mut to));
        let (mut buffer, mut passed) = ([0; 4096], 0);
        while let Ok(n @ 1..) = client.read(&mut buffer) {
            if (passed..passed + n).contains(&at) {
                buffer[at - passed] ^= 1;
            }
            passed += n;
            if server.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Write);
    });
    own
}

#[test]
fn an_altered_byte_ends_the_connection() {
    let token = Token([7; 32]);
    // Far behind the handshake.
    for at in [5_000, 60_000] {
        let listener = Listener::open().unwrap();
        let mut link = here(&listener);
        link.port = meddler(link.port, at);
        let arrived = std::thread::scope(|scope| {
            let accepted = scope.spawn(|| listener.receive().accept(&token).unwrap());
            let mut stream = connect(&link, &token).unwrap();
            let _ = stream
                .write_all(&[5; 100_000])
                .and_then(|()| stream.flush());
            let _ = stream.sock.tcp.shutdown(std::net::Shutdown::Write);
            let mut arrived = Vec::new();
            let read = accepted.join().unwrap().read_to_end(&mut arrived);
            assert!(read.is_err(), "byte {at}");
            arrived
        });
        // What was let through before is what was sent.
        assert!(arrived.len() < at && arrived.iter().all(|byte| *byte == 5));
    }
}

#[test]
fn another_key_is_refused() {
    let (listener, other) = (Listener::open().unwrap(), Listener::open().unwrap());
    let mut link = here(&listener);
    link.fingerprint = here(&other).fingerprint;
    let token = Token([7; 32]);
    std::thread::scope(|scope| {
        let accepted = scope.spawn(|| {
            let (tcp, _) = loop {
                if let Ok(found) = listener.tcp.accept() {
                    break found;
                }
            };
            greet(tcp, Arc::clone(&listener.config)).is_err()
        });
        assert!(connect(&link, &token).is_err());
        assert!(accepted.join().unwrap());
    });
}

#[test]
fn strangers_who_say_nothing_keep_nobody_waiting() {
    let listener = Listener::open().unwrap();
    let link = here(&listener);
    let token = Token([7; 32]);
    // Each would take two seconds, one after the other longer than anybody is waited for.
    let strangers: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, link.port)).unwrap())
        .collect();
    std::thread::scope(|scope| {
        let accepted = scope.spawn(|| listener.accept_lanes(&token).map(drop));
        connect_lanes(&link, &token, |_| 3).unwrap();
        accepted.join().unwrap().unwrap();
    });
    drop(strangers);
}
