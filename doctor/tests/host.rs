//! Checks of one host, against recorded hosts and edited ones.

mod common;

use common::*;
use doctor::check::Status::{Fail, Ok, Skip, Warn};
use doctor::check::{Status, Subject, catalogue};
use host::{CriuCheck, Facts};
use std::collections::BTreeSet;

type Edit<'a> = &'a [(&'a str, &'a str)];
type Fault = (
    &'static str,
    Vec<(&'static str, &'static str)>,
    Status,
    &'static str,
);

const KERNEL: &str = "6.18.44-fc-v657\n";
const CRIU: &str = "Version: 4.2.1\n";
/// Our runtime is registered.
const RUNTIME: (&str, &str) = (
    "\"Runtimes\":{",
    "\"Runtimes\":{\"transship\":{\"path\":\"/usr/local/bin/transship-runtime\"},",
);

/// What is changed on the Debian 13 host, the check that must notice, and what it says; one a line.
#[rustfmt::skip]
fn faults() -> Vec<Fault> {
    let kernel = |new: &'static str| (KERNEL, new);
    let criu = |new: &'static str| (CRIU, new);
    let docker = |new: &'static str| {
        (
            "\"Version\":\"26.1.5+dfsg1\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"",
            new,
        )
    };
    vec![
        ("system.os", vec![("PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"", "X=1"), ("\nID=debian\n", "\nY=1\n")], Warn, "not known"),
        ("system.architecture", vec![("\nx86_64\n", "\ni686\n"), ("begin bits\n64\n", "begin bits\n32\n")], Fail, "32-bit"),
        ("system.architecture", vec![("\nx86_64\ndoc\n", "\nsparc64\ndoc\n")], Fail, "sparc64"),
        ("system.architecture", vec![("\nx86_64\ndoc\n", "\ns390x\ndoc\n")], Warn, "s390x"),
        ("system.container", vec![("virt kvm\n", "virt kvm\ncontainer yes\n")], Warn, "container itself"),
        ("system.root", vec![("uid 0\nuser root", "uid 1000\nuser ann")], Fail, "ann (uid 1000)"),
        ("system.capabilities", vec![("CapEff:\t000001fffeffffff", "CapEff:\t00000000a80425fb")], Fail, "CAP_SYS_PTRACE"),
        ("system.tools", vec![("\ngzip /usr/bin/gzip", "")], Warn, "gzip"),
        ("system.tools", vec![("\ntar /usr/bin/tar", "")], Fail, "tar"),
        ("kernel.version", vec![kernel("3.10.0-1160.el7\n")], Fail, "too old"),
        ("kernel.version", vec![kernel("4.1.12\n")], Fail, "overlay"),
        ("kernel.config", vec![("from /proc/config.gz\n", "")], Warn, "nowhere"),
        ("kernel.modules", vec![("CONFIG_VETH=y", "CONFIG_VETH=m")], Warn, "VETH is there as modules"),
        ("kernel.namespaces", vec![("\nuts\n", "\n")], Fail, "without uts"),
        ("kernel.time-namespace", vec![("\ntime\ntime_for_children\n", "\n")], Warn, "no time namespaces"),
        ("kernel.userfaultfd", vec![("CONFIG_USERFAULTFD=y\n", "")], Warn, "CONFIG_USERFAULTFD"),
        ("kernel.pipe-max-size", vec![("fs/pipe-max-size:16777216", "fs/pipe-max-size:1048576")], Warn, "1 MiB"),
        ("kernel.ns-last-pid", vec![("kernel/ns_last_pid:", "kernel/other:"), kernel("5.4.0\n")], Fail, "ns_last_pid is missing"),
        ("kernel.ip-forward", vec![("net/ipv4/ip_forward:1", "net/ipv4/ip_forward:0")], Warn, "is 0"),
        ("criu.present", vec![("criu /usr/sbin/criu\n", "")], Fail, "not installed"),
        ("criu.present", vec![criu("Version: 3.6\n")], Fail, "CRIU 3.6 is too old"),
        ("criu.present", vec![criu("error while loading shared libraries\n")], Fail, "loading shared"),
        ("criu.configuration", vec![("begin criu-files\n", "begin criu-files\nfile /etc/criu/runc.conf\n: leave-running\n")], Warn, "`leave-running`"),
        ("criu.vvar-split", vec![criu("Version: 3.17.1\n")], Fail, "CRIU 3.17.1"),
        ("criu.socket-options", vec![criu("Version: 4.1.1\n")], Fail, "Linux 6.18.44-fc-v657, CRIU 4.1.1"),
        ("criu.mount-slave", vec![criu("Version: 4.1\n")], Fail, "CRIU 4.1"),
        ("criu.udplite", vec![kernel("7.1.3\n"), criu("Version: 4.2\n")], Fail, "Linux 7.1.3, CRIU 4.2"),
        ("criu.guard-pages", vec![kernel("6.14.2\n"), ("glibc 2.41", "glibc 2.42")], Warn, "glibc 2.42"),
        ("criu.guard-pages-new-kernel", vec![criu("Version: 4.1.1\n"), ("glibc 2.41", "glibc 2.42")], Warn, "glibc 2.42"),
        ("criu.pagemap-scan", vec![kernel("6.7.4\n"), criu("Version: 3.19\n")], Warn, "Linux 6.7.4"),
        ("criu.vdso-hash", vec![("\nx86_64\ndoc\n", "\naarch64\ndoc\n"), criu("Version: 4.0\n")], Warn, "aarch64"),
        ("criu.vdso-abi", vec![("\nx86_64\ndoc\n", "\naarch64\ndoc\n"), criu("Version: 4.1\n")], Fail, "aarch64"),
        ("criu.compat-vdso", vec![criu("Version: 3.17\n")], Warn, "CONFIG_IA32_EMULATION"),
        ("criu.rseq", vec![criu("Version: 3.16.1\n")], Fail, "glibc 2.41"),
        ("criu.rseq-kernel", vec![kernel("5.10.0\n")], Fail, "Linux 5.10.0"),
        ("criu.rseq-size", vec![criu("Version: 3.17.1\n")], Fail, "CRIU 3.17.1"),
        ("criu.xsave-frame", vec![criu("Version: 3.18\n"), (" fpu vme de", " fpu amx_tile vme de")], Fail, "amx_tile"),
        ("criu.xsavec", vec![criu("Version: 3.12\n"), kernel("4.4.0-210-generic\n")], Warn, "xsavec"),
        ("criu.ubuntu-overlay", vec![kernel("5.3.0-76-generic\n"), ("\nID=debian", "\nID=ubuntu")], Warn, "Linux 5.3.0"),
        ("criu.ubuntu-overlay-azure", vec![kernel("5.15.0-1046-azure\n"), ("\nID=debian", "\nID=ubuntu")], Warn, "azure"),
        ("criu.seccomp-suspend", vec![kernel("4.3.0\n")], Fail, "Linux 4.3.0"),
        ("criu.no-ipv6", vec![criu("Version: 3.18\n"), ("disable_ipv6:0", "disable_ipv6:1")], Fail, "without IPv6"),
        ("criu.iptables-nft", vec![criu("Version: 3.19\n")], Warn, "nftables rules"),
        ("criu.bpf-lsm", vec![criu("Version: 4.1\n"), ("begin lsm\n", "begin lsm\nlist capability,bpf,apparmor\napparmor Y\n")], Warn, "bpf"),
        ("criu.kmem-limit", vec![criu("Version: 3.17\n")], Fail, "cgroup v1"),
        ("criu.cgroup2-freezer", vec![criu("Version: 3.14\n"), ("begin cgroup\ntype tmpfs", "begin cgroup\ntype cgroup2fs")], Fail, "cgroup v2"),
        ("criu.cgroup2-properties", vec![criu("Version: 3.17\n"), ("begin cgroup\ntype tmpfs", "begin cgroup\ntype cgroup2fs")], Warn, "cgroup v2"),
        ("criu.freezer-flaky", vec![criu("Version: 4.0\n")], Warn, "cgroup v1"),
        ("kernel.splice", vec![kernel("4.14.67\n")], Fail, "4.14.67"),
        ("engine.present", vec![("begin docker.", "begin no-docker."), ("begin podman.info", "begin no-podman")], Fail, "neither a Docker daemon nor Podman"),
        ("engine.docker-version", vec![docker("\"Version\":\"1.12.6\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"")], Fail, "no checkpoints"),
        ("engine.docker-version", vec![docker("\"Version\":\"17.12.1-ce\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"")], Warn, "does not restore"),
        ("engine.docker-version", vec![docker("\"Version\":\"18.09.9\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"")], Warn, "some releases"),
        ("engine.docker-version", vec![docker("\"Version\":\"25.0.2\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"")], Warn, "does not find"),
        ("engine.docker-version", vec![docker("\"Version\":\"28.5.2\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"")], Ok, "through transship's runtime"),
        ("engine.docker-experimental", vec![("\"Experimental\":true", "\"Experimental\":false"), ("\"ExperimentalBuild\":true", "\"ExperimentalBuild\":false")], Warn, "off"),
        ("engine.docker-runtime", vec![], Warn, "no runtime `transship`"),
        ("engine.docker-runtime", vec![("\"Runtimes\":{", "\"Runtimes\":{\"transship\":{\"path\":\"/opt/other\"},")], Fail, "/opt/other instead of"),
        ("engine.docker-rootless", vec![("[\"name=seccomp,profile=builtin\"]", "[\"name=rootless\"]")], Fail, "without root"),
        ("engine.docker-storage", vec![("\"Driver\":\"overlay2\"", "\"Driver\":\"overlayfs\"")], Warn, "image store"),
        ("engine.docker-storage", vec![("\"Driver\":\"overlay2\"", "\"Driver\":\"zfs\"")], Warn, "zfs"),
        ("engine.docker-cgroup", vec![("begin cgroup\ntype tmpfs", "begin cgroup\ntype cgroup2fs")], Warn, "v1"),
        ("engine.docker-cgroup", vec![("begin cgroup\ntype tmpfs", "begin cgroup\ntype cgroup2fs"), docker("\"Version\":\"19.03.15\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"")], Fail, "19.03.15 on cgroup v2"),
        ("engine.containerd", vec![("\"Name\":\"containerd\",\"Version\":\"1.7.24~ds1\"", "\"Name\":\"containerd\",\"Version\":\"1.4.13\"")], Warn, "1.4.13"),
        ("engine.runc", vec![("org.opencontainers.runc.checkpoint.enabled true", "org.opencontainers.runc.checkpoint.enabled false")], Fail, "without checkpoints"),
        ("engine.runc", vec![("runc version 1.1.15+ds1\n", "runc version 1.0.0-rc6\n")], Warn, "runc.conf"),
        ("engine.runc", vec![("runc /usr/sbin/runc\n", "")], Warn, "no runc in PATH"),
        ("engine.runc-exec", vec![("runc version 1.1.15+ds1\n", "runc version 1.2.3\n")], Warn, "1.2.3"),
        ("engine.podman", vec![("begin podman.info\n{", "begin podman.info\nError: cannot open the database\n(")], Warn, "cannot open the database"),
        ("engine.podman-root", vec![("\"rootless\": false", "\"rootless\": true")], Fail, "without root"),
        ("engine.podman-runtime", vec![("libcriu.so.2 /", "other.so.2 /")], Warn, "libcriu"),
        ("engine.podman-runtime", vec![("org.opencontainers.runc.checkpoint.enabled true", "org.opencontainers.runc.checkpoint.enabled false")], Warn, "crun was built without"),
        ("engine.podman-cgroup", vec![], Warn, "cgroup v1"),
        ("network.filter", vec![("\niptables /usr/sbin/iptables", ""), ("\niptables-save /usr/sbin/iptables-save", "")], Warn, "only nftables"),
        ("network.filter", vec![("\niptables /usr/sbin/iptables", ""), ("\nnft /usr/sbin/nft", "")], Fail, "neither"),
        ("network.filter", vec![("\niptables v1.8.11 (nf_tables)", "\n{] 2J")], Warn, "{] 2J"),
        ("network.locks", vec![("begin iptables-chains\n", "begin iptables-chains\n:CRIU - [0:0]\n")], Warn, ":CRIU"),
        ("security.apparmor", vec![("begin lsm\n", "begin lsm\napparmor Y\napparmor_parser AppArmor parser version 4.0.1\n"), docker("\"Version\":\"25.0.5\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\"")], Warn, "AppArmor 4.0.1 with Docker 25.0.5"),
        ("security.selinux", vec![("begin lsm\n", "begin lsm\nselinux Enforcing\n"), ("begin packages\n", "begin packages\ncontainer-selinux 2.170.0-1.el8\n")], Warn, "2.170.0"),
        ("space.memory", vec![("MemAvailable:   ", "MemAvailable: 9000 kB\nMemOther: ")], Warn, "8.8 MiB"),
        ("engine.podman-version", vec![("\"Version\": \"5.4.2\"", "\"Version\": \"1.2.0\"")], Warn, "keeps its checkpoints"),
        ("engine.podman-version", vec![("\"Version\": \"5.4.2\"", "\"Version\": \"4.3.1\"")], Ok, "on another host"),
        ("kernel.ptrace-scope", vec![("fs/pipe-max-size:16777216", "fs/pipe-max-size:16777216\nkernel/yama/ptrace_scope:3")], Fail, "nobody may trace"),
        ("kernel.ptrace-scope", vec![("fs/pipe-max-size:16777216", "fs/pipe-max-size:16777216\nkernel/yama/ptrace_scope:2")], Ok, "ptrace_scope 2"),
        ("leftovers.mounts", vec![("begin leftovers\n", "begin leftovers\nmount /tmp/.criu.cgyard.aB\nmount /tmp/.criu.cgyard.aB/cpu\n")], Warn, "/tmp/.criu.cgyard.aB/cpu"),
        ("leftovers.migrations", vec![("begin leftovers\n", "begin leftovers\nfolder /run/transship\nentry /run/transship/m-1\n")], Warn, "/run/transship/m-1"),
    ]
}

#[test]
fn each_check_notices_what_it_is_for() {
    for (id, edits, status, says) in faults() {
        expect(&judged(TRIXIE, &edits), id, status, says);
    }
}

#[test]
fn every_check_of_a_host_has_been_seen_good_and_bad() {
    let mut good: BTreeSet<String> = BTreeSet::new();
    for report in [
        judged_with_criu(&[]),
        judged(TRIXIE, &[RUNTIME]),
        judged(XENIAL, &[]),
        judged(CLIENT, &[]),
    ] {
        good.extend(ids(&report, Ok).into_iter().map(str::to_owned));
    }
    let bad: BTreeSet<&str> = faults().into_iter().map(|(id, ..)| id).collect();
    for meta in catalogue() {
        if meta.id.starts_with("pair.") || meta.id.starts_with("container.") {
            continue;
        }
        // Those are seen good and bad by tests of their own.
        let in_bulk = [
            "kernel.config-",
            "criu.feature-",
            "criu.works",
            "criu.cache",
            "system.facts",
            "space.disk",
            "kernel.soft-dirty",
        ];
        let id = &*meta.id;
        assert!(
            bad.contains(id) || in_bulk.iter().any(|start| id.starts_with(start)),
            "{id} was never seen bad"
        );
        let never_here = ["engine.podman-cgroup"];
        assert!(
            good.contains(id) || never_here.contains(&id),
            "{id} was never seen good"
        );
    }
}

#[test]
fn the_tightest_disk_of_an_engine_counts() {
    let judge = |available: u64| {
        let mut facts = Facts::parse(TRIXIE);
        let disk = facts
            .disks
            .iter_mut()
            .find(|disk| disk.folder == "/var/lib/docker/podman");
        disk.unwrap().available = available;
        let subject = Subject {
            name: "root@a",
            facts: &facts,
            criu: None,
        };
        doctor::check::host(&subject)
    };
    expect(&judge(100 << 20), "space.disk", Fail, "100 MiB free");
    expect(&judge(1 << 30), "space.disk", Warn, "1 GiB free");
    expect(&judge(9 << 30), "space.disk", Ok, "9 GiB free");
}

#[test]
fn a_healthy_host_has_no_failure_and_only_true_warnings() {
    let report = judged_with_criu(&[]);
    assert!(report.passes(false), "{:#?}", ids(&report, Fail));
    // Each is so on that host: no CAP_SYS_RESOURCE, no soft-dirty, no runtime of ours, Podman 5 on cgroup v1.
    assert_eq!(
        ids(&report, Warn),
        [
            "system.capabilities",
            "kernel.soft-dirty",
            "engine.docker-runtime",
            "engine.podman-cgroup"
        ]
    );
    assert!(report.headline.contains("Docker 26.1.5") && report.headline.ends_with("CRIU 4.2.1"));
}

#[test]
fn the_verified_host_passes_and_podman_is_not_missed() {
    let report = judged(XENIAL, &[]);
    assert!(report.passes(false), "{:#?}", ids(&report, Fail));
    expect(&report, "system.os", Ok, "verified");
    expect(&report, "engine.docker-version", Ok, "folder of choice");
    expect(&report, "engine.podman", Skip, "not installed");
    expect(&report, "engine.runc", Ok, "own runc");
}

#[test]
fn a_host_with_cgroup_v2_and_podman_alone_is_good_too() {
    let edits: Edit = &[
        ("begin cgroup\ntype tmpfs", "begin cgroup\ntype cgroup2fs"),
        ("begin docker.", "begin no-docker."),
    ];
    let report = judged(TRIXIE, edits);
    assert!(report.passes(false), "{:#?}", ids(&report, Fail));
    expect(&report, "engine.present", Ok, "Podman 5.4.2 answers");
    expect(&report, "engine.podman-cgroup", Ok, "v2");
    expect(&report, "engine.docker-version", Skip, "no Docker daemon");
}

#[test]
fn without_criu_its_checks_are_skipped_not_failed() {
    let report = judged(TRIXIE, &[("criu /usr/sbin/criu\n", "")]);
    let failed = ids(&report, Fail);
    assert_eq!(failed, ["criu.present"]);
    let verdict = report.verdict("criu.present").unwrap();
    assert_eq!(verdict.fix, ["transship provision root@a"]);
    expect(&report, "criu.works", Skip, "not installed");
}

#[test]
fn options_of_the_kernel_are_each_noticed() {
    for meta in catalogue() {
        let Some(name) = meta.id.strip_prefix("kernel.config-") else {
            continue;
        };
        let option = format!("\nCONFIG_{}=", name.to_uppercase().replace('-', "_"));
        if !TRIXIE.contains(&option) {
            assert_eq!(name, "mem-soft-dirty");
            continue;
        }
        let report = judged(TRIXIE, &[(&option, "\nCONFIG_OTHER=")]);
        let verdict = report.verdict(&meta.id).unwrap();
        assert!(verdict.status != Ok, "{verdict:#?}");
        assert!(verdict.sentence.contains(" is off"), "{verdict:#?}");
    }
    expect(
        &judged(XENIAL, &[]),
        "kernel.config-unix-diag",
        Ok,
        "module",
    );
    expect(
        &judged(TRIXIE, &[("from /proc/config.gz\n", "")]),
        "kernel.config-veth",
        Skip,
        "nowhere",
    );
}

#[test]
fn features_of_criu_are_each_noticed() {
    for meta in catalogue() {
        if !meta.id.starts_with("criu.feature-") {
            continue;
        }
        let feature = meta.title.rsplit(' ').next().unwrap();
        let end = format!("end feature.{feature} 0");
        if !TRIXIE_CRIU.contains(&end) {
            assert_eq!(feature, "apparmor_stacking");
            continue;
        }
        let report = judged_with_criu(&[(&end, &format!("end feature.{feature} 1"))]);
        let verdict = report.verdict(&meta.id).unwrap();
        let harmless = meta.what.contains("never warns");
        assert_eq!(verdict.status == Ok, harmless, "{verdict:#?}");
        assert_ne!(verdict.sentence, format!("{feature} is there"));
        let report = judged_with_criu(&[(&end, &format!("end feature.{feature} 124"))]);
        expect(&report, &meta.id, Warn, "30 seconds");
    }
    let report = judged_with_criu(&[
        ("uffd-noncoop is supported", ""),
        ("end feature.uffd-noncoop 0", "end feature.uffd-noncoop 1"),
    ]);
    expect(&report, "kernel.userfaultfd", Warn, "uffd");
    let report = judged_with_criu(&[(
        "end feature.mem_dirty_track 1",
        "end feature.mem_dirty_track 0",
    )]);
    expect(&report, "kernel.soft-dirty", Ok, "pre-copy is possible");
}

#[test]
fn the_order_of_debians_security_modules_is_not_held_against_it() {
    let report = judged(
        TRIXIE,
        &[
            (CRIU, "Version: 4.1\n"),
            (
                "begin lsm\n",
                "begin lsm\nlist lockdown,capability,landlock,yama,apparmor,tomoyo,bpf,ipe,ima,evm\napparmor Y\n",
            ),
        ],
    );
    assert!(!ids(&report, Warn).contains(&"criu.bpf-lsm"));
}

#[test]
fn a_criu_that_does_not_end_says_so() {
    let facts = Facts::parse(TRIXIE);
    let criu = CriuCheck::parse(&edited(
        TRIXIE_CRIU,
        &[("Looks good.", ""), ("end check 0", "end check 124")],
    ));
    let subject = Subject {
        name: "root@a",
        facts: &facts,
        criu: Some(&criu),
    };
    let report = doctor::check::host(&subject);
    expect(&report, "criu.works", Fail, "did not end in time");
    assert_eq!(
        report.verdict("criu.works").unwrap().fix,
        ["criu check -v4", "transship provision root@a"]
    );
}

#[test]
fn a_parser_that_broke_down_is_told() {
    let mut facts = Facts::parse(TRIXIE);
    let report = judged(TRIXIE, &[]);
    expect(&report, "system.facts", Ok, "can be read");
    facts.broken = vec!["lscpu".to_owned()];
    let subject = Subject {
        name: "root@a",
        facts: &facts,
        criu: None,
    };
    let report = doctor::check::host(&subject);
    expect(&report, "system.facts", Warn, "lscpu");
}

#[test]
fn a_criu_that_hangs_or_cannot_be_asked_is_no_all_clear() {
    // The probe ends where a call hangs.
    let at = TRIXIE_CRIU.find("end feature.uffd 0").unwrap();
    let mark = TRIXIE_CRIU[..at].rsplit('\n').next().unwrap();
    let hung = format!("{}{}", &TRIXIE_CRIU[..at], "end feature.uffd 124\n");
    assert!(mark.starts_with("@@"));
    let lost = host::HostError::Lost {
        host: "root@a".to_owned(),
        doing: "sh -s transship-criu".to_owned(),
        why: "end of file".to_owned(),
    };
    for (criu, says) in [
        (
            CriuCheck::parse(&hung),
            "`criu check --feature uffd` did not end in time",
        ),
        (CriuCheck::failed(&lost), "the connection was lost"),
    ] {
        let facts = Facts::parse(TRIXIE);
        let subject = Subject {
            name: "root@a",
            facts: &facts,
            criu: Some(&criu),
        };
        let report = doctor::check::host(&subject);
        expect(&report, "criu.works", Fail, says);
        expect(&report, "criu.feature-mnt-id", Skip, "see criu.works");
    }
}

#[test]
fn a_line_of_a_configuration_is_taken_out_by_a_command_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runc.conf");
    let line = "images-dir /tmp/it's [a] $place/*";
    let config = format!(
        "begin criu-files\nfile {}\n: {line}\n",
        file.to_str().unwrap()
    );
    let report = judged(TRIXIE, &[("begin criu-files\n", &config)]);
    expect(&report, "criu.configuration", Warn, line);
    std::fs::write(&file, format!("tcp-established\n  {line} \n{line}/more\n")).unwrap();
    let fix = &report.verdict("criu.configuration").unwrap().fix[0];
    let ran = std::process::Command::new("sh").args(["-c", fix]).status();
    assert!(ran.unwrap().success(), "{fix}");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        format!("tcp-established\n{line}/more\n")
    );
}

#[test]
fn debian_12s_criu_on_this_kernel_fails_once_for_the_right_reason() {
    let facts = Facts::parse(&edited(TRIXIE, &[(CRIU, "Version: 3.17.1\n")]));
    let criu = CriuCheck::parse(OLD_CRIU);
    let subject = Subject {
        name: "root@a",
        facts: &facts,
        criu: Some(&criu),
    };
    let report = doctor::check::host(&subject);
    expect(
        &report,
        "criu.works",
        Fail,
        "Unexpected rt vDSO area bounds",
    );
    expect(&report, "criu.vvar-split", Fail, "CRIU 3.17.1");
    // What it could not look at is not held against the kernel.
    expect(&report, "criu.feature-nsid", Skip, "does not start");
    expect(&report, "kernel.userfaultfd", Ok, "was built with");
    expect(&report, "kernel.soft-dirty", Warn, "CONFIG_MEM_SOFT_DIRTY");
}

#[test]
fn a_distributions_mended_package_is_believed() {
    let edits: Edit = &[
        (CRIU, "Version: 3.17.1\n"),
        ("\ncriu 4.2.1-1\n", "\ncriu 3.17.1-2+deb12u2\n"),
    ];
    let report = judged(TRIXIE, edits);
    expect(&report, "criu.rseq-size", Ok, "");
    expect(&report, "criu.vvar-split", Fail, "");
}

#[test]
fn ignored_failures_are_warnings_and_unknown_ids_are_told() {
    let mut report = judged(TRIXIE, &[("criu /usr/sbin/criu\n", "")]);
    assert!(!report.passes(false));
    let before = report.counts;
    assert_eq!(report.ignore(&["criu.present", "no.such"]), ["no.such"]);
    assert!(report.passes(false) && !report.passes(true));
    assert_eq!(report.counts.warn, before.warn + 1);
    let verdict = report.verdict("criu.present").unwrap();
    assert!(verdict.ignored && verdict.status == Warn);
}

#[test]
fn an_empty_probe_is_judged_without_panic() {
    let report = judged("", &[]);
    let broken: Vec<_> = report
        .verdicts()
        .filter(|verdict| verdict.sentence.contains("broke down"))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(report.counts.skip > 30);
}

#[test]
fn a_report_is_json() {
    let json = serde_json::to_value(judged_with_criu(&[])).unwrap();
    assert_eq!(json["counts"]["fail"], 0);
    assert_eq!(json["groups"][0]["group"], "system");
    assert_eq!(json["groups"][0]["verdicts"][0]["status"], "ok");
    assert!(CriuCheck::parse("").features.is_empty());
}

#[test]
fn an_old_cache_is_told_of_only_where_criu_fails() {
    let facts = Facts::parse(&edited(TRIXIE, &[("\nkdat 1", "\nkdat 0")]));
    for (criu, status) in [(TRIXIE_CRIU, Ok), (OLD_CRIU, Warn)] {
        let criu = CriuCheck::parse(criu);
        let subject = Subject {
            name: "root@a",
            facts: &facts,
            criu: Some(&criu),
        };
        expect(&doctor::check::host(&subject), "criu.cache", status, "");
    }
}
