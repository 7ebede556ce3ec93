//! The container that is moved: `hog`, a process with so much memory that watches over its own pages.

use crate::Size;
use engine::{Kind, Name};
use host::{Cmd, Host};
use migrate::Failure;
use std::time::Duration;

/// What the largest of them may take to fill its memory, or to check it.
const SLOW: Duration = Duration::from_secs(1800);

/// Its name, and the label by which what an earlier benchmark left is found.
pub(crate) const NAME: &str = "transship-bench";

/// Waits until it has filled its memory: then it prints.
const START: &str = r#"engine=$1 image=$2 name=$3 mib=$4
"$engine" image inspect -- "$image" >/dev/null 2>&1 || { echo "there is no image $image here" >&2; exit 1; }
[ "$engine" = docker ] || runtime='--runtime runc'
"$engine" $runtime run -d --name "$name" --label transship.bench "$image" hog "$mib" >/dev/null || exit
until "$engine" logs "$name" 2>/dev/null | head -n 1 | grep -q .; do
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

/// Starts it, and waits until its memory is full.
pub(crate) fn start(host: &dyn Host, kind: Kind, image: &str, size: Size) -> Result<(), Failure> {
    let mib = size.mib().to_string();
    let cmd = script("start-the-container", START, kind, &[image, NAME, &mib]);
    host.text(&cmd).map(drop).map_err(|error| {
        Failure::from(error).fix(format!(
            "the image needs the program hog; that of the lab has it: {0} save busybox, and on {1}: {0} load",
            kind.program(),
            host.name()
        ))
    })
}

/// Every page of its memory is what it was.
pub(crate) fn check(host: &dyn Host, kind: Kind) -> Result<(), Failure> {
    let cmd = script("check-its-memory", CHECK, kind, &[NAME]);
    Ok(host.text(&cmd).map(drop)?)
}

/// Removes it, and what an earlier benchmark left.
pub(crate) fn forget(host: &dyn Host, kind: Kind) -> Result<(), Failure> {
    let cmd = script("remove-the-container", FORGET, kind, &[]);
    Ok(host.text(&cmd).map(drop)?)
}
