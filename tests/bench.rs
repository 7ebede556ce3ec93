//! `transship bench` on real hosts: what it writes, what it leaves, and that a move that fails is told. The
//! figures themselves are judged by nobody here: other programs use this machine.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
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
        assert_eq!(shaper(lab, host), "noqueue 0:", "on {host}");
    }
}

/// What decides when packets leave a host.
fn shaper(lab: &Lab, host: &str) -> String {
    lab.ok(host, "tc qdisc show dev eth0 | cut -d ' ' -f 2,3")
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
    // The move that was undone is none that failed.
    let rows = document["rows"].as_array().unwrap();
    assert!(
        rows.iter().all(|row| row.get("failure").is_none()),
        "{document:#}"
    );
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
            "--modes copy,post-copy,pre-copy,tarball",
        ),
        (&["a", "b", "--sizes", "1K"], "is no size"),
        (&["a", "b", "--links", "lan=10M"], "is no link"),
        (
            &["a", "b", "--tcp", "lan=10.106.0.50", "--modes", "tarball"],
            "does not take TCP connections along",
        ),
    ] {
        let ran = lab
            .run(&[&["bench", "--out", out_text], words].concat())
            .expect(2);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    for (words, said) in [
        (["--image", "nope"], "there is no image nope on a"),
        (["--tcp", "nowhere=10.106.0.50"], "has no network nowhere"),
    ] {
        let ran = lab.run(&[&["bench", "a", "b", "--dry-run"][..], &words].concat());
        let said_then = ran.expect(4).stderr;
        assert!(said_then.contains(said), "{said_then}");
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
            .contains("2 MiB, mode tarball: a → b → a, 3 times (lan, as it is)"),
        "{}",
        ran.stdout
    );
    // The kernel of this machine decides.
    let tracked = lab.sh("a", "criu check --feature mem_dirty_track").code == 0;
    assert_eq!(
        ran.stdout.contains("mode pre-copy"),
        tracked,
        "{}",
        ran.stdout
    );
    if !tracked {
        let named = lab.run(&["bench", "a", "b", "--dry-run", "--modes", "pre-copy"]);
        let said = named.expect(4).stderr;
        assert!(
            said.contains("does not track which memory changes")
                && said.contains("leave --modes out")
                && !said.contains("--mode copy"),
            "{said}"
        );
    }
    assert!(!out.exists());
    clean(lab);
}

