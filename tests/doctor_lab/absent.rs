//! What is not there.

use super::lab;
use super::support::fits_schema;

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
    lab.run(&[
        "doctor",
        "explain",
        "--host",
        "a",
        "--container",
        "nobody.here",
    ]);
    let ran = lab.run(&["--json", "doctor", "hardware", "a"]).expect(0);
    fits_schema(&ran.json(), "hardware");
}
