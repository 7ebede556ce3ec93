//! The way between two hosts, measured with what every host has: bash, head and cat.

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
    /// Bytes per second from the source to the destination, through this machine and SSH.
    pub throughput: Option<f64>,
}

/// How much is sent at most to measure the throughput, in bytes.
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
    let direct = address(destination).and_then(|(ip, port)| connect(source, &ip, &port));
    let through_us = || Some(trip(source)? + trip(destination)?);
    Link {
        round_trip: direct.or_else(through_us),
        direct: direct.is_some(),
        throughput: throughput(source, destination).ok().flatten(),
    }
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
