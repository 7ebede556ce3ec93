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
        &["bench"],
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
