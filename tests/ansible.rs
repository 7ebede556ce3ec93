//! Ansible's role against real hosts, and against what `transship provision` does to them.

#[path = "support/archive.rs"]
mod archive;
mod support;

use archive::{BARE, debian, fresh, picture, use_archive};
use std::path::Path;
use std::process::Command;
use support::{Lab, MUST, Ran};

/// What Ansible needs on a host, and sudo; each with all that Debian 13's smallest system lacks.
const PYTHON: [&str; 13] = [
    "distro-info-data",
    "libexpat1",
    "libpython3-stdlib",
    "libpython3.13-minimal",
    "libpython3.13-stdlib",
    "media-types",
    "python-apt-common",
    "python3",
    "python3-apt",
    "python3-minimal",
    "python3.13",
    "python3.13-minimal",
    "sudo",
];

/// The folder of ansible-playbook; none, said loudly, where it cannot be installed.
fn ansible() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("scripts/ansible")).output().unwrap();
    let ran = Ran::of(output);
    if ran.code != 0 && std::env::var_os(MUST).is_none() {
        eprintln!("SKIPPED: no Ansible: {}", ran.stderr);
        return None;
    }
    Some(ran.expect(0).stdout.trim().to_owned())
}

/// How many tasks of a play changed something, or would.
struct Play {
    changed: u32,
    ran: Ran,
}

