//! Plans of recorded hosts in the states that hosts are found in.

mod hosts;
mod recorded;
mod releases;
mod undo;

use hosts::*;
use provision::{Action, Choice, Name, Pinned, Survey, Wanted, plan, undo};

#[test]
fn a_bare_trixie_on_a_new_kernel_gets_criu_of_testing_and_nothing_else_from_there() {
    let bare = bare(TRIXIE);
    let plan = plan(&bare, &wanted(Choice::Auto)).unwrap();
    assert_eq!(plan.profile, "docker");
    assert!(plan.why.contains("no container engine"), "{}", plan.why);
    assert_eq!(
        steps(&plan),
        [
            "sources",
            "daemon.json",
            "index",
            "packages",
            "sysctl",
            "service"
        ]
    );
    let files = files(&plan);
    assert_eq!(
        files["/etc/apt/sources.list.d/transship-suite.list"],
        "deb [check-valid-until=no] http://m.example/debian testing main\n"
    );
    let pin = files["/etc/apt/preferences.d/transship-suite"];
    assert!(
        pin.starts_with("Package: *\nPin: release a=testing\nPin-Priority: 50\n"),
        "{pin}"
    );
    assert!(pin.contains("Package: criu libcompel1 libnl-*\n"), "{pin}");
    // Without the pin the whole host would move to the other suite: it is written first.
    assert!(plan.changes[0].files()[0].contains("preferences"));
    let install = lines(&plan)
        .into_iter()
        .find(|line| line.contains(" install "))
        .unwrap();
    assert!(
        install.contains("docker.io") && install.ends_with("criu libcompel1"),
        "{install}"
    );
    assert!(!install.contains("downgrades"), "{install}");
}

#[test]
fn a_kernel_that_the_releases_own_criu_fits_gets_that() {
    let plan = plan(
        &bare(&TRIXIE.replace("6.18.44-fc-v657", "6.12.57-amd64")),
        &wanted(Choice::Auto),
    )
    .unwrap();
    assert!(!steps(&plan).contains(&"sources"));
    assert!(
        lines(&plan).iter().any(|line| line.ends_with("runc criu")),
        "{:#?}",
        lines(&plan)
    );
}

#[test]
fn after_the_plan_nothing_is_left_to_do() {
    for (text, choice) in [
        (TRIXIE, Choice::Auto),
        (TRIXIE, Choice::Named(Name::Podman)),
        (XENIAL, Choice::Auto),
    ] {
        let found = survey(text);
        let wanted = Wanted {
            binary: Some(this_program()),
            ..wanted(choice)
        };
        let first = plan(&found, &wanted).unwrap();
        assert!(!first.changes.is_empty());
        let second = plan(&after(&found, &first), &wanted).unwrap();
        assert_eq!(steps(&second), [""; 0]);
        assert_eq!(second.ok, 12);
    }
}

#[test]
fn the_verified_environment_comes_from_any_other_version() {
    let mut found = survey(XENIAL);
    for (version, note) in [
        (
            "18.03.1~ce-0~ubuntu",
            "'version docker-ce 18.03.1~ce-0~ubuntu'",
        ),
        (
            "17.09.0~ce-0~ubuntu",
            "'version docker-ce 17.09.0~ce-0~ubuntu'",
        ),
    ] {
        found
            .state
            .packages
            .insert("docker-ce".to_owned(), version.to_owned());
        // Held at another version: another version lets go of it, so it is held anew.
        found.state.holds.insert("docker-ce".to_owned());
        let plan = plan(&found, &wanted(Choice::Auto)).unwrap();
        assert_eq!(plan.profile, "docker-17.09");
        let lines = lines(&plan);
        let install = lines
            .iter()
            .find(|line| line.contains("'docker-ce="))
            .unwrap();
        assert!(
            install.contains("--allow-downgrades --allow-change-held-packages"),
            "{install}"
        );
        assert!(
            install.contains("'docker-ce=17.09.1~ce-0~ubuntu'"),
            "{install}"
        );
        assert!(lines.iter().any(|line| line == "apt-mark hold docker-ce"));
        assert!(lines.iter().any(|line| line.contains(note)), "{lines:#?}");
        assert!(
            lines
                .iter()
                .any(|line| line.contains("'held-before docker-ce'"))
        );
        let files = files(&plan);
        assert!(files["/etc/apt/preferences.d/transship-versions"].contains("Pin-Priority: 1001"));
        assert!(files["/etc/transship/keys/docker.gpg"].starts_with("mQINBFit2ioBEAD"));
    }
}

