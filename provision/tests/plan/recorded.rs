//! Hosts in the states that hosts are found in, as the probes found them (`scripts/record-hosts`): Debian 12 and 13,
//! bare, with an installation that a power cut ended, done, with a daemon.json that is no JSON, with a CRIU that is too
//! old for the kernel, and with packages that somebody holds. Ubuntu's are not recorded: they are Debian 13's, under
//! the names, kernels and apt sources that its releases have by their documentation.

use crate::hosts::*;
use host::Facts;
use provision::{Binary, Choice, Name, State, Survey, Wanted, plan, undo};

/// The recorded text of a state. States other than bare hold what differs from the one before: read after it.
macro_rules! recorded {
    ($suite:literal, $state:expr) => {{
        let bare = include_str!(concat!("recorded/", $suite, "-bare.txt"));
        let done = include_str!(concat!("recorded/", $suite, "-done.txt"));
        match $state {
            "bare" => vec![bare],
            "half-done" => vec![
                bare,
                include_str!(concat!("recorded/", $suite, "-half-done.txt")),
            ],
            "done" => vec![bare, done],
            "broken" => vec![
                bare,
                done,
                include_str!(concat!("recorded/", $suite, "-broken.txt")),
            ],
            "wrong" => vec![
                bare,
                done,
                include_str!(concat!("recorded/", $suite, "-wrong.txt")),
            ],
            "held" => vec![
                bare,
                done,
                include_str!(concat!("recorded/", $suite, "-held.txt")),
            ],
            other => panic!("no state {other} was recorded"),
        }
    }};
}

/// The sections of one probe, of all that was recorded; a later section stands for an earlier one.
fn probe(texts: &[&str], name: &str) -> String {
    let parts = texts.iter().flat_map(|text| text.split("@@transship "));
    parts
        .filter(|part| part.starts_with(name))
        .map(|part| format!("@@transship {part}"))
        .collect()
}

fn section(name: &str, text: &str) -> String {
    format!("@@0 begin {name}\n{text}\n@@0 end {name} 0\n")
}

/// A release in a recorded state, on this kernel; on the one of the recording without.
pub(crate) fn host(release: &str, state: &str, kernel: Option<&str>) -> Survey {
    let texts = match release {
        "debian-12" => recorded!("bookworm", state),
        _ => recorded!("trixie", state),
    };
    let (mut facts, mut states) = (probe(&texts, "facts"), probe(&texts, "state"));
    if let Some(kernel) = kernel {
        let uname = format!("Linux\n{kernel}\n#1 SMP\nx86_64\nhost\n");
        facts.push_str(&section("uname", &uname));
    }
    if let Some(version) = release.strip_prefix("ubuntu-") {
        let (codename, suffix) = match version {
            "16.04" => ("xenial", ".7 LTS (Xenial Xerus)"),
            "22.04" => ("jammy", ".5 LTS (Jammy Jellyfish)"),
            "24.04" => ("noble", ".3 LTS (Noble Numbat)"),
            _ => ("resolute", " LTS (Resolute Raccoon)"),
        };
        facts.push_str(&section(
            "os-release",
            &format!(
                "PRETTY_NAME=\"Ubuntu {version}\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"{version}\"\n\
                 VERSION=\"{version}{suffix}\"\nVERSION_CODENAME={codename}\nID=ubuntu\nID_LIKE=debian\n\
                 UBUNTU_CODENAME={codename}\n"
            ),
        ));
        // From 24.04 on in the longer form.
        let sources = if matches!(codename, "xenial" | "jammy") {
            format!(
                "# transship file /etc/apt/sources.list\n\
                 deb http://archive.ubuntu.com/ubuntu {codename} main restricted universe multiverse\n\
                 deb http://archive.ubuntu.com/ubuntu {codename}-updates main restricted universe multiverse\n"
            )
        } else {
            format!(
                "# transship file /etc/apt/sources.list.d/ubuntu.sources\nTypes: deb\n\
                 URIs: http://archive.ubuntu.com/ubuntu\nSuites: {codename} {codename}-updates\n\
                 Components: main restricted universe multiverse\n\
                 Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n"
            )
        };
        states.push_str(&section("sources", &sources));
    }
    Survey {
        facts: Facts::parse(&facts),
        state: State::parse(&states).unwrap(),
    }
}

/// The program that was at work when the host was recorded is the one that is wanted.
fn same_program(survey: &Survey, choice: Choice) -> Wanted {
    Wanted {
        binary: Some(Binary {
            bytes: Vec::new(),
            hash: survey.state.binary.clone().unwrap(),
        }),
        ..wanted(choice)
    }
}

