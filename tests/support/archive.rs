//! A signed Debian archive on the lab's bridge, served by the test itself.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the packages of the real archive are kept between runs.
const CACHE: &str = "/var/cache/transship/provision-packages";

pub struct Archive {
    folder: tempfile::TempDir,
    pub url: String,
}

/// A script that must succeed.
#[track_caller]
fn sh(script: &str, args: &[&str]) {
    let output = Command::new("bash")
        .args(["-euc", script, "bash"])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}\n{said}");
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

    /// Puts packages of the real archive in; they are fetched once, by apt, from this machine's mirror.
    pub fn add_real(&self, suite: &str, packages: &[&str]) {
        let mut args = vec![CACHE, suite];
        args.extend(packages);
        sh(
            r#"
cache=$1 suite=$2; shift 2
mkdir -p "$cache/$suite" "$cache/apt/$suite/lists/partial"
cd "$cache/$suite"
need=
for package; do ls "${package}"_*.deb >/dev/null 2>&1 || need="$need $package"; done
[ -z "$need" ] && exit 0
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -oE 'https?://[^ ]*/debian/?( |$)' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror% } $suite main" >"$cache/apt/$suite/sources.list"
apt="-o Dir::Etc::sourcelist=$cache/apt/$suite/sources.list -o Dir::Etc::sourceparts=/none -o Dir::Etc::preferencesparts=/none
 -o Dir::State::lists=$cache/apt/$suite/lists -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
 -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root"
apt-get $apt update -qq
apt-get $apt download -qq $need
"#,
            &args,
        );
        for package in packages {
            sh(
                r#"cp "$1/$2/$3"_*.deb "$4""#,
                &[CACHE, suite, package, self.pool(suite).to_str().unwrap()],
            );
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
