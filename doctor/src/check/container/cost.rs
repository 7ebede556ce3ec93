//! What a move would cost: memory and time.

use super::Inmate;
use crate::check::catalogue::{Check, meta};
use crate::check::size;
use crate::check::verdict::{Group, Outcome};
use host::facts::criu::Feature;

/// Seconds that freezing, writing and restoring take beside the transfer, least and most: a guess,
/// wide on purpose.
const BESIDE: (f64, f64) = (0.3, 2.0);

pub(super) fn checks<'p>() -> Vec<Check<Inmate<'p>>> {
    vec![
        Check::new(
            meta(
                "container.memory",
                Group::Container,
                "Its memory fits the destination",
                "anonymous and shared memory of its processes, and what is available there. It fails where it does not fit",
                "all of it is in the checkpoint and in memory again after the restore",
                "free memory at the destination, or choose another",
            ),
            memory,
        ),
        Check::new(
            meta(
                "container.dirty-rate",
                Group::Container,
                "It is known how fast it changes its memory",
                "whether the kernel can track changed memory. It is never measured beforehand, since that would reset the marks of the container's memory",
                "pre-copy is worth it where memory changes more slowly than it is sent",
                "nothing; mode copy stops the container for as long as its whole memory takes",
            ),
            dirty,
        ),
        Check::new(
            meta(
                "container.downtime",
                Group::Container,
                "It is known about how long it would stand still",
                "memory to move and the measured throughput, with 0.3 to 2 s, a rough guess, for freezing and restoring. It is an estimate and never fails",
                "this decides which mode to use",
                "less memory in the container, or a faster connection, makes it shorter",
            ),
            downtime,
        ),
    ]
}

/// Bytes that a checkpoint would hold.
fn bytes(inmate: &Inmate<'_>) -> Option<u64> {
    let processes = &inmate.container.processes;
    (!processes.is_empty()).then(|| {
        let each = processes.iter().map(|process| process.memory);
        each.fold(0, u64::saturating_add)
    })
}

fn memory(inmate: &Inmate<'_>) -> Outcome {
    let Some(bytes) = bytes(inmate) else {
        return Outcome::skip("the container does not run");
    };
    let room = inmate
        .destination
        .as_ref()
        .and_then(|(host, _)| host.facts.memory.as_ref()?.available);
    match room {
        Some(room) if bytes > room => Outcome::fail("its memory does not fit the destination")
            .found(format!(
                "{} to move, {} available there",
                size(bytes),
                size(room)
            )),
        Some(room) => Outcome::ok(format!(
            "{} of memory to move, {} available there",
            size(bytes),
            size(room)
        )),
        None => Outcome::ok(format!("{} of memory to move", size(bytes))),
    }
}

fn dirty(inmate: &Inmate<'_>) -> Outcome {
    let feature = inmate
        .source
        .criu
        .map(|criu| criu.feature("mem_dirty_track"));
    match feature {
        Some(Feature::Supported) => Outcome::skip(
            "how fast it changes its memory is not known: measuring would reset the kernel's marks; pre-copy measures in its rounds",
        ),
        _ => Outcome::skip(
            "how fast it changes its memory is not known: this kernel does not track changed memory",
        ),
    }
}

fn downtime(inmate: &Inmate<'_>) -> Outcome {
    let Some(bytes) = bytes(inmate) else {
        return Outcome::skip("the container does not run");
    };
    let Some(rate) = inmate.link.and_then(|link| link.throughput) else {
        return Outcome::skip("no throughput was measured to estimate the downtime from");
    };
    let transfer = bytes as f64 / rate;
    Outcome::ok(format!(
        "it would stand still for about {:.1} to {:.1} s: {} at {:.0} MB/s, and {} to {} s to freeze and restore",
        transfer + BESIDE.0,
        transfer + BESIDE.1,
        size(bytes),
        rate / 1e6,
        BESIDE.0,
        BESIDE.1
    ))
}
