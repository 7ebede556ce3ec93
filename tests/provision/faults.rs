//! What goes wrong on hosts: each is said, and the next run goes on from there.

use crate::archive::Archive;
use crate::support::{Lab, Ran, transship};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Holds the locks of somebody else's apt: of dpkg, and of the index.
const LOCKS: &str = r#"setsid perl -MFcntl -e '
    for (@ARGV[1..$#ARGV]) {
        open(my $file, ">", $_); push(@files, $file);
        my $lock = pack("ssx4qqix4", F_WRLCK, 0, 0, 0, 0); fcntl($file, F_SETLK, $lock) or die $!
    }
    open(F, ">/run/locks.pid"); print F $$; close(F); sleep $ARGV[0]'"#;

/// Takes locks for so many seconds.
fn lock(lab: &Lab, host: &str, seconds: u32, files: &str) {
    let script = format!(
        "rm -f /run/locks.pid; {LOCKS} {seconds} {files} >/dev/null 2>&1 & for try in $(seq 100); do [ -s /run/locks.pid ] && exit; sleep 0.1; done; exit 1"
    );
    lab.ok(host, &script);
}

/// On the system of the verified profile.
pub fn of_the_verified_system(lab: &Lab, profile: &str, archive: &Archive) {
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

    // Killed while a package was unpacked, and apt with it; a second run meanwhile is told to wait.
    let begin = |script: &str| {
        lab.ok(
            "a",
            &format!("rm -f /root/slow*; touch /root/slow.{script}"),
        );
        let running = lab
            .transship(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        lab.ok("a", "until [ -e /root/slow.begun ]; do sleep 0.1; done");
        running
    };
    let mut killed = begin("preinst");
    fails(
        &args,
        "another transship is at work",
        "wait until it has ended",
        nothing,
    );
    killed.kill().unwrap();
    killed.wait().unwrap();
    lab.ok(
        "a",
        "for folder in /proc/[0-9]*; do case $(cat $folder/comm) in apt-get | dpkg | docker-ce.pre*) kill -9 ${folder#/proc/} ;; esac; done; \
         rm /root/slow*; dpkg-query -W -f '${Status}' docker-ce | grep reinstreq",
    );
    // Somebody else's apt, which ends: it is waited for.
    lock(
        lab,
        "a",
        8,
        "/var/lib/dpkg/lock-frontend /var/lib/apt/lists/lock",
    );
    lab.run(&args).expect(4);
    assert_eq!(lab.ok("a", "dpkg --audit"), "");

    // The host goes away in the middle of an upgrade, and comes back.
    lab.ok("a", "apt-get install -y -q --allow-downgrades --allow-change-held-packages docker-ce=17.09.0~ce-0~ubuntu");
    let running = begin("postinst");
    let status = Ran::of(
        transship()
            .args(["lab", "status", "--lab", lab.name, "--json"])
            .output()
            .unwrap(),
    )
    .json();
    let init = status["hosts"][0]["pid"].to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &init])
            .status()
            .unwrap()
            .success()
    );
    let lost = Ran::of(running.wait_with_output().unwrap()).expect(1);
    assert!(lost.stderr.contains(some), "{lost:?}");
    // It comes back without the engine that the lab gave it, which the lab holds against it.
    let up = ["lab", "up", "--lab", lab.name, "--subnet", "10.88.0.128/25"];
    let _ = transship().args(up).output();
    lab.ok(
        "a",
        "rm -f /root/slow* /run/docker.fake; [ -n \"$(dpkg --audit)\" ]",
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
        "a  ok=12 changed=0 failed=0 refused=0 unreachable=0",
        "root@127.0.0.1:1  ok=0 changed=0 failed=0 refused=0 unreachable=1",
    ] {
        assert!(both.stdout.contains(line), "{both:?}");
    }
}

/// On a host that needs little: full, without a user, locked for longer than anybody waits.
pub fn of_another_host(lab: &Lab) {
    let args = ["provision", "b", "--profile", "docker", "--yes"];
    lab.ok("b", "apt-get purge -y -q nftables");

    // All hosts are looked at at once: ten that are slow to answer take as long as one.
    lab.ok("b", "echo 'ForceCommand sleep 4; eval \"$SSH_ORIGINAL_COMMAND\"' >/etc/ssh/sshd_config.d/slow.conf; kill -HUP $(cat /run/sshd.pid)");
    let look = |hosts: usize| {
        let begin = Instant::now();
        let names = vec!["b"; hosts];
        let ran = lab
            .run(&[&["provision", "--profile", "docker", "--plan"], &names[..]].concat())
            .expect(5);
        assert_eq!(
            ran.stdout.matches("installed: nftables").count(),
            hosts,
            "{ran:?}"
        );
        begin.elapsed()
    };
    let (one, ten) = (look(1), look(10));
    assert!(ten < one * 4, "one host took {one:?}, ten took {ten:?}");
    lab.ok(
        "b",
        "rm /etc/ssh/sshd_config.d/slow.conf; kill -HUP $(cat /run/sshd.pid)",
    );

    // A disk that is full leaves nothing half.
    lab.ok(
        "b",
        "cp -a /etc /root/etc; mount -t tmpfs -o size=16m none /etc && cp -a /root/etc/. /etc/; cat /dev/zero >/etc/full 2>/dev/null; true",
    );
    let full = lab.run(&args).expect(1);
    for text in [
        "No space left on device",
        "df -h /",
        "nothing was completed on b",
    ] {
        assert!(full.stderr.contains(text), "{text}: {full:?}");
    }
    assert_eq!(
        lab.ok("b", "find /etc /usr/local -name '*.transship-new*'"),
        ""
    );
    lab.ok("b", "umount /etc");

    let nobody = lab
        .run(&[&args[..], &["--docker-user", "nobody-at-all"]].concat())
        .expect(4);
    assert!(
        nobody.stderr.contains("the host has no user nobody-at-all"),
        "{nobody:?}"
    );

    lock(lab, "b", 600, "/var/lib/dpkg/lock-frontend");
    let locked = lab.run(&args).expect(1);
    for text in [
        "is another process using it?",
        "wait until the other apt or dpkg has ended",
        "stay; the next run does the rest",
    ] {
        assert!(locked.stderr.contains(text), "{text}: {locked:?}");
    }
    lab.ok("b", "kill $(cat /run/locks.pid)");
    lab.run(&args).expect(0);
}
