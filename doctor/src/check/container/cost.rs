//! What a move would cost: memory and time.

use super::Inmate;
use crate::check::catalogue::{Check, meta};
use crate::check::size;
use crate::check::verdict::{Group, Outcome};
use host::facts::criu::{DIRTY_TRACKING, Feature};

/// Seconds that freezing, opening the images and starting again take beside the transfer, least and
/// most: what mode copy took for a container of 1 MiB, between a quiet and a busy pair of hosts.
const BESIDE: (f64, f64) = (0.3, 0.9);

/// Bytes a second that dump, encryption and restore manage on a busy machine of two processors,
/// where the connection is no limit: what mode copy took for 512 MiB, beside [`BESIDE`].
const HOSTS: f64 = 130e6;

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
                "container.huge-pages",
                Group::Container,
                "The destination has the huge pages that it uses",
                "huge pages that its processes have or have mapped, and those that are free at the destination. It fails where there are too few",
                "huge pages are set aside by hand, and a restore that finds none ends with `Cannot allocate memory`",
                "`sysctl -w vm.nr_hugepages=NUMBER` on the destination",
            ),
            huge,
        ),
        Check::new(
            meta(
                "container.dirty-rate",
                Group::Container,
                "It is known how fast it changes its memory",
                "for a second, how long it runs and how many pages it touches for the first time, both of which the kernel counts anyway. Pages that it writes again are not counted: for that the kernel must mark all its memory, which slows the program down, so that it is left to pre-copy. It never fails",
                "pre-copy is worth it where memory changes more slowly than it is sent; a container that does not run changes none",
                "nothing; mode copy stops the container for as long as its whole memory takes",
            ),
            dirty,
        ),
        Check::new(
            meta(
                "container.downtime",
                Group::Container,
                "It is known about how long it would stand still",
                "memory to move, and the throughput that was measured between the hosts, for mode copy. What comes on top is from measured moves: 0.3 to 0.9 s for a container of any size, and 130 MB/s at the slowest for reading, encrypting and restoring its memory. It is the most: memory that goes ahead of the freeze and does not change is not counted out. It is an estimate and never fails",
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
    // Huge pages that several have are one and the same in most programs.
    let shared = processes.iter().map(|process| process.huge_shared).max()?;
    let each = processes.iter().map(|process| process.memory);
    Some(each.fold(shared, u64::saturating_add))
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

fn huge(inmate: &Inmate<'_>) -> Outcome {
    let processes = &inmate.container.processes;
    if processes.is_empty() {
        return Outcome::skip("the container does not run");
    }
    let own = processes.iter().map(|process| process.huge);
    let shared = processes.iter().map(|process| process.huge_shared).max();
    let had = own.fold(shared.unwrap_or(0), u64::saturating_add);
    // What is mapped is promised, though it was not touched yet.
    let promised = processes.iter().map(|process| {
        let mappings = process.mappings.iter();
        let huge = mappings.filter(|mapping| {
            mapping.path.starts_with("/anon_hugepage") || mapping.path.starts_with("/dev/hugepages")
        });
        huge.fold(0_u64, |sum, mapping| sum.saturating_add(mapping.size))
    });
    let needed = had.max(promised.max().unwrap_or(0));
    if needed == 0 {
        return Outcome::ok("it uses no huge pages");
    }
    let Some((host, _)) = &inmate.destination else {
        return Outcome::ok(format!("it uses {} of huge pages", size(needed)));
    };
    let Some(free) = host
        .facts
        .memory
        .as_ref()
        .and_then(|memory| memory.huge_free)
    else {
        return Outcome::skip("how many huge pages are free at the destination is not known");
    };
    let found = format!(
        "{} of huge pages are in use, {} free on {}",
        size(needed),
        size(free),
        host.name
    );
    if needed > free {
        return Outcome::fail("the destination has too few huge pages").found(found).fix(format!(
            "ssh {} 'sysctl -w vm.nr_hugepages=$(($(cat /proc/sys/vm/nr_hugepages) + {}))'   # pages of 2 MiB",
            host::quote(host.name),
            (needed - free).div_ceil(2 << 20)
        ));
    }
    Outcome::ok(found)
}

fn dirty(inmate: &Inmate<'_>) -> Outcome {
    let Some(bytes) = bytes(inmate) else {
        return Outcome::skip("the container does not run");
    };
    let Some(activity) = inmate.container.activity else {
        return Outcome::skip(
            "how fast it changes its memory is not known: its kernel does not say how long it runs",
        );
    };
    // A program that runs at all counts nanoseconds.
    if activity.ran <= 0.0 {
        return Outcome::ok(format!(
            "it changes no memory: it did not run in the {:.1} s that it was watched",
            activity.seconds
        ));
    }
    let feature = inmate.source.criu.map(|criu| criu.feature(DIRTY_TRACKING));
    let rest = match feature {
        Some(Feature::Supported) => "pre-copy counts that in its rounds",
        _ => "this kernel cannot count that",
    };
    let share = activity.ran / activity.seconds * 100.0;
    Outcome::ok(format!(
        "in {:.1} s it ran for {} of a processor and touched {} of memory for the first time; how much of its {} it wrote again is not known: {rest}",
        activity.seconds,
        if share < 1.0 {
            "less than 1 %".to_owned()
        } else {
            format!("{share:.0} %")
        },
        size(activity.touched),
        size(bytes)
    ))
}

/// Seconds that mode copy stops a container of so many bytes, at the least and at the most, where the
/// connection carries `rate` bytes a second. An estimate from moves in the lab.
#[must_use]
pub fn pause(bytes: u64, rate: f64) -> (f64, f64) {
    let bytes = bytes as f64;
    (BESIDE.0 + bytes / rate, BESIDE.1 + bytes / rate.min(HOSTS))
}

fn downtime(inmate: &Inmate<'_>) -> Outcome {
    let Some(bytes) = bytes(inmate) else {
        return Outcome::skip("the container does not run");
    };
    let Some((link, rate)) = inmate.link.and_then(|link| Some((link, link.throughput?))) else {
        return Outcome::skip("no throughput was measured to estimate the downtime from");
    };
    let (least, most) = pause(bytes, rate);
    let way = if link.throughput_direct {
        "measured between the hosts"
    } else {
        "measured through this machine"
    };
    Outcome::ok(format!(
        "mode copy would stop it for about {least:.1} to {most:.1} s: {} at {:.0} MB/s, {way} (at worst {:.0} MB/s: slow processors), and {} to {} s to freeze and restore, as moves in the lab took",
        size(bytes),
        rate / 1e6,
        rate.min(HOSTS) / 1e6,
        BESIDE.0,
        BESIDE.1
    ))
}
