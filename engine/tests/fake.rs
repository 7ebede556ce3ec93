//! The fake of Docker's command line, held against recordings of the genuine engines, and a whole migration with it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fake");
const RECORDED_17: &str = include_str!("../../tests/data/docker-17.09.1/commands.txt");
const RECORDED_26: &str = include_str!("../../tests/data/docker-26.1.5/commands.txt");

/// Hosts that are folders; their processes end with it.
struct Fakes {
    dir: tempfile::TempDir,
    version: &'static str,
}

impl Fakes {
    fn new(version: &'static str) -> Fakes {
        Fakes {
            dir: tempfile::tempdir().unwrap(),
            version,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn state(&self, host: &str) -> PathBuf {
        let state = self.path(host);
        std::fs::create_dir_all(&state).unwrap();
        state
    }

    fn fault(&self, host: &str, fault: &str) {
        std::fs::write(self.state(host).join("fault"), format!("{fault}\n")).unwrap();
    }

    fn sh(&self, host: &str, line: &str) -> Output {
        let path = format!("{FAKE}:{}", std::env::var("PATH").unwrap());
        Command::new("sh")
            .args(["-c", line])
            .env("PATH", path)
            .env("FAKE_VERSION", self.version)
            .env("FAKE_STATE", self.state(host))
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    /// Runs a line that must succeed; what it printed.
    fn ok(&self, host: &str, line: &str) -> String {
        let output = self.sh(host, line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{line}: {said}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }
}

impl Drop for Fakes {
    fn drop(&mut self) {
        for host in ["s9", "d9", "a", "b"] {
            let pids = std::fs::read_to_string(self.path(host).join("pids")).unwrap_or_default();
            for pid in pids.lines().filter(|pid| is_ours(pid)) {
                let _ = Command::new("kill").args(["-KILL", pid]).output();
            }
        }
    }
}

fn is_ours(pid: &str) -> bool {
    let command = std::fs::read(Path::new("/proc").join(pid).join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("fake-container")
}

/// One recorded command and what it printed.
#[derive(Default)]
struct Recorded {
    host: String,
    line: String,
    out: Vec<String>,
    err: Vec<String>,
    status: i32,
    fault: bool,
}

fn recorded(text: &str) -> Vec<Recorded> {
    let mut list: Vec<Recorded> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(fault) = line.strip_prefix('@') {
            let (host, fault_name) = fault.split_once(' ').unwrap_or((fault, ""));
            list.push(Recorded {
                host: host.into(),
                line: fault_name.into(),
                fault: true,
                ..Recorded::default()
            });
        } else if let Some((host, command)) = line
            .strip_prefix('[')
            .and_then(|line| line.split_once("]$ "))
        {
            list.push(Recorded {
                host: host.into(),
                line: command.into(),
                ..Recorded::default()
            });
        } else {
            let last = list.last_mut().expect("a command first");
            if let Some(out) = line.strip_prefix("  out| ") {
                last.out.push(out.to_owned());
            } else if let Some(err) = line.strip_prefix("  err| ") {
                last.err.push(err.to_owned());
            } else if let Some(status) = line.strip_prefix("  rc = ") {
                last.status = status.parse().unwrap();
            }
        }
    }
    list
}

/// Takes out what differs from run to run: times, how long it's been up, what the container counted.
fn comparable(text: &str) -> Vec<String> {
    let words = |line: &str| -> String {
        let mut line = line.to_owned();
        for (mark, end) in [
            ("restore-20", "Z"),
            ("StartedAt\":\"20", "\""),
            ("FinishedAt\":\"20", "\""),
        ] {
            if let Some(start) = line.find(mark) {
                let start = start + mark.len();
                let length = line[start..].find(end).unwrap_or(0);
                line.replace_range(start..start + length, "..");
            }
        }
        for mark in ["Up ", "Exited (137) "] {
            if let Some(start) = line.find(mark) {
                line.truncate(start + mark.len());
            }
        }
        line
    };
    text.lines()
        .filter(|line| line.parse::<u64>().is_err())
        .map(words)
        .collect()
}

/// Runs all recorded commands against the fake; the differences.
fn replay(fakes: &Fakes, text: &str, skip: &[&str]) -> Vec<String> {
    let mut different = Vec::new();
    for command in recorded(text) {
        if command.fault {
            fakes.fault(&command.host, &command.line);
            continue;
        }
        if skip.iter().any(|word| command.line.contains(word)) {
            continue;
        }
        let state = fakes.state(&command.host);
        let id = command
            .out
            .iter()
            .find(|line| line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if let Some(id) = id {
            std::fs::write(state.join("next-id"), id).unwrap();
        }
        let root = state.join("docker").display().to_string();
        let shared = fakes.path("").display().to_string();
        let here = |text: &str| {
            text.replace("/var/lib/docker", &root)
                .replace("/tmp100", &format!("{shared}tmp100"))
                .replace("/tmp/d", &format!("{shared}tmp-d"))
                .replace(
                    "mv /usr/sbin/criu /usr/sbin/criu.away",
                    "echo criu-missing > $FAKE_STATE/fault",
                )
                .replace(
                    "mv /usr/sbin/criu.away /usr/sbin/criu",
                    "rm $FAKE_STATE/fault",
                )
        };
        let there = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            let text = text
                .replace(&root, "/var/lib/docker")
                .replace(&format!("{shared}tmp100"), "/tmp100");
            comparable(&text.replace(&format!("{shared}tmp-d"), "/tmp/d")).join("\n")
        };
        // Where somebody slept, and between two commands, the daemon heard what there was to hear; else not yet.
        let sleep =
            "rm -f $FAKE_STATE/hold; while [ -e $FAKE_STATE/ending ]; do command sleep 0.02; done";
        let output = fakes.sh(
            &command.host,
            &format!(
                "sleep() {{ {sleep}; }}; touch $FAKE_STATE/hold; {}\nstatus=$?; sleep; exit $status",
                here(&command.line)
            ),
        );
        let got = (
            there(&output.stdout),
            there(&output.stderr),
            output.status.code().unwrap(),
        );
        let expected = (
            comparable(&command.out.join("\n")).join("\n"),
            comparable(&command.err.join("\n")).join("\n"),
            command.status,
        );
        if got != expected {
            different.push(format!(
                "[{}]$ {}\n  genuine {expected:?}\n  fake    {got:?}",
                command.host, command.line
            ));
        }
    }
    different
}

#[test]
fn the_fake_prints_what_docker_17_09_printed() {
    let fakes = Fakes::new("17.09.1");
    std::fs::create_dir(fakes.path("tmp100")).unwrap();
    let id = "e8658643b1d5216d1d7a374b3c360f274a932f97b35c1dbbf6df2c4eecd93d58";
    std::fs::write(fakes.state("s9").join("next-id"), id).unwrap();
    fakes.ok("s9", "docker run -d --name looper100 busybox sh");
    fakes.ok("s9", "docker checkpoint create --checkpoint-dir=$PWD/tmp100/looper_checkpoint looper100 checkpoint100; docker wait looper100");
    fakes.ok("d9", "docker run -d --name looper-clone busybox sh");
    let different = replay(&fakes, RECORDED_17, &[]);
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

#[test]
fn the_fake_prints_what_docker_26_printed() {
    let fakes = Fakes::new("26.1.5");
    // Which files CRIU wrote, and another address of the daemon: not the fake's business.
    let different = replay(&fakes, RECORDED_26, &["find /tmp/d", "-H unix"]);
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

/// Waits for a state, for a minute at most.
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !reached() {
        assert!(begin.elapsed().as_secs() < 60, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// What CRIU keeps of a process, and an exec makes anew: addresses of its code, stack, arguments and environment.
fn marks(pid: &str) -> Vec<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // proc(5) counts from 1, and two fields are before these: 26 startcode, 28 startstack, 48 arg_start, 50 env_start.
    [26, 28, 48, 50]
        .map(|number| fields[number - 3].to_owned())
        .to_vec()
}

fn migrate(fakes: &Fakes) -> (Vec<String>, Vec<String>) {
    let id = fakes.ok("a", "docker run -d --name web -e A=1 busybox sh -c loop");
    let before = marks(&fakes.ok("a", "docker inspect --format '{{.State.Pid}}' web"));
    fakes.ok(
        "a",
        "docker checkpoint create --checkpoint-dir $PWD/out web cp",
    );
    assert_eq!(fakes.ok("a", "docker wait web"), "137");
    fakes.ok("a", "docker save busybox > image.tar");
    fakes.ok(
        "a",
        "tar -czf cp.tgz -C out .; rm -r out; mkdir in; tar -xzf cp.tgz -C in",
    );
    let new = fakes.ok(
        "b",
        "docker load < image.tar >/dev/null; docker create --name web -e A=1 busybox sh -c loop",
    );
    if fakes.version == "17.09.1" {
        fakes.ok(
            "b",
            &format!("docker start --checkpoint-dir $PWD/in/{id}/checkpoints --checkpoint cp web"),
        );
    } else {
        fakes.ok("b", &format!("d=$FAKE_STATE/docker/containers/{new}/checkpoints; mkdir $d && mv in/cp $d && docker start --checkpoint cp web"));
    }
    let after = marks(&fakes.ok("b", "docker inspect --format '{{.State.Pid}}' web"));
    fakes.ok("a", "docker rm web");
    assert_eq!(
        fakes.ok("b", "docker inspect --format '{{.State.Status}}' web"),
        "running"
    );
    (before, after)
}

#[test]
fn a_container_goes_on_from_one_folder_to_the_other() {
    for version in ["17.09.1", "26.1.5"] {
        let fakes = Fakes::new(version);
        let (before, after) = migrate(&fakes);
        assert_eq!(before, after, "{version}");
        // Counting goes on where it was, in the new container's log.
        let mut log = String::new();
        until("it prints", || {
            log = fakes.ok("b", "docker logs web");
            !log.is_empty()
        });
        assert!(
            log.lines().next().is_some_and(|first| first != "0"),
            "{version}: {log}"
        );
        let pid = fakes.ok("b", "docker inspect --format '{{.State.Pid}}' web");
        fakes.ok("b", "docker rm -f web");
        until("the process ends with its container", || !is_ours(&pid));
    }
}

#[test]
fn an_end_is_seen_together_with_its_code() {
    let fakes = Fakes::new("26.1.5");
    fakes.ok("a", "docker run -d --name web busybox sh");
    // Codes and times are written as slowly as on a machine with no time left.
    let slow = "put() { [ \"$1\" != exitcode ] || sleep 0.3; printf '%s\\n' \"$2\" > \"$C/$1\"; }";
    let line = format!(
        "S=$FAKE_STATE V=26.1.5 C=$FAKE_STATE/docker/containers/$(docker inspect --format '{{{{.Id}}}}' web); \
         . {FAKE}/lib.sh; . {FAKE}/containers.sh; {slow}; ended 137 & docker wait web; wait"
    );
    assert_eq!(fakes.ok("a", &line), "137");
}

#[test]
fn a_plain_start_is_another_process() {
    let fakes = Fakes::new("26.1.5");
    fakes.ok("a", "docker run -d --name web busybox sh");
    let pid = |fakes: &Fakes| fakes.ok("a", "docker inspect --format '{{.State.Pid}}' web");
    let first = (pid(&fakes), marks(&pid(&fakes)));
    fakes.ok("a", "docker stop -t 1 web; docker start web");
    assert_ne!(first, (pid(&fakes), marks(&pid(&fakes))));
}

#[test]
fn faults_come_on_demand_and_the_source_goes_on() {
    let cases = HashMap::from([
        (
            "enospc",
            (
                "docker checkpoint create --checkpoint-dir $PWD/x web cp",
                true,
            ),
        ),
        (
            "checkpoint-fails",
            (
                "docker checkpoint create --checkpoint-dir $PWD/x web cp",
                true,
            ),
        ),
        (
            "criu-missing",
            (
                "docker checkpoint create --checkpoint-dir $PWD/x web cp",
                true,
            ),
        ),
        (
            "experimental-off",
            (
                "docker checkpoint create --checkpoint-dir $PWD/x web cp",
                true,
            ),
        ),
        ("start-fails", ("docker start other", true)),
        ("daemon-dies-on-start", ("docker start other", false)),
    ]);
    for version in ["17.09.1", "26.1.5"] {
        for (fault, (line, answers)) in &cases {
            let fakes = Fakes::new(version);
            fakes.ok(
                "a",
                "docker run -d --name web busybox sh; docker create --name other busybox sh",
            );
            fakes.fault("a", fault);
            let output = fakes.sh("a", line);
            assert!(
                !output.status.success() && !output.stderr.is_empty(),
                "{version} {fault}"
            );
            let state = fakes.sh("a", "docker inspect --format '{{.State.Status}}' web");
            assert_eq!(state.status.success(), *answers, "{version} {fault}");
            if *answers {
                assert_eq!(state.stdout, b"running\n", "{version} {fault}");
            }
            // 17.09 leaves the beginning of a checkpoint behind.
            let left = fakes.sh("a", "find x -name config.json").stdout;
            let expected =
                version == "17.09.1" && line.contains("checkpoint") && *fault != "experimental-off";
            assert_eq!(!left.is_empty(), expected, "{version} {fault}");
        }
    }
}

#[test]
fn the_engine_crate_reads_the_fake() {
    use engine::{Container, Docker, EngineError, differences, recreate};
    for version in ["17.09.1", "26.1.5"] {
        let fakes = Fakes::new(version);
        let probe = || {
            let [version, info] = Docker::probe_cmds().map(|cmd| {
                let output = fakes.sh("a", &cmd.line());
                host::Output {
                    status: output.status.code().unwrap(),
                    stdout: output.stdout,
                    stderr: output.stderr,
                }
            });
            Docker::parse("a", &version, &info)
        };
        let docker = probe().unwrap();
        assert!(docker.experimental && docker.version.to_string().starts_with(&version[..2]));
        assert!(
            docker
                .root_dir
                .starts_with(fakes.path("a").to_str().unwrap()),
            "{}",
            docker.root_dir
        );
        fakes.fault("a", "experimental-off");
        assert!(!probe().unwrap().experimental);
        fakes.fault("a", "daemon-down");
        assert!(matches!(probe(), Err(EngineError::Down { .. })));
        fakes.fault("a", "");
        fakes.ok("a", "docker run -d --name web -e 'A=\"1\\' -l k=v -v /srv:/srv:ro --hostname h busybox sh -c 'a b'");
        let inspect = |name: &str| {
            Container::parse(
                fakes
                    .ok("a", &format!("docker inspect --type container {name}"))
                    .as_bytes(),
            )
            .unwrap()
        };
        let web = inspect("web");
        let image = serde_json::from_str(&fakes.ok("a", "docker image inspect busybox")).unwrap();
        let new = recreate(
            &web,
            &image,
            &engine::Name::new("new").unwrap(),
            &docker.clone().into(),
        );
        let input = String::from_utf8_lossy(&new.create.stdin).into_owned();
        let line = format!("printf %s {} | {}", host::quote(&input), new.create.line());
        fakes.ok("a", &line);
        let lost: Vec<_> = differences(&web, &inspect("new"))
            .into_iter()
            .filter(|difference| difference.allowed.is_none())
            .collect();
        assert!(lost.is_empty(), "{version}: {lost:?}");
    }
}
