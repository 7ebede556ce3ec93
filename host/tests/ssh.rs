//! The SSH host against a real sshd of its own, on a port of its own.

use host::{Cmd, Host, HostError, SshOptions, Target};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A running sshd with its keys; ended when dropped.
struct Sshd {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Sshd {
    /// None where there is no sshd, or we are not root, as whom it must run.
    fn start() -> Option<Self> {
        let root =
            std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
        if !root || !Path::new("/usr/sbin/sshd").exists() {
            eprintln!("SKIPPED: needs root and openssh-server");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        // sshd refuses keys below a folder that others can write.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        for key in ["host_ed25519", "id", "other"] {
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.path().join(key))
                .status()
                .unwrap();
            assert!(status.success());
        }
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ecdsa", "-N", "", "-f"])
            .arg(dir.path().join("host_ecdsa"))
            .status()
            .unwrap();
        assert!(status.success());
        std::fs::copy(dir.path().join("id.pub"), dir.path().join("authorized")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let d = dir.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/host_ecdsa\nHostKey {d}/host_ed25519\nPidFile none\n\
             AuthorizedKeysFile {d}/authorized\nPasswordAuthentication no\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"
        );
        std::fs::write(dir.path().join("sshd_config"), config).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sshd = Sshd { dir, port, child };
        sshd.trust("host_ed25519.pub");
        sshd.write_config("");
        let up = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(up, "sshd did not come up");
        Some(sshd)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn trust(&self, public_key: &str) {
        let key = std::fs::read_to_string(self.path(public_key)).unwrap();
        std::fs::write(
            self.path("known_hosts"),
            format!("[127.0.0.1]:{} {key}", self.port),
        )
        .unwrap();
    }

    fn write_config(&self, more: &str) {
        let d = self.dir.path().display();
        let text = format!(
            "{more}Host h j\n  HostName 127.0.0.1\n  Port {}\n  User root\n  IdentityFile {d}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {d}/known_hosts\n  GlobalKnownHostsFile none\n",
            self.port
        );
        std::fs::write(self.path("config"), text).unwrap();
    }

    fn options(&self) -> SshOptions {
        SshOptions {
            config: Some(self.path("config")),
            ..SshOptions::default()
        }
    }

    fn connect(&self) -> Arc<dyn Host> {
        self.try_connect("h", &self.options()).unwrap()
    }

    fn try_connect(&self, target: &str, options: &SshOptions) -> host::Result<Arc<dyn Host>> {
        target.parse::<Target>().unwrap().connect(options)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn message(result: host::Result<Arc<dyn Host>>) -> (String, String) {
    match result.err().expect("must not connect") {
        HostError::Unreachable { what, fix, .. } => (what, fix),
        other => panic!("{other}"),
    }
}

#[test]
fn commands_run_with_input_output_and_status() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.connect();
    let output = host
        .run(
            &Cmd::reads("sh")
                .args(["-c", "cat; echo err >&2; exit 7"])
                .stdin(b"it's $in"),
        )
        .unwrap();
    assert_eq!(
        (
            output.status,
            &*output.stdout_text(),
            &*output.stderr_text()
        ),
        (7, "it's $in", "err\n")
    );
    let error = host.run(&Cmd::reads("no-such-program-here")).unwrap_err();
    assert!(matches!(error, HostError::NoProgram { .. }), "{error}");
    assert_eq!(
        host.run(&Cmd::reads("sh").args(["-c", "kill -9 $$"]))
            .unwrap()
            .status,
        137
    );
    assert!(
        host.text(&Cmd::reads("sh").args(["-c", "echo $PATH"]))
            .unwrap()
            .contains("/usr/sbin")
    );
    // A command that does not read its input still ends.
    assert_eq!(
        host.run(&Cmd::reads("true").stdin(&[b'x'; 5_000_000]))
            .unwrap()
            .status,
        0
    );
}

#[test]
fn both_outputs_may_be_larger_than_ssh_s_window_while_input_flows() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.connect();
    let input = vec![b'x'; 6_000_000];
    let output = host
        .run(
            &Cmd::reads("sh")
                .args(["-c", "head -c 6000000 /dev/zero >&2; cat"])
                .stdin(&input),
        )
        .unwrap();
    assert_eq!(
        (output.stdout.len(), output.stderr.len(), output.status),
        (6_000_000, 6_000_000, 0)
    );
}

#[test]
fn a_stream_carries_data_both_ways_and_counts_the_wire() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.connect();
    let mut up = host
        .open(&Cmd::changes("sh").args(["-c", "sha256sum; echo done >&2"]))
        .unwrap();
    let block = vec![7u8; 1 << 20];
    for _ in 0..16 {
        up.write_all(&block).unwrap();
    }
    up.close_stdin().unwrap();
    let mut text = String::new();
    up.read_to_string(&mut text).unwrap();
    assert!(text.len() > 64, "{text}");
    let (sent, received) = up.wire().unwrap();
    assert!(sent > 16 << 20 && sent < 17 << 20, "{sent}");
    assert!(received > 64 && received < 1 << 20, "{received}");
    let output = up.finish().unwrap();
    assert_eq!((output.status, &*output.stderr_text()), (0, "done\n"));

    let mut down = host
        .open(&Cmd::reads("head").args(["-c", "9000000", "/dev/zero"]))
        .unwrap();
    let mut bytes = Vec::new();
    down.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 9_000_000);
    assert_eq!(down.finish().unwrap().status, 0);
}

