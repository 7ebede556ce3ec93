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
        "docker run -d --name dfull --entrypoint hog busybox 20 >/dev/null; sleep 1; mkdir -p /srv/tiny; \
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