fn play_of(folder: &str, lab: &Lab, host: &str, user: &str, more: &[&str]) -> Ran {
    let inventory = tempfile::NamedTempFile::new().unwrap();
    let line = format!(
        "[transship]\n{host} ansible_user={user} ansible_ssh_common_args='-F {}'\n",
        lab.ssh_config().display()
    );
    std::fs::write(inventory.path(), line).unwrap();
    let program = format!("transship_host_binary={}", env!("CARGO_BIN_EXE_transship"));
    let output = Command::new(format!("{folder}/ansible-playbook"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/ansible"))
        .env("ANSIBLE_HOME", inventory.path().with_extension("home"))
        .env("ANSIBLE_NOCOLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .arg("-i")
        .arg(inventory.path())
        .args(["site.yml", "-e", &program])
        .args(more)
        .output()
        .unwrap();
    Ran::of(output)
}

fn play(folder: &str, lab: &Lab, host: &str, user: &str, more: &[&str]) -> Play {
    let ran = play_of(folder, lab, host, user, more).expect(0);
    let recap = ran.stdout.lines().rfind(|line| line.contains("changed="));
    let number = recap.and_then(|line| {
        line.split("changed=")
            .nth(1)?
            .split(' ')
            .next()?
            .parse()
            .ok()
    });
    Play {
        changed: number.unwrap_or_else(|| panic!("{ran:?}")),
        ran,
    }
}

/// The role's profiles with a key that no Docker knows.
fn a_daemon_that_does_not_come_up_gets_its_configuration_back(folder: &str, lab: &Lab) {
    let profiles = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/ansible/roles/transship_host/vars/profiles.json"
    );
    let text = std::fs::read_to_string(profiles).unwrap();
    let mut wrong: serde_json::Value = serde_json::from_str(&text).unwrap();
    wrong["transship_host_profiles"]["docker"]["daemon"]["nonsense"] = true.into();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wrong.to_string()).unwrap();

    let kept = "cat /etc/docker/daemon.json; stat -c %a /etc/docker/daemon.json; ls -d /etc/transship/before 2>&1";
    let before = lab.sh("b", kept).stdout;
    let extra = format!("@{}", file.path().display());
    let failed = play_of(folder, lab, "b", "root", &["-e", &extra]).expect(2);
    for said in [
        "Docker did not come up with the new /etc/docker/daemon.json",
        "the one of before is back",
        "Docker runs without it",
        "nonsense",
    ] {
        assert!(failed.stdout.contains(said), "{said}: {failed:?}");
    }
    assert_eq!(lab.sh("b", kept).stdout, before);
    lab.ok("b", "docker version && docker run --rm busybox true");
    lab.run(&["provision", "b", "--plan"]).expect(0);
}

#[test]
fn the_role_and_provision_make_the_same_hosts() {
    let Some(folder) = ansible() else {
        return;
    };
    let Some(lab) = fresh("ansi", "10.92.0.0/24", "docker-26") else {
        return;
    };
    let archive = debian("10.92.0.1", &PYTHON);
    for host in ["a", "b"] {
        use_archive(&lab, host, &archive);
        lab.ok(host, "apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-apt sudo");
    }

    // A bare host, by a user who is root through sudo alone, as on many rented machines.
    lab.ok(
        "a",
        "useradd -m -s /bin/sh ann && mkdir -p /home/ann/.ssh && cp /root/.ssh/authorized_keys /home/ann/.ssh/ && chown -R ann /home/ann/.ssh",
    );
    lab.ok("a", BARE);
    let refused = lab.run(&["provision", "ann@a", "--plan"]).expect(4);
    assert!(
        refused.stdout.contains("may not use sudo") || refused.stderr.contains("may not use sudo"),
        "{refused:?}"
    );
    lab.run(&["provision", "ann@a", "--yes"]).expect(4);
    lab.ok(
        "a",
        "echo 'ann ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ann",
    );
    let before = picture(&lab, "a");
    let checked = play(&folder, &lab, "a", "ann", &["--check", "--diff"]);
    // It names all that the run will change.
    for named in [
        "/etc/apt/preferences.d/transship-suite",
        "/etc/apt/sources.list.d/transship-suite.list",
        "/etc/docker/daemon.json",
        "/etc/sysctl.d/60-transship.conf",
        "/usr/local/bin/transship",
        "/usr/local/bin/transship-runtime",
        "docker.io",
        "iptables",
        "libcompel1",
        "Docker's daemon is started",
    ] {
        assert!(
            checked.ran.stdout.contains(named),
            "{named}: {:?}",
            checked.ran
        );
    }
    assert_eq!(picture(&lab, "a"), before, "check mode changes nothing");
    let done = play(&folder, &lab, "a", "ann", &[]);
    assert!(done.changed > 0, "{:?}", done.ran);
    let left = lab.run(&["provision", "ann@a", "--plan"]).expect(0);
    assert!(left.stdout.contains("nothing to do"), "{left:?}");
    let doctor = lab.run(&["doctor", "ann@a"]).expect(0);
    assert!(doctor.stdout.contains("Nothing failed"), "{doctor:?}");
    // Of what is as it should be nothing is touched; and the lock and files of a run go through sudo too.
    lab.ok("a", "rm /etc/sysctl.d/60-transship.conf");
    let checked = play(&folder, &lab, "a", "ann", &["--check", "--diff"]);
    assert_eq!(checked.changed, 1, "{:?}", checked.ran);
    lab.run(&["provision", "ann@a", "--yes"]).expect(0);

    // What is no JSON ends it before anything is changed; and where nothing was written nothing is taken back.
    lab.ok("a", "rm /etc/sysctl.d/60-transship.conf; cp /etc/docker/daemon.json /root/good; echo '{,}' >/etc/docker/daemon.json");
    let before = picture(&lab, "a");
    play_of(&folder, &lab, "a", "ann", &[]).expect(2);
    assert_eq!(picture(&lab, "a"), before);
    lab.ok("a", "mv /root/good /etc/docker/daemon.json");

    // The other way round.
    lab.run(&["provision", "b", "--yes"]).expect(0);
    let nothing = play(&folder, &lab, "b", "root", &[]);
    assert_eq!(nothing.changed, 0, "{:?}", nothing.ran);
    a_daemon_that_does_not_come_up_gets_its_configuration_back(&folder, &lab);

    let _ = support::transship()
        .args(["lab", "down", "--lab", "ansi"])
        .output();
}