#[test]
fn a_running_daemon_is_disturbed_only_where_it_must_be() {
    let mut found = survey(XENIAL);
    let first = plan(&found, &wanted(Choice::Auto)).unwrap();
    found = after(&found, &first);
    let text = found.state.files[DAEMON_JSON].clone();
    let service = |found: &Survey| {
        let plan = plan(found, &wanted(Choice::Auto)).unwrap();
        let last = plan.changes.last().unwrap().clone();
        assert_eq!(last.step, "service");
        match &last.actions[0] {
            Action::Run(cmd) => cmd.args[cmd.args.len() - 2].clone(),
            Action::Write(_) => panic!("{last:?}"),
        }
    };
    found.state.files.insert(
        DAEMON_JSON.to_owned(),
        text.replace("\"debug\": true", "\"debug\": false"),
    );
    assert_eq!(service(&found), "reload");
    found.state.files.insert(
        DAEMON_JSON.to_owned(),
        text.replace("\"icc\": false", "\"icc\": true"),
    );
    assert_eq!(service(&found), "restart");
    // Cut off between the file and the restart: the next run does it.
    found.state.files.insert(DAEMON_JSON.to_owned(), text);
    found
        .state
        .files
        .insert("/etc/transship/pending".to_owned(), "restart\n".to_owned());
    assert_eq!(service(&found), "restart");
}

#[test]
fn our_runtime_is_registered_where_the_profile_uses_it_and_docker_is_not_restarted() {
    let binary = |choice| Wanted {
        binary: Some(this_program()),
        ..wanted(choice)
    };
    let mut found = survey(TRIXIE);
    let done = plan(&found, &wanted(Choice::Auto)).unwrap();
    found = after(&found, &done);
    let next = plan(&found, &binary(Choice::Auto)).unwrap();
    assert_eq!(steps(&next), ["binary", "daemon.json", "service"]);
    assert!(files(&next)[DAEMON_JSON].contains("\"path\": \"/usr/local/bin/transship-runtime\""));
    assert!(lines(&next).last().unwrap().ends_with("reload transship"));

    // Written into the file by someone who did not tell the daemon.
    let mut told = after(&found, &next);
    assert!(
        plan(&told, &binary(Choice::Auto))
            .unwrap()
            .changes
            .is_empty()
    );
    let docker = told.facts.docker.as_mut().unwrap();
    docker.server.as_mut().unwrap().runtimes.clear();
    let reload = plan(&told, &binary(Choice::Auto)).unwrap();
    assert_eq!(steps(&reload), ["service"]);
    assert!(lines(&reload)[0].ends_with("reload transship"));

    // Podman is given its path; the verified environment has its keys alone.
    let podman = plan(&found, &binary(Choice::Named(Name::Podman))).unwrap();
    assert!(
        lines(&podman)
            .iter()
            .any(|line| line.ends_with("/transship-runtime"))
    );
    let verified = plan(&survey(XENIAL), &binary(Choice::Auto)).unwrap();
    assert!(!files(&verified)[DAEMON_JSON].contains("runtimes"));
    assert!(
        !lines(&verified)
            .iter()
            .any(|line| line.ends_with("/transship-runtime"))
    );

    // A host with containers of it keeps it.
    let mut used = told;
    used.state.files.insert(
        "/etc/transship/undo".to_owned(),
        "created /usr/local/bin/transship-runtime\n".to_owned(),
    );
    assert!(!undo(&used).unwrap().changes.is_empty());
    used.state.containers = vec!["web".to_owned()];
    let refusal = undo(&used).unwrap_err();
    assert!(refusal.what.ends_with("take away: web"), "{refusal:?}");
}

