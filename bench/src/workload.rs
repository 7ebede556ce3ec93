//! The container that is moved: `hog`, a process with so much memory that watches over its own pages, or a shell
//! that counts; and beside it `tcps`, where somebody is to be connected.

use crate::{Size, Wanted};
use engine::{Kind, Name};
use host::{Cmd, Host};
use migrate::Failure;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Where the container answers somebody who is connected while it moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// A network that both hosts have, on which the address moves along.
    pub network: String,
    /// The container's address there; it must be reached from this machine.
    pub address: IpAddr,
}

/// A text that is no network and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadService(String);

impl fmt::Display for BadService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(
            formatter,
            "`{text}` is no network and address: write NETWORK=ADDRESS, as lan=192.0.2.50"
        )
    }
}

impl std::error::Error for BadService {}

impl FromStr for Service {
    type Err = BadService;

    fn from_str(text: &str) -> Result<Self, BadService> {
        let bad = || BadService(text.to_owned());
        let (network, address) = text.split_once('=').ok_or_else(bad)?;
        // The engines' names of networks are of the same form as those of containers.
        Name::new(network).map_err(|_| bad())?;
        Ok(Service {
            network: network.to_owned(),
            address: address.parse().map_err(|_| bad())?,
        })
    }
}

/// What the largest of them may take to fill its memory, or to check it.
const SLOW: Duration = Duration::from_secs(1800);

/// Its name, and the label by which what an earlier benchmark left is found.
pub(crate) const NAME: &str = "transship-bench";

/// The counter of the thesis; what it prints first on each line tells it from one that was started anew.
pub(crate) const COUNTER: &str = r#"id=$(cat /proc/sys/kernel/random/uuid); i=0; while :; do echo "$id $i"; i=$((i + 1)); sleep 1; done"#;

/// Somebody who is connected, beside the rest. A signal ends the wait, but not the work.
const SERVES: &str = r#""$@" & work=$!; tcps & trap 'kill -USR1 "$work"' USR1; until wait "$work"; [ $? -le 128 ]; do :; done"#;

/// Waits until it has filled its memory: then it prints a number, and that is printed here too.
const START: &str = r#"engine=$1 image=$2 name=$3 mib=$4 counter=$5 serves=$6 network=$7 address=$8
"$engine" image inspect -- "$image" >/dev/null 2>&1 || { echo "there is no image $image here" >&2; exit 1; }
[ "$engine" = docker ] || runtime='--runtime runc'
if [ "$mib" = 0 ]; then set -- sh -c "$counter"; else set -- hog "$mib"; fi
[ -z "$network" ] || set -- sh -c "$serves" tcps-beside "$@"
set -- --name "$name" --label transship.bench "$image" "$@"
case $address in
	'') ;;
	*:*) set -- --network "$network" --ip6 "$address" "$@" ;;
	*) set -- --network "$network" --ip "$address" "$@" ;;
esac
"$engine" $runtime run -d "$@" >/dev/null || exit
until "$engine" logs "$name" 2>/dev/null | grep -m 1 '^[0-9a-f-]* [0-9]'; do
	"$engine" inspect -f '{{.State.Running}}' "$name" | grep -q true || { "$engine" logs "$name" >&2; exit 1; }
	sleep 0.1
done"#;

/// Asks it to check all its pages.
const CHECK: &str = r#"engine=$1 name=$2
checks() { "$engine" logs "$name" 2>/dev/null | grep -c '^checked'; }
before=$(checks)
"$engine" kill -s USR1 "$name" >/dev/null || exit
until [ "$(checks)" -gt "$before" ]; do
	"$engine" inspect -f '{{.State.Running}}' "$name" | grep -q true || { "$engine" logs "$name" 2>&1 | tail -n 1 >&2; exit 1; }
	sleep 0.2
done"#;

/// The counter prints a number that it had not printed.
const COUNTS: &str = r#"engine=$1 name=$2 id=$3
last() { "$engine" logs --tail 50 "$name" 2>/dev/null | grep "^$id [0-9]" | tail -n 1; }
before=$(last)
for try in $(seq 100); do
	now=$(last)
	[ "$now" = "$before" ] || exit 0
	sleep 0.1
