//! What is not there.

use super::support::fits_schema;
use super::{explain, explained, lab, start};

#[test]
fn hosts_and_containers_that_are_not_there() {
    let Some((lab, _turn)) = lab() else { return };
    let ran = lab
        .run(&["--json", "doctor", "a", "nobody.invalid"])
        .expect(3);
    let document = ran.json();
    assert_eq!(document["unreachable"][0]["host"], "nobody.invalid");
    assert_eq!(document["hosts"][0]["subject"], "a");
    let ran = lab.run(&["doctor", "a", "--container", "nobody"]).expect(4);
    assert!(
        ran.stdout.contains("there is no container nobody"),
        "{ran:?}"
    );
    let ran = lab.run(&["--json", "doctor", "hardware", "a"]).expect(0);
    fits_schema(&ran.json(), "hardware");
}

#[test]
fn the_failure_of_another_container_is_not_taken_for_its_own() {
    let Some((lab, _turn)) = lab() else { return };
    // Its name is in most paths and in most sentences.
    start(lab, "er", "", "idle");
    start(lab, "dother", "", "tcp");
    let ran = lab.sh("a", "docker checkpoint create dother c1");
    assert_ne!(ran.code, 0);
    explained(&explain(lab, "dother"), "tcp-established-flag");
    // One that runs well, one that is nowhere, and what the engines call their folders.
    for name in ["er", "nobody.here", "docker", "moby"] {
        let ran = lab
            .run(&["doctor", "explain", "--host", "a", "--container", name])
            .expect(1);
        let says = format!("a has no log of a failed checkpoint or restore of {name}");
        assert!(ran.stderr.contains(&says), "{ran:?}");
    }
    lab.forget("er");
    lab.forget("dother");
}
