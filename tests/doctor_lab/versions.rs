//! Versions of CRIU that do not fit the kernel, and processors that do not fit each other.

use super::archive::fetch;
use super::support::Lab;
use super::{explain, explain_text, explained, lab, of, start};
use std::process::Command;

/// A CRIU of another suite in place of the host's own, until it is dropped.
struct OtherCriu<'l> {
    lab: &'l Lab,
    host: &'static str,
}

impl<'l> OtherCriu<'l> {
    fn of(lab: &'l Lab, host: &'static str, suite: &str) -> Self {
        let mut packages = fetch(suite, &["criu"]);
        packages.extend(fetch("trixie", &["libnet1"]));
        let folder = tempfile::tempdir().unwrap();
        for package in packages {
            let unpacked = Command::new("dpkg-deb")
                .arg("-x")
                .arg(package)
                .arg(folder.path())
                .status();
            assert!(unpacked.unwrap().success());
        }
        let tar = Command::new("tar")
            .arg("-C")
            .arg(folder.path())
            .args(["-c", "usr/sbin/criu", "usr/lib"])
            .output()
            .unwrap();
        lab.ok(host, "mv /usr/sbin/criu /usr/sbin/criu.away");
        super::pipe(
            lab,
            host,
            "tar -C / --keep-directory-symlink -x",
            &tar.stdout,
        );
        OtherCriu { lab, host }
    }
}

impl Drop for OtherCriu<'_> {
    fn drop(&mut self) {
        self.lab.sh(
            self.host,
            "mv -f /usr/sbin/criu.away /usr/sbin/criu; rm -f /run/criu.kdat",
        );
    }
}

/// The kernel of this machine, as major and minor.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut words = release.split(['.', '-']);
    let mut next = || words.next().unwrap().parse().unwrap();
    (next(), next())
}

#[test]
fn a_criu_that_fails_at_internet_sockets_is_named() {
    let Some((lab, _turn)) = lab() else { return };
    if kernel() < (6, 16) {
        eprintln!("SKIPPED: CRIU 4.1.1 works before Linux 6.16");
        return;
    }
    let other = OtherCriu::of(lab, "a", "trixie");
    let document = lab.run(&["--json", "doctor", "a"]).expect(4).json();
    let (status, text) = of(&document["hosts"][0], "criu.socket-options");
    assert_eq!(status, "fail", "{text}");
    start(lab, "vsock", "", "listen 80");
    let ran = lab.sh("a", "docker checkpoint create vsock c1");
    assert_ne!(ran.code, 0);
    explained(&explain(lab, "vsock"), "sockopt-passcred-kernel");
    drop(other);
    lab.forget("vsock");
}

#[test]
fn a_criu_that_does_not_know_the_kernel_is_named() {
    let Some((lab, _turn)) = lab() else { return };
    if kernel() < (6, 13) {
        eprintln!("SKIPPED: CRIU 3.17.1 works before Linux 6.13");
        return;
    }
    let other = OtherCriu::of(lab, "b", "bookworm");
    let document = lab.run(&["--json", "doctor", "a", "b"]).expect(4).json();
    let (status, text) = of(&document["hosts"][1], "criu.vvar-split");
    assert_eq!(status, "fail", "{text}");
    let (status, text) = of(&document["pair"], "pair.criu-version");
    assert!(status != "ok" && text.contains("3.17.1"), "{text}");
    let ran = lab.sh("b", "criu check");
    assert_ne!(ran.code, 0);
    explained(&explain_text(lab, &ran.stderr), "vdso-vvar-6.13");
    drop(other);
}

#[test]
fn a_poorer_processor_is_named() {
    let Some((lab, _turn)) = lab() else { return };
    // There is one processor here: the kernel's list of its flags is covered, and CRIU's check of b asked with an
    // image of more than there is.
    lab.ok(
        "b",
        "sed -E 's/ (avx[0-9a-z_]*|aes|sse4_2)\\b//g' /proc/cpuinfo >/run/cpuinfo && mount --bind /run/cpuinfo /proc/cpuinfo; \
         cat >/usr/local/sbin/criu <<'END'\n#!/bin/sh\n\
         if [ \"$1 $2\" = 'cpuinfo check' ]; then perl -0777 -pi -e 's/\\x30([\\x80-\\xff]{2,})/\"\\x30\" . \"\\xff\" x length $1/ge' \"$4/cpuinfo.img\"; fi\n\
         exec /usr/sbin/criu \"$@\"\nEND\n\
         chmod 755 /usr/local/sbin/criu",
    );
    let ran = lab.run(&["--json", "doctor", "a", "b"]);
    lab.ok(
        "b",
        "umount /proc/cpuinfo; rm -f /run/cpuinfo /usr/local/sbin/criu",
    );
    let document = ran.expect(4).json();
    let (status, text) = of(&document["pair"], "pair.cpu-features");
    assert_eq!(status, "fail", "{text}");
    assert!(text.contains("sse4_2"), "{text}");
    let (status, text) = of(&document["pair"], "pair.cpu-criu");
    assert_eq!(status, "fail", "{text}");
    explained(&explain_text(lab, &text), "cpu-mismatch");
}
