//! Root file systems for the hosts: built once with debootstrap, kept in the cache.

use crate::config::{Engine, LabConfig};
use crate::error::{LabError, Result, at};
use crate::event::{Event, note, step};
use crate::machine::{Lock, need_space, need_tools, tail};
use crate::mirror;
use host::{Cmd, Host, Local};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// MiB that must be free for a build.
const BUILD_SPACE: u64 = 1536;
/// A mirror far away and a slow disk; a build takes about a minute.
const BUILD_TIMEOUT: Duration = Duration::from_secs(3600);
/// What every host has. tini is the first process of a host, busybox-static goes into the image.
const PACKAGES: [&str; 22] = [
    "aardvark-dns",
    "busybox-static",
    "ca-certificates",
    "conmon",
    "containerd",
    "crun",
    "docker-cli",
    "docker.io",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "netavark",
    "nftables",
    "openssh-client",
    "openssh-server",
    "podman",
    "procps",
    "rsync",
    "runc",
    "tini",
    "tree",
];
/// What must be newer than trixie's: CRIU before 4.2 cannot dump internet sockets on current
/// kernels, and Podman's crun loads the library of the same version.
const NEWER: [&str; 2] = ["criu", "libcriu2"];

/// What a root file system is made of.
struct Recipe {
    suite: &'static str,
    /// Where [`NEWER`] comes from, if not from `suite`.
    newer_suite: Option<&'static str>,
}

impl Recipe {
    fn of(engine: Engine) -> Recipe {
        match engine {
            Engine::Docker26 | Engine::Podman => Recipe {
                suite: "trixie",
                newer_suite: Some("testing"),
            },
            Engine::Docker28 => Recipe {
                suite: "testing",
                newer_suite: None,
            },
        }
    }

    fn include(&self) -> String {
        let mut packages = PACKAGES.to_vec();
        if self.newer_suite.is_none() {
            packages.extend(NEWER);
        }
        packages.join(",")
    }

    /// A name that changes whenever the recipe does.
    fn key(&self) -> String {
        let recipe = format!(
            "{} {} {:?} {} {FINISH} {ADD_NEWER}",
            self.suite,
            self.include(),
            self.newer_suite,
            NEWER.join(","),
        );
        let digest = Sha256::digest(recipe);
        let hash: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
        format!("rootfs-{}-{hash}", self.suite)
    }
}

/// Runs in the new system: adds packages of a newer suite and forgets that suite again.
/// Its index may be past its date on a mirror that is a snapshot.
const ADD_NEWER: &str = r#"
set -eu
mirror=$1 suite=$2; shift 2
list=/etc/apt/sources.list.d/newer.list pin=/etc/apt/preferences.d/newer
echo "deb $mirror $suite main" > $list
printf 'Package: *\nPin: release a=%s\nPin-Priority: 50\n' "$suite" > $pin
apt-get -o Acquire::Check-Valid-Until=false update
apt-get install -y --no-install-recommends -t "$suite" "$@"
rm $list $pin
"#;

/// Runs in the new system at the end: what must differ from host to host, and what only takes room.
const FINISH: &str = r#"
set -eu
apt-get clean
rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* /etc/hostname /etc/resolv.conf
"#;

/// The root file system for an engine: from the cache, or built now.
///
/// # Errors
/// Missing programs, no room, no mirror, and whatever debootstrap and apt failed with.
pub(crate) fn ensure(
    config: &LabConfig,
    engine: Engine,
    on: &mut dyn FnMut(Event),
) -> Result<PathBuf> {
    let recipe = Recipe::of(engine);
    let done = config.cache.join(recipe.key());
    if done.is_dir() {
        return Ok(done);
    }
    need_tools(true)?;
    std::fs::create_dir_all(&config.cache).map_err(at(&config.cache))?;
    let lock_file = config.cache.join(format!("{}.lock", recipe.key()));
    std::fs::write(&lock_file, b"").map_err(at(&lock_file))?;
    let _lock = Lock::take(&lock_file, on)?;
    if done.is_dir() {
        return Ok(done);
    }
    let half = config.cache.join(format!("{}.half", recipe.key()));
    if half.exists() {
        note(
            on,
            format!("removing {}, which an earlier build left", half.display()),
        );
        remove(&half)?;
    }
    need_space(&config.cache, BUILD_SPACE)?;
    let mirror = match &config.mirror {
        Some(mirror) => mirror.trim_end_matches('/').to_owned(),
        None => mirror::of_this_machine()?,
    };
    step(on, &format!("root file system {}", recipe.suite), |on| {
        build(&recipe, &half, &mirror, on)
    })?;
    std::fs::rename(&half, &done).map_err(at(&done))?;
    Ok(done)
}

