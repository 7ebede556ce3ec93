//! Established TCP connections move with their container, and the other end does not notice.

mod support;

use bench::Client;
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use support::copy::{clean, disturbed_in, interrupt};
use support::{Lab, Ran};

/// `a` and `d` have Docker 26, `b` and `c` Docker 28. One test at a time.
fn lab() -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let engines = "docker-26,docker-28,docker-28,docker-26";
    let lab = LAB.get_or_init(|| Lab::up_with("tcp", "10.115.0.0/24", engines, 4));
    Some((turn, lab.as_ref()?))
}

/// Device of this machine at the bridge of that lab, and of the one with Podman.
const BRIDGE: &str = "ts-tcp";
const PODMANS: &str = "ts-tcpp";
/// Of the container in the macvlan that all hosts have; and of this machine there.
const ADDRESS: &str = "10.115.0.50";
const ADDRESS_6: &str = "fd15::50";

/// Goes round so often, four moves each; `TRANSSHIP_TEST_ROUNDS` names another number.
fn rounds() -> usize {
    let asked = std::env::var("TRANSSHIP_TEST_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// How long an answer may take while a container moves.
const ANSWER: Duration = Duration::from_secs(60);

/// Clients that send numbered requests until they are told to stop.
struct Clients(Vec<Client>);

impl Clients {
    /// Each has had its first answers.
    fn of(addresses: &[&str]) -> Self {
        // This machine may know the addresses from an earlier test, with the container that had them then.
        for bridge in [BRIDGE, PODMANS] {
            here(&format!("ip neigh flush dev {bridge} 2>/dev/null || :"));
        }
        let begin = |address: &&str| Client::begin(address.parse().unwrap()).unwrap();
        let clients = Clients(addresses.iter().map(begin).collect());
        clients.go_on("nothing has moved yet");
        clients
    }

    #[track_caller]
    fn go_on(&self, when: &str) {
        let all = self.0.iter().all(|client| client.hears(ANSWER));
        assert!(all, "a client hears nothing: {when}");
    }

    #[track_caller]
    fn end(self) {
        for client in self.0 {
            let seen = client.end();
            println!(
                "{} answers, each once and in order; the longest pause was {:?}",
                seen.answers, seen.longest
            );
            assert!(
                seen.answers > 10 && seen.resets == 0 && seen.wrong.is_none(),
                "{seen:?}"
            );
        }
    }
}

/// Runs a shell script on this machine.
#[track_caller]
fn here(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    Ran::of(output).expect(0).stdout
}

/// Removes what an earlier run left.
fn fresh(lab: &Lab) {
    for host in ["a", "b", "c", "d"] {
        lab.sh(
            host,
            "docker rm -f $(docker ps -aq); rm -rf /var/lib/transship/m*/*; [ ! -e /usr/sbin/nft.away ] || mv /usr/sbin/nft.away /usr/sbin/nft",
        );
    }
}

/// Gives hosts a macvlan.
fn macvlan(lab: &Lab, hosts: &[&str]) {
    fresh(lab);
    for host in hosts {
        lab.ok(host, "docker network inspect lan >/dev/null 2>&1 || docker network create -d macvlan --ipv6 --subnet 10.115.0.0/24 --gateway 10.115.0.1 --subnet fd15::/64 --gateway fd15::1 -o parent=eth0 lan");
    }
    // The clients are on this machine, at the lab's bridge.
    here(&format!("ip -6 addr replace fd15::1/64 dev {BRIDGE} nodad"));
}

fn serve(lab: &Lab, host: &str, name: &str, options: &str) {
    let engine = lab.program;
    lab.ok(
        host,
        &format!("{engine} run -d --name {name} {options} busybox tcps"),
    );
    // It listens at port 7000, and no other has its addresses.
    let listens = format!(
        "for i in $(seq 300); do {engine} exec {name} cat /proc/net/tcp /proc/net/tcp6 | grep -q ':1B58 [0-9:]* 0A ' && \
         ! {engine} exec {name} cat /proc/net/if_inet6 | grep -q ' [4c][08]  *eth0' && exit; sleep 0.1; done; exit 1"
    );
    lab.ok(host, &listens);
}

fn options_of(network: &str) -> String {
    format!("--network {network} --ip {ADDRESS} --ip6 {ADDRESS_6}")
}

#[track_caller]
fn moved(lab: &Lab, name: &str, from: &str, to: &str, mode: &str) -> Ran {
    let args = [
        "migrate",
        name,
        "--from",
        from,
        "--to",
        to,
        "--mode",
        mode,
        "--tcp-established",
    ];
    lab.run(&args).expect(0)
}

#[test]
fn clients_of_both_families_see_every_answer_once_and_in_order() {
    let Some((_turn, lab)) = lab() else { return };
    let (name, hosts) = ("talks", ["a", "b", "c", "d"]);
    macvlan(lab, &hosts);
    serve(lab, "a", name, &options_of("lan"));
    let clients = Clients::of(&[ADDRESS, ADDRESS_6]);
    for round in 0..rounds() {
        let mode = if round % 2 == 0 { "copy" } else { "post-copy" };
        // Round, and back the other way: each pair of versions.
        let mut way = ["a", "b", "c", "d", "a"];
        if round % 2 == 1 {
            way.reverse();
        }
        for pair in way.windows(2) {
            let ran = moved(lab, name, pair[0], pair[1], mode);
            // The way back needs the option again; that the network is there needs no words any more.
            assert!(ran.stdout.contains("--tcp-established"), "{}", ran.stdout);
            assert!(!ran.stderr.contains("has to be there"), "{}", ran.stderr);
            assert!(!ran.stderr.contains("ARP"), "{}", ran.stderr);
            clients.go_on(&format!("{mode}, {pair:?}"));
        }
    }
    clients.end();
    fresh(lab);
}

/// Makes the bridges of network `shared` on `a` and `b` one LAN, of which this machine is a part too.
fn vxlan(lab: &Lab) {
    fresh(lab);
    let join = |parent: &str, more: &str| {
        format!(
            "ip link show tsvx >/dev/null 2>&1 || ip link add tsvx type vxlan id 7 group 239.7.7.7 dev {parent} dstport 4789; ip link set tsvx {more} up"
        )
    };
    for (host, gateway) in [("a", 1), ("b", 2)] {
        lab.sh(host, "docker network rm shared");
        lab.ok(
            host,
            &format!("docker network create --ipv6 --subnet 10.62.0.0/24 --gateway 10.62.0.{gateway} --subnet fd62::/64 --gateway fd62::{gateway} -o com.docker.network.bridge.name=shared -o com.docker.network.driver.mtu=1450 shared"),
        );
        lab.ok(host, &join("eth0", "master shared"));
    }
    here(&join(BRIDGE, ""));
    here(
        "ip addr replace 10.62.0.9/24 dev tsvx; ip -6 addr replace fd62::9/64 dev tsvx nodad; ip neigh flush dev tsvx",
    );
}

#[test]
fn a_bridge_that_is_one_lan_on_both_hosts_carries_the_address() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "bridged";
    vxlan(lab);
    let published = "-p 8070:7000 --network shared --ip 10.62.0.50 --ip6 fd62::50";
    serve(lab, "a", name, published);
    let clients = Clients::of(&["10.62.0.50", "fd62::50"]);
    for mode in ["copy", "post-copy"] {
        for (from, to) in [("a", "b"), ("b", "a")] {
            moved(lab, name, from, to, mode);
            clients.go_on(&format!("{mode}, {from} to {to}"));
        }
    }
    // One that comes in by a published port is translated by the host, which does not move.
    let translated = TcpStream::connect(("10.115.0.2", 8070)).unwrap();
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
    assert!(ran.stderr.contains("published ports"), "{}", ran.stderr);
    drop(translated);
    // Both hosts answer for the gateway's address.
    lab.ok("b", "ip addr add 10.62.0.1/24 dev shared");
    let ran = lab.run(&args).expect(4);
    assert!(
        ran.stderr
            .contains("both a and b have the address 10.62.0.1"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("docker network create"),
        "{}",
        ran.stderr
    );
    // No port leads from one to the other.
    lab.ok("b", "ip link set tsvx nomaster");
    let ran = lab.run(&args).expect(4);
    assert!(ran.stderr.contains("a bridge within b"), "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    clients.go_on("it was refused");
    clients.end();
    for host in ["a", "b"] {
        lab.ok(
            host,
            &format!("docker rm -f {name} 2>/dev/null; ip link del tsvx; docker network rm shared"),
        );
    }
    here("ip link del tsvx");
}

/// On `b` a start that fails after the engine attached the network and the neighbours were told: the processes are
/// restored and about to go on.
const FAILS_LATE: &str = r#"
mv /usr/sbin/nft /usr/sbin/nft.away
cat > /usr/sbin/nft <<'END'
#!/bin/sh
case "$*" in *'policy accept'*) ;; *) exec nft.away "$@" ;; esac
if nft.away delete table arp transship 2>/dev/null; then
    cat /proc/net/tcp > /tmp/restored
    echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify
    ip link set eth0 address "$(ip -o link show eth0 | sed -n 's/.*link\/ether \([^ ]*\).*/\1/p')"
    sleep 2
    cat /proc/net/tcp > /tmp/sockets
fi
exit 1
END
chmod +x /usr/sbin/nft"#;

#[test]
fn a_destination_that_fails_when_its_network_is_attached_costs_the_client_nothing() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "returns";
    macvlan(lab, &["a", "b"]);
    serve(lab, "a", name, &options_of("lan"));
    let clients = Clients::of(&[ADDRESS, ADDRESS_6]);
    lab.ok("b", FAILS_LATE);
    let args = [
        "migrate",
        name,
        "--from",
        "a",
        "--to",
        "b",
        "--tcp-established",
    ];
    let ran = lab.run(&args).expect(6);
    let known = here(&format!("ip neigh show {ADDRESS}"));
    lab.ok("b", "mv /usr/sbin/nft.away /usr/sbin/nft");
    assert!(
        ran.stderr.contains("OCI runtime start failed"),
        "{}",
        ran.stderr
    );
    // The neighbours were told that it is back.
    let hardware = lab.ok(
        "a",
        &format!("docker inspect -f '{{{{.NetworkSettings.Networks.lan.MacAddress}}}}' {name}"),
    );
    assert!(known.contains(&hardware), "{known} is not {hardware}");
    // Its connection was there, and had acknowledged nothing but what was in the image: that came before the lock.
    let [restored, kept] = ["restored", "sockets"].map(|name| {
        let sockets = lab.ok("b", &format!("cat /tmp/{name}"));
        let words = sockets.lines().map(|line| line.split_whitespace());
        let open = words.filter(|words| words.clone().nth(3) == Some("01"));
        open.map(|words| words.skip(1).take(4).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    });
    assert!(!restored.is_empty());
    assert_eq!(kept, restored);
    std::thread::sleep(Duration::from_secs(1));
    clients.go_on("it was rolled back");
    // And it can still be moved, with iptables alone on the destination, which has no lock for ARP.
    lab.ok("b", "mv /usr/sbin/nft /usr/sbin/nft.away");
    let ran = moved(lab, name, "a", "b", "copy");
    let warned = "b can lock the connections of returns but not ARP";
    let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(warned), "{}", ran.stderr);
    clients.end();
    fresh(lab);
}

