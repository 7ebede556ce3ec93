//! Which mode suits what is known of a container, its hosts and the way between them: a pure function.

use crate::Mode;
use doctor::check::pause;
use schemars::JsonSchema;
use serde::Serialize;

/// Seconds that a container may stand still before a longer risk is worth a shorter pause. Where
/// somebody is connected to it, somebody waits.
const STANDS: f64 = 5.0;
const STANDS_CONNECTED: f64 = 2.0;

/// Seconds for which post-copy may need both hosts and the link between them.
const EXPOSED: f64 = 300.0;

/// Round trip in seconds from which a container that runs would mostly wait for its pages.
const FAR: f64 = 0.02;

/// Share of a processor below which a container hardly runs.
const IDLE: f64 = 0.01;

/// Share of the link up to which a container may change its memory: rounds of pre-copy then become smaller.
const CHANGES: f64 = 0.5;

/// What mode auto knows; what could not be found out is missing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct ModeFacts {
    /// Memory of the container's processes, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// What a connection from the source to the destination carries, in bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<f64>,
    /// Whether that connection went from one host to the other; else it went through this machine.
    pub direct: bool,
    /// Seconds for a small message there and back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_seconds: Option<f64>,
    /// Processors that the container kept busy while it was watched for about a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processors: Option<f64>,
    /// Memory that it touched for the first time meanwhile, in bytes a second. What it writes again
    /// is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub touched_bytes_per_second: Option<f64>,
    /// Its TCP connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Whether these are to be taken along (`--tcp-established`).
    pub tcp_established: bool,
    /// Why mode copy would be refused, where it would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_copy: Option<String>,
    /// Why mode post-copy would be refused, where it would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_post_copy: Option<String>,
    /// Why mode pre-copy would be refused, where it would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_pre_copy: Option<String>,
}

/// The mode that auto chose, and why.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Choice {
    /// The mode.
    pub mode: Mode,
    /// Why, as sentences; what was not known too.
    pub reasons: Vec<String>,
    /// What was known.
    pub facts: ModeFacts,
}

/// The mode for these facts. Mode copy is the safe one: it is chosen wherever a fact is missing that
/// would speak for another.
pub(crate) fn choose(facts: ModeFacts) -> Choice {
    let mut reasons = Vec::new();
    let mode = decide(&facts, &mut reasons);
    Choice {
        mode,
        reasons,
        facts,
    }
}

fn decide(facts: &ModeFacts, reasons: &mut Vec<String>) -> Mode {
    if let Some(why) = &facts.without_copy {
        reasons.push(format!("mode copy would be refused: {why}"));
        reasons.push(
            "tarball loses none of its files: it has no volume, no bind mount and changed nothing"
                .into(),
        );
        return Mode::Tarball;
    }
    let (Some(memory), Some(rate)) = (facts.memory_bytes, facts.bytes_per_second) else {
        reasons.push(
            "how fast its memory would move is not known: copy is safe however long it takes"
                .into(),
        );
        return Mode::Copy;
    };
    let (least, most) = pause(memory, rate);
    reasons.push(format!(
        "copy would stop it for about {least:.1} to {most:.1} s: {} MiB of memory, {:.1} MB/s between the hosts",
        memory >> 20,
        rate / 1e6
    ));
    let stands = match facts.connections {
        None => {
            reasons
                .push("whether somebody is connected to it is not known: taken as nobody".into());
            STANDS
        }
        Some(0) => STANDS,
        Some(count) => {
            reasons.push(format!(
                "somebody waits: it has {count} TCP connection{}",
                if count == 1 { "" } else { "s" }
            ));
            if !facts.tcp_established {
                reasons.push("its connections need --tcp-established, which was not given".into());
            }
            STANDS_CONNECTED
        }
    };
    if most <= stands {
        reasons.push(format!(
            "that is not over {stands:.0} s, and until it is done nothing is lost if a host or the link fails"
        ));
        return Mode::Copy;
    }
    match against_post_copy(facts, most, reasons) {
        Some(why) => {
            reasons.push(format!("not post-copy: {why}"));
            pre_copy(facts, rate, reasons)
        }
        None => {
            reasons.push(format!(
                "that is over {stands:.0} s; post-copy stops it for a time that does not grow with memory, and needs both hosts until the last page has come, in at most about {most:.0} s"
            ));
            Mode::PostCopy
        }
    }
}

