//! The whole workflow on Docker 17.09.1, which no machine has any more, and errors that a real engine
//! won't give on demand: fake `docker` and `criu`, held against recordings of the genuine engine. Each
//! host is an sshd of its own on this machine, with the fakes first in its PATH and its own /var/lib/transship.

mod support;

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{MUST, Ran, fits_schema, in_order, numbers, transship};

/// Two hosts, `a` and `b`, whose `docker` and `criu` are fakes; they end when dropped.
struct Fakes {
    dir: tempfile::TempDir,
    sshds: Vec<Child>,
}

impl Fakes {
    /// None, said loudly, where an sshd cannot run.
    fn up(versions: [&str; 2]) -> Option<Fakes> {
        let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        if !root || !Path::new("/usr/sbin/sshd").exists() {
            assert!(
                std::env::var_os(MUST).is_none(),
                "root and openssh-server are needed"
            );
            eprintln!("SKIPPED: needs root and openssh-server");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        std::fs::create_dir_all("/var/lib/transship").unwrap();
        for key in ["host", "id"] {
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.path().join(key))
                .status();
            assert!(status.unwrap().success());
        }
        let d = dir.path().display().to_string();
        let fake = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake");
        let (mut config, mut known, mut sshds) = (String::new(), String::new(), Vec::new());
        for (host, version) in ["a", "b"].iter().zip(versions) {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            std::fs::create_dir(dir.path().join(host)).unwrap();
            let sshd = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/host\nPidFile none\nAuthorizedKeysFile {d}/id.pub\n\
                 StrictModes no\nUsePAM no\nPermitRootLogin yes\n\
                 SetEnv PATH={fake}:/usr/local/bin:/usr/bin:/bin FAKE_STATE={d}/{host} FAKE_VERSION={version}\n"
            );
            std::fs::write(dir.path().join(format!("{host}.conf")), sshd).unwrap();
            let script = "mount --make-rprivate / && mount -t tmpfs none /var/lib/transship && exec /usr/sbin/sshd -D -f \"$1\"";
            let child = Command::new("unshare")
                .args(["-m", "sh", "-c", script, "sh"])
                .arg(dir.path().join(format!("{host}.conf")))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            sshds.push(child);
            config += &format!("Host {host}\n  Port {port}\n");
            known += &format!(
                "[127.0.0.1]:{port} {}",
                std::fs::read_to_string(dir.path().join("host.pub")).unwrap()
            );
            let up = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(50));
                TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
            assert!(up, "sshd did not come up");
        }
        config += &format!(
            "Host *\n  HostName 127.0.0.1\n  User root\n  IdentityFile {d}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {d}/known\n"
        );
        std::fs::write(dir.path().join("config"), config).unwrap();
        std::fs::write(dir.path().join("known"), known).unwrap();
        Some(Fakes { dir, sshds })
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    fn sh(&self, host: &str, script: &str) -> Ran {
        Ran::of(
            Command::new("ssh")
                .arg("-F")
                .arg(self.config())
                .args([host, script])
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
    }

    #[track_caller]
    fn ok(&self, host: &str, script: &str) -> String {
        self.sh(host, script).expect(0).stdout.trim_end().to_owned()
    }

    fn fault(&self, host: &str, fault: &str) {
        std::fs::write(
            self.dir.path().join(host).join("fault"),
            format!("{fault}\n"),
        )
        .unwrap();
    }

    fn mend(&self, host: &str) {
        std::fs::remove_file(self.dir.path().join(host).join("fault")).unwrap();
    }

    fn counter(&self, options: &str) {
        let script = format!(
            "docker run -d --name looper100 {options} busybox /bin/sh -c \
             'i=0; while true; do echo $i; i=$(expr $i + 1); sleep 1; done'; sleep 1"
        );
        self.ok("a", &script);
    }

    fn numbers(&self, host: &str) -> Vec<u64> {
        numbers(&self.ok(host, "docker logs looper100 2>&1"))
    }

    fn migrate(&self, more: &[&str]) -> Ran {
        Ran::of(self.migration(&self.config(), more).output().unwrap())
    }

    fn migration(&self, config: &Path, more: &[&str]) -> Command {
        let mut command = transship();
        command.arg("--ssh-config").arg(config);
        command
            .args([
                "migrate",
                "looper100",
                "--from",
                "a",
                "--to",
                "b",
                "--mode",
                "tarball",
            ])
            .args(more);
        command
    }

    /// The path of the state folders, which differs from run to run, taken out of a text.
    fn plain(&self, text: &str) -> String {
        text.replace(&self.dir.path().display().to_string(), "<dir>")
    }
}