#[test]
fn what_would_break_a_connection_is_refused_before_anything_is_touched() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "stays";
    macvlan(lab, &["a", "b"]);
    let refused = |options: &[&str], said: &[&str]| {
        let mut args = vec!["migrate", name, "--from", "a", "--to", "b"];
        args.extend(options);
        let ran = lab.run(&args).expect(4);
        for said in said.iter().chain(&["nothing was changed"]) {
            assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
        }
    };
    // An address that the engine chose.
    lab.counter(name, "0.2", "");
    refused(&["--tcp-established"], &["another address"]);
    lab.is_as_before(name);
    lab.forget(name);
    // A bridge of each host's own, though name and subnet are the same.
    for host in ["a", "b"] {
        lab.ok(host, "docker network inspect natted >/dev/null 2>&1 || docker network create --subnet 10.63.0.0/24 natted");
    }
    lab.counter(name, "0.2", "--network natted --ip 10.63.0.50");
    refused(&["--tcp-established"], &["is a bridge within a", "vxlan"]);
    lab.is_as_before(name);
    lab.forget(name);
    // An address that is taken where it would go.
    serve(lab, "a", name, &options_of("lan"));
    let other =
        format!("docker run -d --name other --network lan --ip {ADDRESS} busybox sleep 1000");
    lab.ok("b", &other);
    for options in [&["--tcp-established"][..], &[]] {
        let disconnect = "docker network disconnect lan other";
        refused(options, &["is in use on b, by other", disconnect]);
    }
    lab.ok("b", "docker rm -f other");
    // Connections that nobody asked to take along, from outside, and within.
    let client = TcpStream::connect((ADDRESS, 7000)).unwrap();
    for mode in ["copy", "post-copy", "auto"] {
        refused(
            &["--mode", mode],
            &["an open TCP connection", "--tcp-established"],
        );
    }
    drop(client);
    lab.forget(name);
    let within = "sh -c 'tcps & sleep 1; tail -f /dev/null | nc 127.0.0.1 7000 & while true; do sleep 1; done'";
    lab.ok(
        "a",
        &format!(
            "docker run -d --name {name} busybox {within}; for i in $(seq 300); do \
             [ $(docker exec {name} cat /proc/net/tcp | awk '$4 == \"01\"' | wc -l) = 2 ] && exit; sleep 0.1; done; exit 1"
        ),
    );
    refused(&[], &["2 open TCP connections (between 127.0.0.1:"]);
    // Those move wherever the container goes.
    moved(lab, name, "a", "b", "copy");
    let found = lab.ok(
        "b",
        &format!("docker exec {name} cat /proc/net/tcp | awk '$4 == \"01\"' | wc -l"),
    );
    assert_eq!(found, "2");
    for host in ["a", "b"] {
        lab.sh(
            host,
            &format!("docker rm -f {name}; docker network rm natted"),
        );
    }
}

