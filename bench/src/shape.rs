//! Slows down what leaves the two hosts, for as long as it is held.
//!
//! On each host a script adds a token bucket (tc's `tbf`) at the root of the device that leads to the other
//! host, and takes it away again when its standard input ends or falls silent. So it is gone too where
//! transship was killed, or its connection was cut.

use crate::Link;
use host::{Cmd, Host, Output, Stream};
use migrate::Failure;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// By this handle our own is known: nothing else is ever removed.
const HANDLE: &str = "7a5b:";

/// How often the script hears from us, and after how many seconds without a word it ends.
const BEAT: Duration = Duration::from_secs(10);
const SILENCE: &str = "60";

/// Longer than anybody measures.
const SLOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// Prints what there is: `ok DEVICE MTU`, or why not. A shaper is tried in a network namespace that ends with
/// the command. What the kernel put there itself has the handle 0.
const LOOK: &str = r#"peer=$1
command -v tc >/dev/null || { echo no-tc; exit; }
said=$(unshare -n tc qdisc add dev lo root tbf rate 1mbit burst 32kb latency 400ms 2>&1) || { echo "no-tbf $said"; exit; }
device=$(ip route get "$peer" | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
[ -n "$device" ] || { echo no-way; exit; }
other=$(tc qdisc show dev "$device" | awk '/ root / && $3 != "0:" { print $2, $3; exit }')
[ -z "$other" ] || { echo "taken $device $other"; exit; }
echo "ok $device $(cat "/sys/class/net/$device/mtu")""#;

/// Whatever ends us, or the connection, ends the input: so no signal is needed to know.
const SHAPE: &str = r#"device=$1 handle=$2 rate=$3 burst=$4 limit=$5 silence=$6
trap '' HUP INT PIPE TERM
tc qdisc add dev "$device" root handle "$handle" tbf rate "$rate" burst "$burst" limit "$limit" || exit
echo shaped
while said=$(timeout -s KILL "$silence" head -c 1); ended=$?; [ -n "$said" ]; do :; done
tc qdisc del dev "$device" root handle "$handle" || exit
[ "$ended" = 0 ] || { echo "nothing was heard from transship for $silence seconds" >&2; exit 1; }"#;

/// Where a host's packets leave towards the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    device: String,
    mtu: u64,
}

/// The devices of both hosts.
///
/// # Errors
/// Refuses where a host has no shaper, or something else is in its place.
pub(crate) fn ways(hosts: &[Arc<dyn Host>; 2]) -> Result<[Way; 2], Failure> {
    let [a, b] = hosts;
    let (at_a, at_b) = (connection(&**a), connection(&**b));
    // This machine has no connection to itself: its address is where the other's came from.
    let of = |own: Option<(IpAddr, IpAddr)>, other: Option<(IpAddr, IpAddr)>| {
        own.map(|(_, address)| address)
            .or(other.map(|(from, _)| from))
    };
    let to_a = way(&**b, of(at_a, at_b), a.name())?;
    Ok([way(&**a, of(at_b, at_a), b.name())?, to_a])
}

