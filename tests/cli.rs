//! The help and the usage errors, word for word.

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use support::{Ran, transship};

fn ran(args: &[&str]) -> Ran {
    Ran::of(transship().args(args).output().unwrap())
}

#[test]
fn help() {
    for args in [
        &[][..],
        &["doctor"],
        &["doctor", "explain"],
        &["doctor", "hardware"],
        &["provision"],
        &["migrate"],
        &["migrate", "status"],
        &["migrate", "undo"],
        &["bench"],
        &["lab"],
        &["lab", "up"],
        &["lab", "down"],
        &["lab", "status"],
        &["lab", "exec"],
    ] {
        let mut all = args.to_vec();
        all.push("--help");
        let name = if args.is_empty() {
            "help".to_owned()
        } else {
            format!("help-{}", args.join("-"))
        };
        insta::assert_snapshot!(name, ran(&all).expect(0).stdout);
    }
}

#[test]
fn usage_errors() {
    let cases: [(&str, &[&str]); 8] = [
        ("no-hosts", &["migrate", "web"]),
        (
            "same-host",
            &["migrate", "web", "--from", "local", "--to", "local"],
        ),
        (
            "bad-host",
            &["migrate", "web", "--from", "a:0", "--to", "b"],
        ),
        (
            "bad-name",
            &[
                "migrate", "web", "--from", "a", "--to", "b", "--name", "we/b",
            ],
        ),
        (
            "bad-container",
            &["migrate", "-x", "--from", "a", "--to", "b"],
        ),
        ("bad-version", &["doctor", "explain", "--criu", "new"]),
        ("bad-subnet", &["lab", "up", "--subnet", "x"]),
        ("bad-engine", &["lab", "up", "--engine", "docker-1"]),
    ];
    for (name, args) in cases {
        let ran = ran(args).expect(2);
        assert_eq!(ran.stdout, "", "{name}");
        insta::assert_snapshot!(name, ran.stderr);
    }
}

fn am_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A lab that was refused left nothing.
fn no_lab(name: &str) {
    assert!(!Path::new("/var/lib/transship/lab").join(name).exists());
}

#[test]
fn a_lab_needs_root_and_says_how() {
    // Nobody else may look into our own folders.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = dir.path().join("transship");
    // By another process: a child of another test would hold our own descriptor for a moment, and it could not be run.
    let copied = Command::new("cp")
        .args([env!("CARGO_BIN_EXE_transship").as_ref(), binary.as_path()])
        .status();
    assert!(copied.unwrap().success());
    for args in ["up", "down", "status", "exec a -- true"] {
        let mut command = if am_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
            command.arg(&binary);
            command
        } else {
            Command::new(&binary)
        };
        command.args(["lab", "--lab", "none"]).args(args.split(' '));
        let ran = Ran::of(command.env("NO_COLOR", "1").output().unwrap()).expect(1);
        assert_eq!(ran.stdout, "");
        // The whole command line, as it was typed.
        let text = format!(
            "✗ a lab needs root\n  fix    sudo {} lab --lab none {args}\n",
            binary.display()
        );
        assert_eq!(ran.stderr, text);
    }
    no_lab("none");
}

#[test]
fn a_lab_says_all_the_programs_that_are_missing_at_once() {
    if !am_root() {
        eprintln!("SKIPPED: that root is missing comes first");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for program in [
        "unshare", "nsenter", "setsid", "mount", "ssh", "tar", "chroot", "sh", "bash",
    ] {
        symlink("/bin/true", dir.path().join(program)).unwrap();
    }
    for verb in ["up", "down"] {
        let output = transship()
            .args(["lab", verb, "--lab", "none"])
            .env("PATH", dir.path())
            .output();
        let ran = Ran::of(output.unwrap()).expect(1);
        assert_eq!(ran.stdout, "");
        insta::assert_snapshot!("missing-tools", ran.stderr);
    }
    no_lab("none");
    // As a document, too.
    let output = transship()
        .args(["lab", "up", "--lab", "none", "--json"])
        .env("PATH", dir.path())
        .output();
    let ran = Ran::of(output.unwrap()).expect(1);
    let document: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(
        document["fix"][0],
        "apt-get install iproute2 openssh-client"
    );
}

#[test]
fn every_session_of_the_readme_parses() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let lines: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("transship "))
        .collect();
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let words: Vec<&str> = line
            .split('#')
            .next()
            .unwrap()
            .split_whitespace()
            .skip(1)
            .collect();
        // With --help behind it clap checks what stands before, and nothing runs.
        let end = words
            .iter()
            .position(|word| *word == "--")
            .unwrap_or(words.len());
        let mut words = words[..end].to_vec();
        words.push("--help");
        ran(&words).expect(0);
    }
}

/// The table of what was broken on purpose names tests that exist.
#[test]
fn the_faults_in_the_docs_are_tested() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let mut rows = 0;
    for row in table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(".rs`"))
    {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let words: Vec<&str> = cell
            .split('`')
            .filter(|word| !word.trim().is_empty())
            .collect();
        let [file, test] = words[..] else {
            panic!("{row}");
        };
        let path = if file.contains('/') {
            root.join(file)
        } else {
            root.join("tests").join(file)
        };
        let code = std::fs::read_to_string(&path).unwrap();
        assert!(
            code.contains(&format!("fn {test}(")),
            "{file} has no {test}"
        );
        rows += 1;
    }
    assert!(rows > 20, "{rows}");
}

#[test]
fn what_cannot_be_written_is_said_and_a_reader_that_left_is_no_fault() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    for (args, code) in [
        (&["provision", "--cloud-init"][..], 1),
        (&["--json", "migrate", "status"], 0),
    ] {
        let output = transship().args(args).stdout(full().unwrap()).output();
        let ran = Ran::of(output.unwrap()).expect(code);
        assert!(
            ran.stderr.contains("could not be written") && ran.stderr.contains("No space left"),
            "{args:?}: {}",
            ran.stderr
        );
        // The other end of the pipe is closed before it writes.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = transship().args(args).stdout(writer).output();
        let ran = Ran::of(output.unwrap()).expect(0);
        assert_eq!(ran.stderr, "", "{args:?}");
    }
}
