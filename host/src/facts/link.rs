//! The way between two hosts, measured with what is there: bash and perl, else head and cat.

use crate::{Cmd, Host, Result};
use schemars::JsonSchema;
use serde::Serialize;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// What was measured between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Link {
    /// Seconds for a small message there and back.
    pub round_trip: Option<f64>,
    /// Whether the round trip is that of the source's own connections to the destination's SSH
    /// port; else it is the sum of the ways from this machine to each.
    pub direct: bool,
    /// Bytes per second from the source to the destination.
    pub throughput: Option<f64>,
    /// Whether the throughput is that of a connection between the two; else it went through this
    /// machine and SSH, which is slower.
    pub throughput_direct: bool,
}

/// Listens at one address for one connection, counts what comes, and tells bytes and hundredths of a
/// second. It ends by itself; nothing is written. perl is part of every Debian and Ubuntu.
const COUNT: &str = r#"use Socket; use IO::Socket::IP; use POSIX ();
$| = 1; alarm 4;
my $listen = IO::Socket::IP->new(LocalHost => shift, LocalPort => 0, Listen => 1, Type => SOCK_STREAM) or exit 1;
print $listen->sockport, "\n";
my $from = $listen->accept or exit 1;
my ($bytes, $begin, $buffer) = (0);
while (my $read = sysread $from, $buffer, 1 << 20) { $begin = (POSIX::times())[0] unless $bytes; $bytes += $read }
printf "%d %d\n", $bytes, (POSIX::times())[0] - $begin if $bytes;"#;

/// Sends zeros for half a second. A firewall that drops packets costs two seconds.
const SEND: &str = r#"timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1" && exec timeout 0.5 cat /dev/zero >&3' "$1" "$2""#;

/// How much is sent at most to measure the throughput through this machine, in bytes.
const SENT: u64 = 16 << 20;
/// After this long no more is sent.
const LONGEST: Duration = Duration::from_secs(2);
/// How often a round trip is taken; the shortest counts.
const TRIES: usize = 3;

/// The time of a connection is one round trip: SYN there, SYN-ACK back. bash 5 has a clock that
/// costs no process; where it is older, nothing is printed.
const CONNECT: &str = r#"[ -n "$EPOCHREALTIME" ] || exit 0
for try in 1 2 3; do
	begin=${EPOCHREALTIME/[.,]/}
	exec 3<>"/dev/tcp/$1/$2" || exit 0
	end=${EPOCHREALTIME/[.,]/}
	exec 3>&-
	echo "$((end - begin))"
done"#;

/// Measures the way from `source` to `destination`. What cannot be measured is `None`; nothing is
/// written on either host.
#[must_use]
pub fn measure(source: &dyn Host, destination: &dyn Host) -> Link {
    let address = address(destination);
    let direct = address
        .as_ref()
        .and_then(|(ip, port)| connect(source, ip, port));
    let through_us = || Some(trip(source)? + trip(destination)?);
    // Where the source cannot even reach the SSH port, it reaches no other.
    let rate = address
        .filter(|_| direct.is_some())
        .and_then(|(ip, _)| send(source, destination, &ip));
    Link {
        round_trip: direct.or_else(through_us),
        direct: direct.is_some(),
        throughput: rate.or_else(|| throughput(source, destination).ok().flatten()),
        throughput_direct: rate.is_some(),
    }
}

/// Bytes per second of a connection from `source` to `destination` at its address `ip`.
fn send(source: &dyn Host, destination: &dyn Host, ip: &str) -> Option<f64> {
    let mut count = destination
        .open(&Cmd::reads("perl").args(["-e", COUNT, ip]))
        .ok()?;
    let mut port = Vec::new();
    let mut byte = [0];
    while count.read(&mut byte).ok()? == 1 && byte[0] != b'\n' && port.len() < 6 {
        port.push(byte[0]);
    }
    let port: u16 = String::from_utf8(port).ok()?.parse().ok()?;
    let cmd = Cmd::reads("sh")
        .args(["-c", SEND, "transship-link", ip, &port.to_string()])
        .timeout(Duration::from_secs(10));
    // It ends with the status of `timeout`; what counts is what arrived.
    source.run(&cmd).ok()?;
    rate(&count.finish().ok()?.stdout_text())
}

/// Reads bytes and hundredths of a second. Less than a tenth of a second is no measurement.
fn rate(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let bytes: u64 = words.next()?.parse().ok()?;
    let hundredths: u64 = words.next()?.parse().ok()?;
    (hundredths >= 10).then(|| bytes as f64 / (hundredths as f64 / 100.0))
}

