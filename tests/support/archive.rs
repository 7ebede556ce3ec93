//! A signed Debian archive on the lab's bridge, served by the test itself.

#![allow(dead_code, reason = "each test file uses its own part")]

#[path = "packages.rs"]
mod packages;

use crate::support::{Lab, transship};
pub use packages::fetch;
use packages::sh;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Archive {
    folder: tempfile::TempDir,
    pub url: String,
}

/// What is missing for an archive, if anything.
pub fn missing() -> Option<String> {
    ["apt-ftparchive", "dpkg-deb", "gpg", "apt-get"]
        .into_iter()
        .find(|tool| {
            !Command::new("which")
                .arg(tool)
                .output()
                .unwrap()
                .status
                .success()
        })
        .map(|tool| format!("no {tool}"))
}

/// A lab whose hosts are as new: what earlier tests installed or removed is gone.
pub fn fresh(name: &'static str, subnet: &str, engine: &str) -> Option<Lab> {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: no archive of packages: {why}");
        return None;
    }
    let _ = transship().args(["lab", "down", "--lab", name]).output();
    let lab = Lab::up(name, subnet, engine)?;
    // All hosts have one kernel: what the undo of one would put back another would find changed under its plan.
    lab.ok("a", "sysctl -q -w fs.pipe-max-size=16777216");
    Some(lab)
}

/// The host's own apt sources are our archive.
pub fn use_archive(lab: &Lab, host: &str, archive: &Archive) {
    let script = format!(
        "cat >/usr/share/keyrings/test.asc <<'END'\n{}END\n\
         rm -f /etc/apt/sources.list.d/*\n\
         echo 'deb [signed-by=/usr/share/keyrings/test.asc] {} trixie main' >/etc/apt/sources.list",
        archive.key(),
        archive.url
    );
    lab.ok(host, &script);
}

/// Files and packages of a host, to be compared.
pub fn picture(lab: &Lab, host: &str) -> String {
    lab.ok(
        host,
        "dpkg-query -W; apt-mark showhold; find /etc /usr/local -type f -newermt 2020-01-01 ! -name ld.so.cache ! -name '*-' \
         -exec sha256sum {} + | sort -k 2",
    )
}

/// A host without an engine, and without what a newer CRIU had brought along.
pub const BARE: &str = "kill $(cat /run/docker.pid); while [ -e /run/docker.pid ]; do sleep 0.1; done; \
    apt-get purge -y -q docker.io docker-cli containerd runc podman crun criu libcriu2 libcompel1 iptables nftables >/dev/null 2>&1; \
    apt-get update -qq; apt-get install -y -q --allow-downgrades libnl-3-200/trixie >/dev/null || exit; \
    rm -rf /etc/docker; ! which dockerd criu runc nft";

/// Debian 13 as it is, and testing, whose CRIU alone is to be taken.
pub fn debian(address: &str, more: &[&str]) -> Archive {
    let archive = Archive::serve(address);
    let engine = [
        "criu",
        "libcompel1",
        "containerd",
        "docker.io",
        "docker-cli",
        "runc",
        "iptables",
        "libnl-3-200",
        "nftables",
    ];
    archive.add_real("trixie", &[&engine[..], more].concat());
    // What must not be taken from testing is there too.
    archive.add_real(
        "testing",
        &[
            "criu",
            "libcompel1",
            "libcriu2",
            "libnl-3-200",
            "runc",
            "nftables",
        ],
    );
    archive.index("trixie", "stable", false);
    archive.index("testing", "testing", true);
    archive
}

impl Archive {
    /// An empty archive, served at an address of this machine.
    pub fn serve(address: &str) -> Archive {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((address, 0)).unwrap();
        let url = format!("http://{}/debian", listener.local_addr().unwrap());
        let root = folder.path().to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let root = root.clone();
                std::thread::spawn(move || answer(stream.unwrap(), &root));
            }
        });
        sh(
            r#"mkdir -p -m 700 "$1/gnupg"; export GNUPGHOME="$1/gnupg"
               gpg --batch --quiet --passphrase '' --quick-generate-key 'test archive' rsa2048 sign never
               gpg --batch --armor --export >"$1/key.asc""#,
            &[folder.path().to_str().unwrap()],
        );
        Archive { folder, url }
    }

    /// Armoured public key.
    pub fn key(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("key.asc")).unwrap()
    }

    pub fn pool(&self, suite: &str) -> PathBuf {
        let pool = self.folder.path().join("debian/pool").join(suite);
        std::fs::create_dir_all(&pool).unwrap();
        pool
    }

    /// Puts packages of the real archive in.
    pub fn add_real(&self, suite: &str, packages: &[&str]) {
        for package in fetch(suite, packages) {
            let name = package.file_name().unwrap();
            std::fs::copy(&package, self.pool(suite).join(name)).unwrap();
        }
    }

    /// Writes the index of a suite, signed. `name` is the suite's other name; an `outdated` index is
    /// past its date.
    pub fn index(&self, suite: &str, name: &str, outdated: bool) {
        sh(
            r#"
cd "$1/debian"; suite=$2
mkdir -p "dists/$suite/main/binary-amd64" "dists/$suite/stable/binary-amd64"
apt-ftparchive packages "pool/$suite" >"dists/$suite/main/binary-amd64/Packages"
cp "dists/$suite/main/binary-amd64/Packages" "dists/$suite/stable/binary-amd64/Packages"
apt-ftparchive -o "APT::FTPArchive::Release::Suite=$3" -o "APT::FTPArchive::Release::Codename=$suite" \
    -o APT::FTPArchive::Release::Components='main stable' -o APT::FTPArchive::Release::Architectures=amd64 \
    release "dists/$suite" >"$1/Release"
if [ "$4" = true ]; then echo 'Valid-Until: Thu, 01 Jan 2026 00:00:00 UTC' >>"$1/Release"; fi
rm -f "dists/$suite/InRelease"
GNUPGHOME="$1/gnupg" gpg --batch --quiet --clearsign -o "dists/$suite/InRelease" "$1/Release"
"#,
            &[
                self.folder.path().to_str().unwrap(),
                suite,
                name,
                if outdated { "true" } else { "false" },
            ],
        );
    }

    /// Makes a package of this version; `files` is a script that fills the folder `$1`.
    pub fn make(&self, suite: &str, name: &str, version: &str, files: &str) {
        sh(
            r#"
root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
chmod 755 "$root"; mkdir "$root/DEBIAN"
printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: test <test@example.org>\nDescription: test\n' "$2" "$3" >"$root/DEBIAN/control"
bash -euc "$4" bash "$root" "$3"
dpkg-deb --root-owner-group --build "$root" "$1/$2_$(echo "$3" | tr ':~' '__')_amd64.deb" >/dev/null
"#,
            &[self.pool(suite).to_str().unwrap(), name, version, files],
        );
    }
}

/// Answers one request of HTTP/1.0: the file, or that there is none.
fn answer(mut stream: std::net::TcpStream, root: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    let _ = reader.read_line(&mut line);
    let mut rest = String::new();
    while reader.read_line(&mut rest).is_ok_and(|read| read > 2) {
        rest.clear();
    }
    let path = line
        .split(' ')
        .nth(1)
        .unwrap_or("/")
        .trim_start_matches('/');
    let path = path
        .replace("%2b", "+")
        .replace("%7e", "~")
        .replace("%3a", ":")
        .replace("%2B", "+")
        .replace("%7E", "~");
    let (status, body) = match std::fs::read(root.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let _ = write!(
        stream,
        "HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&body);
}