/// Podman attaches the network before the source is frozen: until the container goes on, nothing of that is seen.
#[test]
fn clients_of_podmans_containers_see_every_answer_too() {
    let Some(lab) = Lab::up("tcpp", "10.122.0.0/24", "podman") else {
        return;
    };
    let (name, address, address_6) = ("talks", "10.122.0.50", "fd22::50");
    for host in ["a", "b"] {
        lab.sh(host, "podman rm -af --time 0");
        lab.ok(host, "podman network exists lan || podman network create -d macvlan --ipv6 --subnet 10.122.0.0/24 --gateway 10.122.0.1 --subnet fd22::/64 --gateway fd22::1 -o parent=eth0 lan");
    }
    here(&format!(
        "ip -6 addr replace fd22::1/64 dev {PODMANS} nodad"
    ));
    let options = format!("--network lan --ip {address} --ip6 {address_6}");
    serve(&lab, "a", name, &options);
    let clients = Clients::of(&[address, address_6]);
    let other =
        format!("podman run -d --name other --network lan --ip {address} busybox sleep 1000");
    lab.ok("b", &other);
    let mode = ["--mode", "copy", "--tcp-established"];
    let mut args = vec!["migrate", name, "--from", "a", "--to", "b"];
    args.extend(mode);
    let said = lab.run(&args).expect(4).stderr;
    assert!(
        said.contains("podman network disconnect lan other"),
        "{said}"
    );
    lab.ok("b", "podman rm -f --time 0 other");
    // The other host has the address by then, and must not have told anybody.
    disturbed_in(&lab, name, &mode, "freeze", interrupt)
        .0
        .expect(130);
    clients.go_on("it was interrupted");
    for mode in ["copy", "post-copy"] {
        for (from, to) in [("a", "b"), ("b", "a")] {
            moved(&lab, name, from, to, mode);
            clients.go_on(&format!("{mode}, {from} to {to}"));
        }
    }
    clean(&lab, name);
    // Which end of a connection it was, should one end.
    println!("{}", lab.ok("a", &format!("podman logs {name}")));
    clients.end();
    lab.ok("a", &format!("podman rm -f --time 0 {name}"));
}
