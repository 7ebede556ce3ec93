//! The sessions of the README, line by line as they stand there: only the names of its hosts and of its lab are
//! those of a lab of this test.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use support::copy::counts;
use support::{Lab, MUST, Ran};

const LAB: &str = "readme";
const SUBNET: &str = "10.119.0.0/24";

/// The commands of the first block below a heading, without what is said about them.
fn session(heading: &str) -> Vec<String> {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let below = readme.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let block = below.split("\n```").nth(1).unwrap();
    block
        .lines()
        .map(|line| line.split('#').next().unwrap().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// Where the lines are typed: the binary is found in PATH, and the journal is nobody else's.
struct Shell {
    home: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        symlink(
            env!("CARGO_BIN_EXE_transship"),
            home.path().join("transship"),
        )
        .unwrap();
        Shell { home }
    }

    fn command(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .current_dir(self.home.path())
            .env("PATH", format!("{}:{path}", self.home.path().display()))
            .env("TRANSSHIP_LAB", LAB)
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a line, with this typed into it.
    fn types(&self, line: &str, input: &str) -> Ran {
        let mut child = self.command(line).spawn().unwrap();
        // A command that reads nothing may be gone by then.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Runs a line that is killed (-9) as soon as it tells of a phase.
    fn kills(&self, line: &str, phase: &str) {
        let mut child = self.command(&format!("exec {line}")).spawn().unwrap();
        let talk = BufReader::new(child.stderr.take().unwrap());
        let begun = talk.lines().any(|line| line.unwrap().starts_with(phase));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(begun, "{line}: no phase {phase}");
    }
}

#[test]
fn the_sessions_of_the_readme_do_what_it_says() {
    let shell = Shell::new();
    let lines = session("The lab");
    let [up, exec, ssh, down] = &lines[..] else {
        panic!("{lines:?}");
    };
    // Hosts that an earlier run prepared are none to begin with.
    shell.types(down, "");
    // Its range is another one, so that a lab of yours may stand beside it.
    let ran = shell.types(&format!("{up} --subnet {SUBNET}"), "");
    if ran.code != 0 && std::env::var_os(MUST).is_none() {
        eprintln!("SKIPPED: no lab: {}", ran.stderr);
        return;
    }
    let table = ran.expect(0).stdout;
    assert!(
        table.contains("10.119.0.2") && table.contains("10.119.0.3"),
        "{table}"
    );
    let containers = shell.types(exec, "").expect(0).stdout;
    assert!(containers.contains("CONTAINER ID"), "{containers}");
    let ssh = ssh.replace("/lab/lab/", &format!("/lab/{LAB}/"));
    // A login shell, which greets first.
    let said = shell.types(&ssh, "hostname\n").expect(0).stdout;
    assert!(said.ends_with("\na\n"), "{said}");
    between_hosts(
        &shell,
        &Lab {
            name: LAB,
            program: "docker",
        },
    );
    shell.types(down, "").expect(0);
    let status = shell.types("transship lab status", "").expect(1).stdout;
    assert_eq!(status, format!("There is no lab {LAB}.\n"));
}

/// "Between your own hosts", a being 10.0.0.1 and b 10.0.0.2.
fn between_hosts(shell: &Shell, lab: &Lab) {
    let reach = format!("transship --ssh-config {}", lab.ssh_config().display());
    lab.counter("web", "0.1", "");
    // What CRIU 3.17.1 says on a kernel since 6.13 (recorded).
    let log = "Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\n";
    std::fs::write(shell.home.path().join("restore.log"), log).unwrap();
    let lines = session("Between your own hosts");
    for line in &lines {
        let typed = line
            .replace("root@10.0.0.1", "root@a")
            .replace("root@10.0.0.2", "root@b")
            .replacen("transship", &reach, 1);
        let words: Vec<&str> = line.split_whitespace().collect();
        let says = |code: i32, what: &str| {
            let ran = shell.types(&typed, "").expect(code);
            assert!(ran.stdout.contains(what), "{line}: {ran:?}");
        };
        match words[1..] {
            ["provision", .., "--plan"] => says(5, "/usr/local/bin/transship"),
            // It asks, which needs a terminal.
            ["provision", ..] => {
                let typed = format!("script -qec {} /dev/null", host::quote(&typed));
                let ran = shell.types(&typed, "y\n").expect(0);
                assert!(ran.stdout.contains("Change these hosts?"), "{ran:?}");
            }
            ["doctor", "explain", ..] => says(0, "vDSO"),
            ["doctor", ..] => says(0, "Nothing failed"),
            ["migrate", "web", .., "--dry-run"] => {
                says(0, "docker create");
                lab.is_as_before("web");
            }
            ["migrate", "web", ..] => {
                says(0, "web runs on root@b.");
                counts(lab, "b", "web");
            }
            ["migrate", "status"] => {
                let back = format!("{reach} migrate web --from root@b --to root@a");
                shell.kills(&back, "freeze");
                says(0, "web");
            }
            ["migrate", "undo"] => {
                says(0, "web runs on root@b");
                counts(lab, "b", "web");
            }
            ["bench", .., "--dry-run"] => says(0, "a plain start"),
            _ => panic!("not tried: {line}"),
        }
    }
    assert_eq!(lines.len(), 9, "{lines:?}");
}
