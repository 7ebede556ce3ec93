//! This machine, asked and judged.

use doctor::check::{Pair, Status, Subject};
use host::{CriuCheck, Facts, Local};

#[test]
fn this_machine_is_judged_without_a_check_breaking_down() {
    let facts = Facts::gather(&Local).unwrap();
    let criu = CriuCheck::gather(&Local).unwrap();
    let subject = Subject {
        name: "local",
        facts: &facts,
        criu: Some(&criu),
    };
    let pair = Pair {
        source: subject,
        destination: subject,
        link: None,
        cpu: None,
    };
    for report in [doctor::check::host(&subject), doctor::check::pair(&pair)] {
        for verdict in report.verdicts() {
            assert!(!verdict.sentence.contains("broke down"), "{verdict:#?}");
            let bad = matches!(verdict.status, Status::Warn | Status::Fail);
            let parts = (verdict.found.is_some(), verdict.needed_because.is_some());
            assert_eq!(parts, (bad, bad), "{verdict:#?}");
            assert_eq!(verdict.fix.is_empty(), !bad, "{verdict:#?}");
        }
    }
    // A host fits itself, but is no other host.
    let report = doctor::check::pair(&pair);
    assert_eq!(
        report.verdict("pair.two-hosts").unwrap().status,
        Status::Fail
    );
    assert_eq!(
        report.verdict("pair.cpu-features").unwrap().status,
        Status::Ok
    );
    assert_eq!(report.verdict("pair.clock").unwrap().status, Status::Ok);
}
