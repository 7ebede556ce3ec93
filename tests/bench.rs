//! `transship bench` on real hosts: what it writes, what it leaves, and that a move that fails is told. The
//! figures themselves are judged by nobody here: other programs use this machine.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use support::copy::interrupt;
use support::{Lab, Ran, fits_schema};

/// One test at a time: they look at all that is on the hosts.
fn lab() -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = LAB.get_or_init(|| Lab::up("bench", "10.106.0.0/24", "docker-26"));
    Some((turn, lab.as_ref()?))
}

/// Nothing of a benchmark is on the hosts.
#[track_caller]
fn clean(lab: &Lab) {
    for host in ["a", "b"] {
        let left = lab.ok(
            host,
            "docker ps -aq --filter label=transship.bench; ls -d /dev/shm/transship-bench* /var/tmp/transship-bench* /var/lib/transship/migrate/* 2>/dev/null; pgrep -ax 'hog|criu'; true",
        );
        assert_eq!(left, "", "on {host}");
    }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn rows(document: &Value, of: &str) -> Vec<String> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = document[of].as_array().unwrap();
    let name = |row| {
        ["mode", "source", "destination"]
            .map(|key| text(row, key))
            .join(" ")
    };
    rows.iter().map(name).collect()
}

#[test]
fn every_move_and_floor_is_written_and_nothing_is_left() {
    let Some((_turn, lab)) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/figures");
    let ran = lab.run(&[
        "bench",
        "a",
        "b",
        "--sizes",
        "1M",
        "--modes",
        "copy,post-copy",
        "--runs",
        "1",
        "--out",
        out.to_str().unwrap(),
        "--json",
    ]);
    let document = ran.expect(0).json();
    fits_schema(&document, "bench");
    assert_eq!(
        read(&out, "figures.json").parse::<Value>().unwrap(),
        document
    );
    assert_eq!(document["complete"], true, "{document:#}");
    let there_and_back = ["copy a b", "copy b a", "post-copy a b", "post-copy b a"];
    assert_eq!(rows(&document, "rows"), there_and_back);
    assert_eq!(rows(&document, "medians"), there_and_back);
    for row in document["rows"].as_array().unwrap() {
        assert_eq!(row["memory_whole"], true, "{row:#}");
        assert!(
            row["bytes_sent"].as_u64() > Some(1 << 19)
                && row["downtime_seconds"].as_f64() > Some(0.0),
            "{row:#}"
        );
        assert!(
            row["phases"]
                .as_array()
                .unwrap()
                .iter()
                .any(|phase| phase["name"] == "move"),
            "{row:#}"
        );
    }
    let floors: Vec<&str> = document["floors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|floor| floor["what"].as_str().unwrap())
        .collect();
    for floor in [
        "page-server",
        "criu-dump",
        "criu-restore",
        "tcp",
        "start",
        "start-runtime",
    ] {
        assert!(floors.contains(&floor), "no {floor}: {document:#}");
    }
    let svg = read(&out, "figures.svg");
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    // Two points for each move, and two for each mode in the legend.
    assert_eq!(svg.matches("<circle ").count(), 4 * 2 + 2 * 2);
    assert!(read(&out, "figures.md").contains("![size against time](figures.svg)"));
    clean(lab);
}

#[test]
fn a_move_that_fails_is_told_and_counts_nowhere() {
    let Some((_turn, lab)) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    lab.ok("b", "mv /usr/sbin/criu /usr/sbin/criu.away");
    let ran = lab.run(&[
        "bench",
        "a",
        "b",
        "--sizes",
        "1M",
        "--modes",
        "copy",
        "--runs",
        "1",
        "--out",
        folder.path().to_str().unwrap(),
    ]);
    lab.ok("b", "mv /usr/sbin/criu.away /usr/sbin/criu");
    let ran = ran.expect(1);
    assert!(
        ran.stderr.contains("run 1: there is no criu on b"),
        "{}",
        ran.stderr
    );
    let document: Value = read(folder.path(), "figures.json").parse().unwrap();
    fits_schema(&document, "bench");
    for median in document["medians"].as_array().unwrap() {
        assert_eq!(
            (&median["good"], median.get("downtime_seconds")),
            (&0.into(), None),
            "{median:#}"
        );
    }
    assert!(read(folder.path(), "figures.md").contains("## What did not work"));
    clean(lab);
}

#[test]
fn interrupted_it_removes_what_it_made() {
    let Some((_turn, lab)) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut child = lab
        .transship(&[
            "bench", "a", "b", "--sizes", "1M", "--modes", "copy", "--runs", "50", "--json",
            "--out",
        ])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("run 1 of 50") {
        line.clear();
        assert_ne!(talk.read_line(&mut line).unwrap(), 0, "it ended");
    }
    interrupt(child.id());
    let mut stderr = String::new();
    talk.read_to_string(&mut stderr).unwrap();
    let ran = Ran {
        stderr,
        ..Ran::of(child.wait_with_output().unwrap())
    }
    .expect(130);
    let document = ran.json();
    fits_schema(&document, "bench");
    assert_eq!(document["complete"], false);
    clean(lab);
}

#[test]
fn what_makes_no_sense_is_refused_and_a_dry_run_changes_nothing() {
    let Some((_turn, lab)) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("figures");
    let out_text = out.to_str().unwrap();
    for (words, said) in [
        (&["a", "a"][..], "both hosts are the same"),
        (
            &["a", "b", "--modes", "podman"],
            "--modes copy,post-copy,tarball",
        ),
        (&["a", "b", "--sizes", "1K"], "is no size"),
    ] {
        let ran = lab
            .run(&[&["bench", "--out", out_text], words].concat())
            .expect(2);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let ran = lab
        .run(&[
            "bench",
            "a",
            "b",
            "--dry-run",
            "--sizes",
            "2M",
            "--out",
            out_text,
        ])
        .expect(0);
    assert!(
        ran.stdout
            .contains("2 MiB, mode tarball: a → b → a, 3 times"),
        "{}",
        ran.stdout
    );
    assert!(!out.exists());
    clean(lab);
}
