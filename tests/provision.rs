//! `transship provision` in the lab: real apt, real packages, real daemons.

#[path = "support/archive.rs"]
mod archive;
mod support;

use archive::Archive;
use support::{Lab, Ran, fits_schema, transship};

const SUBNET: &str = "10.88.0.0/24";
const BRIDGE: &str = "10.88.0.1";

/// A lab whose hosts are as new: what earlier tests installed or removed is gone.
fn fresh(name: &'static str, engine: &str) -> Option<Lab> {
    if let Some(why) = archive::missing() {
        eprintln!("SKIPPED: no archive of packages: {why}");
        return None;
    }
    let _ = transship().args(["lab", "down", "--lab", name]).output();
    Lab::up(name, SUBNET, engine)
}

/// The host's own apt sources are our archive.
fn use_archive(lab: &Lab, host: &str, archive: &Archive) {
    let script = format!(
        "cat >/usr/share/keyrings/test.asc <<'END'\n{}END\n\
         rm -f /etc/apt/sources.list.d/*\n\
         echo 'deb [signed-by=/usr/share/keyrings/test.asc] {} trixie main' >/etc/apt/sources.list",
        archive.key(),
        archive.url
    );
    lab.ok(host, &script);
}

/// Files and packages of a host, to be compared.
fn picture(lab: &Lab, host: &str) -> String {
    lab.ok(
        host,
        "dpkg-query -W; apt-mark showhold; find /etc /usr/local -type f -newermt 2020-01-01 ! -name ld.so.cache ! -name '*-' \
         -exec sha256sum {} + | sort -k 2",
    )
}

#[test]
fn a_bare_debian_becomes_a_host_that_the_doctor_likes_and_goes_back() {
    let Some(lab) = fresh("prov", "docker-26") else {
        return;
    };
    let archive = Archive::serve(BRIDGE);
    archive.add_real(
        "trixie",
        &[
            "criu",
            "libcompel1",
            "containerd",
            "docker.io",
            "docker-cli",
            "runc",
            "iptables",
            "nftables",
        ],
    );
    // What must not be taken from testing is there too.
    archive.add_real("testing", &["criu", "libcompel1", "runc", "nftables"]);
    archive.index("trixie", "stable", false);
    archive.index("testing", "testing", true);
    use_archive(&lab, "a", &archive);
    lab.ok(
        "a",
        "kill $(cat /run/docker.pid); while [ -e /run/docker.pid ]; do sleep 0.1; done; \
         apt-get purge -y -q docker.io docker-cli containerd runc podman crun criu libcriu2 libcompel1 iptables nftables >/dev/null 2>&1; \
         rm -rf /etc/docker; ! which dockerd criu runc nft",
    );
    let before = picture(&lab, "a");

    let plan = lab
        .run(&["provision", "a", "--plan", "--json"])
        .expect(5)
        .json();
    fits_schema(&plan, "provision");
    assert_eq!(picture(&lab, "a"), before, "a plan changes nothing");
    lab.run(&["provision", "a"]).expect(2);
    assert_eq!(
        picture(&lab, "a"),
        before,
        "without a yes nothing is changed"
    );

    let done = lab
        .run(&["provision", "a", "--yes", "--json"])
        .expect(0)
        .json();
    fits_schema(&done, "provision");
    let host = &done["hosts"][0];
    assert_eq!(host["outcome"], "changed", "{host:#}");
    assert_eq!(host["doctor"], serde_json::json!([]));
    // The plan that was shown is the one that was run.
    let lines = |document: &serde_json::Value| -> Vec<serde_json::Value> {
        let changes = document["hosts"][0]["changes"].as_array().unwrap();
        changes
            .iter()
            .map(|change| change["commands"].clone())
            .collect()
    };
    assert_eq!(lines(&plan), lines(&done));
    // CRIU alone is of testing, since this kernel needs it.
    let versions = lab.ok(
        "a",
        "dpkg-query -W -f '${Package} ${Version}\n' criu runc nftables docker.io",
    );
    assert!(versions.contains("criu 4.2"), "{versions}");
    assert!(versions.contains("docker.io 26.1.5"), "{versions}");
    let policy = lab.ok("a", "apt-get -s dist-upgrade");
    assert!(policy.contains("0 upgraded"), "{policy}");
    assert_eq!(
        lab.ok("a", "docker version -f '{{.Server.Experimental}}'"),
        "true"
    );
    lab.ok("a", "criu check");

    let after = picture(&lab, "a");
    let again = lab.run(&["-v", "provision", "a", "--yes"]).expect(0);
    assert!(
        again.stdout.contains("ok=10 changed=0 failed=0"),
        "{again:?}"
    );
    assert_eq!(picture(&lab, "a"), after);

    // The user's own keys stay; what a running daemon does not take over needs a restart.
    let pid = lab.ok("a", "cat /run/docker.pid");
    lab.ok(
        "a",
        r#"printf '{"labels":["x=y"],"experimental":false}' >/etc/docker/daemon.json"#,
    );
    lab.run(&["provision", "a", "--yes"]).expect(0);
    let text = lab.ok("a", "cat /etc/docker/daemon.json");
    assert!(
        text.contains("x=y") && text.contains("\"experimental\": true"),
        "{text}"
    );
    assert_ne!(
        lab.ok("a", "cat /run/docker.pid"),
        pid,
        "experimental needs a restart"
    );

    // What is no JSON is refused with its place, and nothing is done.
    lab.ok("a", r#"cp /etc/docker/daemon.json /root/good; printf '{\n "labels": [,]\n}' >/etc/docker/daemon.json"#);
    let refused = lab.run(&["provision", "a", "--yes"]).expect(4);
    assert!(refused.stderr.contains("line 2, column"), "{refused:?}");
    lab.ok("a", "mv /root/good /etc/docker/daemon.json");

    lab.run(&["provision", "--undo", "a", "--yes"]).expect(0);
    assert_eq!(lab.ok("a", "ls /etc/transship /etc/apt/preferences.d /etc/apt/sources.list.d 2>&1 | grep transship- || true"), "");
    assert_eq!(lab.sh("a", "which dockerd criu transship").code, 1);
    lab.run(&["provision", "--undo", "a", "--plan"]).expect(0);
    let _ = transship().args(["lab", "down", "--lab", "prov"]).output();
}

#[test]
fn user_data_is_what_cloud_init_wants() {
    if std::process::Command::new("cloud-init")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("SKIPPED: no cloud-init");
        return;
    }
    for profile in ["docker-17.09", "docker", "podman"] {
        let text = Ran::of(
            transship()
                .args(["provision", "--cloud-init", "--profile", profile])
                .output()
                .unwrap(),
        );
        let text = text.expect(0).stdout;
        assert!(text.starts_with("#cloud-config\n"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let schema = std::process::Command::new("cloud-init")
            .args(["schema", "--config-file"])
            .arg(file.path())
            .output()
            .unwrap();
        let schema = Ran::of(schema);
        assert_eq!(schema.code, 0, "{profile}: {schema:?}");
        assert!(schema.stdout.contains("Valid"), "{schema:?}");
    }
}
