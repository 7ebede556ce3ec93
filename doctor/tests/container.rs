//! Checks of a running container, seen good and bad on a recorded one.

mod common;

use common::*;
use doctor::check::Status::{Fail, Ok, Skip, Warn};
use doctor::check::{Inmate, Link, Report, Status, Subject, catalogue, undumpable};
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

/// A volume beside the mounted folder, and another that nobody named.
const VOLUME: (&str, &str) = (
    "            }\n        ],\n        \"Config\"",
    "            }, {\"Type\": \"volume\", \"Name\": \"vol\", \"Source\": \"/v\", \"Destination\": \"/vol\", \"Driver\": \"local\", \"RW\": true},\n\
     {\"Type\": \"volume\", \"Name\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"Source\": \"/w\", \"Destination\": \"/any\", \"Driver\": \"local\", \"RW\": true}\n        ],\n        \"Config\"",
);

/// Marks of the two recordings, to put sections in.
macro_rules! running {
    ($name:literal, $text:literal) => {
        (
            "@@8b2c521bbef2fcd5 begin locks",
            concat!(
                "@@8b2c521bbef2fcd5 begin ",
                $name,
                "\n",
                $text,
                "\n@@8b2c521bbef2fcd5 end ",
                $name,
                " 0\n@@8b2c521bbef2fcd5 begin locks"
            ),
        )
    };
}
macro_rules! there {
    ($name:literal, $text:literal) => {
        (
            "@@042325a8a3222fda begin name",
            concat!(
                "@@042325a8a3222fda begin ",
                $name,
                "\n",
                $text,
                "\n@@042325a8a3222fda end ",
                $name,
                " 0\n@@042325a8a3222fda begin name"
            ),
        )
    };
}
/// The container's network has a name of the user's, and the address that he chose.
const MINE: (&str, &str) = (
    "\"bridge\": {\n                    \"IPAMConfig\": null",
    "\"mine\": {\n                    \"IPAMConfig\": {\"IPv4Address\": \"172.17.0.13\"}",
);
/// The same with an address of IPv6.
const SIX: (&str, &str) = (
    "\"GlobalIPv6Address\": \"\"",
    "\"GlobalIPv6Address\": \"fd00::9\"",
);

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
    (&[("Name:\tstuck", "Exe:\t/bin/busybox\nName:\tsleep")], COPIED, &[], &[], "container.sleep", Fail, "is /bin/busybox"),
    (&[("\"Tty\": false", "\"Tty\": true")], COPIED, &[], &[], "container.terminal", Warn, "--tty"),
    (&[(OPEN, "3 -> /dev/pts/0")], COPIED, &[], &[], "container.terminal", Warn, "/dev/pts/0 open, whose other end is outside"),
    (&[(OPEN, "3 -> /dev/pts/0\nlrwx------ 1 0 0 64 Nov 22 18:00 4 -> /dev/pts/ptmx")], COPIED, &[], &[], "container.terminal", Ok, "of its own"),
    (&[], COPIED, &[(" avx512f ", " ")], &[], "container.cpu-state", Fail, "stuck"),
    (&[("AVX512_elapsed_ms:\t288", "AVX512_elapsed_ms:\t-1")], COPIED, &[(" avx512f ", " ")], &[], "container.cpu-state", Ok, "no process"),
    (&[], COPIED, &[], &[("end feature.seccomp_filters 0", "end feature.seccomp_filters 1")], "container.seccomp", Fail, "missing"),
    (&[(OPEN, "3 -> /tmp/g (deleted)"), ("/fd/3|1|8|6|", "/fd/3|0|8192|4194304|")], COPIED, &[], &[], "container.deleted-files", Warn, "4 MiB"),
    (&[(OPEN, "3 -> /tmp/g (deleted)"), ("/fd/3|1|8|6|", "/fd/3|0|524288|268435456|")], COPIED, &[], &[], "container.deleted-files", Fail, "256 MiB"),
    (&[(OPEN, "3 -> /tmp/g (deleted)"), ("/fd/3|1|8|6|", "/fd/3|0|8|6|")], COPIED, &[], &[], "container.deleted-files", Ok, "1 deleted"),
    (&[(".fdinfo\n", ".fdinfo\n/proc/9/fdinfo/3:inotify wd:1 ino:2 sdev:1ae mask:100\n")], COPIED, &[], &[], "container.inotify", Fail, "stuck"),
    (&[(".fdinfo\n", ".fdinfo\n/proc/9/fdinfo/3:inotify wd:1 ino:2 sdev:fe00000 mask:100\n")], COPIED, &[], &[], "container.inotify", Ok, ""),
    (&[(OPEN, "3 -> /dev/fuse"), ("/fd/3|1|8|6|regular file", "/fd/3|1|0|0|character special file")], COPIED, &[], &[], "container.devices", Fail, "/dev/fuse"),
    (&[(OPEN, "3 -> /dev/nvidia0")], COPIED, &[], &[], "container.gpu", Fail, "/dev/nvidia0"),
    (&[(OPEN, "3 -> anon_inode:[io_uring]")], COPIED, &[], &[], "container.kernel-objects", Fail, "io_uring"),
    (&[(OPEN, "3 -> anon_inode:[eventpoll]")], COPIED, &[], &[], "container.kernel-objects", Ok, ""),
    (&[(OPEN, "3 -> /memfd:x (deleted)")], COPIED, &[], &[], "container.memfd", Ok, "takes along"),
    (&[(".fdinfo\n", ".fdinfo\n/proc/9/fdinfo/3:lock:\t1: FLOCK  ADVISORY  WRITE 1 00:1:2 0 EOF\n")], COPIED, &[], &[], "container.file-locks", Warn, "/data/f"),
    (&[(OPEN, "3 -> socket:[55]")], COPIED, &[], &[], "container.sockets", Warn, "no table"),
    (&[(OPEN, "3 -> socket:[55]"), (" Path\n", " Path\n0: 3 0 0 0001 03 55\n"), ("begin unix-peers\n", "begin unix-peers\nu_str ESTAB 0 0 * 55 * 56\n")], COPIED, &[], &[], "container.unix-sockets", Fail, "leads to socket 56"),
    (&[], &[("end name 1", "end name 0")], &[], &[], "container.name-free", Fail, "root@b knows one"),
    (&[], &[("begin image\nsha256:76d5", "begin image\nsha256:aaaa")], &[], &[], "container.image", Warn, "sha256:aaaa"),
    (&[], &[("begin image\nsha256:76d5", "begin image\nsha256:76d5")], &[], &[], "container.image", Ok, "the same"),
    (&[], NO_EDITS, &[], &[], "container.mounts", Fail, "/srv/data, mounted at /data"),
    (&[VOLUME], COPIED, &[], &[], "container.mounts", Ok, "modes that copy bring along volume vol, which mode tarball would make empty"),
    (&[VOLUME], &[COPIED[0], COPIED[1], COPIED[2], COPIED[3], ("volume.4", "volume.3"), ("end volume.3 1", "end volume.3 0")], &[], &[], "container.mounts", Fail, "root@b has vol; mode tarball would take"),
    (&[VOLUME], &[COPIED[0], COPIED[1], COPIED[2], COPIED[3], ("volume.4", "volume.3"), ("end volume.3 1", "end volume.3 0"), ("@@042325a8a3222fda begin volume.3", "@@042325a8a3222fda begin moved.3\n\n@@042325a8a3222fda end moved.3 0\n@@042325a8a3222fda begin volume.3")], &[], &[], "container.mounts", Ok, "1 volume of an earlier migration"),
    (&[VOLUME, ("\"Driver\": \"local\"", "\"Driver\": \"nfs\"")], COPIED, &[], &[], "container.mounts", Fail, "belongs to the driver nfs"),
    (&[], NO_EDITS, &[], &[], "container.changed-files", Fail, "/srv/data/f is missing on root@b"),
    (&[], &[("begin net.tcp\n", "begin net.tcp\nsl\n 9: 00000000:1F77 00000000:0000 0A 0:0 0:0 0 0 0 9 1 x\n")], &[], &[], "container.ports", Fail, "8055"),
    (&[("\"bridge\": {", "\"mine\": {")], &[("end network.3 0", "end network.3 1")], &[], &[], "container.networks", Fail, "no network mine"),
    (&[], &[there!("published", "other 0.0.0.0:8055->80/tcp")], &[], &[], "container.ports", Fail, "port 8055 for 80/tcp: container other publishes it"),
    (&[("\"HostPort\": \"8055\"", "\"HostPort\": \"8055-8056\"")], &[there!("published", "other 0.0.0.0:8055->80/tcp")], &[], &[], "container.ports", Ok, "1 port"),
    (&[("\"HostPort\": \"8055\"", "\"HostPort\": \"8055-8056\"")], &[there!("published", "other 0.0.0.0:8055-8057->80-82/tcp")], &[], &[], "container.ports", Fail, "each port from 8055 to 8056"),
    (&[("\"HostIp\": \"\"", "\"HostIp\": \"10.0.0.1\"")], &[there!("published", "other 10.0.0.2:8055->80/tcp")], &[], &[], "container.ports", Ok, "1 port"),
    (&[("\"HostIp\": \"\"", "\"HostIp\": \"10.0.0.1\"")], &[there!("published", "other 10.0.0.1:8055->80/tcp")], &[], &[], "container.ports", Fail, "publishes it"),
    (&[MINE], &[("\"Config\": null", "\"Config\": [{\"Subnet\": \"10.1.0.0/24\"}]")], &[], &[], "container.networks", Fail, "172.17.0.13 is not in mine there, which has 10.1.0.0/24"),
    (&[MINE], &[("\"Config\": null", "\"Config\": [{\"Subnet\": \"172.17.0.0/16\"}]")], &[], &[], "container.networks", Ok, "are free"),
    (&[MINE, SIX, ("\"IPv4Address\": \"172.17.0.13\"", "\"IPv6Address\": \"fd00::9\"")], &[("\"Containers\": {}", "\"Containers\": {\"x\": {\"Name\": \"owner\", \"IPv6Address\": \"fd00::9/64\"}}")], &[], &[], "container.networks", Fail, "fd00::9 belongs to owner there"),
    (&[MINE, running!("networks", "[{\"Name\": \"mine\", \"Driver\": \"macvlan\"}]")], &[("\"Config\": null", "\"Config\": [{\"Subnet\": \"172.17.0.0/16\"}]")], &[], &[], "container.networks", Warn, "macvlan at the source, null on root@b"),
    (&[running!("process.14597.mapped", "77|regular file|/proc/1/root/data/lib.so")], COPIED, &[], &[], "container.changed-files", Fail, "/srv/data/lib.so is missing"),
    (&[("begin process.14597.maps\n", "begin process.14597.maps\n7f00000-7f20000 rw-s 00000000 00:0f 1 /dev/hugepages/x\n")], COPIED, &[], &[], "container.devices", Ok, "usual"),
    (&[("1327 1326 0:433", "1400 1326 0:99 / /mnt rw - nfs4 srv:/x rw\n1327 1326 0:433")], COPIED, &[], &[], "container.inner-mounts", Warn, "/mnt (nfs4)"),
    (&[("1327 1326 0:433", "1400 1326 0:99 / /mnt rw - tmpfs none rw\n1327 1326 0:433")], COPIED, &[], &[], "container.inner-mounts", Ok, "nothing"),
    (&[running!("size", "image 100\nfolder 99999999999\nfolder 7")], &[COPIED[0], COPIED[1], COPIED[2], COPIED[3], ("begin image\nsha256:76d5", "begin image\nsha256:aaaa")], &[], &[], "container.space", Fail, "93.1 TiB of files and 100 B of image to bring along"),
    (&[running!("size", "image 100\nfolder 4\nfolder 4")], COPIED, &[], &[], "container.space", Ok, "8 KiB of files"),
    (&[running!("size", "image 100\nfolder 4\nfolder ")], COPIED, &[], &[], "container.space", Skip, "not measured"),
    (&[("Pss_Anon: ", "Private_Hugetlb: 4096 kB\nPss_Anon: ")], COPIED, &[("MemAvailable: ", "HugePages_Free: 3\nHugePages_Rsvd: 2\nHugepagesize: 2048 kB\nMemAvailable: ")], &[], "container.huge-pages", Fail, "4 MiB of huge pages are in use, 2 MiB free"),
    (&[("begin process.14597.maps\n", "begin process.14597.maps\n7f0000000000-7f0000400000 rw-p 00000000 00:0f 1 /anon_hugepage (deleted)\n")], COPIED, &[("MemAvailable: ", "HugePages_Free: 2\nHugePages_Rsvd: 0\nHugepagesize: 2048 kB\nMemAvailable: ")], &[], "container.huge-pages", Ok, "4 MiB free"),
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
fn what_criu_cannot_dump_is_seen_without_the_hosts() {
    let found = |text: &str| {
        let verdicts = undumpable("a", "rec", &Container::parse(text));
        let ids = verdicts.into_iter().map(|verdict| verdict.id);
        ids.collect::<Vec<_>>()
    };
    // Its other troubles are for those to judge who know the hosts.
    assert!(found(RUNNING).is_empty());
    assert!(found(TCP).is_empty());
    let watches = (
        ".fdinfo\n",
        ".fdinfo\n/proc/9/fdinfo/3:inotify wd:1 ino:2 sdev:1ae mask:100\n",
    );
    let fuse = (OPEN, "3 -> /dev/fuse");
    let device = (
        "/fd/3|1|8|6|regular file",
        "/fd/3|1|0|0|character special file",
    );
    assert_eq!(found(&edited(RUNNING, &[watches])), ["container.inotify"]);
    assert_eq!(
        found(&edited(RUNNING, &[watches, fuse, device])),
        ["container.inotify", "container.devices"]
    );
}

