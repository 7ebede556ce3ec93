//! Checkpoints that fail: named before by what the container has open, and explained after from the log.

use super::support::Lab;
use super::{explain, explained, lab, says, start};
use doctor::check::UNDUMPABLE;

/// A checkpoint that fails: name, options, mode; the check that says so before, and the rule after.
const DUMPS: [(&str, &str, &str, &str, &str); 7] = [
    ("dtcp", "", "tcp", "container.tcp", "tcp-established-flag"),
    (
        "dghost",
        "",
        "ghost",
        "container.deleted-files",
        "ghost-file-limit",
    ),
    (
        "dinotify",
        "",
        "inotify /tmp",
        "container.inotify",
        "inotify",
    ),
    (
        "during",
        "--security-opt seccomp=unconfined",
        "io_uring",
        "container.kernel-objects",
        "io-uring",
    ),
    ("dlock", "", "lock", "container.file-locks", "file-locks"),
    (
        "dtraced",
        "--cap-add SYS_PTRACE",
        "traced",
        "container.ptrace",
        "ptraced-task",
    ),
    (
        "dfuse",
        "--device /dev/fuse",
        "open /dev/fuse",
        "container.devices",
        "device-file-open",
    ),
];

#[test]
fn what_stops_a_checkpoint_is_named_before_and_after() {
    let Some((lab, _turn)) = lab() else { return };
    for (name, options, mode, check, rule) in DUMPS {
        start(lab, name, options, mode);
        let (status, text) = says(lab, name, check);
        // Our own modes, other than tarball, have CRIU take these along.
        let taken = ["container.file-locks", "container.deleted-files"].contains(&check);
        assert_eq!(status, if taken { "warn" } else { "fail" }, "{text}");
        if UNDUMPABLE.contains(&check) {
            refused_before_anything_is_touched(lab, name, check);
        }
        let ran = lab.sh("a", &format!("docker checkpoint create {name} c1"));
        assert_ne!(ran.code, 0, "{name} was checkpointed");
        explained(&explain(lab, name), rule);
        lab.forget(name);
    }
}

/// A migration says the same, in the modes of the engine's checkpoints and of our own.
fn refused_before_anything_is_touched(lab: &Lab, name: &str, check: &str) {
    for mode in ["copy", "tarball"] {
        let ran = lab.run(&["migrate", name, "--from", "a", "--to", "b", "--mode", mode]);
        let refused = ran.expect(4).stderr;
        for said in ["nothing was changed", &format!("--ignore {check}")] {
            assert!(refused.contains(said), "{refused}");
        }
    }
}

#[test]
fn a_socket_that_leads_out_is_named_before_and_after() {
    let Some((lab, _turn)) = lab() else { return };
    lab.ok(
        "a",
        "mkdir -p /srv/sock; rm -f /srv/sock/s; (perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(\
         Local => q(/srv/sock/s), Listen => 1); $c = $s->accept; sleep 120' >/dev/null 2>&1 </dev/null &); \
         for i in $(seq 50); do [ -S /srv/sock/s ] && exit; sleep 0.1; done; exit 1",
    );
    start(lab, "dunix", "-v /srv/sock:/sock", "unix /sock/s");
    let (status, text) = says(lab, "dunix", "container.unix-sockets");
    assert_eq!(status, "fail", "{text}");
    refused_before_anything_is_touched(lab, "dunix", "container.unix-sockets");
    let ran = lab.sh("a", "docker checkpoint create dunix c1");
    assert_ne!(ran.code, 0);
    explained(&explain(lab, "dunix"), "external-unix-socket");
    lab.forget("dunix");
}
