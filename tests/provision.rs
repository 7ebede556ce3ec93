//! `transship provision` in the lab: real apt, real packages, real daemons.

#[path = "support/archive.rs"]
mod archive;
mod support;

use archive::{Archive, BARE, debian, fresh, picture, use_archive};
use support::{Lab, Ran, fits_schema, transship};

#[test]
fn a_bare_debian_becomes_a_host_that_the_doctor_likes_and_goes_back() {
    let Some(lab) = fresh("prov", "10.88.0.0/25", "docker-26") else {
        return;
    };
    let archive = debian("10.88.0.1", &[]);
    use_archive(&lab, "a", &archive);
    lab.ok("a", BARE);
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

    // A mirror that cannot be reached is said so, and the next run goes on from there.
    let sources = lab.ok("a", "cat /etc/apt/sources.list");
    lab.ok(
        "a",
        "echo 'deb http://127.0.0.1:9/debian trixie main' >/etc/apt/sources.list",
    );
    let dead = lab.run(&["provision", "a", "--yes"]).expect(1);
    assert!(dead.stderr.contains("Failed to fetch"), "{dead:?}");
    assert!(
        dead.stderr
            .contains("see that the host reaches its package mirror"),
        "{dead:?}"
    );
    assert!(!dead.stdout.contains("up to date"), "{dead:?}");
    lab.run(&["provision", "--undo", "a", "--yes"]).expect(0);
    lab.ok("a", &format!("echo '{sources}' >/etc/apt/sources.list"));

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
        again.stdout.contains("ok=11 changed=0 failed=0"),
        "{again:?}"
    );
    assert_eq!(picture(&lab, "a"), after);
    // It only looked.
    let commands = again.stderr.lines().filter(|line| line.contains("a$ "));
    let changing: Vec<&str> = commands
        .filter(|line| !line.contains("a$ sh -s transship-"))
        .collect();
    assert!(
        again.stderr.contains("a$ sh -s transship-facts"),
        "{again:?}"
    );
    assert_eq!(changing, [""; 0]);

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

    // A daemon that does not come up gets its old configuration back, and runs.
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.toml");
    let profile = std::fs::read_to_string("provision/profiles/docker.toml").unwrap();
    std::fs::write(
        &wrong,
        profile.replace("[daemon]", "[daemon]\nnonsense = true"),
    )
    .unwrap();
    let wrong = wrong.to_str().unwrap();
    let failed = lab
        .run(&["provision", "a", "--profile", wrong, "--yes"])
        .expect(1);
    assert!(
        failed.stderr.contains("did not come up with the new"),
        "{failed:?}"
    );
    assert!(failed.stderr.contains("nonsense"), "{failed:?}");
    assert_eq!(lab.ok("a", "cat /etc/docker/daemon.json"), text);
    lab.ok("a", "docker version");
    lab.run(&["provision", "a", "--plan"]).expect(0);

    // What is no JSON is refused with its place, and nothing is done.
    lab.ok("a", r#"cp /etc/docker/daemon.json /root/good; printf '{\n "labels": [,]\n}' >/etc/docker/daemon.json"#);
    let refused = lab.run(&["provision", "a", "--yes"]).expect(4);
    assert!(refused.stderr.contains("line 2, column"), "{refused:?}");
    lab.ok("a", "mv /root/good /etc/docker/daemon.json");

    lab.run(&["provision", "--undo", "a", "--yes"]).expect(0);
    assert_eq!(lab.ok("a", "ls /etc/transship /etc/apt/preferences.d /etc/apt/sources.list.d 2>&1 | grep transship- || true"), "");
    assert_eq!(lab.sh("a", "which dockerd criu transship").code, 1);
    lab.run(&["provision", "--undo", "a", "--plan"]).expect(0);
    the_runtime_is_registered_under_running_containers(&lab);
    let _ = transship().args(["lab", "down", "--lab", "prov"]).output();
}

