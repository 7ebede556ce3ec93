//! Plans of recorded hosts in the states that hosts are found in.

use host::Facts;
use provision::{Action, Binary, Choice, Name, Plan, State, Survey, Wanted, Work, plan, undo};
use std::collections::BTreeMap;

const TRIXIE: &str = include_str!("../../host/tests/transcripts/trixie-docker-podman.facts.txt");
const BOOKWORM: &str =
    include_str!("../../host/tests/transcripts/bookworm-docker-client.facts.txt");
const XENIAL: &str = include_str!("../../host/tests/transcripts/xenial-docker-17.09.1.facts.txt");

const DAEMON_JSON: &str = "/etc/docker/daemon.json";

fn this_program() -> Binary {
    Binary::new(b"this program".to_vec())
}

fn wanted(choice: Choice) -> Wanted {
    Wanted {
        choice,
        binary: None,
        docker_users: Vec::new(),
    }
}

fn survey(text: &str) -> Survey {
    let mut state = State::parse(
        "@@transship state 1 @@0\n@@0 begin sources\n# transship file /etc/apt/sources.list\n\
         deb http://m.example/debian stable main\n\n@@0 end sources 0\n",
    )
    .unwrap();
    let facts = Facts::parse(text);
    if let Some(text) = facts
        .docker
        .as_ref()
        .and_then(|docker| docker.configuration.as_ref())
    {
        state.files.insert(DAEMON_JSON.to_owned(), text.to_string());
    }
    Survey { facts, state }
}

fn bare(text: &str) -> Survey {
    let mut survey = survey(text);
    let facts = &mut survey.facts;
    (facts.docker, facts.podman, facts.criu) = (None, None, None);
    (facts.runc, facts.crun) = (None, None);
    facts.packages.clear();
    survey.state.files.clear();
    survey
}

/// The host after the plan: what it writes and installs is there.
fn after(survey: &Survey, plan: &Plan) -> Survey {
    let mut survey = survey.clone();
    for action in plan.changes.iter().flat_map(|change| &change.actions) {
        match action {
            Action::Write(file) => {
                survey
                    .state
                    .files
                    .insert(file.path.clone(), file.contents.clone());
            }
            Action::Run(cmd) if cmd.program == "apt-get" => {
                for package in cmd.args.iter().skip_while(|arg| *arg != "install").skip(1) {
                    let (name, version) = package.split_once('=').unwrap_or((package, "1"));
                    survey
                        .state
                        .packages
                        .insert(name.to_owned(), version.to_owned());
                }
            }
            Action::Run(cmd) if cmd.program == "apt-mark" => {
                survey.state.holds.extend(cmd.args[1..].iter().cloned());
            }
            Action::Run(cmd) if cmd.program == "add-apt-repository" => {
                survey.state.sources.push_str("criu/ppa");
            }
            Action::Run(cmd) if cmd.program == "sysctl" => {
                let (name, value) = cmd.args.last().unwrap().split_once('=').unwrap();
                survey
                    .facts
                    .sysctls
                    .insert(name.to_owned(), value.to_owned());
            }
            Action::Run(cmd) if cmd.args.iter().any(|arg| arg == "transship-docker-daemon") => {
                survey.state.files.remove("/etc/transship/pending");
                if survey.facts.docker.is_none() {
                    survey.facts.docker = Facts::parse(TRIXIE).docker;
                }
                let server = survey.facts.docker.as_mut().unwrap().server.as_mut();
                if survey.state.files[DAEMON_JSON].contains("transship-runtime") {
                    let runtimes = &mut server.unwrap().runtimes;
                    runtimes.insert("transship".to_owned(), None);
                }
            }
            Action::Run(cmd) if cmd.args.iter().any(|arg| arg == "transship-link") => {
                let program = cmd.args.iter().find(|arg| arg.ends_with("/transship"));
                let folder = program.unwrap().split('/').nth(5).unwrap();
                survey.state.versions.insert(folder.to_owned());
                survey.state.binary = Some(this_program().hash);
                survey.state.runtime |= cmd.args.iter().any(|arg| arg.ends_with("-runtime"));
            }
            Action::Run(_) => {}
        }
    }
    survey
}

fn steps(plan: &Plan) -> Vec<&str> {
    plan.changes.iter().map(|change| change.step).collect()
}

fn lines(plan: &Plan) -> Vec<String> {
    let actions = plan.changes.iter().flat_map(|change| &change.actions);
    actions
        .filter_map(|action| match action {
            Action::Run(cmd) => Some(cmd.line()),
            Action::Write(_) => None,
        })
        .collect()
}

fn files(plan: &Plan) -> BTreeMap<&str, &str> {
    let actions = plan.changes.iter().flat_map(|change| &change.actions);
    actions
        .filter_map(|action| match action {
            Action::Write(file) => Some((file.path.as_str(), file.contents.as_str())),
            Action::Run(_) => None,
        })
        .collect()
}

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
    assert!(pin.contains("Package: criu libcompel1\n"), "{pin}");
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
        assert_eq!(second.ok, 11);
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
            .find(|line| line.contains(" install "))
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
        let files = files(&plan);
        assert!(files["/etc/apt/preferences.d/transship-versions"].contains("Pin-Priority: 1001"));
        assert!(files["/etc/transship/keys/docker.asc"].contains("BEGIN PGP PUBLIC KEY"));
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
    let mut half = bare(TRIXIE);
    half.state.interrupted = true;
    let plan = plan(&half, &wanted(Choice::Auto)).unwrap();
    assert_eq!(plan.changes[0].step, "dpkg");
    assert!(lines(&plan)[0].ends_with("dpkg --configure -a --force-confold"));
}

#[test]
fn undo_puts_back_what_the_journal_says_and_nothing_else() {
    let mut done = survey(XENIAL);
    assert_eq!(undo(&done).unwrap().changes, []);
    let journal = "created /etc/apt/sources.list.d/transship-docker.list\nchanged /etc/docker/daemon.json\n\
                   version docker-ce 18.03.1~ce-0~ubuntu\ninstalled criu\ninstalled gone\nheld docker-ce\n\
                   sysctl fs.pipe-max-size 1048576\n";
    done.state
        .files
        .insert("/etc/transship/undo".to_owned(), journal.to_owned());
    for (package, version) in [("criu", "2.0"), ("docker-ce", "17.09.1~ce-0~ubuntu")] {
        done.state
            .packages
            .insert(package.to_owned(), version.to_owned());
    }
    let plan = Work::Undo.plan(&done).unwrap();
    assert_eq!(
        steps(&plan),
        [
            "holds", "packages", "files", "packages", "sysctl", "service", "journal"
        ]
    );
    let lines = lines(&plan);
    assert!(lines[1].ends_with(" remove criu"), "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("'docker-ce=18.03.1~ce-0~ubuntu'"))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("fs.pipe-max-size=1048576"))
    );
}
