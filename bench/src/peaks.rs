//! The most memory that processes of ours took while a large container moved.

use crate::document::Peak;
use crate::{Mode, Size};
use host::{Cmd, Host, Stream};
use std::io::Read;
use std::time::Duration;

/// From this size on it is looked at, which would make a short move longer.
const LARGE: u32 = 1024;
/// As long as the longest move.
const SLOW: Duration = Duration::from_secs(3600);

/// Prints name and KiB of each, again and again, until its standard input ends. The kernel keeps the largest.
const LOOK: &str = r#"look() { cat /proc/[0-9]*/status 2>/dev/null | awk '/^Name:/ { name = $2 } /^VmHWM:/ && name ~ /^transship/ { print name, $2 }'; }
(while look; do sleep 0.3; done) &
looks=$!
cat >/dev/null
kill "$looks""#;

/// Looks on both hosts while it is held.
pub(crate) struct Watch<'a>(Vec<(&'a dyn Host, Box<dyn Stream>)>);

impl<'a> Watch<'a> {
    /// Begins, where it is worth it.
    pub fn begin(hosts: [&'a dyn Host; 2], mode: Mode, size: Size) -> Self {
        let cmd = Cmd::reads("sh").args(["-c", LOOK]).timeout(SLOW);
        let looks = |host: &'a dyn Host| Some((host, host.open(&cmd).ok()?));
        let wanted = size.mib() >= LARGE && mode != Mode::Podman;
        Watch(
            hosts
                .into_iter()
                .filter(|_| wanted)
                .filter_map(looks)
                .collect(),
        )
    }

    /// Ends it: the largest of each name on each host.
    pub fn end(self) -> Vec<Peak> {
        let mut peaks = Vec::new();
        for (host, mut stream) in self.0 {
            let mut text = String::new();
            let read = stream
                .close_stdin()
                .and_then(|()| stream.read_to_string(&mut text));
            let _ = stream.finish();
            if read.is_ok() {
                peaks.extend(largest(host.name(), &text));
            }
        }
        peaks
    }
}

/// The largest of each name.
fn largest(host: &str, text: &str) -> Vec<Peak> {
    let mut peaks: Vec<Peak> = Vec::new();
    for line in text.lines() {
        let Some((process, kib)) = line.split_once(' ') else {
            continue;
        };
        let Ok(kib) = kib.parse::<u64>() else {
            continue;
        };
        let bytes = kib * 1024;
        match peaks.iter_mut().find(|peak| peak.process == process) {
            Some(peak) => peak.bytes = peak.bytes.max(bytes),
            None => peaks.push(Peak {
                host: host.to_owned(),
                process: process.to_owned(),
                bytes,
            }),
        }
    }
    peaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_each_name_counts() {
        let peaks = largest(
            "a",
            "transship 900\ntransship-runti 20\nnonsense\ntransship 1000\ntransship 7\n",
        );
        let said: Vec<(&str, u64)> = peaks
            .iter()
            .map(|peak| (&*peak.process, peak.bytes))
            .collect();
        assert_eq!(
            said,
            [("transship", 1000 << 10), ("transship-runti", 20 << 10)]
        );
    }
}
