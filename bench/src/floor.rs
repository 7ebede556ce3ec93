//! What the two hosts take without us: a plain start, CRIU alone, CRIU's own page server, bytes over TCP.

use crate::document::FloorRow;
use crate::medians::median;
use crate::workload::{COUNTER, NAME};
use crate::{Document, Link, Size, wire};
use engine::Kind;
use host::{Cmd, Host};
use migrate::Failure;
use std::net::IpAddr;
use std::time::Duration;

/// What CRIU may take for the largest process.
const SLOW: Duration = Duration::from_secs(1800);

/// How often a container is started at least: it takes a moment only, and varies.
const STARTS: u32 = 15;

/// Starts a container with runc and, where it is there, with our runtime, by turns; prints which, and
/// nanoseconds. Timed on the host: SSH is not part of a start.
const START: &str = r#"engine=$1 image=$2 name=$3 times=$4
trap '"$engine" rm -f "$name-runc" "$name-ours" >/dev/null 2>&1' EXIT
create() {
	if [ "$engine" = docker ]; then docker create --label transship.bench --name "$1" --runtime "$2" "$image" hog 1 >/dev/null
	else podman --runtime "$3" create --label transship.bench --name "$1" "$image" hog 1 >/dev/null; fi
}
create "$name-runc" runc runc || exit
set -- runc
if [ -x /usr/local/bin/transship-runtime ] && create "$name-ours" transship /usr/local/bin/transship-runtime 2>/dev/null; then set -- runc ours; fi
for time in $(seq "$times"); do
	for runtime; do
		begin=$(date +%s%N)
		"$engine" start "$name-$runtime" >/dev/null || exit
		end=$(date +%s%N)
		echo "$runtime $((end - begin))"
		"$engine" kill "$name-$runtime" >/dev/null
		"$engine" wait "$name-$runtime" >/dev/null
	done
done"#;

/// A process of that size outside of any container: its pages to a page server, a dump, a restore. Prints
/// which, and nanoseconds. Everything is in memory, for root alone, and removed.
const CRIU: &str = r#"engine=$1 image=$2 name=$3 mib=$4 counter=$5 address=$6 port=$7
umask 077
work=$(mktemp -d /var/tmp/transship-bench.XXXXXX) || exit
images=$(mktemp -d /dev/shm/transship-bench.XXXXXX) || exit
pid=
trap '[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null; "$engine" rm -f "$name-hog" >/dev/null 2>&1; rm -rf "$work" "$images"' EXIT
"$engine" create --label transship.bench --name "$name-hog" "$image" hog 1 >/dev/null &&
	"$engine" cp "$name-hog:/bin/hog" "$work/hog" || exit
cd /
if [ "$mib" = 0 ]; then set -- sh -c "$counter"; else set -- "$work/hog" "$mib"; fi
setsid "$@" </dev/null >/dev/null 2>&1 &
pid=$!
until [ "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")" -ge $((mib * 1024)) ]; do
	kill -0 "$pid" || exit
	sleep 0.1
