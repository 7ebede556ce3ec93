//! Every release that the profiles know, from each state to done.

use crate::hosts::*;
use crate::recorded;
use host::Facts;
use provision::{Choice, Name, Survey, Wanted, cloud_init, plan};

/// What the packages bring: the engine answers, CRIU says its version.
fn with_engine(mut survey: Survey, docker: &str, criu: &str) -> Survey {
    let recorded = Facts::parse(TRIXIE);
    let installed = |name: &str| survey.state.packages.contains_key(name);
    if installed("docker.io") || installed("docker-ce") {
        let runtimes = survey
            .facts
            .docker
            .take()
            .map(|found| found.server.unwrap().runtimes);
        let mut found = recorded.docker.clone().unwrap();
        let server = found.server.as_mut().unwrap();
        server.version = host::version::lenient(docker);
        server.runtimes = runtimes.unwrap_or_default();
        survey.facts.docker = Some(found);
    }
    if installed("criu") {
        let mut found = recorded.criu.unwrap();
        found.tool.version = host::version::lenient(criu);
        found.package = Some(criu.to_owned());
        survey
            .facts
            .packages
            .insert("criu".to_owned(), criu.to_owned());
        survey.facts.criu = Some(found);
    }
    survey
}

#[test]
fn every_release_is_planned_from_bare_half_done_and_wrong_to_done() {
    let releases = [
        (
            "debian",
            "13",
            "trixie",
            "6.18.44-fc-v657",
            "26.1.5",
            "4.2.1",
        ),
        ("debian", "13", "trixie", "6.12.57-amd64", "26.1.5", "4.1.1"),
        (
            "debian",
            "12",
            "bookworm",
            "6.1.0-40-amd64",
            "20.10.24",
            "3.17.1-2+deb12u2",
        ),
        (
            "ubuntu",
            "22.04",
            "jammy",
            "5.15.0-151-generic",
            "26.1.4",
            "4.0",
        ),
        (
            "ubuntu",
            "24.04",
            "noble",
            "6.8.0-79-generic",
            "26.1.4",
            "4.0",
        ),
        (
            "ubuntu",
            "26.04",
            "resolute",
            "7.0.0-10-generic",
            "28.2.2",
            "4.2",
        ),
        (
            "ubuntu",
            "16.04",
            "xenial",
            "4.4.0-210-generic",
            "17.09.1",
            "2.0",
        ),
    ];
    for (id, version, codename, kernel, docker, criu) in releases {
        let host = |state| recorded::host(&format!("{id}-{version}"), state, Some(kernel));
        let wanted = |choice| Wanted {
            binary: Some(this_program()),
            ..wanted(choice)
        };
        for choice in [Choice::Auto, Choice::Named(Name::Podman)] {
            if codename == "xenial" && !matches!(choice, Choice::Auto) {
                continue;
            }
            let wanted = wanted(choice);
            let bare = host("bare");
            let whole = plan(&bare, &wanted).unwrap();
            // Cut off after any of its changes, the next run does the rest, and the one after it nothing.
            let halves = (0..=whole.changes.len()).map(|done| {
                let mut part = whole.clone();
                part.changes.truncate(done);
                after(&bare, &part)
            });
            for half in halves.chain([host("half-done")]) {
                let half = with_engine(half, docker, criu);
                let rest = plan(&half, &wanted).unwrap();
                assert_eq!(
                    steps(&rest).first() == Some(&"dpkg"),
                    half.state.interrupted
                );
                let end = with_engine(after(&half, &rest), docker, criu);
                let left = plan(&end, &wanted).unwrap();
                assert_eq!(steps(&left), [""; 0], "{codename}: {:#?}", left.changes);
            }

            // Broken before it is begun.
            match plan(&host("broken"), &wanted) {
                Err(refusal) => assert!(refusal.what.contains("line 1, column 9"), "{refusal:?}"),
                Ok(plan) => assert_eq!(plan.profile, "podman"),
            }

            // Another version of what is pinned, held at that.
            let mut wrong = with_engine(after(&bare, &whole), docker, criu);
            let pins = wrong.state.holds.clone();
            for package in &pins {
                let version = "5:28.5.2-1~other".to_owned();
                wrong.state.packages.insert(package.clone(), version);
            }
            let back = plan(&wrong, &wanted).unwrap();
            assert_eq!(pins.is_empty(), back.changes.is_empty(), "{codename}");
            for package in &pins {
                let line = format!("'{package}=");
                let allowed = "--allow-downgrades --allow-change-held-packages";
                let lines = lines(&back);
                let install = lines
                    .iter()
                    .find(|line| line.contains(" install "))
                    .unwrap();
                assert!(
                    install.contains(allowed) && install.contains(&line),
                    "{install}"
                );
            }

            // A CRIU that is too old for the kernel, held there by somebody.
            let mut held = with_engine(after(&bare, &whole), docker, "3.6");
            held.state.holds.insert("criu".to_owned());
            if codename != "xenial" {
                let refusal = plan(&held, &wanted).unwrap_err();
                assert!(refusal.what.contains("criu is held at"), "{refusal:?}");
                assert_eq!(refusal.fix, ["apt-mark unhold criu"]);
            }
        }
    }
}

