//! Checks of a running container, seen good and bad on a recorded one.

mod common;

use common::*;
use doctor::check::Status::{Fail, Ok, Skip, Warn};
use doctor::check::{Inmate, Link, Report, Status, Subject, catalogue};
use host::facts::container::{Container, Destination};
use host::{CriuCheck, Facts};

/// A container that has a file of a bind mount open and publishes a port.
const RUNNING: &str = include_str!("../../host/tests/transcripts/container.txt");
/// One with a TCP connection.
const TCP: &str = include_str!("../../host/tests/transcripts/container-tcp.txt");
/// A host that has its image and nothing else of it.
const THERE: &str = include_str!("../../host/tests/transcripts/destination.txt");

type Edits<'a> = &'a [(&'a str, &'a str)];

const NO_EDITS: Edits = &[];
/// The mounted folder and the open file are there too.
const COPIED: Edits = &[
    (
        "stat: cannot statx '/srv/data': No such file or directory\n\n",
        "4096|directory\n",
    ),
    (
        "stat: cannot statx '/srv/data/f': No such file or directory\n\n",
        "6|regular file\n",
    ),
    ("end path.1 1", "end path.1 0"),
    ("end path.2 1", "end path.2 0"),
];

fn judged(container: &str, there: Edits, destination: Edits, criu: Edits) -> Report {
    let source = Facts::parse(TRIXIE);
    let to = Facts::parse(&edited(TRIXIE, destination));
    let criu = CriuCheck::parse(&edited(TRIXIE_CRIU, criu));
    let container = Container::parse(container);
    let inspected = engine::Container::parse(container.inspect.as_bytes());
    let answers = inspected.as_ref().map(|inspected| {
        let place = doctor::check::place("rec", &container, inspected);
        Destination::parse(&edited(THERE, there), &place)
    });
    let subject = |name, facts| Subject {
        name,
        facts,
        criu: Some(&criu),
    };
    doctor::check::container(&Inmate {
        name: "rec",
        container: &container,
        inspected: inspected.as_ref(),
        source: subject("root@a", &source),
        destination: answers
            .as_ref()
            .map(|answers| (subject("root@b", &to), answers)),
        link: Some(Link {
            round_trip: Some(0.001),
            direct: true,
            throughput: Some(100e6),
            throughput_direct: true,
        }),
    })
}

const OPEN: &str = "3 -> /data/f";

/// Edits of the container, of what is at the destination, of the destination's facts, of CRIU's word; the check,
/// its status and what it says.
type Case = (
    Edits<'static>,
    Edits<'static>,
    Edits<'static>,
    Edits<'static>,
    &'static str,
    Status,
    &'static str,
);

#[rustfmt::skip]
const CASES: &[Case] = &[
    (&[("TracerPid:\t0", "TracerPid:\t77")], COPIED, &[], &[], "container.ptrace", Fail, "by process 77"),
    (&[("\"Tty\": false", "\"Tty\": true")], COPIED, &[], &[], "container.terminal", Warn, "--tty"),
    (&[], COPIED, &[(" avx512f ", " ")], &[], "container.cpu-state", Fail, "stuck"),
    (&[("AVX512_elapsed_ms:\t288", "AVX512_elapsed_ms:\t-1")], COPIED, &[(" avx512f ", " ")], &[], "container.cpu-state", Ok, "no process"),
    (&[], COPIED, &[], &[("end feature.seccomp_filters 0", "end feature.seccomp_filters 1")], "container.seccomp", Fail, "missing"),
    (&[(OPEN, "3 -> /tmp/g (deleted)"), ("/fd/3|1|8|6|", "/fd/3|0|8192|4194304|")], COPIED, &[], &[], "container.deleted-files", Fail, "4 MiB"),
    (&[(OPEN, "3 -> /tmp/g (deleted)"), ("/fd/3|1|8|6|", "/fd/3|0|8|6|")], COPIED, &[], &[], "container.deleted-files", Ok, "1 deleted"),
    (&[(".fdinfo\n", ".fdinfo\n/proc/9/fdinfo/3:inotify wd:1 ino:2 sdev:1ae mask:100\n")], COPIED, &[], &[], "container.inotify", Fail, "stuck"),
    (&[(".fdinfo\n", ".fdinfo\n/proc/9/fdinfo/3:inotify wd:1 ino:2 sdev:fe00000 mask:100\n")], COPIED, &[], &[], "container.inotify", Ok, ""),
    (&[(OPEN, "3 -> /dev/fuse"), ("/fd/3|1|8|6|regular file", "/fd/3|1|0|0|character special file")], COPIED, &[], &[], "container.devices", Fail, "/dev/fuse"),
    (&[(OPEN, "3 -> /dev/nvidia0")], COPIED, &[], &[], "container.gpu", Fail, "/dev/nvidia0"),
    (&[(OPEN, "3 -> anon_inode:[io_uring]")], COPIED, &[], &[], "container.kernel-objects", Fail, "io_uring"),
    (&[(OPEN, "3 -> anon_inode:[eventpoll]")], COPIED, &[], &[], "container.kernel-objects", Ok, ""),
    (&[(OPEN, "3 -> /memfd:x (deleted)")], COPIED, &[], &[], "container.memfd", Ok, "takes along"),
    (&[(".fdinfo\n", ".fdinfo\n/proc/9/fdinfo/3:lock:\t1: FLOCK  ADVISORY  WRITE 1 00:1:2 0 EOF\n")], COPIED, &[], &[], "container.file-locks", Fail, "/data/f"),
    (&[(OPEN, "3 -> socket:[55]")], COPIED, &[], &[], "container.sockets", Warn, "no table"),
    (&[(OPEN, "3 -> socket:[55]"), (" Path\n", " Path\n0: 3 0 0 0001 03 55\n"), ("begin unix-peers\n", "begin unix-peers\nu_str ESTAB 0 0 * 55 * 56\n")], COPIED, &[], &[], "container.unix-sockets", Fail, "leads to socket 56"),
    (&[], &[("end name 1", "end name 0")], &[], &[], "container.name-free", Fail, "root@b knows one"),
    (&[], &[("begin image\nsha256:76d5", "begin image\nsha256:aaaa")], &[], &[], "container.image", Warn, "sha256:aaaa"),
    (&[], &[("begin image\nsha256:76d5", "begin image\nsha256:76d5")], &[], &[], "container.image", Ok, "the same"),
    (&[], NO_EDITS, &[], &[], "container.mounts", Fail, "/srv/data, mounted at /data"),
    (&[], NO_EDITS, &[], &[], "container.changed-files", Fail, "/srv/data/f is missing on root@b"),
    (&[], &[("begin net.tcp\n", "begin net.tcp\nsl\n 9: 00000000:1F77 00000000:0000 0A 0:0 0:0 0 0 0 9 1 x\n")], &[], &[], "container.ports", Fail, "8055"),
    (&[("\"bridge\": {", "\"mine\": {")], &[("end network.3 0", "end network.3 1")], &[], &[], "container.networks", Fail, "no network mine"),
    (&[("Pss_Anon: ", "Pss_Anon: 999999999 kB\nOther: ")], COPIED, &[], &[], "container.memory", Fail, "to move"),
];

