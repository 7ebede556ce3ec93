//! What lies between two hosts: their clocks, the connection, and whether one's memory would hold the other's.

use super::Pair;
use crate::check::catalogue::{Check, meta};
use crate::check::subject::{Subject, size};
use crate::check::verdict::{Group, Outcome};

/// Seconds that clocks may differ before programs that compare times notice.
const CLOCK: f64 = 1.0;
/// Seconds there and back above which post-copy makes a program wait noticeably for each page.
const ROUND_TRIP: f64 = 0.02;
/// Bytes per second below which a container of usual size takes minutes.
const THROUGHPUT: f64 = 10e6;

pub(super) fn checks<'p>() -> Vec<Check<Pair<'p>>> {
    vec![
        Check::new(
            meta(
                "pair.clock",
                Group::Pair,
                "The hosts' clocks agree",
                "the time that both probes told, within what the connection allows to know. It warns where they surely differ by more than a second",
                "the time of day jumps for a program that moves, and files seem to come from the future",
                "`timedatectl set-ntp true` on both, or run an NTP client",
            ),
            clock,
        ),
        Check::new(
            meta(
                "pair.round-trip",
                Group::Pair,
                "The hosts are near each other",
                "the time of a small message there and back. It warns above 20 ms",
                "every command of a migration waits that long at least",
                "prefer mode copy or pre-copy over this connection",
            ),
            round_trip,
        ),
        Check::new(
            meta(
                "pair.throughput",
                Group::Pair,
                "The connection is fast",
                "measured bytes per second. It warns below 10 MB/s",
                "in mode copy the program stands still while its memory is sent",
                "use a faster connection",
            ),
            throughput,
        ),
        Check::new(
            meta(
                "pair.memory",
                Group::Pair,
                "What runs on the source would fit into the destination's memory",
                "memory in use on the source against memory available on the destination. It warns where it is more",
                "the container's memory must fit; how much one container has is judged when it is named",
                "make room on the destination, or look at the container alone: `transship doctor SOURCE DESTINATION --container NAME`",
            ),
            memory,
        ),
    ]
}

fn clock(pair: &Pair<'_>) -> Outcome {
    let ahead = |subject: &Subject<'_>| subject.facts.clock.as_ref()?.ahead();
    let (Some(from), Some(to)) = (ahead(&pair.source), ahead(&pair.destination)) else {
        return Outcome::skip("the clocks were not read together");
    };
    // How far the destination is ahead of the source, at least and at most.
    let (least, most) = (to.0 - from.1, to.1 - from.0);
    let surely = if least > 0.0 {
        least
    } else if most < 0.0 {
        -most
    } else {
        0.0
    };
    if surely > CLOCK {
        let side = if least > 0.0 { "ahead of" } else { "behind" };
        return Outcome::warn("the clocks differ").found(format!(
            "{} is at least {surely:.1} s {side} {}",
            pair.destination.name, pair.source.name
        ));
    }
    Outcome::ok(format!(
        "the clocks agree within {:.1} s",
        least.abs().max(most.abs())
    ))
}

fn round_trip(pair: &Pair<'_>) -> Outcome {
    let Some((seconds, direct)) = pair
        .link
        .and_then(|link| Some((link.round_trip?, link.direct)))
    else {
        return Outcome::skip("the round trip was not measured");
    };
    let way = if direct {
        ""
    } else {
        ", by way of this machine"
    };
    let found = format!("{:.1} ms there and back{way}", seconds * 1e3);
    if seconds > ROUND_TRIP {
        return Outcome::warn("the hosts are far from each other").found(found);
    }
    Outcome::ok(found)
}

fn throughput(pair: &Pair<'_>) -> Outcome {
    let Some(rate) = pair.link.and_then(|link| link.throughput) else {
        return Outcome::skip("the throughput was not measured");
    };
    let way = if pair.link.is_some_and(|link| link.throughput_direct) {
        ""
    } else {
        ", through this machine and SSH"
    };
    if rate < THROUGHPUT {
        return Outcome::warn("the connection is slow").found(format!(
            "{:.1} MB/s from source to destination{way}",
            rate / 1e6
        ));
    }
    Outcome::ok(format!(
        "{:.0} MB/s from source to destination{way}",
        rate / 1e6
    ))
}

fn memory(pair: &Pair<'_>) -> Outcome {
    let (Some(from), Some(to)) = (&pair.source.facts.memory, &pair.destination.facts.memory) else {
        return Outcome::skip("memory is not known on both");
    };
    let (Some(left), Some(room)) = (from.available, to.available) else {
        return Outcome::skip("available memory is not known on both");
    };
    let used = from.total.saturating_sub(left);
    let found = format!(
        "{} in use on {}, {} available on {}",
        size(used),
        pair.source.name,
        size(room),
        pair.destination.name
    );
    if used > room {
        return Outcome::warn("not everything that runs on the source would fit").found(found);
    }
    Outcome::ok(found)
}