done
echo "the counter does not go on: it printed last: $("$engine" logs --tail 1 "$name" 2>&1)" >&2
exit 1"#;

/// Removes what benchmarks left, whatever state it is in.
const FORGET: &str = r#"engine=$1
left=$("$engine" ps -aq --filter label=transship.bench) || exit
[ -z "$left" ] || "$engine" rm -f $left >/dev/null"#;

pub(crate) fn name() -> Name {
    Name::new(NAME).expect("it is a name")
}

fn script(label: &str, script: &str, kind: Kind, words: &[&str]) -> Cmd {
    Cmd::changes("sh")
        .args(["-c", script, label, kind.program()])
        .args(words.iter().copied())
        .timeout(SLOW)
}

/// The first host has the image, and both the network.
pub(crate) fn needs(
    hosts: &[Arc<dyn Host>; 2],
    kind: Kind,
    wanted: &Wanted,
) -> Result<(), Failure> {
    let [first, second] = hosts;
    let lacks = |host: &dyn Host, sort: &str, name: &str| {
        let cmd = Cmd::reads(kind.program()).args([sort, "inspect", "--format", "there", "--"]);
        host.run(&cmd.arg(name)).map(|output| output.status != 0)
    };
    let (on, program) = (first.name(), kind.program());
    if lacks(&**first, "image", &wanted.image)? {
        let what = format!("there is no image {} on {on}", wanted.image);
        return Err(Failure::refused(on, what).fix(format!(
            "take that of a lab, which has the programs hog and tcps: {program} save busybox there, {program} load on {on}"
        )));
    }
    let network = wanted.tcp.as_ref().map(|service| &*service.network);
    for (host, network) in [first, second].into_iter().zip(network.into_iter().cycle()) {
        if lacks(&**host, "network", network)? {
            let on = host.name();
            let what = format!("{kind} on {on} has no network {network}");
            return Err(Failure::refused(on, what).fix(format!(
                "make it, or name one that both hosts have, on {on}: {program} network ls"
            )));
        }
    }
    Ok(())
}

/// Starts it, and waits until its memory is full. Returns the counter's own mark, by which [`check`] knows it.
pub(crate) fn start(
    host: &dyn Host,
    kind: Kind,
    wanted: &Wanted,
    size: Size,
) -> Result<String, Failure> {
    let (mib, image) = (size.mib().to_string(), &wanted.image);
    let (network, address) = match &wanted.tcp {
        Some(service) => (&*service.network, service.address.to_string()),
        None => ("", String::new()),
    };
    let words = [image, NAME, &mib, COUNTER, SERVES, network, &address];
    let cmd = script("start-the-container", START, kind, &words);
    let said = host.text(&cmd).map_err(|error| {
        Failure::from(error).fix(format!(
            "the image needs the programs hog and, for --tcp, tcps; that of the lab has them: {0} save busybox, and on {1}: {0} load",
            kind.program(),
            host.name()
        ))
    })?;
    let mark = said.split_whitespace().next().unwrap_or_default();
    Ok(mark.to_owned())
}

/// Every page of its memory is what it was; the counter counts on.
pub(crate) fn check(host: &dyn Host, kind: Kind, size: Size, mark: &str) -> Result<(), Failure> {
    let cmd = if size.is_counter() {
        script("look-for-numbers", COUNTS, kind, &[NAME, mark])
    } else {
        script("check-its-memory", CHECK, kind, &[NAME])
    };
    Ok(host.text(&cmd).map(drop)?)
}

/// Removes it, and what an earlier benchmark left.
pub(crate) fn forget(host: &dyn Host, kind: Kind) -> Result<(), Failure> {
    let cmd = script("remove-the-container", FORGET, kind, &[]);
    Ok(host.text(&cmd).map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_network_and_an_address() {
        let service: Service = "lan=10.0.0.50".parse().unwrap();
        assert_eq!(
            (&*service.network, service.address.is_ipv4()),
            ("lan", true)
        );
        assert!("lan=fd00::50".parse::<Service>().is_ok());
        for bad in [
            "",
            "lan",
            "=10.0.0.1",
            "lan=",
            "lan=host",
            "-x=10.0.0.1",
            "a b=10.0.0.1",
        ] {
            assert!(bad.parse::<Service>().is_err(), "{bad}");
        }
    }
}