const DEBIAN: [&str; 2] = ["debian-12", "debian-13"];

#[test]
fn bare_hosts_get_what_their_release_has_and_trixies_criu_comes_from_testing() {
    for release in DEBIAN {
        let bare = host(release, "bare", None);
        let plan = plan(&bare, &same_program(&bare, Choice::Auto)).unwrap();
        assert_eq!(plan.profile, "docker");
        let own = [
            "binary",
            "daemon.json",
            "index",
            "packages",
            "sysctl",
            "service",
        ];
        let suite: &[&str] = if release == "debian-13" {
            &["sources"]
        } else {
            &[]
        };
        assert_eq!(steps(&plan), [suite, &own].concat(), "{release}");
        let install = lines(&plan)
            .into_iter()
            .find(|line| line.contains("apt-get") && line.contains(" install "))
            .unwrap();
        let end = match release {
            "debian-12" => "containerd docker.io iptables nftables runc criu",
            _ => "containerd docker-cli docker.io iptables nftables runc criu libcompel1",
        };
        assert!(install.ends_with(end), "{install}");
        if release == "debian-13" {
            assert_eq!(
                files(&plan)["/etc/apt/sources.list.d/transship-suite.list"],
                "deb [check-valid-until=no] http://deb.debian.org/debian testing main\n"
            );
        }
    }
}

#[test]
fn what_a_power_cut_left_is_finished_and_what_was_done_stays() {
    for release in DEBIAN {
        let half = host(release, "half-done", None);
        assert!(half.state.interrupted, "{release}");
        let plan = plan(&half, &same_program(&half, Choice::Auto)).unwrap();
        assert_eq!(
            steps(&plan),
            ["dpkg", "index", "packages", "sysctl", "service"],
            "{release}"
        );
    }
}

#[test]
fn a_done_host_needs_nothing_and_undo_knows_all_of_it() {
    for release in DEBIAN {
        let done = host(release, "done", None);
        let plan = plan(&done, &same_program(&done, Choice::Auto)).unwrap();
        assert_eq!(steps(&plan), [""; 0], "{release}: {:#?}", plan.changes);
        assert_eq!(plan.ok, 12);
        let undo = undo(&done).unwrap();
        assert!(
            lines(&undo)
                .iter()
                .any(|line| line.contains(" remove ") && line.contains("docker.io")),
            "{:#?}",
            lines(&undo)
        );
        let podman = Choice::Named(Name::Podman);
        let other = provision::plan(&done, &same_program(&done, podman)).unwrap();
        assert!(steps(&other).contains(&"packages"), "{release}");
    }
}

#[test]
fn a_configuration_that_is_no_json_is_refused_with_its_place() {
    for release in DEBIAN {
        let broken = host(release, "broken", None);
        let refusal = plan(&broken, &same_program(&broken, Choice::Auto)).unwrap_err();
        assert!(refusal.what.contains("line 1, column 9"), "{refusal:?}");
    }
}

#[test]
fn a_criu_that_is_too_old_for_the_kernel_is_replaced_or_refused() {
    let trixie = host("debian-13", "wrong", None);
    let newer = plan(&trixie, &same_program(&trixie, Choice::Auto)).unwrap();
    assert_eq!(steps(&newer), ["index", "packages"]);
    assert!(
        lines(&newer)
            .iter()
            .any(|line| line.ends_with("install --no-install-recommends criu libcompel1")),
        "{:#?}",
        lines(&newer)
    );
    let bookworm = host("debian-12", "wrong", None);
    let refusal = plan(&bookworm, &same_program(&bookworm, Choice::Auto)).unwrap_err();
    assert!(
        refusal.what.contains("no CRIU that is packaged"),
        "{refusal:?}"
    );
}

#[test]
fn a_criu_that_is_held_stays_and_is_refused_only_where_it_does_not_fit() {
    let trixie = host("debian-13", "held", None);
    let refusal = plan(&trixie, &same_program(&trixie, Choice::Auto)).unwrap_err();
    assert!(
        refusal.what.contains("criu is held at 4.1.1-1"),
        "{refusal:?}"
    );
    assert_eq!(refusal.fix, ["apt-mark unhold criu"]);
    // Its package's name tells of the faults that are mended in it, held or not.
    let bookworm = host("debian-12", "held", None);
    assert!(bookworm.state.holds.contains("criu"));
    let plan = plan(&bookworm, &same_program(&bookworm, Choice::Auto)).unwrap();
    assert_eq!(steps(&plan), [""; 0], "{:#?}", plan.changes);
}
