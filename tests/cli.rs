//! The help and the usage errors, word for word.

mod support;

use support::{Ran, transship};

fn ran(args: &[&str]) -> Ran {
    Ran::of(transship().args(args).output().unwrap())
}

#[test]
fn help() {
    for args in [
        &[][..],
        &["migrate"],
        &["lab"],
        &["lab", "up"],
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
    let cases: [(&str, &[&str]); 7] = [
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
        ("bad-subnet", &["lab", "up", "--subnet", "x"]),
        ("bad-engine", &["lab", "up", "--engine", "docker-1"]),
    ];
    for (name, args) in cases {
        let ran = ran(args).expect(2);
        assert_eq!(ran.stdout, "", "{name}");
        insta::assert_snapshot!(name, ran.stderr);
    }
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