#[test]
fn a_container_that_can_go_has_no_failure_and_no_warning() {
    let report = judged(RUNNING, COPIED, &[], &[]);
    assert_eq!(ids(&report, Fail), [""; 0]);
    assert_eq!(ids(&report, Warn), [""; 0]);
    expect(&report, "container.dirty-rate", Skip, "not known");
    expect(&report, "container.downtime", Ok, "about 0.3 to 0.9 s");
}

#[test]
fn what_stands_in_the_way_is_named() {
    for (container, there, destination, criu, id, status, says) in CASES {
        let report = judged(&edited(RUNNING, container), there, destination, criu);
        expect(&report, id, *status, says);
    }
}

#[test]
fn open_connections_are_named_with_their_addresses() {
    let report = judged(TCP, NO_EDITS, &[], &[]);
    expect(&report, "container.tcp", Fail, "127.0.0.1:");
    let verdict = report.verdict("container.tcp").unwrap();
    assert!(verdict.fix[0].contains("--tcp-established"));
    assert!(verdict.fix[1].contains("tcp-established >>/etc/criu/runc.conf"));
}

#[test]
fn old_criu_and_memory_files() {
    let facts = Facts::parse(&edited(TRIXIE, &[("Version: 4.2.1\n", "Version: 3.11\n")]));
    let container = Container::parse(&edited(RUNNING, &[(OPEN, "3 -> /memfd:x (deleted)")]));
    let report = doctor::check::container(&Inmate {
        name: "rec",
        container: &container,
        inspected: None,
        source: Subject {
            name: "a",
            facts: &facts,
            criu: None,
        },
        destination: None,
        link: None,
    });
    expect(&report, "container.memfd", Fail, "CRIU 3.11");
    expect(&report, "container.running", Fail, "no container rec");
    expect(&report, "container.image", Skip, "no such container");
}

#[test]
fn a_command_that_exec_started_is_named() {
    // Its first process is another one, and is not its parent.
    let at = RUNNING.find("begin pid\n").unwrap() + "begin pid\n".len();
    let end = at + RUNNING[at..].find('\n').unwrap();
    let text = format!("{}2{}", &RUNNING[..at], &RUNNING[end..]);
    let report = judged(&text, COPIED, &[], &[]);
    expect(&report, "container.exec", Warn, "stuck (pid");
}

#[test]
fn every_check_of_a_container_has_been_seen_bad() {
    let seen: Vec<&str> = CASES
        .iter()
        .filter(|case| matches!(case.5, Fail | Warn))
        .map(|case| case.4)
        .chain([
            "container.tcp",
            "container.memfd",
            "container.running",
            "container.exec",
            // These two only tell.
            "container.dirty-rate",
            "container.downtime",
        ])
        .collect();
    for meta in catalogue() {
        if meta.id.starts_with("container.") {
            assert!(seen.contains(&&*meta.id), "{} was never seen bad", meta.id);
        }
    }
}