#[test]
fn over_a_slow_link_everything_takes_its_time_and_then_it_is_as_it_was() {
    let Some((_turn, lab)) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    let ran = lab.run(&[
        "bench",
        "a",
        "b",
        "--sizes",
        "0,1M,64M",
        "--links",
        "slow=4M",
        "--modes",
        "copy",
        "--runs",
        "1",
        "--out",
        folder.path().to_str().unwrap(),
        "--json",
    ]);
    let document = ran.expect(0).json();
    fits_schema(&document, "bench");
    assert_eq!(
        document["links"],
        serde_json::json!([{ "name": "slow", "bits_per_second": 4_000_000 }])
    );
    // 64 MiB would take minutes.
    let rows = document["rows"].as_array().unwrap();
    let sizes: Vec<u64> = rows
        .iter()
        .map(|row| row["size_mib"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [0, 0, 1, 1]);
    assert!(document["notes"].to_string().contains("64 MiB over slow"));
    for row in rows {
        assert_eq!(
            (&row["link"], &row["memory_whole"]),
            (&"slow".into(), &true.into()),
            "{row:#}"
        );
    }
    // The rate is kept, but for what may go at once.
    let floor = |what: &str| {
        let floors = document["floors"].as_array().unwrap();
        let of = |floor: &&Value| floor["what"] == what && floor["size_mib"] == 1;
        let floor = floors.iter().find(of).unwrap_or_else(|| panic!("{what}"));
        (floor["link"].as_str(), floor["seconds"].as_f64().unwrap())
    };
    let least = f64::from(8 << 20) / 4e6 * 0.9;
    let (link, tcp) = floor("tcp");
    assert!(link == Some("slow") && tcp > least, "{tcp}");
    assert!(floor("page-server").1 > least);
    assert_eq!(floor("criu-dump").0, None);
    let beside = &document["medians"][2]["floor"];
    assert_eq!(beside["tcp_seconds"].as_f64(), Some(tcp));
    // What is said of the hosts' own link is not said of this one.
    assert!(!document["targets"].to_string().contains("downtime of copy"));
    clean(lab);
}

#[test]
fn whatever_ends_it_no_link_stays_slow() {
    let Some((_turn, lab)) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    for signal in ["INT", "KILL"] {
        let mut child = lab
            .transship(&[
                "bench", "a", "b", "--sizes", "0", "--links", "10M", "--modes", "copy", "--out",
            ])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("run 1 of 3 (10M, 10 Mbit/s)") {
            line.clear();
            assert_ne!(talk.read_line(&mut line).unwrap(), 0, "it ended");
        }
        for host in ["a", "b"] {
            assert!(shaper(lab, host).starts_with("tbf "), "on {host}");
        }
        // At once: nothing of a migration is there yet but the container.
        let told = std::process::Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        std::io::copy(&mut talk, &mut std::io::sink()).unwrap();
        let ended = child.wait().unwrap().code();
        assert_eq!(ended, (signal == "INT").then_some(130));
        let begin = Instant::now();
        while ["a", "b"]
            .iter()
            .any(|host| shaper(lab, host) != "noqueue 0:")
        {
            assert!(begin.elapsed() < Duration::from_secs(100), "SIG{signal}");
            std::thread::sleep(Duration::from_millis(200));
        }
        for host in ["a", "b"] {
            lab.ok(
                host,
                "docker rm -f $(docker ps -aq --filter label=transship.bench) 2>/dev/null; true",
            );
        }
    }
    clean(lab);
}

#[test]
fn a_link_that_cannot_be_slowed_down_is_refused() {
    let Some((_turn, lab)) = lab() else { return };
    let refused = |said: &str| {
        let ran = lab.run(&["bench", "a", "b", "--links", "zigbee", "--dry-run"]);
        let stderr = ran.expect(4).stderr;
        assert!(stderr.contains(said), "{stderr}");
    };
    lab.ok(
        "b",
        "tc qdisc add dev eth0 root tbf rate 100mbit burst 64kb latency 400ms",
    );
    refused("the traffic of eth0 on b is shaped already (tbf ");
    assert!(shaper(lab, "b").starts_with("tbf "), "it is not ours");
    lab.ok("b", "tc qdisc del dev eth0 root");
    lab.ok("a", "mv /usr/sbin/tc /usr/sbin/tc.away");
    refused("there is no tc on a");
    lab.ok("a", "mv /usr/sbin/tc.away /usr/sbin/tc");
    clean(lab);
}

#[test]
fn somebody_who_is_connected_says_how_long_he_waited() {
    let Some((_turn, lab)) = lab() else { return };
    let folder = tempfile::tempdir().unwrap();
    for host in ["a", "b"] {
        lab.ok(host, "docker network inspect lan >/dev/null 2>&1 || docker network create -d macvlan --subnet 10.106.0.0/24 --gateway 10.106.0.1 -o parent=eth0 lan");
    }
    let ran = lab.run(&[
        "bench",
        "a",
        "b",
        "--sizes",
        "1M",
        "--tcp",
        "lan=10.106.0.50",
        "--runs",
        "1",
        "--out",
        folder.path().to_str().unwrap(),
        "--json",
    ]);
    let document = ran.expect(0).json();
    fits_schema(&document, "bench");
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.len() >= 4, "{document:#}");
    for row in rows {
        assert_ne!(row["mode"], "tarball");
        let (tcp, downtime) = (&row["tcp"], row["downtime_seconds"].as_f64().unwrap());
        assert!(
            tcp["answers"].as_u64() > Some(2) && tcp["resets"] == 0,
            "{row:#}"
        );
        // It asks every 10 ms; what it sees is not much shorter than what was measured from outside.
        let waited = tcp["longest_pause_seconds"].as_f64().unwrap();
        assert!(waited > downtime / 4.0, "{row:#}");
    }
    assert!(document["medians"][0]["longest_pause_seconds"].is_number());
    assert!(read(folder.path(), "figures.md").contains("| client's pause |"));
    clean(lab);
}