/// Pre-copy, where copy would take long and post-copy is ruled out: unless something speaks against it too.
fn pre_copy(facts: &ModeFacts, rate: f64, reasons: &mut Vec<String>) -> Mode {
    let against = match (&facts.without_pre_copy, facts.touched_bytes_per_second) {
        (Some(why), _) => Some(format!("it would be refused: {why}")),
        (None, None) => Some("how fast it changes its memory is not known".into()),
        (None, Some(changes)) if changes >= CHANGES * rate => Some(format!(
            "it takes {:.1} MB/s of memory into use, and rounds become smaller only below half of what the link carries",
            changes / 1e6
        )),
        _ => None,
    };
    if let Some(why) = against {
        reasons.push(format!("not pre-copy: {why}"));
        return Mode::Copy;
    }
    reasons.push(
        "pre-copy sends its memory while it runs and stops it for what it changed since; nothing is lost if a host or the link fails"
            .into(),
    );
    Mode::PreCopy
}

/// What speaks against post-copy although copy would take long; the last page comes after about
/// `exposed` seconds.
fn against_post_copy(facts: &ModeFacts, exposed: f64, reasons: &mut Vec<String>) -> Option<String> {
    if let Some(why) = &facts.without_post_copy {
        return Some(format!("it would be refused: {why}"));
    }
    if !facts.direct {
        return Some("it needs a connection from host to host, and none could be measured".into());
    }
    if exposed > EXPOSED {
        return Some(format!(
            "it would need both hosts and the link for about {exposed:.0} s, which is over {EXPOSED:.0} s"
        ));
    }
    let Some(trip) = facts.round_trip_seconds else {
        return Some("how long a page would be on its way is not known".into());
    };
    if trip <= FAR {
        return None;
    }
    let far = format!("a page that it touches is {:.0} ms on its way", trip * 1e3);
    match facts.processors {
        Some(processors) if processors < IDLE => {
            reasons.push(format!("{far}, but it hardly runs"));
            None
        }
        Some(processors) => Some(format!(
            "{far}, and it runs for {:.0} % of a processor: it would mostly wait",
            processors * 100.0
        )),
        None => Some(format!("{far}, and how much it runs is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A container of 1 GiB in a LAN, all known, everything possible.
    fn large() -> ModeFacts {
        ModeFacts {
            memory_bytes: Some(1024 * MIB),
            bytes_per_second: Some(110e6),
            direct: true,
            round_trip_seconds: Some(0.000_3),
            processors: Some(0.5),
            touched_bytes_per_second: Some(4096.0),
            connections: Some(0),
            tcp_established: false,
            without_copy: None,
            without_post_copy: None,
            without_pre_copy: Some("no soft-dirty on a".into()),
        }
    }

    /// The choice for the large container with something changed, and what its reasons must say.
    #[track_caller]
    fn expect(change: impl Fn(&mut ModeFacts), mode: Mode, said: &str) {
        let mut facts = large();
        change(&mut facts);
        let choice = choose(facts.clone());
        assert_eq!(choice.mode, mode, "{choice:?}");
        let reasons = choice.reasons.join("; ");
        assert!(reasons.contains(said), "{said:?} is not in {reasons:?}");
        assert_eq!(choice.facts, facts);
    }

    #[test]
    fn large_memory_nearby_goes_by_post_copy_and_small_by_copy() {
        expect(|_| {}, Mode::PostCopy, "over 5 s");
        expect(
            |f| f.memory_bytes = Some(64 * MIB),
            Mode::Copy,
            "not over 5 s",
        );
        expect(|f| f.memory_bytes = Some(0), Mode::Copy, "0.3 to 0.9 s");
        // The hosts are the limit where the link is not.
        expect(
            |f| f.bytes_per_second = Some(1e10),
            Mode::PostCopy,
            "0.4 to 9.2 s",
        );
    }

    #[test]
    fn connections_make_the_pause_count_for_more() {
        let middle = |connections| {
            move |f: &mut ModeFacts| {
                f.memory_bytes = Some(256 * MIB);
                f.connections = connections;
            }
        };
        expect(middle(Some(0)), Mode::Copy, "not over 5 s");
        expect(middle(Some(1)), Mode::PostCopy, "1 TCP connection;");
        expect(middle(Some(3)), Mode::PostCopy, "3 TCP connections");
        expect(middle(None), Mode::Copy, "taken as nobody");
    }

    #[test]
    fn what_is_not_known_is_said_and_chooses_copy() {
        expect(|f| f.memory_bytes = None, Mode::Copy, "is not known");
        expect(|f| f.bytes_per_second = None, Mode::Copy, "is not known");
        expect(|f| f.round_trip_seconds = None, Mode::Copy, "is not known");
        expect(|f| f.direct = false, Mode::Copy, "none could be measured");
        let far = |f: &mut ModeFacts| {
            f.round_trip_seconds = Some(0.04);
            f.processors = None;
        };
        expect(far, Mode::Copy, "how much it runs is not known");
        let nothing = choose(ModeFacts::default());
        assert_eq!(nothing.mode, Mode::Copy);
        assert!(nothing.reasons[0].contains("is not known"));
    }

    #[test]
    fn a_link_that_is_far_or_slow_speaks_against_post_copy() {
        expect(
            |f| f.bytes_per_second = Some(1.25e6),
            Mode::Copy,
            "for about 860 s",
        );
        let far = |processors| {
            move |f: &mut ModeFacts| {
                f.round_trip_seconds = Some(0.04);
                f.processors = Some(processors);
            }
        };
        expect(far(0.5), Mode::Copy, "50 % of a processor");
        expect(
            far(0.0),
            Mode::PostCopy,
            "40 ms on its way, but it hardly runs",
        );
    }

    #[test]
    fn connections_need_an_option() {
        let option = "its connections need --tcp-established";
        expect(|f| f.connections = Some(2), Mode::PostCopy, option);
        for (connections, given) in [(Some(2), true), (Some(0), false), (None, false)] {
            let mut facts = large();
            (facts.connections, facts.tcp_established) = (connections, given);
            let reasons = choose(facts).reasons.join("; ");
            assert!(!reasons.contains(option), "{reasons}");
        }
    }

    #[test]
    fn pre_copy_is_chosen_where_the_pause_would_be_long_and_post_copy_is_ruled_out() {
        // The last page would come after minutes.
        let slow = |f: &mut ModeFacts| {
            f.bytes_per_second = Some(1.25e6);
            f.without_pre_copy = None;
        };
        expect(slow, Mode::PreCopy, "sends its memory while it runs");
        let refused = |f: &mut ModeFacts| {
            f.without_post_copy = Some("no userfaultfd on b".into());
            f.without_pre_copy = None;
        };
        expect(refused, Mode::PreCopy, "not post-copy: it would be refused");
        // Where post-copy or copy would do, it is not needed.
        expect(|f| f.without_pre_copy = None, Mode::PostCopy, "over 5 s");
        let small = |f: &mut ModeFacts| {
            refused(f);
            f.memory_bytes = Some(64 * MIB);
        };
        expect(small, Mode::Copy, "not over 5 s");
    }

    #[test]
    fn pre_copy_is_not_chosen_where_rounds_would_not_become_smaller() {
        let changes = |rate| {
            move |f: &mut ModeFacts| {
                f.bytes_per_second = Some(1.25e6);
                f.without_pre_copy = None;
                f.touched_bytes_per_second = rate;
            }
        };
        expect(changes(Some(0.62e6)), Mode::PreCopy, "not post-copy");
        expect(
            changes(Some(0.63e6)),
            Mode::Copy,
            "not pre-copy: it takes 0.6 MB/s",
        );
        expect(
            changes(None),
            Mode::Copy,
            "not pre-copy: how fast it changes its memory is not known",
        );
        expect(
            |f| f.bytes_per_second = Some(1.25e6),
            Mode::Copy,
            "not pre-copy: it would be refused: no soft-dirty on a",
        );
    }

    #[test]
    fn a_mode_that_would_be_refused_is_not_chosen() {
        let why = |text: &str| Some(text.to_owned());
        expect(
            |f| f.without_post_copy = why("no userfaultfd on b"),
            Mode::Copy,
            "not post-copy: it would be refused: no userfaultfd on b",
        );
        expect(
            |f| f.without_copy = why("no overlay2 on a"),
            Mode::Tarball,
            "mode copy would be refused: no overlay2 on a",
        );
    }
}
