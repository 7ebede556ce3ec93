//! The summary of a host's hardware.

mod common;

use common::*;
use host::{Facts, Hardware};

#[test]
fn the_summary_of_a_recorded_host_reads_well() {
    let facts = Facts::parse(TRIXIE);
    let report = doctor::hardware::report("root@a", Hardware::parse(TRIXIE_HARDWARE, &facts));
    let line = |label: &str| {
        let line = report.lines.iter().find(|line| line.label == label);
        line.unwrap_or_else(|| panic!("no line {label}"))
            .text
            .as_str()
    };
    assert_eq!(line("system"), "Debian GNU/Linux 13 (trixie)");
    assert_eq!(line("machine"), "(virtual, KVM)");
    assert_eq!(line("cpu"), "AMD EPYC");
    assert!(line("cpu id").starts_with("AuthenticAMD, family 26, model 2, stepping 1"));
    assert_eq!(line("cores"), "2 threads, 2 cores, 1 socket, 1 NUMA node");
    assert!(line("caches").contains("L3 32 MiB"));
    assert!(line("instructions").contains("avx512f"));
    assert!(line("memory").starts_with("23.5 GiB"));
    assert_eq!(line("disk vda"), "256 GiB");
    assert!(line("link eth0").contains("10.79.0.2/24"));
    assert_eq!(report.hardware.signature.unwrap().family, 26);
    let hardinfo = report.hardware.hardinfo.join("\n");
    assert!(hardinfo.contains("Virtio 1.0 block device") && !hardinfo.contains("IO-APIC"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["hardware"]["cpu"]["family"], 26);
}

#[test]
fn what_is_not_known_is_left_out() {
    let report = doctor::hardware::report("b", Hardware::parse("", &Facts::parse("")));
    assert!(report.lines.is_empty(), "{:?}", report.lines);
}
