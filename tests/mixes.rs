//! Modes copy and post-copy between engines of different versions, and between Podmans.

mod support;

use engine::{Container, differences};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use support::{Lab, in_order, numbers};

/// `a` has Docker 26, `b` and `c` Docker 28, `d` and `e` Podman. One test at a time: the machine is small.
fn lab() -> Option<(MutexGuard<'static, ()>, &'static Lab)> {
    static TURN: Mutex<()> = Mutex::new(());
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let engines = "docker-26,docker-28,docker-28,podman,podman";
    let lab = LAB.get_or_init(|| Lab::up_with("mix", "10.97.0.0/24", engines, 5));
    Some((turn, lab.as_ref()?))
}

fn program(host: &str) -> &'static str {
    if ["d", "e"].contains(&host) {
        "podman"
    } else {
        "docker"
    }
}

/// Runs the engine of a host.
#[track_caller]
fn engine(lab: &Lab, host: &str, args: &str) -> String {
    lab.ok(host, &format!("{} {args}", program(host)))
}

/// What a container is made with: a little of everything that an engine keeps about it.
const OPTIONS: &str = "--hostname inner --env COLOUR=blue --label shade=dark --memory 200m --cpu-shares 512 \
    --restart on-failure:3 --publish 8099:80 --network mixnet --ip 10.61.0.9 --network-alias other \
    --add-host far:10.9.9.9 --cap-add NET_ADMIN --stop-timeout 3 -v mixvol:/named -v /anon -v /srv/bound:/bound:ro";

/// Writes what shall be found again, of every sort that a root file system holds.
const WRITE: &str = r#"
set -e
echo named > /named/f; mkdir /anon/sub; echo anonymous > /anon/sub/f
echo changed > /etc/passwd.new; ln /etc/passwd.new /etc/again; ln -s nowhere /etc/link; mkfifo /root/fifo
chown 1234:99 /etc/passwd.new; chmod 4711 /etc/passwd.new; touch -t 200102030405 /etc/passwd.new
dd if=/dev/zero of=/root/sparse bs=1 count=1 seek=20M 2>/dev/null; rm /bin/wget; mkdir /bin/sub; rm -r /tmp; mkdir -m 1700 /tmp
"#;
const LIST: &str = r#"
for f in $(find /etc /root /bin /named /anon /tmp | grep -vE "^/etc/(hosts|hostname|resolv.conf|mtab)$" | sort); do
    stat -c "%n %A %u:%g %s %h" $f; [ ! -f $f ] || md5sum $f; [ -h $f ] || [ -d $f ] || stat -c %Y $f
done; du -k /root/sparse
"#;

/// What busybox cannot write: a file's capabilities and attributes, the name of a socket, a device.
const MARK: &str = r#"
set -e; cd ROOT/root; cp ../bin/busybox able; setcap cap_net_raw=ep able; mknod null c 1 3
perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0) && bind(S, sockaddr_un("socket")) or die'
perl -e '($f, $n, $v) = ("able", "user.kept", "a value"); syscall($ARGV[0], $f, $n, $v, 7, 0) == 0 or die "$!"' $([ $(uname -m) = x86_64 ] && echo 188 || echo 5) # setxattr
"#;
const MARKS: &str = r#"
cd ROOT/root; getcap able; stat -c "%n %A %t:%T" able socket null fifo
perl -e '($f, $n, $v) = ("able", "user.kept", " " x 7); syscall($ARGV[0], $f, $n, $v, 7) == 7 or die "$!"; print "$v
"' $([ $(uname -m) = x86_64 ] && echo 191 || echo 8) # getxattr
"#;

/// Runs such a script on a host, with the container's root.
#[track_caller]
fn outside(lab: &Lab, host: &str, name: &str, script: &str) -> String {
    let pid = engine(
        lab,
        host,
        &format!("inspect -f '{{{{.State.Pid}}}}' {name}"),
    );
    lab.ok(host, &script.replace("ROOT", &format!("/proc/{pid}/root")))
}