#[test]
fn open_connections_are_named_with_their_addresses() {
    let report = judged(TCP, NO_EDITS, &[], &[]);
    expect(&report, "container.tcp", Fail, "127.0.0.1:");
    let verdict = report.verdict("container.tcp").unwrap();
    // Both ends are inside, so that no address matters.
    let migrate = "transship migrate rec --from root@a --to root@b --tcp-established";
    assert!(verdict.fix[0].starts_with(migrate), "{verdict:#?}");
    // An address that the engine chose is another at the destination, and migrate refuses it.
    let outside = edited(TCP, &[(" 0100007F:", " 0E0011AC:")]);
    let report = judged(&outside, NO_EDITS, &[], &[]);
    expect(&report, "container.tcp", Fail, "172.17.0.14:");
    let verdict = report.verdict("container.tcp").unwrap();
    assert!(verdict.fix[0].contains("macvlan"), "{verdict:#?}");
    let chosen = edited(
        &outside,
        &[(
            "\"IPAMConfig\": null",
            "\"IPAMConfig\": {\"IPv4Address\": \"172.17.0.14\"}",
        )],
    );
    let report = judged(&chosen, NO_EDITS, &[], &[]);
    let verdict = report.verdict("container.tcp").unwrap();
    assert!(verdict.fix[0].starts_with(migrate), "{verdict:#?}");
    assert!(verdict.fix[1].contains("tcp-established >>/etc/criu/runc.conf"));
}

