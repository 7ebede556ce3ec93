//! Every release that the profiles know, from each state to done.

use crate::hosts::*;
use host::Facts;
use provision::{Choice, Name, Survey, Wanted, cloud_init, plan};

/// A system that was never at hand: the recorded Debian 13 under another name, on the kernel that it
/// comes with.
fn system(id: &str, version: &str, codename: &str, kernel: &str) -> String {
    TRIXIE
        .replace("\nID=debian\n", &format!("\nID={id}\n"))
        .replace("VERSION_ID=\"13\"", &format!("VERSION_ID=\"{version}\""))
        .replace(
            "VERSION_CODENAME=trixie",
            &format!("VERSION_CODENAME={codename}"),
        )
        .replace("6.18.44-fc-v657", kernel)
        // As all of them but 16.04 have it.
        .replace(
            "begin cgroup\ntype tmpfs",
            if version == "16.04" {
                "begin cgroup\ntype tmpfs"
            } else {
                "begin cgroup\ntype cgroup2fs"
            },
        )
}

/// Ubuntu 24.04.
pub(crate) fn noble() -> String {
    system("ubuntu", "24.04", "noble", "6.8.0-79-generic")
}

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
        let text = system(id, version, codename, kernel);
        let wanted = |choice| Wanted {
            binary: Some(this_program()),
            ..wanted(choice)
        };
        for choice in [Choice::Auto, Choice::Named(Name::Podman)] {
            if codename == "xenial" && !matches!(choice, Choice::Auto) {
                continue;
            }
            let wanted = wanted(choice);
            let bare = bare(&text);
            let whole = plan(&bare, &wanted).unwrap();
            // Cut off after any of its changes, the next run does the rest, and the one after it nothing.
            for done in 0..=whole.changes.len() {
                let mut part = whole.clone();
                part.changes.truncate(done);
                let half = with_engine(after(&bare, &part), docker, criu);
                let rest = plan(&half, &wanted).unwrap();
                let end = with_engine(after(&half, &rest), docker, criu);
                let left = plan(&end, &wanted).unwrap();
                assert_eq!(
                    steps(&left),
                    [""; 0],
                    "{codename} {done}: {:#?}",
                    left.changes
                );
            }

            // Broken before it is begun.
            let mut broken = bare.clone();
            let file = broken.state.files.entry(DAEMON_JSON.to_owned());
            file.or_insert_with(|| "{\"a\": 1,}".to_owned());
            match plan(&broken, &wanted) {
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
    for (id, version, codename, kernel) in [
        ("debian", "12", "bookworm", "6.18.0"),
        ("ubuntu", "22.04", "jammy", "6.14.0-1-generic"),
        ("ubuntu", "24.04", "noble", "6.17.0-1-generic"),
    ] {
        let found = bare(&system(id, version, codename, kernel));
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
