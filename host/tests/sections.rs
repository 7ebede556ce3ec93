//! Each parser of a foreign program's words by itself: text near its real form, and text far from it, never make one panic.

use host::{CriuCheck, Facts, Hardware};
use proptest::prelude::*;
use proptest::sample::Index;

const TRIXIE: &str = include_str!("transcripts/trixie-docker-podman.facts.txt");
const TRIXIE_CRIU: &str = include_str!("transcripts/trixie.criu.txt");
const TRIXIE_HARDWARE: &str = include_str!("transcripts/trixie.hardware.txt");

/// What cpuid and hardinfo print, as far as is read of it.
const CPUID: &str = "CPU:\n   0x00000000 0x00: eax=0x0000001b ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69\n   \
    0x0000000d 0x00: eax=0x000602e7 ebx=0x00002b00 ecx=0x00002b00 edx=0x00000000\n   0x00000001 0x00: eax=0x000806f8 ebx=0x00100800 ecx=0xfffa3203 edx=0x1f8bfbff\n";
const HARDINFO: &str = "Devices\n-------\n\nStorage\n-------\nDisks\n  VDA\t\t\t80 GB\nMemory Devices\n\n-1: x=\n  DIMM 0:\tDDR4 16 GiB\n";

/// The sections that come from a program of which versions and languages abound.
const SECTIONS: [&str; 16] = [
    "lscpu",
    "xsave",
    "cpuinfo",
    "docker.version",
    "docker.info",
    "docker.daemon-json",
    "podman.info",
    "version.criu",
    "version.runc",
    "features.runc",
    "os-release",
    "kernel-config",
    "disks",
    "lsm",
    "leftovers",
    "criu-files",
];

fn body<'t>(transcript: &'t str, section: &str) -> &'t str {
    let begin = format!(" begin {section}\n");
    let Some(at) = transcript.find(&begin) else {
        return "";
    };
    let rest = &transcript[at + begin.len()..];
    rest.split("\n@@").next().unwrap_or_default()
}

fn alone(kind: &str, section: &str, text: &str) -> String {
    format!("@@transship {kind} 1 @@m\n@@m begin {section}\n{text}\n@@m end {section} 0\n")
}

/// A text with pieces of it replaced: by nothing, by anything, by numbers beyond all bounds.
fn torn(text: &str, edits: &[(Index, u8, String)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (index, length, new) in edits {
        let at = index.index(letters.len() + 1);
        let end = (at + usize::from(*length)).min(letters.len());
        letters.splice(at..end, new.chars());
    }
    letters.into_iter().collect()
}

fn edits() -> impl Strategy<Value = Vec<(Index, u8, String)>> {
    let new = prop_oneof![
        "\\PC{0,10}",
        "[0-9a-fx:.,=\\[\\]{}\"/ \n-]{0,20}",
        Just("99999999999999999999999".to_owned()),
        Just("\u{e9}\0\n\n".to_owned()),
    ];
    prop::collection::vec((any::<Index>(), any::<u8>(), new), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn sections_of_facts(which in 0..SECTIONS.len(), edits in edits(), other in "(?s).{0,300}") {
        let section = SECTIONS[which];
        let near = torn(body(TRIXIE, section), &edits);
        for text in [near.as_str(), torn(CPUID, &edits).as_str(), &other] {
            let facts = Facts::parse(&alone("facts", section, text));
            // What is told of them is made without a panic too.
            prop_assert!(serde_json::to_string(&facts).is_ok());
        }
    }

    #[test]
    fn sections_of_hardware(edits in edits(), other in "(?s).{0,300}") {
        let facts = Facts::parse("");
        for (section, real) in [
            ("cpuid", CPUID),
            ("hardinfo", HARDINFO),
            ("dmi", body(TRIXIE_HARDWARE, "dmi")),
            ("disks", body(TRIXIE_HARDWARE, "disks")),
            ("links", body(TRIXIE_HARDWARE, "links")),
            ("dimms", body(TRIXIE_HARDWARE, "dimms")),
        ] {
            for text in [torn(real, &edits), other.clone()] {
                let hardware = Hardware::parse(&alone("hardware", section, &text), &facts);
                prop_assert!(serde_json::to_string(&hardware).is_ok());
            }
        }
    }

    #[test]
    fn sections_of_criu(edits in edits(), other in "(?s).{0,300}") {
        for section in ["version", "check", "cpuinfo", "feature.uffd"] {
            for text in [torn(body(TRIXIE_CRIU, section), &edits), other.clone()] {
                let check = CriuCheck::parse(&alone("criu", section, &text));
                prop_assert!(serde_json::to_string(&check).is_ok());
            }
        }
    }
}