#[test]
fn a_user_is_in_group_docker_only_if_asked() {
    let mut found = survey(XENIAL);
    let asked = Wanted {
        docker_users: vec!["ann".to_owned()],
        ..wanted(Choice::Auto)
    };
    assert!(!steps(&plan(&found, &wanted(Choice::Auto)).unwrap()).contains(&"docker-users"));
    let lines = lines(&plan(&found, &asked).unwrap());
    assert!(lines.contains(&"usermod -aG docker ann".to_owned()));
    found.state.docker_group.insert("ann".to_owned());
    assert!(!steps(&plan(&found, &asked).unwrap()).contains(&"docker-users"));
    found
        .state
        .files
        .insert("/etc/transship/undo".to_owned(), "member ann\n".to_owned());
    assert_eq!(steps(&undo(&found).unwrap()), ["docker-users", "journal"]);
}

#[test]
fn what_cannot_be_is_refused_with_a_way_out() {
    let refused = |survey: &Survey, choice: Choice| {
        let refusal = plan(survey, &wanted(choice)).unwrap_err();
        assert!(!refusal.fix.is_empty(), "{refusal:?}");
        refusal.what
    };
    let what = refused(&bare(BOOKWORM), Choice::Auto);
    assert!(
        what.contains("no CRIU") && what.contains("criu.vvar-split"),
        "{what}"
    );
    let what = refused(&survey(TRIXIE), Choice::Named(Name::Docker1709));
    assert!(what.contains("it knows ubuntu 16.04"), "{what}");
    let what = refused(
        &survey(&XENIAL.replace("uid 0\nuser root", "uid 1000\nuser me")),
        Choice::Auto,
    );
    assert!(
        what.contains("me is not root and may not use sudo"),
        "{what}"
    );
    let mut broken = survey(TRIXIE);
    broken
        .state
        .files
        .insert(DAEMON_JSON.to_owned(), "{\n\"a\": 1\n\"b\": 2}".to_owned());
    let what = refused(&broken, Choice::Auto);
    assert!(what.contains("line 3, column 1"), "{what}");
}

#[test]
fn auto_takes_the_engine_that_runs() {
    let auto = |survey: &Survey| plan(survey, &wanted(Choice::Auto)).unwrap().profile;
    let mut found = survey(TRIXIE);
    assert_eq!(auto(&found), "docker");
    found.facts.docker.as_mut().unwrap().server = None;
    assert_eq!(auto(&found), "podman");
    found.facts.podman = None;
    assert_eq!(auto(&found), "docker");
}

#[test]
fn an_installation_that_was_cut_off_is_finished_first() {
    let half = recorded::host("debian-13", "half-done", None);
    let plan = plan(&half, &wanted(Choice::Auto)).unwrap();
    assert_eq!(plan.changes[0].step, "dpkg");
    assert!(lines(&plan)[0].ends_with("dpkg --configure -a --force-confold"));
}

#[test]
fn apt_can_read_a_source_before_it_is_told_of_it() {
    let noble = recorded::host("ubuntu-24.04", "bare", Some("6.8.0-79-generic"));
    for (found, choice) in [
        (bare(XENIAL), Choice::Auto),
        (noble.clone(), Choice::Auto),
        (noble, Choice::Named(Name::Podman)),
    ] {
        let plan = plan(&found, &wanted(choice)).unwrap();
        let of = |step: &str| plan.changes.iter().position(|change| change.step == step);
        assert!(of("first").unwrap() < of("sources").unwrap());
        let first: Vec<String> = lines(&plan)
            .into_iter()
            .filter(|line| line.contains("apt-get"))
            .collect();
        assert!(first[0].ends_with(" update"), "{first:#?}");
        assert!(first[1].contains(" install "), "{first:#?}");
        for (list, contents) in files(&plan) {
            assert!(
                !contents.contains("https:") || list.ends_with(".list"),
                "{list}"
            );
        }
    }
}

#[test]
fn a_version_of_a_line_is_enough_where_the_profile_says_so() {
    let pin = Pinned {
        package: "p".to_owned(),
        version: "1.7.*".to_owned(),
    };
    assert!(
        pin.allows("1.7.28-1~ubuntu.24.04~noble") && !pin.allows("1.70.1") && !pin.allows("2.0")
    );
}