#[test]
fn a_command_that_ends_while_it_is_written_to_is_an_error_and_says_why() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.connect();
    let script = "head -c 1000000 >/dev/null; echo so far; echo no room >&2; exit 3";
    let block = vec![7u8; 1 << 20];
    // It ends at any moment of a packet's way.
    for _ in 0..10 {
        let mut up = host.open(&Cmd::changes("sh").args(["-c", script])).unwrap();
        // Far more than SSH's window.
        let wrote = (0..64).try_for_each(|_| up.write_all(&block));
        assert_eq!(wrote.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        let output = up.finish().unwrap();
        assert_eq!(
            (
                output.status,
                &*output.stdout_text(),
                &*output.stderr_text()
            ),
            (3, "so far\n", "no room\n")
        );
    }
}

#[test]
fn a_hung_command_and_a_lost_connection_are_errors_not_hangs_and_not_status_0() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.connect();
    let start = Instant::now();
    let error = host
        .run(
            &Cmd::reads("sleep")
                .arg("30")
                .timeout(Duration::from_millis(300)),
        )
        .unwrap_err();
    assert!(matches!(error, HostError::Timeout { .. }), "{error}");
    // The command ends its own sshd, as a cut of the line would.
    let error = host
        .run(&Cmd::reads("sh").args(["-c", "echo so far; kill -9 $PPID; sleep 5"]))
        .unwrap_err();
    assert!(matches!(error, HostError::Lost { .. }), "{error}");
    let mut stream = host
        .open(&Cmd::reads("sh").args(["-c", "kill -9 $PPID; sleep 5"]))
        .unwrap();
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    assert!(read.is_err() || stream.finish().is_err());
    assert!(start.elapsed() < Duration::from_secs(20));
    // And the next command finds a connection of its own.
    assert_eq!(host.text(&Cmd::reads("echo").arg("on")).unwrap(), "on");
}

#[test]
fn host_keys_are_checked_strictly() {
    let Some(sshd) = Sshd::start() else { return };
    // The server offers ECDSA first; only its Ed25519 key is known: no change.
    sshd.connect();

    std::fs::write(sshd.path("known_hosts"), "").unwrap();
    let (what, fix) = message(sshd.try_connect("h", &sshd.options()));
    assert!(
        what.contains("not known here") && what.contains("SHA256:"),
        "{what}"
    );
    assert!(fix.contains("--accept-new-host-keys"), "{fix}");

    let accepting = SshOptions {
        accept_new_host_keys: true,
        ..sshd.options()
    };
    sshd.try_connect("h", &accepting).unwrap();
    // Remembered: now strict again.
    sshd.connect();

    sshd.trust("other.pub");
    let (what, fix) = message(sshd.try_connect("h", &accepting));
    assert!(what.contains("HAS CHANGED"), "{what}");
    assert!(fix.contains("ssh-keygen -R"), "{fix}");
}

#[test]
fn who_is_not_let_in_learns_what_was_tried() {
    let Some(sshd) = Sshd::start() else { return };
    std::fs::write(sshd.path("authorized"), "").unwrap();
    let (what, fix) = message(sshd.try_connect("h", &sshd.options()));
    assert!(
        what.contains("does not let user `root` in") && what.contains("/id"),
        "{what}"
    );
    assert!(fix.contains("ssh-copy-id"), "{fix}");
    let (what, _) = message(sshd.try_connect("nobody@h", &sshd.options()));
    assert!(what.contains("`nobody`"), "{what}");
    let options = SshOptions {
        identity: Some(PathBuf::from("/no/such/key")),
        ..sshd.options()
    };
    let (what, _) = message(sshd.try_connect("h", &options));
    assert!(what.contains("/no/such/key (no such file)"), "{what}");
}

#[test]
fn an_identity_file_lets_in_and_a_jump_host_is_jumped() {
    let Some(sshd) = Sshd::start() else { return };
    std::fs::copy(sshd.path("other.pub"), sshd.path("authorized")).unwrap();
    let options = SshOptions {
        identity: Some(sshd.path("other")),
        ..sshd.options()
    };
    sshd.try_connect("h", &options).unwrap();

    std::fs::copy(sshd.path("id.pub"), sshd.path("authorized")).unwrap();
    sshd.write_config(
        "Host far\n  HostName 127.0.0.1\n  ProxyJump h\n  Port PORT\n"
            .replace("PORT", &sshd.port.to_string())
            .as_str(),
    );
    let config = std::fs::read_to_string(sshd.path("config")).unwrap();
    std::fs::write(
        sshd.path("config"),
        config.replace("Host h j", "Host h j far"),
    )
    .unwrap();
    let host = sshd.try_connect("far", &sshd.options()).unwrap();
    assert_eq!(
        host.text(&Cmd::reads("echo").arg("jumped")).unwrap(),
        "jumped"
    );
}

#[test]
fn nobody_there_is_said_with_the_address() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let target: Target = format!("root@127.0.0.1:{port}").parse().unwrap();
    let (what, fix) = message(target.connect(&SshOptions::default()));
    assert!(
        what.contains(&format!("127.0.0.1:{port}")) && what.contains("refused"),
        "{what}"
    );
    assert!(fix.contains(&format!("-p {port}")), "{fix}");
    let target: Target = "no-such-host.invalid".parse().unwrap();
    let (what, _) = message(target.connect(&SshOptions::default()));
    assert!(what.contains("cannot be resolved"), "{what}");
}