impl Drop for Fakes {
    fn drop(&mut self) {
        for host in ["a", "b"] {
            let pids = std::fs::read_to_string(self.dir.path().join(host).join("pids"))
                .unwrap_or_default();
            for pid in pids.split_whitespace() {
                let _ = Command::new("kill")
                    .args(["-KILL", pid])
                    .stderr(Stdio::null())
                    .status();
            }
        }
        for child in &mut self.sshds {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn the_workflow_of_the_thesis_on_docker_17_09_1() {
    let Some(lab) = Fakes::up(["17.09.1"; 2]) else {
        return;
    };
    lab.counter("");
    let plan = lab.migrate(&["--dry-run"]).expect(0).stdout;
    // The folder that the genuine engine writes has the source's id in it, and its start reads any folder.
    let id = lab.ok("a", "docker inspect -f '{{.Id}}' looper100");
    assert!(
        plan.contains(&format!(
            "--checkpoint-dir /var/lib/transship/migrate/looper100/images/{id}/checkpoints"
        )),
        "{plan}"
    );
    let report = lab.migrate(&["--json", "--keep-source"]).expect(0).json();
    fits_schema(&report, "migrate");
    let on_a = lab.numbers("a");
    in_order(&on_a, 0);
    lab.ok("b", "sleep 2");
    in_order(&lab.numbers("b"), on_a.len() as u64);
    lab.ok("a", "! ls -d /var/lib/transship/migrate/looper100");
    lab.ok("b", "! ls -d /var/lib/transship/migrate/looper100");
}

#[test]
fn a_key_that_only_the_agent_has_lets_in() {
    let Some(lab) = Fakes::up(["26.1.5"; 2]) else {
        return;
    };
    lab.counter("");
    let text = std::fs::read_to_string(lab.config()).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.contains("IdentityFile") && !line.contains("IdentitiesOnly"));
    let config = lab.dir.path().join("keyless");
    std::fs::write(&config, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    let socket = lab.dir.path().join("agent");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let planned = || {
        let mut command = lab.migration(&config, &["--dry-run"]);
        Ran::of(command.env("SSH_AUTH_SOCK", &socket).output().unwrap())
    };
    let up = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        socket.exists()
    });
    let without = planned();
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(lab.dir.path().join("id"))
        .env("SSH_AUTH_SOCK", &socket)
        .status();
    let with = planned();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(up && added.unwrap().success());
    let said = without.expect(3).stderr;
    assert!(said.contains("does not let user `root` in"), "{said}");
    with.expect(0);
}

#[test]
fn what_17_09_1_cannot_do_is_refused() {
    let Some(lab) = Fakes::up(["17.09.1"; 2]) else {
        return;
    };
    lab.counter("-t");
    let ran = lab.migrate(&[]).expect(4);
    insta::assert_snapshot!("tty-17.09.1", lab.plain(&ran.stderr));
}

#[test]
fn engines_of_two_families_do_not_read_each_other() {
    let Some(lab) = Fakes::up(["17.09.1", "26.1.5"]) else {
        return;
    };
    lab.counter("");
    let ran = lab.migrate(&[]).expect(4);
    insta::assert_snapshot!("two-families", lab.plain(&ran.stderr));
}

#[test]
fn each_fault_of_the_engine_leaves_one_copy_that_went_on() {
    for version in ["17.09.1", "26.1.5"] {
        let Some(lab) = Fakes::up([version; 2]) else {
            return;
        };
        for (host, fault, code) in [
            ("a", "checkpoint-fails", 6),
            ("a", "enospc", 6),
            ("b", "start-fails", 6),
            ("b", "starts-anew", 6),
            ("b", "experimental-off", 4),
            ("b", "daemon-down", 4),
            ("b", "criu-missing", 4),
        ] {
            lab.ok("a", "docker rm -f looper100 >/dev/null 2>&1; true");
            lab.counter("");
            lab.fault(host, fault);
            let ran = lab.migrate(&["--json"]).expect(code);
            let report = ran.json();
            fits_schema(&report, "migrate");
            lab.mend(host);
            assert_eq!(
                lab.ok("a", "docker inspect -f '{{.State.Running}}' looper100"),
                "true",
                "{version} {fault} {report:#}"
            );
            in_order(&lab.numbers("a"), 0);
            assert_ne!(
                lab.sh("b", "docker inspect looper100").code,
                0,
                "{version} {fault}"
            );
            for host in ["a", "b"] {
                lab.ok(host, "! ls -d /var/lib/transship/migrate/looper100");
            }
            let text = format!(
                "{}\n{}",
                report["failure"]["what"].as_str().unwrap(),
                report["state"].as_str().unwrap()
            );
            insta::with_settings!({filters => vec![(r"[0-9a-f]{64}", "<id>"), (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "<time>")]}, {
                insta::assert_snapshot!(format!("{version}-{fault}"), lab.plain(&text));
            });
        }
    }
}

#[test]
fn a_destination_that_runs_it_and_then_says_no_more_is_in_doubt() {
    let Some(lab) = Fakes::up(["26.1.5"; 2]) else {
        return;
    };
    lab.counter("");
    lab.fault("b", "daemon-dies-on-start");
    let ran = lab.migrate(&["--json"]).expect(7);
    let report = ran.json();
    fits_schema(&report, "migrate");
    assert_eq!(report["outcome"], "in-doubt");
    // The source was not started: two copies would run.
    assert_eq!(
        lab.ok("a", "docker inspect -f '{{.State.Running}}' looper100"),
        "false"
    );
    // The two commands that a person needs work.
    lab.mend("b");
    let next: Vec<&str> = report["next"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    assert!(
        next[2].contains("transship migrate undo looper100-"),
        "{next:?}"
    );
    lab.ok("b", next[0].split_once(": ").unwrap().1);
    lab.ok("a", next[1].split_once(": ").unwrap().1);
    assert_eq!(
        lab.ok("a", "docker inspect -f '{{.State.Running}}' looper100"),
        "true"
    );
    in_order(&lab.numbers("a"), 0);
}