fn the_runtime_is_registered_under_running_containers(lab: &Lab) {
    lab.ok("b", "docker run -d --name stays busybox sleep 600");
    let pids = "cat /run/docker.pid; docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' stays";
    let before = lab.ok("b", pids);
    let warned = lab.run(&["doctor", "b"]).expect(0);
    assert!(
        warned.stdout.contains("does not know transship's runtime"),
        "{warned:?}"
    );
    lab.run(&["provision", "b", "--yes"]).expect(0);
    let runtimes = lab.ok("b", "docker info -f '{{json .Runtimes.transship.Path}}'");
    assert_eq!(runtimes, "\"/usr/local/bin/transship-runtime\"");
    assert_eq!(lab.ok("b", pids), before);
    let good = lab.run(&["doctor", "b"]).expect(0);
    assert!(!good.stdout.contains("transship's runtime"), "{good:?}");

    lab.ok(
        "b",
        "docker rm -f stays; docker run -d --name ours --runtime transship busybox sleep 600",
    );
    let refused = lab.run(&["provision", "--undo", "b", "--yes"]).expect(4);
    assert!(refused.stderr.contains("take away: ours"), "{refused:?}");
    lab.ok("b", "docker exec ours true && docker rm -f ours");
    lab.run(&["provision", "--undo", "b", "--yes"]).expect(0);
    assert_eq!(
        lab.ok("b", "ls -A /usr/local/bin; ls -d /usr/local/lib/transship /etc/transship 2>/dev/null; docker info -f '{{json .Runtimes}}' | grep -o transship-runtime; true"),
        ""
    );
}

/// A package that stands for docker-ce: a client that tells its version, and a daemon that is a file
/// with its version in it.
const DOCKER_CE: &str = r#"
mkdir -p "$1/usr/bin" "$1/etc/init.d"
cat >"$1/usr/bin/docker" <<'END'
#!/bin/sh
client='"Client":{"Version":"VERSION"}'
server=$(cat /run/docker.fake 2>/dev/null) || { echo "{$client}"; echo "Cannot connect to the Docker daemon" >&2; exit 1; }
case $1 in
info) echo '{"ServerVersion":"'"${server% *}"'","Driver":"overlay2"}' ;;
*) echo "{$client,\"Server\":{\"Version\":\"${server% *}\",\"Experimental\":${server#* }}}" ;;
esac
END
cat >"$1/etc/init.d/docker" <<'END'
#!/bin/sh
case $1 in
stop) rm -f /run/docker.fake ;;
start)
    if grep -q broken /etc/docker/daemon.json 2>/dev/null; then exit 1; fi
    [ -e /run/docker.fake ] && exit 0
    experimental=false
    grep -q '"experimental": true' /etc/docker/daemon.json 2>/dev/null && experimental=true
    echo "VERSION $experimental" >/run/docker.fake ;;