done
timed() {
	what=$1
	shift
	begin=$(date +%s%N)
	"$@" -o log -D "$images" >/dev/null 2>&1 || { tail -n 3 "$images/log" >&2; exit 1; }
	end=$(date +%s%N)
	echo "$what $((end - begin))"
}
[ -z "$address" ] || timed page-server criu dump -t "$pid" --leave-running --page-server --address "$address" --port "$port"
rm -rf "$images"/*
timed criu-dump criu dump -t "$pid"
timed criu-restore criu restore -d"#;

/// Listens for the pages of one dump, and keeps them in memory. It goes on in the background: nothing of it may
/// hold on to our connection.
const SERVE: &str = r#"umask 077
home=/dev/shm/transship-bench-server
mkdir "$home" && cd / || exit
criu page-server -d -D "$home" -o log --pidfile "$home/pid" --address "$1" --port "$2" </dev/null >/dev/null 2>&1 ||
	{ tail -n 3 "$home/log" >&2; exit 1; }"#;

/// Ends it, if it still listens, and removes the pages.
const SERVED: &str = r#"home=/dev/shm/transship-bench-server
if pid=$(cat "$home/pid" 2>/dev/null) && grep -q page-server "/proc/$pid/cmdline" 2>/dev/null; then kill -KILL "$pid"; fi
rm -rf "$home""#;

/// Where CRIU's page server listens: above the ports that services use.
const PORT: &str = "27031";

/// The address of a host at which our own SSH connection found it; none for this machine itself.
fn address(host: &dyn Host) -> Option<IpAddr> {
    let said = host
        .text(&Cmd::reads("sh").args(["-c", r#"echo "$SSH_CONNECTION""#]))
        .ok()?;
    said.split_whitespace().nth(2)?.parse().ok()
}

/// Lines of a word and nanoseconds; the medians, in seconds, in the order of the words' first lines.
fn read(text: &str) -> Vec<(String, f64)> {
    let lines: Vec<(&str, f64)> = text
        .lines()
        .filter_map(|line| {
            let (what, nanoseconds) = line.split_once(' ')?;
            Some((what, nanoseconds.parse::<f64>().ok()? / 1e9))
        })
        .collect();
    let mut words: Vec<&str> = Vec::new();
    for (what, _) in &lines {
        if !words.contains(what) {
            words.push(what);
        }
    }
    let of = |word: &str| {
        median(
            lines
                .iter()
                .filter(|(what, _)| *what == word)
                .map(|(_, seconds)| *seconds),
        )
    };
    words
        .iter()
        .filter_map(|word| Some(((*word).to_owned(), of(word)?)))
        .collect()
}

/// A plain start on a host, with runc and with our runtime.
pub(crate) fn start(host: &dyn Host, kind: Kind, image: &str, runs: u32, document: &mut Document) {
    let times = runs.max(STARTS).to_string();
    let cmd = Cmd::changes("sh")
        .args([
            "-c",
            START,
            "start-containers",
            kind.program(),
            image,
            NAME,
            &times,
        ])
        .timeout(SLOW);
    match host.text(&cmd) {
        Ok(text) => document
            .floors
            .extend(read(&text).into_iter().map(|(what, seconds)| {
                FloorRow {
                    what: if what == "runc" {
                        "start"
                    } else {
                        "start-runtime"
                    }
                    .into(),
                    size_mib: None,
                    link: None,
                    host: host.name().into(),
                    seconds,
                }
            })),
        Err(error) => document.notes.push(format!("no plain start: {error}")),
    }
}

/// What is measured for each size and each link, from one host to the other.
pub(crate) struct Pages<'a> {
    pub source: &'a dyn Host,
    pub destination: &'a dyn Host,
    pub kind: Kind,
    pub image: &'a str,
    pub link: &'a Link,
    pub size: Size,
    pub runs: u32,
}

impl Pages<'_> {
    /// CRIU alone on the source, its page server on the destination, and so many bytes over TCP. What does not
    /// depend on the link is measured over the first one only.
    pub fn measure(&self, document: &mut Document) {
        let (size, name) = (self.size, self.destination.name());
        let address = address(self.destination).map(|address| address.to_string());
        let mut lines = String::new();
        for _ in 0..self.runs {
            match self.once(address.as_deref()) {
                Ok(text) => {
                    lines.push_str(&text);
                    lines.push('\n');
                }
                Err(failure) => document
                    .notes
                    .push(format!("no floor of CRIU at {size}: {}", failure.what)),
            }
            // A counter has no memory to speak of.
            if let Some(address) = address.as_deref().filter(|_| !size.is_counter()) {
                match wire::carry(self.source, self.destination, address, size.bytes()) {
                    Ok(text) => lines.push_str(&text),
                    Err(failure) => document.notes.push(format!(
                        "no floor of TCP at {size} over {}: {}",
                        self.link, failure.what
                    )),
                }
            }
        }
        if address.is_none() {
            document.notes.push(format!(
                "no page server on {name}: it is not reached over SSH, so its address is not known"
            ));
        }
        for (what, seconds) in read(&lines) {
            let on_link = ["page-server", "tcp"].contains(&&*what);
            let known = |floor: &FloorRow| floor.what == what && floor.size_mib == Some(size);
            if !on_link && document.floors.iter().any(known) {
                continue;
            }
            document.floors.push(FloorRow {
                what,
                size_mib: Some(size),
                link: on_link.then(|| self.link.name.clone()),
                host: self.source.name().into(),
                seconds,
            });
        }
    }

    fn once(&self, address: Option<&str>) -> Result<String, Failure> {
        let served = || {
            let cmd = Cmd::changes("sh").args(["-c", SERVED, "remove-the-pages"]);
            self.destination.text(&cmd)
        };
        let measure = || {
            if let Some(address) = address {
                // One that an earlier benchmark left would be in the way.
                served()?;
                let serve = Cmd::changes("sh").args(["-c", SERVE, "serve-pages", address, PORT]);
                self.destination.text(&serve)?;
            }
            let mib = self.size.mib().to_string();
            let words = ["-c", CRIU, "criu-alone", self.kind.program(), self.image];
            let cmd = Cmd::changes("sh").args(words).args([NAME, &mib, COUNTER]);
            let cmd = cmd.args([address.unwrap_or_default(), PORT]);
            self.source.text(&cmd.timeout(SLOW))
        };
        let result = measure();
        if address.is_some() {
            served()?;
        }
        Ok(result?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::Fake;

    #[test]
    fn lines_of_nanoseconds_are_medians_in_seconds() {
        let text =
            "runc 1000000000\nours 5000000000\nrunc 3000000000\nwarning: x\nrunc 2000000000\n";
        assert_eq!(
            read(text),
            [("runc".to_owned(), 2.0), ("ours".to_owned(), 5.0)]
        );
    }

    #[test]
    fn only_an_address_reaches_the_command() {
        let host = |said: &str| Fake::new("a").on("sh -c", said);
        assert_eq!(
            address(&host("10.0.0.1 5000 10.0.0.2 22")),
            "10.0.0.2".parse().ok()
        );
        assert_eq!(address(&host("")), None);
        assert_eq!(address(&host("x y $(reboot) 22")), None);
    }
}
