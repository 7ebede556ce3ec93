//! Mode tarball between two real hosts.

mod support;

use support::{Lab, fits_schema, in_order, numbers};

#[test]
fn a_counter_goes_on_back_and_forth_ten_times_and_no_number_is_lost_or_twice() {
    let Some(lab) = Lab::shared() else { return };
    let name = "tenfold";
    lab.counter(name, "0.1", "");
    let mut all = Vec::new();
    for turn in 0..10 {
        let (from, to) = if turn % 2 == 0 {
            ("a", "b")
        } else {
            ("b", "a")
        };
        let id = lab.ok(from, &format!("docker inspect -f '{{{{.Id}}}}' {name}"));
        let report = lab.migrate(name, from, to, &["--json"]).expect(0).json();
        assert_eq!(report["outcome"], "migrated");
        assert!(
            report["downtime_seconds"].as_f64().unwrap()
                < report["total_seconds"].as_f64().unwrap()
        );
        // The source is gone, its log is kept.
        assert_ne!(lab.sh(from, &format!("docker inspect {name}")).code, 0);
        all.extend(numbers(&lab.ok(
            from,
            &format!("cat /var/lib/transship/logs/{name}-{}.log", &id[..12]),
        )));
        lab.ok(
            to,
            &format!("until [ $(docker logs {name} | wc -l) -ge 3 ]; do sleep 0.1; done"),
        );
    }
    lab.ok("a", &format!("docker kill {name}"));
    all.extend(lab.numbers("a", name));
    assert!(all.len() > 30, "{all:?}");
    in_order(&all, 0);
    lab.nothing_left(name);
    lab.forget(name);
}

#[test]
fn the_report_says_what_happened_and_fits_its_schema() {
    let Some(lab) = Lab::shared() else { return };
    let name = "reported";
    lab.forget("reported2");
    lab.counter(name, "0.2", "--restart always");
    let report = lab
        .migrate(
            name,
            "a",
            "b",
            &["--json", "--keep-source", "--name", "reported2"],
        )
        .expect(0)
        .json();
    fits_schema(&report, "migrate");
    assert_eq!(report["schema"], "transship/migrate/1");
    assert_eq!(
        (&report["container"], &report["name"]),
        (&"reported".into(), &"reported2".into())
    );
    let phases: Vec<&str> = report["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        phases,
        [
            "check",
            "prepare",
            "checkpoint",
            "archive",
            "transfer",
            "unpack",
            "create",
            "restore",
            "verify",
            "clean"
        ]
    );
    let tarball = report["tarball_bytes"].as_u64().unwrap();
    let sent = report["bytes_sent"].as_u64().unwrap();
    // SSH adds frames and authentication codes, not much more.
    assert!(
        tarball > 10_000 && sent > tarball && sent < tarball + tarball / 4 + 4096,
        "{tarball} {sent}"
    );
    assert!(report["bytes_received"].as_u64().unwrap() > 0);
    // The phases are what the whole is made of.
    let sum: f64 = report["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["seconds"].as_f64().unwrap())
        .sum();
    let total = report["total_seconds"].as_f64().unwrap();
    assert!(sum <= total && sum > total * 0.5, "{sum} {total}");
    // 0 .. n on a, which was kept and stays stopped in spite of its restart policy; n + 1 .. on b.
    let on_a = lab.numbers("a", name);
    in_order(&on_a, 0);
    lab.ok(
        "b",
        "until [ $(docker logs reported2 | wc -l) -ge 2 ]; do sleep 0.1; done",
    );
    in_order(&lab.numbers("b", "reported2"), on_a.len() as u64);
    assert_eq!(
        lab.ok(
            "a",
            "docker inspect -f '{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}' reported"
        ),
        "exited no"
    );
    assert_eq!(
        lab.ok(
            "b",
            "docker inspect -f '{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}' reported2"
        ),
        "running always"
    );
    lab.nothing_left(name);
    lab.forget(name);
    lab.forget("reported2");
}

#[test]
fn a_dry_run_shows_the_commands_and_changes_nothing() {
    let Some(lab) = Lab::shared() else { return };
    let name = "dry";
    lab.counter(name, "0.2", "-e A=b --restart on-failure:3");
    let state = |host: &str| {
        lab.ok(host, "docker ps -aq --no-trunc | sort; find /var/lib/transship 2>/dev/null | grep /dry; true")
    };
    let before = lab.ok("a", &format!("docker inspect {name}"));
    let report = lab
        .migrate(name, "a", "b", &["--dry-run", "--json"])
        .expect(0)
        .json();
    fits_schema(&report, "migrate");
    assert_eq!(report["outcome"], "planned");
    let lines: Vec<String> = report["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|command| {
            format!(
                "{} {}",
                command["host"].as_str().unwrap(),
                command["line"].as_str().unwrap()
            )
        })
        .collect();
    for expected in [
        "a docker checkpoint create",
        "a tar -czf",
        "b docker create",
        "b docker start",
        "a docker update",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(expected)),
            "{expected} in {lines:#?}"
        );
    }
    assert!(!state("a").contains("/dry") && !state("b").contains("/dry"));
    assert_eq!(lab.ok("a", &format!("docker inspect {name}")), before);
    lab.is_as_before(name);
    let text = lab.migrate(name, "a", "b", &["--dry-run"]).expect(0).stdout;
    assert!(
        text.contains("  a$ docker checkpoint create") && text.contains("nothing was changed"),
        "{text}"
    );
    lab.forget(name);
}

#[test]
fn what_this_mode_does_not_move_is_said_and_never_deleted() {
    let Some(lab) = Lab::shared() else { return };
    let name = "writes";
    lab.counter(name, "0.2", "-v /data");
    lab.ok(
        "a",
        &format!("docker exec {name} sh -c 'echo precious > /data/x; echo y > /tmp/y'"),
    );
    let ran = lab.migrate(name, "a", "b", &["--json"]).expect(0);
    let warnings = ran.json()["warnings"].to_string();
    assert!(
        warnings.contains("the volume at /data") && warnings.contains("changes in its root"),
        "{warnings}"
    );
    assert_eq!(
        lab.ok("a", &format!("docker cp {name}:/data/x - | tar -xO")),
        "precious"
    );
    lab.forget(name);
}
