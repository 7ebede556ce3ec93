//! Debian packages from this machine's mirror, kept between runs.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is kept between runs of the tests.
pub const CACHE: &str = "/var/cache/transship";

/// A script that must succeed; what it printed.
#[track_caller]
pub fn sh(script: &str, args: &[&str]) -> String {
    let output = Command::new("bash")
        .args(["-euc", script, "bash"])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}\n{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sets `$apt` to options that make apt see one suite of the mirror and nothing of this machine, for one at a time.
const APT: &str = r#"
cache=$1/provision-packages suite=$2; shift 2
mkdir -p "$cache/$suite" "$cache/apt/$suite/lists/partial"
# Two tests at once: the second waits for the first, and finds whole packages.
exec 9>"$cache/lock"
flock 9
sources=$cache/apt/$suite/sources.list
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -oE 'https?://[^ ]*/debian/?( |$)' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror% } $suite main" >"$sources"
apt="-o Dir::Etc::sourcelist=$sources -o Dir::Etc::sourceparts=/none -o Dir::Etc::preferencesparts=/none
 -o Dir::State::lists=$cache/apt/$suite/lists -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
 -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root"
"#;

/// Packages of the real archive, fetched once, by apt, from this machine's mirror.
pub fn fetch(suite: &str, packages: &[&str]) -> Vec<PathBuf> {
    let mut args = vec![CACHE, suite];
    args.extend(packages);
    let script = format!(
        r#"{APT}
cd "$cache/$suite"
need=
for package; do ls "${{package}}"_*.deb >/dev/null 2>&1 || need="$need $package"; done
[ -z "$need" ] && exit 0
apt-get $apt update -qq
apt-get $apt download -qq $need
"#
    );
    sh(&script, &args);
    let folder = Path::new(CACHE).join("provision-packages").join(suite);
    let names = std::fs::read_dir(folder).unwrap();
    let names: Vec<PathBuf> = names.map(|entry| entry.unwrap().path()).collect();
    let of = |package: &&str| {
        let start = format!("{package}_");
        let is = |path: &&PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(&start) && name.ends_with(".deb")
        };
        names.iter().find(is).unwrap().clone()
    };
    packages.iter().map(of).collect()
}

/// All packages that these need, themselves among them, as on a machine that has none.
pub fn closure(suite: &str, packages: &[&str]) -> Vec<String> {
    let mut args = vec![CACHE, suite];
    args.extend(packages);
    let script = format!(
        r#"{APT}
set -o pipefail
apt-get $apt update -qq
apt-get $apt -o Dir::State::status=/dev/null -s install --no-install-recommends "$@" | awk '$1 == "Inst" {{ print $2 }}'
"#
    );
    sh(&script, &args).lines().map(str::to_owned).collect()
}
