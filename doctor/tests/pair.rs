//! Checks of two hosts.

mod common;

use common::*;
use doctor::check::Status::{Fail, Ok, Skip, Warn};
use doctor::check::{Link, Pair, Report, Status, Subject, catalogue};
use host::facts::criu::Judgement;
use host::{CriuCheck, Facts};

type Edit<'a> = &'a [(&'a str, &'a str)];
type Case = (
    Edit<'static>,
    Edit<'static>,
    &'static str,
    Status,
    &'static str,
);

const CRIU: &str = "Version: 4.2.1\n";
/// Makes the same recording a second host.
const OTHER: (&str, &str) = ("\nx86_64\ndoc\n", "\nx86_64\nother\n");

/// The judgement of a pair of two edited recordings of the Debian 13 host.
fn pair(source: Edit, destination: Edit, link: Option<Link>, cpu: Option<&Judgement>) -> Report {
    let (from, to) = (
        Facts::parse(&edited(TRIXIE, source)),
        Facts::parse(&edited(TRIXIE, destination)),
    );
    pair_of(&from, &to, None, link, cpu)
}

fn pair_of(
    from: &Facts,
    to: &Facts,
    criu: Option<(&CriuCheck, &CriuCheck)>,
    link: Option<Link>,
    cpu: Option<&Judgement>,
) -> Report {
    doctor::check::pair(&Pair {
        source: Subject {
            name: "root@a",
            facts: from,
            criu: criu.map(|(from, _)| from),
        },
        destination: Subject {
            name: "root@b",
            facts: to,
            criu: criu.map(|(_, to)| to),
        },
        link,
        cpu: cpu.map(Result::Ok),
    })
}

const APPARMOR: (&str, &str) = (
    "begin lsm\n",
    "begin lsm\napparmor Y\nprofile docker-default (enforce)\n",
);

