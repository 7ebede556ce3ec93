//! What the engine itself refuses.

use super::{explain_text, explained, lab, of, start, up};

/// What the engine itself refuses: what is done, and the rule for its message.
const MESSAGES: [(&str, &str); 10] = [
    (
        "docker network create --subnet 10.66.1.0/24 dtaken >/dev/null; docker run -d --name dip1 --network dtaken --ip 10.66.1.9 \
         stuck /stuck idle >/dev/null; docker run -d --name dip2 --network dtaken --ip 10.66.1.9 stuck /stuck idle >/dev/null; \
         docker rm -f dip1 dip2 >/dev/null; docker network rm dtaken >/dev/null",
        "address-in-use",
    ),
    (
        "mv /usr/sbin/criu /usr/sbin/criu.away; docker checkpoint create dmsg c1; mv /usr/sbin/criu.away /usr/sbin/criu",
        "criu-missing",
    ),
    (
        "docker checkpoint create --leave-running dmsg c1; docker checkpoint create dmsg c1",
        "checkpoint-exists",
    ),
    (
        "docker stop -t 0 dmsg; docker start --checkpoint c1 --checkpoint-dir /srv dmsg",
        "checkpoint-dir-unsupported",
    ),
    (
        "docker start --checkpoint nope dmsg",
        "checkpoint-not-found",
    ),
    (
        "docker start dmsg; mv /usr/sbin/criu /usr/sbin/criu.away; printf '#!/bin/sh\nexit 1\n' >/usr/sbin/criu; \
         chmod 755 /usr/sbin/criu; docker checkpoint create dmsg c2; mv -f /usr/sbin/criu.away /usr/sbin/criu",
        "criu-version-parse",
    ),
    (
        "docker run -d --name dport1 -p 8078:80 stuck /stuck idle; docker run -d --name dport2 -p 8078:80 stuck /stuck idle; \
         docker rm -f dport1 dport2 >/dev/null",
        "port-in-use",
    ),
    ("docker create --name dmsg stuck /stuck idle", "name-in-use"),
    ("docker checkpoint create nobody c1", "container-missing"),
    (
        "docker run -d --name dfull --entrypoint hog busybox 20 >/dev/null; until docker logs dfull | grep -q .; do sleep 0.1; done; mkdir -p /srv/tiny; \
         mount -t tmpfs -o size=4m none /srv/tiny; docker checkpoint create --checkpoint-dir /srv/tiny dfull c1; \
         umount /srv/tiny; docker rm -f dfull >/dev/null",
        "no-space",
    ),
];

#[test]
fn what_the_engine_refuses_is_explained_from_its_message() {
    let Some((lab, _turn)) = lab() else { return };
    start(lab, "dmsg", "", "idle");
    for (script, rule) in MESSAGES {
        let ran = lab.sh("a", script);
        explained(
            &explain_text(lab, &format!("{}{}", ran.stdout, ran.stderr)),
            rule,
        );
    }
    lab.forget("dmsg");
}

#[test]
fn a_missing_criu_is_named_before_and_after() {
    let Some((lab, _turn)) = lab() else { return };
    start(lab, "dnocriu", "", "idle");
    lab.ok("a", "mv /usr/sbin/criu /usr/sbin/criu.away");
    let document = lab.run(&["--json", "doctor", "a"]).json();
    let ran = lab.sh("a", "docker checkpoint create dnocriu c1");
    lab.ok("a", "mv /usr/sbin/criu.away /usr/sbin/criu");
    let (status, text) = of(&document["hosts"][0], "criu.present");
    assert_eq!(status, "fail", "{text}");
    assert_ne!(ran.code, 0);
    explained(&explain_text(lab, &ran.stderr), "criu-missing");
    lab.forget("dnocriu");
}

#[test]
fn a_full_disk_is_named_before_and_after() {
    let Some((lab, _turn)) = lab() else { return };
    start(lab, "dlarge", "", "idle");
    lab.ok(
        "a",
        "head -c 300M /dev/zero >/root/large; docker cp /root/large dlarge:/large; rm /root/large",
    );
    let (status, text) = super::says(lab, "dlarge", "container.space");
    assert_eq!(status, "ok", "{text}");
    // The daemon keeps its own folders open; who asks how much is free sees a small disk.
    lab.ok("b", "mount -t tmpfs -o size=200m none /var/lib/docker");
    let document = lab
        .run(&["--json", "doctor", "a", "b", "--container", "dlarge"])
        .json();
    let filled = lab.sh("b", "head -c 300M /dev/zero >/var/lib/docker/large");
    lab.ok("b", "umount /var/lib/docker");
    assert_ne!(filled.code, 0);
    let (status, text) = of(&document["hosts"][1], "space.disk");
    assert_eq!(status, "fail", "{text}");
    let (status, text) = of(&document["container"], "container.space");
    assert_eq!(status, "fail", "{text}");
    assert!(text.contains("300 MiB of files"), "{text}");
    explained(&explain_text(lab, &filled.stderr), "no-space");
    lab.forget("dlarge");
}

#[test]
fn experimental_features_that_are_off_are_named_before_and_after() {
    let Some((lab, _turn)) = lab() else { return };
    let switch = |from: bool, to: bool| {
        let script = format!(
            "sed -i 's/\"experimental\": *{from}/\"experimental\": {to}/' /etc/docker/daemon.json; \
             grep -q 'experimental\": *{to}' /etc/docker/daemon.json && kill $(cat /run/docker.pid) && \
             while docker ps >/dev/null 2>&1; do sleep 0.1; done"
        );
        lab.ok("b", &script);
        up();
    };
    switch(true, false);
    let document = lab.run(&["--json", "doctor", "b"]).json();
    let (status, text) = of(&document["hosts"][0], "engine.docker-experimental");
    let ran = lab.sh("b", "docker checkpoint create dmsg c1");
    switch(false, true);
    // Only mode tarball needs them.
    assert_eq!(status, "warn", "{text}");
    assert_ne!(ran.code, 0);
    explained(&explain_text(lab, &ran.stderr), "docker-experimental-off");
}