esac
exit 0
END
version=${2%%~*}
version=${version#*:}
cat >"$1/DEBIAN/postinst" <<'END'
#!/bin/sh
if [ -e /root/slow ]; then touch /root/slow.begun; sleep 60; fi
END
chmod 755 "$1/DEBIAN/postinst"
sed -i "s/VERSION/$version-ce/" "$1/usr/bin/docker" "$1/etc/init.d/docker"
chmod 755 "$1/usr/bin/docker" "$1/etc/init.d/docker"
"#;
const CRIU_2: &str = r#"mkdir -p "$1/usr/sbin"; printf '#!/bin/sh\necho Version: 2.0\n' >"$1/usr/sbin/criu"; chmod 755 "$1/usr/sbin/criu""#;

#[test]
fn the_verified_environment_is_installed_downgraded_pinned_and_held() {
    let Some(lab) = fresh("prov17", "10.88.0.128/25", "docker-26") else {
        return;
    };
    let archive = Archive::serve("10.88.0.129");
    for version in [
        "17.09.0~ce-0~ubuntu",
        "17.09.1~ce-0~ubuntu",
        "17.12.0~ce-0~ubuntu",
        "18.03.1~ce-0~ubuntu",
    ] {
        archive.make("xenial", "docker-ce", version, DOCKER_CE);
    }
    archive.make("base", "docker-ce", "18.03.1~ce-0~ubuntu", DOCKER_CE);
    archive.make("base", "criu", "2.0-2ubuntu3", CRIU_2);
    for name in ["apt-transport-https", "cpuid", "hardinfo"] {
        archive.make("base", name, "9.0", "true");
    }
    archive.index("xenial", "xenial", false);
    archive.index("base", "base", false);
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("mine.toml");
    let text = std::fs::read_to_string("provision/profiles/docker-17.09.toml").unwrap();
    let source = format!(
        "source = \"{} xenial stable\"\nkey = \"\"\"{}\"\"\"",
        archive.url,
        archive.key()
    );
    let text = text.replace(
        "source = \"https://download.docker.com/linux/ubuntu xenial stable\"",
        &source,
    );
    assert!(text.contains(&archive.url));
    std::fs::write(&profile, text).unwrap();
    let profile = profile.to_str().unwrap();

    use_archive(&lab, "a", &archive);
    lab.ok(
        "a",
        "sed -i 's/trixie/base/' /etc/apt/sources.list; \
         kill $(cat /run/docker.pid); while [ -e /run/docker.pid ]; do sleep 0.1; done; \
         apt-get purge -y -q docker.io docker-cli containerd runc podman crun criu libcriu2 libcompel1 >/dev/null 2>&1; rm -rf /etc/docker; \
         printf 'ID=ubuntu\nVERSION_ID=\"16.04\"\nVERSION_CODENAME=xenial\nNAME=Ubuntu\nPRETTY_NAME=\"Ubuntu 16.04.7 LTS\"\n' >/etc/os-release; \
         mkdir /etc/docker; printf '{\"dns\": [\"10.0.0.1\"], \"debug\": false}' >/etc/docker/daemon.json; \
         apt-get update -qq && apt-get install -y -qq docker-ce=18.03.1~ce-0~ubuntu && apt-mark hold docker-ce && service docker start",
    );
    let before = lab.ok("a", "cat /etc/docker/daemon.json");
    let args = ["provision", "a", "--profile", profile, "--yes"];
    // The doctor says what CRIU 2.0 means: the exit code is that of failed checks.
    let ran = lab.run(&args).expect(4);
    assert!(
        ran.stderr.contains("CRIU 2.0 of Ubuntu 16.04 is older"),
        "{ran:?}"
    );
    assert_eq!(
        lab.ok("a", "dpkg-query -W -f '${Version}' docker-ce"),
        "17.09.1~ce-0~ubuntu"
    );
    assert_eq!(lab.ok("a", "apt-mark showhold"), "docker-ce");
    assert_eq!(lab.ok("a", "cat /run/docker.fake"), "17.09.1-ce true");
    let merged: serde_json::Value =
        serde_json::from_str(&lab.ok("a", "cat /etc/docker/daemon.json")).unwrap();
    assert_eq!(
        merged,
        serde_json::json!({"dns": ["10.0.0.1"], "debug": true, "disable-legacy-registry": true, "experimental": true,
            "icc": false, "live-restore": true, "userland-proxy": false})
    );
    assert_eq!(
        lab.ok("a", "cat /etc/docker/daemon.json.transship-backup"),
        before
    );

    // Upgrades leave it: for the hold, and for the pin alone.
    lab.ok(
        "a",
        "apt-get dist-upgrade -y -qq && apt-mark unhold docker-ce && apt-get dist-upgrade -y -qq",
    );
    assert_eq!(
        lab.ok("a", "dpkg-query -W -f '${Version}' docker-ce"),
        "17.09.1~ce-0~ubuntu"
    );
    let held = lab.run(&args).expect(4);
    assert!(held.stdout.contains("changed=1"), "{held:?}");
    let done = lab.run(&args).expect(0);
    assert!(done.stdout.contains("ok=11 changed=0 failed=0"), "{done:?}");

    // Two at once: the second is told so. Ours holds the lock until its input ends.
    lab.ok("a", "rm /etc/sysctl.d/60-transship.conf; flock -n /run/lock/transship-provision sleep 6 >/dev/null 2>&1 & sleep 1");
    let busy = lab.run(&args).expect(1);
    assert!(
        busy.stderr.contains("another transship provision"),
        "{busy:?}"
    );
    lab.ok("a", "flock -w 10 /run/lock/transship-provision true");

    // An installation that was cut off is finished by the next run.
    lab.ok("a", "dpkg --unpack --force-all /var/cache/apt/archives/docker-ce_17.09.1*.deb 2>/dev/null || true");
    lab.run(&args).expect(4);
    lab.run(&args).expect(0);

    lab.run(&["provision", "--undo", "a", "--yes"]).expect(0);
    assert_eq!(lab.ok("a", "cat /etc/docker/daemon.json"), before);
    assert_eq!(
        lab.ok("a", "dpkg-query -W -f '${Version}' docker-ce"),
        "18.03.1~ce-0~ubuntu"
    );
    assert_eq!(lab.ok("a", "apt-mark showhold"), "");
    faults(&lab, profile, &archive);
    let _ = transship()
        .args(["lab", "down", "--lab", "prov17"])
        .output();
}

/// What goes wrong on hosts: each is said, and the next run goes on from there.
fn faults(lab: &Lab, profile: &str, archive: &Archive) {
    let args = ["provision", "a", "--profile", profile, "--yes"];
    let fails = |args: &[&str], says: &str, fix: &str, state: &str| {
        let ran = lab.run(args).expect(1);
        for text in [says, fix, state] {
            assert!(ran.stderr.contains(text), "{text}: {ran:?}");
        }
    };
    let (nothing, some) = (
        "nothing was completed on a",
        "stay; the next run does the rest",
    );

    lab.ok(
        "a",
        "mount --bind /etc /etc && mount -o remount,bind,ro /etc",
    );
    fails(
        &args,
        "Read-only file system",
        "mount -o remount,rw",
        nothing,
    );
    lab.ok("a", "umount /etc");

    // A repository that somebody else signs.
    let stranger = Archive::serve("10.88.0.129");
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.toml");
    let text = std::fs::read_to_string(profile).unwrap();
    std::fs::write(&wrong, text.replace(&archive.key(), &stranger.key())).unwrap();
    let wrong = [
        "provision",
        "a",
        "--profile",
        wrong.to_str().unwrap(),
        "--yes",
    ];
    fails(&wrong, "is not signed", "the source's key is there", some);

    lab.ok("a", "rm -f /var/cache/apt/archives/*.deb; mount -t tmpfs -o size=4k none /var/cache/apt/archives && mkdir /var/cache/apt/archives/partial");
    fails(&args, "No space left on device", "df -h / /var", some);
    lab.ok("a", "umount /var/cache/apt/archives");

    // Killed, and the host with it, in the middle of an installation.
    lab.ok("a", "touch /root/slow");
    let mut killed = lab.transship(&args).spawn().unwrap();
    lab.ok("a", "until [ -e /root/slow.begun ]; do sleep 0.1; done");
    killed.kill().unwrap();
    killed.wait().unwrap();
    lab.ok(
        "a",
        "for folder in /proc/[0-9]*; do case $(cat $folder/comm) in apt-get | dpkg | docker-ce.postin*) kill -9 ${folder#/proc/} ;; esac; done; \
         rm /root/slow; [ -n \"$(dpkg --audit)\" ]",
    );

    // Somebody else's apt, which ends: it is waited for.
    lab.ok(
        "a",
        "setsid perl -MFcntl -e 'open(F, \">/var/lib/dpkg/lock-frontend\"); fcntl(F, F_SETLK, pack(\"ssqqi\", F_WRLCK, 0, 0, 0, 0)) or die; sleep 5' >/dev/null 2>&1 & sleep 1",
    );
    lab.run(&args).expect(4);
    assert_eq!(lab.ok("a", "dpkg --audit"), "");
    assert_eq!(lab.ok("a", "cat /run/docker.fake"), "17.09.1-ce true");

    // One of several that cannot be reached holds up none.
    let both = lab
        .run(&[
            "provision",
            "a",
            "root@127.0.0.1:1",
            "--profile",
            profile,
            "--yes",
        ])
        .expect(3);
    for line in [
        "a  ok=11 changed=0 failed=0 refused=0 unreachable=0",
        "root@127.0.0.1:1  ok=0 changed=0 failed=0 refused=0 unreachable=1",
    ] {
        assert!(both.stdout.contains(line), "{both:?}");
    }
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
