//! Facts of recorded hosts, and ways to change them.

#![allow(dead_code, reason = "each test file uses its part")]

use doctor::check::{Report, Status, Subject};
use host::{CriuCheck, Facts};

pub const TRIXIE: &str =
    include_str!("../../../host/tests/transcripts/trixie-docker-podman.facts.txt");
pub const TRIXIE_CRIU: &str = include_str!("../../../host/tests/transcripts/trixie.criu.txt");
pub const OLD_CRIU: &str =
    include_str!("../../../host/tests/transcripts/criu-3.17.1-on-6.18.criu.txt");
pub const TRIXIE_HARDWARE: &str =
    include_str!("../../../host/tests/transcripts/trixie.hardware.txt");
pub const CLIENT: &str =
    include_str!("../../../host/tests/transcripts/bookworm-docker-client.facts.txt");
pub const XENIAL: &str =
    include_str!("../../../host/tests/transcripts/xenial-docker-17.09.1.facts.txt");

/// A transcript with texts replaced; each must be there, so that no test changes nothing.
pub fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old:?} is not in the transcript");
        text.replace(old, new)
    })
}

/// The judgement of a host by an edited transcript.
pub fn judged(text: &str, edits: &[(&str, &str)]) -> Report {
    let facts = Facts::parse(&edited(text, edits));
    let subject = Subject {
        name: "root@a",
        facts: &facts,
        criu: None,
    };
    doctor::check::host(&subject)
}

/// The judgement of the Debian 13 host with what CRIU said there.
pub fn judged_with_criu(edits: &[(&str, &str)]) -> Report {
    let facts = Facts::parse(TRIXIE);
    let criu = CriuCheck::parse(&edited(TRIXIE_CRIU, edits));
    let subject = Subject {
        name: "root@a",
        facts: &facts,
        criu: Some(&criu),
    };
    doctor::check::host(&subject)
}

/// Ids of the verdicts with a status.
pub fn ids(report: &Report, status: Status) -> Vec<&str> {
    report
        .verdicts()
        .filter(|verdict| verdict.status == status)
        .map(|verdict| verdict.id.as_str())
        .collect()
}

/// Words that stand for what the user has to fill in.
const PLACEHOLDERS: [&str; 9] = [
    "SOURCE",
    "DESTINATION",
    "FOLDER",
    "HOST",
    "CONTAINER",
    "IMAGE",
    "SUBNET",
    "NEW",
    "...",
];

/// Asserts that every fix of a report can be pasted as it stands.
#[track_caller]
fn can_be_pasted(report: &Report) {
    for verdict in report.verdicts() {
        for fix in &verdict.fix {
            let mut words = fix.split(|c: char| !(c.is_ascii_alphabetic() || "._-".contains(c)));
            assert!(
                !words.any(|word| PLACEHOLDERS.contains(&word)),
                "{fix:?} of {} cannot be pasted",
                verdict.id
            );
        }
    }
}

/// Asserts a verdict's status and that what it says holds a text; a bad verdict has all three parts.
#[track_caller]
pub fn expect(report: &Report, id: &str, status: Status, says: &str) {
    can_be_pasted(report);
    let verdict = report
        .verdict(id)
        .unwrap_or_else(|| panic!("no check {id}"));
    assert_eq!(verdict.status, status, "{verdict:#?}");
    let said = format!(
        "{} {}",
        verdict.sentence,
        verdict.found.as_deref().unwrap_or_default()
    );
    assert!(said.contains(says), "{says:?} is not in {verdict:#?}");
    if matches!(status, Status::Warn | Status::Fail) {
        assert!(
            verdict.found.is_some() && verdict.needed_because.is_some(),
            "{verdict:#?}"
        );
        assert!(!verdict.fix.is_empty(), "{verdict:#?}");
    }
}
