//! The verified environment: real apt, packages that stand for the ones of 2017.

use crate::archive::{Archive, fresh, use_archive};
use crate::faults;
use crate::support::{Lab, transship};

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
### BEGIN INIT INFO
# Provides: docker
# Required-Start: $remote_fs
# Required-Stop: $remote_fs
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
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
for script in preinst postinst; do
    printf '#!/bin/sh\nif [ -e /root/slow.%s ]; then touch /root/slow.begun; sleep 60; fi\n' $script >"$1/DEBIAN/$script"
    chmod 755 "$1/DEBIAN/$script"
done
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
    archive.add_real("trixie", &["nftables"]);
    archive.index("trixie", "stable", false);
    for name in ["apt-transport-https", "cpuid", "hardinfo"] {
        archive.make("base", name, "9.0", "true");
    }
    archive.make(
        "base",
        "half",
        "1.0",
        r#"echo 'Depends: other-half' >>"$1/DEBIAN/control""#,
    );
    archive.make("base", "other-half", "1.0", "true");
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

    use_archive(&lab, "b", &archive);
    std::thread::scope(|scope| {
        // It waits, and meanwhile the rest is done.
        scope.spawn(|| faults::of_another_host(&lab));
        on_the_verified_system(&lab, &archive, profile);
    });
    let _ = transship()
        .args(["lab", "down", "--lab", "prov17"])
        .output();
}

fn on_the_verified_system(lab: &Lab, archive: &Archive, profile: &str) {
    use_archive(lab, "a", archive);
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
    lab.ok("a", "ls /etc/rc2.d/S*docker");
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
    // What the doctor finds does not depend on whether something was left to do.
    let done = lab.run(&args).expect(4);
    assert!(done.stderr.contains("the doctor still finds"), "{done:?}");
    assert!(done.stdout.contains("ok=12 changed=0 failed=0"), "{done:?}");

    // It starts with the host under this init too.
    lab.ok(
        "a",
        "update-rc.d docker disable && ! ls /etc/rc2.d/S*docker",
    );
    let starts = lab.run(&args).expect(4);
    assert!(
        starts
            .stdout
            .contains("+ Docker's daemon starts with the host"),
        "{starts:?}"
    );
    lab.ok("a", "ls /etc/rc2.d/S*docker");

    // Two at once: the second is told so. Ours holds the lock until its input ends.
    lab.ok("a", "rm /etc/sysctl.d/60-transship.conf; rm -f /root/through; \
         flock /run/lock/transship-provision sh -c 'until [ -e /root/through ]; do sleep 0.1; done' >/dev/null 2>&1 & \
         while flock -n /run/lock/transship-provision true; do sleep 0.1; done");
    let busy = lab.run(&args).expect(1);
    assert!(
        busy.stderr.contains("another transship is at work"),
        "{busy:?}"
    );
    lab.ok(
        "a",
        "touch /root/through; flock -w 60 /run/lock/transship-provision true",
    );

    // An installation that was cut off is finished by the next run.
    lab.ok("a", "dpkg --unpack --force-all /var/cache/apt/archives/docker-ce_17.09.1*.deb 2>/dev/null || true");
    // Of another package only what needs the rest had been unpacked.
    lab.ok("a", "cd /root && apt-get download -qq half && dpkg --unpack half_*.deb && ! dpkg --configure -a");
    lab.run(&args).expect(4);
    assert_eq!(
        lab.ok(
            "a",
            "dpkg-query -W -f '${db:Status-Abbrev}' half other-half"
        ),
        "ii ii"
    );
    let plan = ["provision", "a", "--profile", profile, "--plan"];
    lab.run(&plan).expect(0);

    // The user's own hold of before comes back with the version of before.
    let undone = lab.run(&["provision", "--undo", "a", "--yes"]).expect(0);
    assert!(
        undone.stdout.contains("held again, as before: docker-ce"),
        "{undone:?}"
    );
    assert_eq!(lab.ok("a", "cat /etc/docker/daemon.json"), before);
    assert_eq!(
        lab.ok("a", "dpkg-query -W -f '${Version}' docker-ce"),
        "18.03.1~ce-0~ubuntu"
    );
    assert_eq!(lab.ok("a", "apt-mark showhold"), "docker-ce");
    faults::of_the_verified_system(lab, profile, archive);

    // From no Docker at all.
    lab.run(&["provision", "--undo", "a", "--yes"]).expect(0);
    lab.ok("a", "service docker stop; apt-get purge -y -q --allow-change-held-packages docker-ce && rm -rf /etc/docker");
    let bare = lab
        .run(&["provision", "a", "--profile", profile, "--yes"])
        .expect(4);
    assert!(
        bare.stdout
            .contains("installed: docker-ce=17.09.1~ce-0~ubuntu"),
        "{bare:?}"
    );
    assert_eq!(lab.ok("a", "cat /run/docker.fake"), "17.09.1-ce true");
}