/// Removes an unfinished build. What was mounted in it vanished with the builder's namespace.
fn remove(folder: &Path) -> Result<()> {
    let path = folder.to_string_lossy();
    let cmd = Cmd::changes("rm")
        .args(["-rf", "--one-file-system", "--", &path])
        .timeout(Duration::from_secs(300));
    Ok(Local.text(&cmd).map(drop)?)
}

fn build(recipe: &Recipe, half: &Path, mirror: &str, on: &mut dyn FnMut(Event)) -> Result<()> {
    let folder = half.to_string_lossy();
    let failed = |said: &str| LabError::Rootfs {
        suite: recipe.suite.to_owned(),
        mirror: mirror.to_owned(),
        said: tail(said, 8),
    };
    let step = format!("root file system {}", recipe.suite);
    let mut progress = Progress::default();
    let mut tell = |line: &str| {
        if let Some(share) = progress.share(line) {
            let detail = line.trim_start_matches("I: ").to_owned();
            on(Event::Progress {
                step: step.clone(),
                detail,
                share,
            });
        }
    };
    let include = format!("--include={}", recipe.include());
    let debootstrap = [
        "debootstrap",
        "--variant=minbase",
        &include,
        recipe.suite,
        &folder,
        mirror,
    ];
    follow(&debootstrap, &mut tell).map_err(|said| failed(&said))?;
    if let Some(newer) = recipe.newer_suite {
        let mut add = vec![
            "chroot", &folder, "sh", "-c", ADD_NEWER, "sh", mirror, newer,
        ];
        add.extend(NEWER);
        follow(&add, &mut tell).map_err(|said| failed(&said))?;
    }
    follow(&["chroot", &folder, "sh", "-c", FINISH], &mut tell).map_err(|said| failed(&said))
}

/// Runs a builder and hands on its lines; the error is all that it said.
///
/// It gets namespaces of its own, so that its mounts and processes vanish when we are killed: the
/// kernel then kills `unshare` (setpriv's parent-death signal), which takes the rest with it.
fn follow(argv: &[&str], tell: &mut dyn FnMut(&str)) -> std::result::Result<(), String> {
    let cmd = Cmd::changes("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .args([
            "--mount-proc",
            "sh",
            "-c",
            r#"exec "$@" 2>&1 </dev/null"#,
            "sh",
        ])
        .args(argv.iter().copied())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .timeout(BUILD_TIMEOUT);
    let mut stream = Local.open(&cmd).map_err(|e| e.to_string())?;
    let mut said = String::new();
    for line in BufReader::new(&mut stream).split(b'\n') {
        let line = line.map_err(|e| e.to_string())?;
        let line = String::from_utf8_lossy(&line);
        tell(&line);
        said.push_str(&line);
        said.push('\n');
    }
    let output = stream.finish().map_err(|e| format!("{said}{e}"))?;
    if output.status == 0 {
        Ok(())
    } else {
        said.push_str(&output.stderr_text());
        Err(said)
    }
}

/// Guesses how far a build is from the lines of debootstrap and apt.
#[derive(Default)]
struct Progress {
    lines: u32,
}

impl Progress {
    /// Lines that a build of the recipes prints: every package is retrieved, validated, unpacked
    /// and configured once. An estimate; the share never gets past 0.99.
    const LINES: f64 = 900.0;

    fn share(&mut self, line: &str) -> Option<f64> {
        let tells = ["I: ", "Get:", "Setting up "]
            .iter()
            .any(|s| line.starts_with(s));
        if !tells {
            return None;
        }
        self.lines += 1;
        Some((f64::from(self.lines) / Self::LINES).min(0.99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_and_docker_26_share_a_root_file_system() {
        let key = |engine| Recipe::of(engine).key();
        assert_eq!(key(Engine::Docker26), key(Engine::Podman));
        assert_ne!(key(Engine::Docker26), key(Engine::Docker28));
    }

    #[test]
    fn progress_grows_and_stays_below_one() {
        let mut progress = Progress::default();
        assert_eq!(progress.share("dpkg: something"), None);
        let mut last = 0.0;
        for n in 0..2000 {
            let share = progress.share(&format!("I: Unpacking p{n}...")).unwrap();
            assert!(share >= last && share < 1.0);
            last = share;
        }
    }

    #[test]
    fn a_builder_that_fails_hands_over_what_it_said() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root for namespaces");
            return;
        }
        let mut seen = Vec::new();
        let said = follow(
            &["sh", "-c", "echo I: one; echo oops >&2; exit 4"],
            &mut |line| {
                seen.push(line.to_owned());
            },
        )
        .unwrap_err();
        assert_eq!(seen, ["I: one", "oops"]);
        assert!(said.contains("oops"), "{said}");
    }
}