#[test]
fn amx_and_terminals_of_old_engines_are_named() {
    let container = |edits: Edits| Container::parse(&edited(RUNNING, edits));
    let judge = |source: Edits, running: Edits| {
        let (facts, there) = (Facts::parse(&edited(TRIXIE, source)), Facts::parse(TRIXIE));
        let container = container(running);
        let inspected = engine::Container::parse(container.inspect.as_bytes()).unwrap();
        let place = doctor::check::place("rec", &container, &inspected);
        let answers = Destination::parse(THERE, &place);
        let subject = |name, facts| Subject {
            name,
            facts,
            criu: None,
        };
        doctor::check::container(&Inmate {
            name: "rec",
            container: &container,
            inspected: Some(&inspected),
            source: subject("root@a", &facts),
            destination: Some((subject("root@b", &there), &answers)),
            link: None,
        })
    };
    let amx = [(" avx512f ", " avx512f amx_tile ")];
    expect(
        &judge(&amx, &[]),
        "container.cpu-state",
        Warn,
        "amx_tile on root@a",
    );
    expect(&judge(&[], &[]), "container.cpu-state", Ok, "AVX-512");
    let old = [(
        "\"Version\":\"26.1.5+dfsg1\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"",
        "\"Version\":\"18.09.1\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"",
    )];
    let tty = [("\"Tty\": false", "\"Tty\": true")];
    expect(
        &judge(&old, &tty),
        "container.terminal",
        Fail,
        "Docker 18.09.1",
    );
    expect(&judge(&[], &tty), "container.terminal", Warn, "--tty");
}

#[test]
fn old_criu_and_memory_files() {
    let facts = Facts::parse(&edited(TRIXIE, &[("Version: 4.2.1\n", "Version: 3.11\n")]));
    let container = Container::parse(&edited(RUNNING, &[(OPEN, "3 -> /memfd:x (deleted)")]));
    let container = Container {
        broken: vec!["sockets".to_owned()],
        ..container
    };
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
    expect(&report, "container.facts", Warn, "sockets");
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
            "container.facts",
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