#[test]
fn kernels_that_no_package_fits_are_refused_on_every_release() {
    for (release, kernel) in [
        ("debian-12", "6.18.0"),
        ("ubuntu-22.04", "6.14.0-1-generic"),
        ("ubuntu-24.04", "6.17.0-1-generic"),
    ] {
        let found = recorded::host(release, "bare", Some(kernel));
        let refusal = plan(&found, &wanted(Choice::Auto)).unwrap_err();
        assert!(
            refusal.what.contains(&format!("fits Linux {kernel}")),
            "{refusal:?}"
        );
        assert!(refusal.fix[0].contains("build a newer CRIU"), "{refusal:?}");
    }
}

#[test]
fn user_data_is_for_the_release_that_was_asked_for() {
    let document = |choice: Choice, release| -> serde_json::Value {
        let text = cloud_init(&choice, release).unwrap();
        serde_json::from_str(text.splitn(4, '\n').nth(3).unwrap()).unwrap()
    };
    let noble = document(Choice::Auto, Some("ubuntu-24.04"));
    let commands: Vec<String> = noble["runcmd"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    let of = |text: &str| {
        commands
            .iter()
            .position(|line| line.contains(text))
            .unwrap()
    };
    assert!(commands[of("VERSION_ID")].contains("ubuntu 24.04"));
    // The source is there once apt can read it, and not before.
    assert!(of("software-properties-common") < of("sources.list.d/transship-docker.list"));
    let files = noble["write_files"].as_array().unwrap();
    let file = |path: &str| files.iter().find(|file| file["path"] == path);
    assert!(file("/etc/apt/sources.list.d/transship-docker.list").is_none());
    assert_eq!(
        file("/etc/transship/keys/docker.gpg").unwrap()["encoding"],
        "b64"
    );
    // Undo will find all of it.
    let journal = file("/etc/transship/undo").unwrap()["content"]
        .as_str()
        .unwrap();
    for path in [
        DAEMON_JSON,
        "/etc/apt/sources.list.d/transship-docker.list",
        "/etc/transship/keys/docker.gpg",
    ] {
        assert!(journal.contains(&format!("created {path}\n")), "{journal}");
    }
    let xenial = cloud_init(&Choice::Auto, Some("ubuntu-16.04")).unwrap();
    assert!(xenial.contains("profile docker-17.09"));
    assert!(
        cloud_init(&Choice::Auto, None)
            .unwrap()
            .contains("for debian 13.")
    );
    let refusal = cloud_init(&Choice::Named(Name::Podman), Some("ubuntu-16.04")).unwrap_err();
    assert!(refusal.fix[0].contains("ubuntu-24.04"), "{refusal:?}");
}
