//! What the destination lacks.

use super::{lab, says, start};

#[test]
fn what_the_destination_lacks_is_named() {
    let Some((lab, _turn)) = lab() else { return };
    lab.ok("a", "mkdir -p /srv/only-a; echo 1 >/srv/only-a/f; docker network create --subnet 10.66.0.0/24 dnet || true");
    start(
        lab,
        "dplace",
        "-p 8077:80 -v /srv/only-a:/data --network dnet",
        "open /data/f",
    );
    lab.ok(
        "b",
        "docker run -d --name dplace -p 8077:80 stuck /stuck idle",
    );
    for (check, says_so) in [
        ("container.name-free", "already"),
        ("container.ports", "8077"),
        ("container.mounts", "/srv/only-a"),
        ("container.changed-files", "/srv/only-a/f"),
        ("container.networks", "dnet"),
    ] {
        let (status, text) = says(lab, "dplace", check);
        assert_eq!(status, "fail", "{text}");
        assert!(text.contains(says_so), "{text}");
    }
    lab.forget("dplace");
    lab.ok("a", "docker network rm dnet; rm -r /srv/only-a");
}

#[test]
fn an_address_or_port_that_is_taken_is_named() {
    let Some((lab, _turn)) = lab() else { return };
    for host in ["a", "b"] {
        lab.ok(host, "docker network create --subnet 10.66.2.0/24 dfixed");
    }
    let fixed = "--network dfixed --ip 10.66.2.9";
    start(lab, "daddr", fixed, "idle");
    lab.ok(
        "b",
        &format!("docker run -d --name downer {fixed} stuck /stuck idle"),
    );
    let (status, text) = says(lab, "daddr", "container.networks");
    assert_eq!(status, "fail", "{text}");
    assert!(text.contains("10.66.2.9 belongs to downer there"), "{text}");
    // An address that the engine chose is of no account.
    start(lab, "dany", "--network dfixed", "idle");
    let (status, text) = says(lab, "dany", "container.networks");
    assert_eq!(status, "ok", "{text}");

    start(lab, "dhost", "--network host", "listen 7056");
    lab.ok(
        "b",
        "docker run -d --name downport --network host stuck /stuck listen 7056; until docker logs downport | grep -q ready; do sleep 0.1; done",
    );
    let (status, text) = says(lab, "dhost", "container.ports");
    assert_eq!(status, "fail", "{text}");
    assert!(text.contains("7056"), "{text}");
    for name in ["daddr", "downer", "dany", "dhost", "downport"] {
        lab.forget(name);
    }
    for host in ["a", "b"] {
        lab.ok(host, "docker network rm dfixed");
    }
}
