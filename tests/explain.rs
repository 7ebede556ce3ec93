//! `transship doctor explain` through the real binary: large logs, and causes in other words than the rules' own.

mod support;

use serde_json::Value;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Ran, transship};

/// Writes a log of about so many MB: lines as CRIU writes them, the failure at the end.
fn log(megabytes: usize) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let line = "(00.123456)     14: sockets: \tset keepidle for socket 17, and 0x7f27a39000-0x7f27a3a000 too\n";
    let block = line.repeat((1 << 20) / line.len());
    for _ in 0..megabytes {
        file.write_all(block.as_bytes()).unwrap();
    }
    file.write_all(b"(09.1) Error (criu/files-reg.c:1115): Can't dump ghost file /x of 9999999 size, increase limit\n").unwrap();
    file.flush().unwrap();
    file
}

fn timed(log: &tempfile::NamedTempFile) -> Duration {
    let begin = Instant::now();
    let output = transship()
        .args(["--json", "doctor", "explain"])
        .arg(log.path())
        .output()
        .unwrap();
    let taken = begin.elapsed();
    let document: Value = Ran::of(output).expect(0).json();
    assert_eq!(document["diagnoses"][0]["id"], "ghost-file-limit");
    taken
}

#[test]
fn a_log_of_100_mb_takes_ten_times_as_long_as_one_of_10() {
    let (small, large) = (timed(&log(10)), timed(&log(100)));
    // Other work on the machine may slow either down; what must not be is a square.
    assert!(
        large < small * 40,
        "{small:?} for 10 MB, {large:?} for 100 MB"
    );
}

/// Logs in other words, cut, wrapped in an engine's message, without their prefixes, or with what follows from the
/// cause; and the rule that must come first.
const OTHER_WORDS: [(&str, &str); 14] = [
    (
        "inet: Connected TCP socket, consider using --tcp-established option.",
        "tcp-established-flag",
    ),
    (
        "{\"level\":\"error\",\"msg\":\"criu failed: type NOTIFY errno 0\\nlog: Error (criu/files-reg.c:99): Can't dump ghost file /srv/a b of 4194305 size, increase limit\\n\"}",
        "ghost-file-limit",
    ),
    (
        "(00.1) Error (criu/proc_parse.c:1): Unknown shit 600 (anon_inode:[io_uring])\n(00.2) Error (criu/cgroup.c:2055): cg: cgroupd: recv req error: No such file or directory\n(00.3) Error (criu/cr-dump.c:1): Dumping FAILED.",
        "io-uring",
    ),
    (
        "Warning: Failed to start: failed to checkpoint: (01.22) 77: Error (criu/sk-inet.c:1059): inet: Can't bind inet socket (id 0x9): Address already in use",
        "port-in-use",
    ),
    (
        "libpod: Error: IPAM error: requested ip address 172.20.3.4 is already allocated to container ID 0c",
        "address-in-use",
    ),
    (
        "Error (image.c:104): Dumped with --link-remap. Need to set it on restore as well.",
        "option-missing-at-restore",
    ),
    (
        "(00.11) Error (criu/page-xfer.c:263): page-xfer: Unable to spice data: Input/output error",
        "storage-error",
    ),
    (
        "(0.3) 1: Warn (libnetlink.c:65): ERROR -17 reported by netlink\n(0.3) 1: Error (net.c:488): can not restore link",
        "link-exists",
    ),
    (
        "(00.5)  4: Error (criu/files.c:99): No entry for reg-file-ID 0x1f",
        "images-inconsistent",
    ),
    (
        "Error response from daemon: checkpoint not support on containers with tty",
        "docker-tty",
    ),
    (
        "crun: CRIU version 31300 too old: Invalid argument",
        "criu-too-old",
    ),
    (
        "(00.9)  2: Error (criu/files-ext.c:96): Can't dump file 12 of that type [600] (unknown anon_inode:seccomp notify)",
        "anon-inode-unsupported",
    ),
    (
        "[66.1] Memory cgroup out of memory: Killed process 512 (java) total-vm:9000kB\n(00.9) Error (criu/cr-restore.c:1): 22 killed by signal 9: Killed",
        "enomem-restore",
    ),
    (
        "(00.2) Error (criu/proc_parse.c:879): Can't open /proc/812/status: No such process\n(00.2) Error (criu/cr-dump.c:1): Dumping FAILED.",
        "task-vanished",
    ),
];

/// Texts that name no cause: nothing may be sure.
const NO_CAUSE: [&str; 6] = [
    "404 page not found",
    "ssh: connect to host b port 22: Connection refused",
    "Error: open /tmp/x.tar.gz: no such file or directory",
    "ERRO[0000] criu failed: type RESTORE errno 3 log file: /x/restore.log",
    "(00.47) Error (criu/cr-dump.c:2111): Dumping FAILED.",
    "bind: address already in use? the listener says it is not",
];

fn explained(log: &str) -> Value {
    let mut child = transship()
        .args(["--json", "doctor", "explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(log.as_bytes())
        .unwrap();
    Ran::of(child.wait_with_output().unwrap()).expect(0).json()
}

#[test]
fn causes_are_known_in_other_words() {
    let mut wrong = Vec::new();
    for (log, id) in OTHER_WORDS {
        let document = explained(log);
        if document["diagnoses"][0]["id"] != id {
            wrong.push(format!("{id}: {}", document["diagnoses"][0]["id"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_names_no_cause_gets_no_sure_answer() {
    for log in NO_CAUSE {
        let document = explained(log);
        let first = &document["diagnoses"][0];
        assert_ne!(first["confidence"], "high", "{log}: {first:#}");
    }
}
