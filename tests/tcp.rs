//! Established TCP connections move with their container, and the other end does not notice.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::Lab;

const ADDRESS: &str = "10.99.0.50";
const ADDRESS_6: &str = "fd99::50";

/// Moves there and back so often; `TRANSSHIP_TEST_ROUNDS` names another number.
fn rounds() -> usize {
    let asked = std::env::var("TRANSSHIP_TEST_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Asks again and again until told to stop; how often, and the longest wait for an answer. Each answer must
/// be the next number.
fn ask(address: &str, stop: &AtomicBool) -> (u64, Duration) {
    let mut to = TcpStream::connect((address, 7000)).unwrap();
    to.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut from = BufReader::new(to.try_clone().unwrap());
    let (mut next, mut longest) = (0, Duration::ZERO);
    while !stop.load(Relaxed) {
        let asked = Instant::now();
        to.write_all(format!("{next}\n").as_bytes()).unwrap();
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        // The server's count of its answers, and the request.
        assert_eq!(line.trim(), format!("{next} {next}"));
        next += 1;
        longest = longest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    (next, longest)
}

#[test]
fn clients_of_both_families_see_every_answer_once_and_in_order() {
    let Some(lab) = Lab::up("post", "10.99.0.0/24", "docker-26") else {
        return;
    };
    let name = "talks";
    lab.forget(name);
    for host in ["a", "b"] {
        lab.ok(host, "docker network inspect lan >/dev/null 2>&1 || docker network create -d macvlan --ipv6 --subnet 10.99.0.0/24 --gateway 10.99.0.1 --subnet fd99::/64 --gateway fd99::1 -o parent=eth0 lan");
    }
    // The clients are on this machine, at the lab's bridge.
    let added = std::process::Command::new("ip")
        .args([
            "-6",
            "addr",
            "replace",
            "fd99::1/64",
            "dev",
            "ts-post",
            "nodad",
        ])
        .status();
    assert!(added.unwrap().success());
    lab.ok(
        "a",
        &format!(
            "docker run -d --name {name} --network lan --ip {ADDRESS} --ip6 {ADDRESS_6} busybox tcps && sleep 1"
        ),
    );
    let stop = Arc::new(AtomicBool::new(false));
    let clients = [ADDRESS, ADDRESS_6].map(|address| {
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || ask(address, &stopped))
    });
    for round in 0..rounds() {
        let mode = if round % 2 == 0 { "copy" } else { "post-copy" };
        for (from, to) in [("a", "b"), ("b", "a")] {
            let args = ["migrate", name, "--from", from, "--to", to, "--mode", mode];
            let ran = lab.transship(&args).arg("--tcp-established").output();
            let ran = support::Ran::of(ran.unwrap()).expect(0);
            // The way back needs the option again; that the network is there needs no words any more.
            assert!(ran.stdout.contains("--tcp-established"), "{}", ran.stdout);
            assert!(!ran.stderr.contains("has to be there"), "{}", ran.stderr);
            assert!(
                !clients.iter().any(std::thread::JoinHandle::is_finished),
                "a client ended: {mode}, {from} to {to}"
            );
        }
    }
    stop.store(true, Relaxed);
    for client in clients {
        let (answers, longest) = client.join().unwrap();
        println!("{answers} answers, each once and in order; the longest pause was {longest:?}");
        assert!(answers > 10);
    }
    lab.nothing_left(name);
    lab.forget(name);
}

#[test]
fn a_container_whose_address_stays_behind_is_refused() {
    let Some(lab) = Lab::up("post", "10.99.0.0/24", "docker-26") else {
        return;
    };
    let name = "stays";
    lab.counter(name, "0.2", "");
    let args = [
        "migrate",
        name,
        "--from",
        "a",
        "--to",
        "b",
        "--tcp-established",
    ];
    let ran = lab.run(&args).expect(4);
    assert!(ran.stderr.contains("another address"), "{}", ran.stderr);
    lab.is_as_before(name);
    lab.forget(name);
}