/// Edits of the source, of the destination, the check, its status and what it says; one a line.
#[rustfmt::skip]
const CASES: &[Case] = &[
    (&[], &[], "pair.two-hosts", Fail, "same boot id"),
    (&[], &[OTHER], "pair.two-hosts", Ok, "one kernel"),
    (&[], &[OTHER], "pair.architecture", Ok, "x86_64"),
    (&[], &[("\nx86_64\ndoc\n", "\naarch64\ndoc\n")], "pair.architecture", Fail, "aarch64 on root@b"),
    (&[], &[OTHER], "pair.kernel", Ok, ""),
    (&[], &[("6.18.44-fc-v657\n", "6.12.9\n")], "pair.kernel", Warn, "6.12.9 on root@b"),
    (&[("6.18.44-fc-v657\n", "6.12.9\n")], &[], "pair.kernel", Ok, ""),
    (&[], &[OTHER], "pair.capabilities", Ok, "every capability"),
    (&[], &[("cap_last_cap:40", "cap_last_cap:37")], "pair.capabilities", Ok, "leaves out"),
    (&[], &[("cap_last_cap:40", "cap_last_cap:37"), (CRIU, "Version: 3.17\n")], "pair.capabilities", Warn, "40 on the source"),
    (&[], &[OTHER], "pair.cgroup", Ok, "v1 on both"),
    (&[], &[("begin cgroup\ntype tmpfs", "begin cgroup\ntype cgroup2fs")], "pair.cgroup", Fail, "v2 on root@b"),
    (&[], &[OTHER], "pair.time-namespace", Ok, ""),
    (&[("uptime ", "uptime 9")], &[("\ntime\ntime_for_children\n", "\n")], "pair.time-namespace", Warn, "by 9"),
    (&[], &[("\ntime\ntime_for_children\n", "\n")], "pair.time-namespace", Ok, "forward"),
    (&[], &[OTHER], "pair.apparmor", Ok, "neither"),
    (&[APPARMOR], &[], "pair.apparmor", Fail, "off at root@b"),
    (&[], &[APPARMOR], "pair.apparmor", Ok, "only the destination"),
    (&[APPARMOR], &[APPARMOR], "pair.apparmor", Ok, "on both"),
    (&[APPARMOR], &[("begin lsm\n", "begin lsm\napparmor Y\n")], "pair.apparmor", Warn, "docker-default is missing"),
    (&[], &[OTHER], "pair.selinux", Ok, "neither"),
    (&[], &[("begin lsm\n", "begin lsm\nselinux Enforcing\n")], "pair.selinux", Warn, "root@b"),
    (&[], &[OTHER], "pair.memory", Ok, "in use"),
    (&[("MemAvailable:   ", "MemAvailable: 9000 kB\nMemOther: ")], &[("MemAvailable:   ", "MemAvailable: 9000 kB\nMemOther: ")], "pair.memory", Warn, "in use"),
    (&[], &[OTHER], "pair.cpu-features", Ok, "every instruction"),
    (&[], &[(" avx512f ", " ")], "pair.cpu-features", Fail, "root@b lacks avx512f"),
    (&[(" avx512f ", " ")], &[], "pair.cpu-features", Ok, "every instruction"),
    (&[], &[(" fma ", " ")], "pair.cpu-features", Warn, "root@b lacks fma"),
    (&[], &[(" constant_tsc ", " ")], "pair.cpu-features", Ok, ""),
    (&[], &[OTHER], "pair.cpu-state", Skip, "not known"),
    (&[], &[OTHER], "pair.cpu-criu", Skip, "not asked"),
    (&[], &[OTHER], "pair.criu-version", Ok, "4.2.1 on both"),
    (&[], &[(CRIU, "Version: 3.17.1\n")], "pair.criu-version", Fail, "3.17.1 on root@b"),
    (&[], &[(CRIU, "Version: 4.2\n")], "pair.criu-version", Warn, "4.2 on root@b"),
    (&[(CRIU, "Version: 3.19\n")], &[], "pair.criu-version", Ok, "4.2.1 reads what CRIU 3.19"),
    (&[], &[OTHER], "pair.engine", Ok, "Docker and Podman"),
    (&[("begin podman.info", "begin no-podman")], &[("begin docker.", "begin no-docker.")], "pair.engine", Fail, "root@b"),
    (&[], &[OTHER], "pair.docker-version", Ok, "on both"),
    (&[], &[("\"Version\":\"26.1.5+dfsg1\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"", "\"Version\":\"28.5.2\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"")], "pair.docker-version", Warn, "28.5.2 on root@b"),
    (&[], &[OTHER], "pair.docker-storage", Ok, "overlay2"),
    (&[], &[("\"Driver\":\"overlay2\"", "\"Driver\":\"vfs\"")], "pair.docker-storage", Warn, "vfs on root@b"),
    (&[], &[OTHER], "pair.podman-version", Ok, "5.4.2 on both"),
    (&[], &[("\"Version\": \"5.4.2\"", "\"Version\": \"4.3.1\"")], "pair.podman-version", Warn, "4.3.1 on root@b"),
    (&[], &[("\"networkBackend\": \"netavark\"", "\"networkBackend\": \"cni\"")], "pair.podman-version", Warn, "cni on root@b"),
    (&[], &[OTHER], "pair.io-uring", Ok, ""),
    (&[], &[("io_uring_disabled:0", "io_uring_disabled:2")], "pair.io-uring", Warn, "2 on root@b"),
    (&[("io_uring_disabled:0", "io_uring_disabled:2")], &[], "pair.io-uring", Ok, ""),
    (&[], &[OTHER], "pair.podman-runtime", Ok, "crun"),
    (&[], &[("\"name\": \"crun\"", "\"name\": \"runc\"")], "pair.podman-runtime", Warn, "runc on root@b"),
];

#[test]
fn each_check_of_a_pair_notices_what_it_is_for() {
    for (source, destination, id, status, says) in CASES {
        expect(&pair(source, destination, None, None), id, *status, says);
    }
}

#[test]
fn every_check_of_a_pair_has_been_seen_good_and_bad() {
    let elsewhere = [
        "pair.cpu-state",
        "pair.cpu-criu",
        "pair.clock",
        "pair.round-trip",
        "pair.throughput",
    ];
    for meta in catalogue() {
        let id = &*meta.id;
        if !id.starts_with("pair.") || elsewhere.contains(&id) {
            continue;
        }
        let seen = |good: bool| {
            CASES
                .iter()
                .any(|case| case.2 == id && (case.3 == Ok) == good)
        };
        assert!(seen(true) && seen(false), "{id}");
    }
}

#[test]
fn two_equal_hosts_fit() {
    let report = pair(&[], &[OTHER], None, None);
    assert_eq!((report.counts.fail, report.counts.warn), (0, 0));
    assert_eq!(report.subject, "root@a → root@b");
}

#[test]
fn docker_17_09_to_26_1_is_told_to_differ_in_form() {
    let (from, to) = (Facts::parse(XENIAL), Facts::parse(TRIXIE));
    let report = pair_of(&from, &to, None, None, None);
    expect(&report, "pair.docker-version", Warn, "old form");
    expect(&report, "pair.cpu-features", Ok, "");
    expect(&report, "pair.apparmor", Fail, "off at root@b");
    // Back again the new instructions are missing, and fixes name the host that lacks something.
    let report = pair_of(&to, &from, None, None, None);
    expect(&report, "pair.cpu-features", Fail, "avx512f");
    expect(&report, "pair.kernel", Warn, "4.15.0");
    let verdict = report.verdict("pair.criu-version").unwrap();
    assert_eq!(verdict.fix, ["transship provision root@b"]);
}

#[test]
fn criu_measures_the_state_and_judges() {
    let facts = Facts::parse(TRIXIE);
    let here = CriuCheck::parse(TRIXIE_CRIU);
    let less = CriuCheck::parse(&edited(
        TRIXIE_CRIU,
        &[("xsave_size 2432", "xsave_size 832")],
    ));
    let same = pair_of(&facts, &facts, Some((&here, &here)), None, None);
    expect(&same, "pair.cpu-state", Ok, "2432 bytes");
    let other = pair_of(&facts, &facts, Some((&here, &less)), None, None);
    expect(&other, "pair.cpu-state", Fail, "root@b: 832 bytes");

    let silent = "root@b: `criu cpuinfo check` did not end within 30 s";
    let report = doctor::check::pair(&Pair {
        source: Subject {
            name: "root@a",
            facts: &facts,
            criu: None,
        },
        destination: Subject {
            name: "root@b",
            facts: &facts,
            criu: None,
        },
        link: None,
        cpu: Some(Err(silent)),
    });
    expect(&report, "pair.cpu-criu", Warn, "did not end within 30 s");

    let refused = Judgement {
        good: false,
        text: "Error (criu/arch/x86/cpu.c:205): cpu: CPU xsave size mismatch (2432/832)".to_owned(),
    };
    let report = pair(&[], &[OTHER], None, Some(&refused));
    expect(
        &report,
        "pair.cpu-criu",
        Fail,
        "xsave size mismatch (2432/832)",
    );
    let accepted = Judgement {
        good: true,
        text: String::new(),
    };
    let report = pair(&[], &[OTHER], None, Some(&accepted));
    expect(&report, "pair.cpu-criu", Ok, "accepts");
}

#[test]
fn cpuid_gives_the_state_where_criu_is_missing() {
    let xsave = |bytes: &str| {
        let edits = [(
            "begin xsave\n",
            format!("begin xsave\n0x0000000d 0x00: eax=0x7 ebx={bytes} ecx={bytes} edx=0x0\n"),
        )];
        let edits: Vec<(&str, &str)> = edits
            .iter()
            .map(|(old, new)| (*old, new.as_str()))
            .collect();
        Facts::parse(&edited(TRIXIE, &edits))
    };
    let report = pair_of(&xsave("0x340"), &xsave("0x980"), None, None, None);
    expect(&report, "pair.cpu-state", Fail, "832 bytes");
    let report = pair_of(&xsave("0x980"), &xsave("0x980"), None, None, None);
    expect(&report, "pair.cpu-state", Ok, "2432 bytes");
}

#[test]
fn clocks_are_compared_as_far_as_the_connection_allows() {
    let at = |first: f64, asked: f64, took: f64| {
        let mut facts = Facts::parse(TRIXIE);
        let clock = facts.clock.as_mut().unwrap();
        (clock.first, clock.last) = (first, first + 0.4);
        (clock.asked, clock.answered) = (Some(asked), Some(asked + took));
        facts
    };
    let judge = |from: &Facts, to: &Facts| pair_of(from, to, None, None, None);
    let report = judge(&at(1000.1, 1000.0, 0.6), &at(1000.1, 1000.0, 0.6));
    expect(&report, "pair.clock", Ok, "agree");
    let report = judge(&at(1000.1, 1000.0, 0.6), &at(1005.1, 1000.0, 0.6));
    expect(
        &report,
        "pair.clock",
        Warn,
        "root@b is at least 4.8 s ahead of root@a",
    );
    let report = judge(&at(1000.1, 1000.0, 0.6), &at(990.1, 1000.0, 0.6));
    expect(&report, "pair.clock", Warn, "behind");
    // A slow answer proves nothing.
    let report = judge(&at(1000.1, 1000.0, 0.6), &at(1003.0, 1000.0, 9.0));
    expect(&report, "pair.clock", Ok, "agree");
    expect(
        &pair(&[], &[OTHER], None, None),
        "pair.clock",
        Skip,
        "not read together",
    );
}

#[test]
fn what_was_measured_between_the_hosts_is_judged() {
    let link = |round_trip, throughput| {
        let link = Link {
            direct: true,
            round_trip,
            throughput,
            throughput_direct: true,
        };
        pair(&[], &[OTHER], Some(link), None)
    };
    let near = link(Some(0.0004), Some(117e6));
    expect(&near, "pair.round-trip", Ok, "0.4 ms");
    expect(&near, "pair.throughput", Ok, "117 MB/s");
    let far = link(Some(0.04), Some(2.5e6));
    expect(&far, "pair.round-trip", Warn, "40.0 ms");
    expect(&far, "pair.throughput", Warn, "2.5 MB/s");
    let unknown = link(None, None);
    expect(&unknown, "pair.round-trip", Skip, "not measured");
    expect(&unknown, "pair.throughput", Skip, "not measured");
}
