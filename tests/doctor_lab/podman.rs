//! Containers of Podman: the same questions, and answers in its words.

use super::support::{Lab, fits_schema};
use super::{explain, explained, lab, of, verdicts};

/// A checkpoint that fails: name, mode, check, rule.
const DUMPS: [(&str, &str, &str, &str); 3] = [
    ("pt", "tcp", "container.tcp", "tcp-established-flag"),
    ("pg", "ghost", "container.deleted-files", "ghost-file-limit"),
    ("pl", "lock", "container.file-locks", "file-locks"),
];

/// Has Podman run the workload on `a`, from Docker's image.
fn start(lab: &Lab, name: &str, options: &str, mode: &str) {
    for host in ["a", "b"] {
        lab.ok(
            host,
            "podman image exists stuck || { docker save -o /tmp/stuck.tar stuck && podman load -q -i /tmp/stuck.tar; rm /tmp/stuck.tar; }",
        );
    }
    lab.ok(
        "a",
        &format!(
            "podman rm -f -t 0 {name} >/dev/null 2>&1; podman run -d --name {name} {options} stuck /stuck {mode} && \
             for i in $(seq 50); do podman logs {name} | grep -q ready && exit; sleep 0.1; done; exit 1"
        ),
    );
}

fn forget(lab: &Lab, name: &str) {
    for host in ["a", "b"] {
        lab.sh(host, &format!("podman rm -f -t 0 {name}"));
    }
}

fn examined(lab: &Lab, name: &str) -> serde_json::Value {
    let document = lab
        .run(&["--json", "doctor", "a", "b", "--container", name])
        .json();
    fits_schema(&document, "doctor");
    document["container"].clone()
}

#[test]
fn what_stops_a_checkpoint_of_podman_is_named_before_and_after() {
    let Some((lab, _turn)) = lab() else { return };
    for (name, mode, check, rule) in DUMPS {
        start(lab, name, "", mode);
        let (status, text) = of(&examined(lab, name), check);
        // Our own modes, other than tarball, have CRIU take these along.
        let taken = ["container.file-locks", "container.deleted-files"].contains(&check);
        assert_eq!(status, if taken { "warn" } else { "fail" }, "{text}");
        // The lab's Podman runs them with runc, whose file is /etc/criu/runc.conf.
        assert!(
            !text.contains("docker") && !text.contains("default.conf"),
            "{text}"
        );
        let ran = lab.sh("a", &format!("podman container checkpoint {name}"));
        assert_ne!(ran.code, 0, "{name} was checkpointed");
        explained(&explain(lab, name), rule);
        forget(lab, name);
    }
}

#[test]
fn a_container_of_podman_that_can_go_is_good_and_goes() {
    let Some((lab, _turn)) = lab() else { return };
    // One letter, which Docker would not take.
    start(lab, "p", "", "idle");
    let report = examined(lab, "p");
    let bad: Vec<_> = verdicts(&report)
        .filter(|verdict| matches!(verdict["status"].as_str(), Some("warn" | "fail")))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    lab.ok(
        "a",
        "podman container checkpoint p && podman container restore p",
    );
    forget(lab, "p");
}

#[test]
fn what_the_destination_lacks_for_podman_is_named() {
    let Some((lab, _turn)) = lab() else { return };
    let fixed = "--network pfixed --ip 10.66.3.9";
    lab.ok(
        "a",
        "podman network exists pfixed || podman network create --subnet 10.66.3.0/24 pfixed",
    );
    start(lab, "pp", &format!("{fixed} -p 8079:80"), "idle");
    let (status, text) = of(&examined(lab, "pp"), "container.networks");
    assert_eq!(status, "fail", "{text}");
    assert!(
        text.contains("podman network create --subnet 10.66.3.0/24 pfixed"),
        "{text}"
    );
    lab.ok(
        "b",
        &format!("podman network create --subnet 10.66.3.0/24 pfixed; podman run -d --name powner {fixed} stuck /stuck idle; podman create --name pp stuck /stuck idle"),
    );
    let report = examined(lab, "pp");
    let (status, text) = of(&report, "container.networks");
    assert_eq!(status, "fail", "{text}");
    assert!(text.contains("10.66.3.9 belongs to powner there"), "{text}");
    let (status, text) = of(&report, "container.name-free");
    assert_eq!(status, "fail", "{text}");
    assert!(text.contains("podman rename"), "{text}");
    forget(lab, "pp");
    forget(lab, "powner");
    for host in ["a", "b"] {
        lab.ok(host, "podman network rm pfixed");
    }
}