/// Address and port of a host's SSH server as our own connection found it.
fn address(host: &dyn Host) -> Option<(String, String)> {
    let cmd = Cmd::reads("sh").args(["-c", r#"echo "$SSH_CONNECTION""#]);
    connection(&host.text(&cmd).ok()?)
}

/// Reads `SSH_CONNECTION`: our address and port, the server's address and port.
fn connection(text: &str) -> Option<(String, String)> {
    let mut words = text.split_whitespace().skip(2);
    let (ip, port) = (words.next()?, words.next()?);
    let plain = |text: &str, also: &[char]| {
        text.chars()
            .all(|c| c.is_ascii_hexdigit() || also.contains(&c))
    };
    (plain(ip, &['.', ':']) && plain(port, &[])).then(|| (ip.to_owned(), port.to_owned()))
}

fn connect(source: &dyn Host, ip: &str, port: &str) -> Option<f64> {
    // `local` is no SSH host, but this machine: it reaches the server just as well.
    let cmd = Cmd::reads("bash")
        .args(["-c", CONNECT, "transship-link", ip, port])
        .timeout(Duration::from_secs(10));
    let output = source.run(&cmd).ok()?;
    shortest(&output.stdout_text())
}

/// The shortest of lines of microseconds, in seconds.
fn shortest(text: &str) -> Option<f64> {
    text.lines()
        .filter_map(|line| line.trim().parse::<u32>().ok())
        .min()
        .map(|micros| f64::from(micros) / 1e6)
}

/// How long a command that does nothing takes from here.
fn trip(host: &dyn Host) -> Option<f64> {
    let one = |_| {
        let begin = Instant::now();
        host.run(&Cmd::reads("true")).ok()?;
        Some(begin.elapsed().as_secs_f64())
    };
    (0..TRIES).filter_map(one).reduce(f64::min)
}

fn throughput(source: &dyn Host, destination: &dyn Host) -> Result<Option<f64>> {
    let bytes = SENT.to_string();
    let mut from = source.open(&Cmd::reads("head").args(["-c", &bytes, "/dev/zero"]))?;
    let mut to = destination.open(&Cmd::reads("sh").args(["-c", "cat >/dev/null"]))?;
    let mut buffer = vec![0; 64 << 10];
    let mut sent = 0_usize;
    let begin = Instant::now();
    while begin.elapsed() < LONGEST {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if to.write_all(&buffer[..count]).is_err() {
                    return Ok(None);
                }
                sent += count;
            }
            Err(_) => return Ok(None),
        }
    }
    if to.close_stdin().is_err() {
        return Ok(None);
    }
    to.finish()?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok((sent > 0 && seconds > 0.0).then(|| sent as f64 / seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fake, Local};

    #[test]
    fn only_an_address_and_a_port_reach_the_script() {
        let read = |text| connection(text);
        assert_eq!(
            read("10.0.0.1 5000 10.0.0.2 22"),
            Some(("10.0.0.2".into(), "22".into()))
        );
        assert_eq!(
            read("fe80::1 5000 fe80::2 2222"),
            Some(("fe80::2".into(), "2222".into()))
        );
        assert_eq!(read(""), None);
        assert_eq!(read("a b $(reboot) 22"), None);
    }

    #[test]
    fn a_rate_needs_time_to_be_one() {
        assert_eq!(rate("50000000 50\n"), Some(1e8));
        assert_eq!(rate("50000000 3\n"), None);
        assert_eq!(rate("Can't locate IO/Socket/IP.pm"), None);
        assert_eq!(rate(""), None);
    }

    #[test]
    fn the_shortest_round_trip_counts() {
        assert_eq!(shortest("310\n250\nbash: no\n"), Some(0.000_25));
        assert_eq!(shortest(""), None);
    }

    #[test]
    fn this_machine_to_itself_is_fast_and_not_direct() {
        let link = measure(&Local, &Local);
        assert!(!link.direct || link.round_trip < Some(0.01));
        assert!(link.round_trip.unwrap() < 1.0);
        assert!(link.throughput.unwrap() > 1e6, "{link:?}");
    }

    #[test]
    fn a_host_that_answers_nothing_leaves_nothing_measured() {
        assert_eq!(measure(&Fake::new("a"), &Fake::new("b")), Link::default());
    }
}