/// Where our SSH connection to a host comes from, and the host's own address in it.
fn connection(host: &dyn Host) -> Option<(IpAddr, IpAddr)> {
    let said = host
        .text(&Cmd::reads("sh").args(["-c", r#"echo "$SSH_CONNECTION""#]))
        .ok()?;
    let mut words = said.split_whitespace();
    Some((words.next()?.parse().ok()?, words.nth(1)?.parse().ok()?))
}

fn way(host: &dyn Host, peer: Option<IpAddr>, other: &str) -> Result<Way, Failure> {
    let on = host.name();
    let no_way = || {
        Failure::refused(
            on,
            format!(
                "by which device {on} reaches {other} is not known: its link cannot be slowed down"
            ),
        )
    };
    let peer = peer.ok_or_else(no_way)?.to_string();
    let look = Cmd::reads("sh").args(["-c", LOOK, "look-for-a-shaper", &peer]);
    let said = host.text(&look)?;
    let words: Vec<&str> = said.split_whitespace().collect();
    Err(match words.as_slice() {
        ["ok", device, mtu] => match mtu.parse() {
            Ok(mtu) => {
                return Ok(Way {
                    device: (*device).into(),
                    mtu,
                });
            }
            Err(_) => no_way(),
        },
        ["no-tc"] => Failure::refused(on, format!("there is no tc on {on}, which slows down its link"))
            .fix(format!("on {on}: apt-get install iproute2")),
        ["no-tbf", why @ ..] => Failure::refused(
            on,
            format!("the kernel of {on} has no token bucket to slow down its link with (tc: {})", why.join(" ")),
        )
        .fix(format!("on {on}: modprobe sch_tbf"))
        .fix("or without it: --links lan"),
        ["taken", device, what @ ..] => Failure::refused(
            on,
            format!("the traffic of {device} on {on} is shaped already ({}): a rate beside that would not be the rate", what.join(" ")),
        )
        .fix(format!("look at it, on {on}: tc qdisc show dev {device}"))
        .fix(format!("if nobody needs it, on {on}: tc qdisc del dev {device} root")),
        _ => no_way(),
    })
}

/// Bytes that may go at once, and bytes that wait before some are dropped. A burst is a hundredth of a second,
/// but room for two packets; what waits is four tenths of a second, but room for as many packets as a connection
/// sends at first, and more.
fn bucket(bits: u64, mtu: u64) -> (u64, u64) {
    let bytes = bits / 8;
    let packet = mtu + 100;
    let burst = (bytes / 100).max(2 * packet);
    (burst, (bytes * 2 / 5).max(16 * packet) + burst)
}

/// Both hosts slowed down.
pub(crate) struct Shaped(Vec<Guard>);

struct Guard {
    host: String,
    /// Dropped to end it.
    beat: Option<Sender<()>>,
    thread: Option<JoinHandle<host::Result<Output>>>,
}

impl Shaped {
    /// Slows both hosts down; nothing where the link is to stay as it is.
    pub fn begin(hosts: &[Arc<dyn Host>; 2], link: &Link) -> Result<Self, Failure> {
        let mut all = Shaped(Vec::new());
        let Some(bits) = link.bits_per_second else {
            return Ok(all);
        };
        for (host, way) in hosts.iter().zip(ways(hosts)?) {
            all.0.push(Guard::begin(&**host, &way, bits)?);
        }
        Ok(all)
    }

    /// Takes it away again.
    ///
    /// # Errors
    /// It was not there any more on a host, or its removal could not be seen.
    pub fn end(mut self) -> Result<(), Failure> {
        let ended: Vec<_> = self.0.iter_mut().map(Guard::end).collect();
        ended.into_iter().collect()
    }
}

impl Guard {
    fn begin(host: &dyn Host, way: &Way, bits: u64) -> Result<Self, Failure> {
        let (burst, limit) = bucket(bits, way.mtu);
        let cmd = Cmd::changes("sh").args(["-c", SHAPE, "slow-the-link-down", &way.device, HANDLE]);
        let cmd = cmd.args([format!("{bits}bit"), burst.to_string(), limit.to_string()]);
        let cmd = cmd.arg(SILENCE);
        let mut stream = host.open(&cmd.timeout(SLOW))?;
        let mut said = [0; 7];
        if stream.read_exact(&mut said).is_err() || &said != b"shaped\n" {
            let why = stream.finish()?.stderr_text().trim().to_owned();
            let what = format!("slowing down {} on {}: {why}", way.device, host.name());
            return Err(Failure::failed(host.name(), what));
        }
        let (beat, stop) = channel();
        Ok(Guard {
            host: host.name().into(),
            beat: Some(beat),
            thread: Some(std::thread::spawn(move || hold(stream, &stop))),
        })
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.beat = None;
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let output = thread.join().expect("holding a stream does not panic")?;
        if output.status == 0 {
            return Ok(());
        }
        let (on, why) = (&self.host, output.stderr_text().trim().to_owned());
        let what = format!("the link of {on} was not slowed down to the end: {why}");
        Err(Failure::failed(on, what))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // One that cannot be told ends by itself.
        let _ = self.end();
    }
}

/// Lets the script go on until nobody wants it any more.
fn hold(mut stream: Box<dyn Stream>, stop: &std::sync::mpsc::Receiver<()>) -> host::Result<Output> {
    while stop.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
        if stream.write_all(b".").is_err() {
            break;
        }
    }
    stream.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::Fake;
    use migrate::Kind;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_bucket_holds_packets_at_every_rate() {
        for rate in [64_000, 250_000, 2_000_000, 54_000_000, 10_000_000_000] {
            for mtu in [1280, 1500, 9000] {
                let (burst, limit) = bucket(rate, mtu);
                assert!(burst > mtu && limit >= burst + 10 * mtu, "{rate} {mtu}");
                // What waits is not minutes.
                assert!(mtu > 1500 || limit * 8 / rate <= 4, "{rate} {mtu}");
            }
        }
    }

    #[test]
    fn a_host_whose_link_cannot_be_slowed_down_is_refused_with_the_way_out() {
        for (said, what, fix) in [
            ("no-tc", "there is no tc on a", "apt-get install iproute2"),
            ("no-tbf Error: x", "(tc: Error: x)", "modprobe sch_tbf"),
            (
                "taken eth0 htb 1:",
                "(htb 1:)",
                "tc qdisc del dev eth0 root",
            ),
            ("no-way", "by which device a reaches b", ""),
            ("", "by which device a reaches b", ""),
        ] {
            let peer = "10.0.0.2".parse().ok();
            let failure = way(&Fake::new("a").on("sh -c", said), peer, "b").unwrap_err();
            assert_eq!(failure.kind, Kind::Refused);
            assert!(failure.what.contains(what), "{}", failure.what);
            assert!(failure.fix.concat().contains(fix), "{:?}", failure.fix);
        }
        let failure = way(&Fake::new("a"), None, "b").unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
    }

    /// The script on this machine, with a `tc` that only says what it was told.
    #[test]
    fn the_script_ends_by_itself_where_nobody_speaks_to_it_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (tc, told) = (folder.path().join("tc"), folder.path().join("told"));
        let stub = format!("#!/bin/sh\necho \"$1 $2 $4\" >> '{}'\n", told.display());
        std::fs::write(&tc, stub).unwrap();
        std::fs::set_permissions(&tc, PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let run = |silence: &str, speaks: bool| {
            let words = [
                "-c", SHAPE, "slow", "eth9", HANDLE, "1mbit", "3000", "9000", silence,
            ];
            let cmd = Cmd::changes("sh").args(words).env("PATH", &*path);
            let mut stream = host::Local.open(&cmd).unwrap();
            let mut said = [0; 7];
            stream.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"shaped\n");
            if speaks {
                stream.write_all(b"..").unwrap();
            } else {
                stream.read_to_end(&mut Vec::new()).unwrap();
            }
            stream.finish().unwrap()
        };
        assert_eq!(run("600", true).status, 0);
        let ended = run("1", false);
        assert_eq!(ended.status, 1);
        assert!(
            ended.stderr_text().contains("nothing was heard"),
            "{ended:?}"
        );
        let told = std::fs::read_to_string(told).unwrap();
        assert_eq!(told, "qdisc add eth9\nqdisc del eth9\n".repeat(2));
    }
}