fn quoted(script: &str) -> String {
    format!("'{}'", script.replace('\'', r#"'"'"'"#))
}

/// Removes what an earlier run left, and makes the network on each host.
fn prepare(lab: &Lab, hosts: &[&str], name: &str) {
    for host in hosts {
        let program = program(host);
        lab.sh(
            host,
            &format!("{program} rm -f {name}; {program} volume rm -f mixvol; rm -rf /var/lib/transship/m*/{name} /var/lib/transship/moved"),
        );
        lab.ok(host, &format!("mkdir -p /srv/bound; {program} network inspect mixnet >/dev/null 2>&1 || {program} network create --subnet 10.61.0.0/24 mixnet"));
    }
}

fn start(lab: &Lab, host: &str, name: &str) {
    let counter = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done";
    engine(
        lab,
        host,
        &format!("run -d --name {name} {OPTIONS} busybox sh -c '{counter}'"),
    );
    engine(lab, host, &format!("exec {name} sh -c {}", quoted(WRITE)));
    outside(lab, host, name, MARK);
}

fn inspect(lab: &Lab, host: &str, name: &str) -> Container {
    let json = engine(lab, host, &format!("inspect {name}"));
    Container::parse(json.as_bytes()).unwrap_or_else(|| panic!("{json}"))
}

/// Every number from the first on is in the log, and more come.
#[track_caller]
fn counts(lab: &Lab, host: &str, name: &str) {
    let log = || numbers(&engine(lab, host, &format!("logs {name} 2>&1")));
    let before = log();
    in_order(&before, 0);
    lab.ok(
        host,
        &format!(
            "until [ $({} logs {name} | wc -l) -ge {} ]; do sleep 0.1; done",
            program(host),
            before.len() + 2
        ),
    );
    in_order(&log(), 0);
}

/// What may differ after a move, besides what the engine crate knows of any two containers: the runtime.
fn is_ours(path: &str) -> bool {
    path == "HostConfig/Runtime"
}

/// Moves it along the hosts; on each it goes on, with all its files, and its configuration is what it was.
fn tour(name: &str, mode: &str, hosts: &[&str]) {
    let Some((_turn, lab)) = lab() else { return };
    prepare(lab, hosts, name);
    start(lab, hosts[0], name);
    for pair in hosts.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let list = |host| {
            let inside = engine(lab, host, &format!("exec {name} sh -c {}", quoted(LIST)));
            format!("{inside}\n{}", outside(lab, host, name, MARKS))
        };
        let (before, files) = (inspect(lab, from, name), list(from));
        assert!(
            files.contains("/anon/sub/f")
                && !files.contains("/bin/wget")
                && files.contains("able cap_net_raw=ep")
                && files.ends_with("a value"),
            "{files}"
        );
        lab.run(&["migrate", name, "--from", from, "--to", to, "--mode", mode])
            .expect(0);
        counts(lab, to, name);
        let (after, there) = (inspect(lab, to, name), list(to));
        let lines = files.lines().zip(there.lines());
        let differ: Vec<_> = lines.filter(|(one, other)| one != other).collect();
        assert!(
            differ.is_empty() && files.len() == there.len(),
            "{from} to {to}: {differ:#?}"
        );
        let lost: Vec<_> = differences(&before, &after)
            .into_iter()
            .filter(|found| found.allowed.is_none() && !is_ours(&found.path))
            .collect();
        assert!(lost.is_empty(), "{from} to {to}: {lost:#?}");
        assert_eq!(
            before.networks()[0].ip,
            after.networks()[0].ip,
            "{from} to {to}"
        );
        assert_ne!(
            lab.sh(from, &format!("{} inspect {name}", program(from)))
                .code,
            0
        );
        lab.ok(
            to,
            "! ls -d /var/lib/transship/migrate/* /run/transship/restore/* 2>/dev/null",
        );
    }
    let last = hosts[hosts.len() - 1];
    for command in [
        "pause",
        "unpause",
        "restart -t 0",
        "stop -t 0",
        "start",
        "rm -f",
    ] {
        engine(lab, last, &format!("{command} {name}"));
    }
    prepare(lab, hosts, name);
}

/// Moves 48 MiB that follow their process along the hosts; all of them are what they were.
fn pages(name: &str, hosts: &[&str]) {
    let Some((_turn, lab)) = lab() else { return };
    for host in hosts {
        lab.sh(host, &format!("{} rm -f {name}", program(host)));
    }
    engine(
        lab,
        hosts[0],
        &format!("run -d --name {name} busybox hog 48"),
    );
    let logs = |host: &str, word: &str| {
        let script = format!(
            "until {engine} logs {name} | grep -E '{word}|corrupt'; do {engine} inspect -f '{{{{.State.Running}}}}' {name} | grep -q true || exit 1; sleep 0.1; done",
            engine = program(host)
        );
        lab.ok(host, &script)
    };
    logs(hosts[0], ".");
    for pair in hosts.windows(2) {
        lab.run(&[
            "migrate",
            name,
            "--from",
            pair[0],
            "--to",
            pair[1],
            "--mode",
            "post-copy",
        ])
        .expect(0);
    }
    let last = hosts[hosts.len() - 1];
    engine(lab, last, &format!("kill -s USR1 {name}"));
    assert_eq!(logs(last, "checked"), "checked 12288 pages");
    engine(lab, last, &format!("rm -f {name}"));
}

#[test]
fn between_docker_26_and_28_in_any_mix() {
    tour("dockers", "copy", &["a", "b", "c", "a"]);
}

#[test]
fn with_pages_that_follow_between_docker_26_and_28_in_any_mix() {
    tour("lazy", "post-copy", &["a", "b", "c", "a"]);
    pages("lazypages", &["a", "b", "c", "a"]);
}

#[test]
fn between_podmans() {
    tour("podmans", "copy", &["d", "e", "d"]);
}

#[test]
fn a_source_that_is_kept_has_ended() {
    let Some((_turn, lab)) = lab() else { return };
    let name = "kept";
    for host in ["d", "e"] {
        lab.sh(host, &format!("podman rm -f {name}"));
    }
    let counter = "busybox sh -c 'i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done'";
    engine(lab, "d", &format!("run -d --name {name} {counter}"));
    lab.run(&["migrate", name, "--from", "d", "--to", "e", "--keep-source"])
        .expect(0);
    counts(lab, "e", name);
    let state = engine(
        lab,
        "d",
        &format!("inspect -f '{{{{.State.Status}}}}' {name}"),
    );
    assert_eq!(state, "exited");
    for host in ["d", "e"] {
        engine(lab, host, &format!("rm -f {name}"));
    }
}

#[test]
fn what_cannot_be_moved_is_refused_and_left_alone() {
    let Some((_turn, lab)) = lab() else { return };
    let counter = "busybox sh -c 'while true; do sleep 0.2; done'";
    lab.sh("a", "docker rm -f theirs");
    engine(lab, "a", &format!("run -d --name theirs {counter}"));
    engine(lab, "d", &format!("run -d --replace --name ours {counter}"));
    engine(
        lab,
        "e",
        &format!("--runtime crun run -d --replace --name crunned {counter}"),
    );
    for (name, from, to, mode, said) in [
        (
            "theirs",
            "a",
            "d",
            "copy",
            "d: the Docker daemon does not answer",
        ),
        (
            "ours",
            "d",
            "e",
            "tarball",
            "mode tarball is a workflow of Docker",
        ),
        (
            "crunned",
            "e",
            "d",
            "copy",
            "was created with the OCI runtime crun",
        ),
        ("nobody", "d", "e", "copy", "containers that run on d: ours"),
    ] {
        let ran = lab
            .run(&["migrate", name, "--from", from, "--to", to, "--mode", mode])
            .expect(4);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    }
    for (host, name) in [("a", "theirs"), ("d", "ours"), ("e", "crunned")] {
        engine(lab, host, &format!("rm -f {name}"));
    }
}
