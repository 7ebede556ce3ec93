//! Labs for real: needs root, and the programs that the lab is made with.

use host::{Cmd, Host, HostError, Local};
use lab::{Event, LabConfig, LabError};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Set for the process that brings a lab up, and is mostly killed in the middle of it.
const VICTIM: &str = "LAB_TEST_VICTIM";

/// A lab that is taken down when the test ends, however it ends.
struct Standing {
    config: LabConfig,
    _alone: File,
}

impl Standing {
    fn new(name: &str, third: u8) -> Option<Standing> {
        let config = config(name, third);
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: a lab needs root");
            return None;
        }
        let alone = one_at_a_time();
        if let Err(error @ LabError::MissingTools { .. }) = lab::down(&config, &mut |_| ()) {
            eprintln!("SKIPPED: {error}: {}", error.fix());
            return None;
        }
        Some(Standing {
            config,
            _alone: alone,
        })
    }

    fn up(&self) -> (lab::Status, Vec<String>) {
        let mut notes = Vec::new();
        let status = lab::up(&self.config, &mut |event| {
            if let Event::Note { text } = event {
                notes.push(text);
            }
        })
        .unwrap_or_else(|error| panic!("{error}\nfix: {}", error.fix()));
        (status, notes)
    }

    fn inside(&self, host: &str, script: &str) -> String {
        let host = lab::host(&self.config, host).unwrap();
        host.text(&Cmd::changes("sh").args(["-c", script])).unwrap()
    }

    fn ssh(&self, host: &str, script: &str) -> String {
        let file = self.config.ssh_config();
        let cmd = Cmd::changes("ssh").args(["-F", &file.to_string_lossy(), host, script]);
        Local.text(&cmd).unwrap()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Err(error) = lab::down(&self.config, &mut |_| ()) {
            eprintln!("the lab stays: {error}");
        }
    }
}

/// A lock against the other tests here and against another run of them: names and ranges are fixed.
fn one_at_a_time() -> File {
    let path = std::env::temp_dir().join("transship-lab-tests.lock");
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}

fn config(name: &str, third: u8) -> LabConfig {
    LabConfig {
        name: name.to_owned(),
        subnet: format!("10.93.{third}.0/24").parse().unwrap(),
        ..LabConfig::default()
    }
}

/// All that is left of a lab on this machine, looked for without the lab's own code.
fn traces(config: &LabConfig) -> Vec<String> {
    let label = config.bridge();
    let script = r#"
        ip -oneline link | grep -F " $1"
        ls -d /run/netns/"$1"-* 2>/dev/null
        find /sys/fs/cgroup -maxdepth 2 -name "$1-*" 2>/dev/null
        grep -lE "$2/" /proc/[0-9]*/mountinfo 2>/dev/null
        ls -d "$2" 2>/dev/null
        true"#;
    let state = config.state_dir();
    let cmd = Cmd::reads("sh").args(["-c", script, "sh", &label, &state.to_string_lossy()]);
    Local
        .text(&cmd)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

#[test]
fn comes_up_works_is_repaired_and_leaves_nothing() {
    let Some(lab) = Standing::new("t1", 0) else {
        return;
    };
    let (status, _) = lab.up();
    assert!(status.up, "{status:?}");
    assert_eq!(status.hosts.len(), 2);

    // Hosts are hosts: ssh from outside and between them, a working CRIU, the same image.
    assert_eq!(lab.ssh("a", "hostname; ssh b hostname"), "a\nb");
    assert!(lab.ssh("b", "criu check 2>&1").contains("Looks good."));
    let id = |host| lab.inside(host, "docker image inspect -f '{{.Id}}' busybox");
    assert_eq!(id("a"), id("b"));
    for host in ["a", "b"] {
        let said = lab.inside(host, "docker run --rm --network none busybox echo hello");
        assert_eq!(said, "hello");
    }
    // Each in cgroups of its own, which it sees as the root.
    let cgroups = lab.ssh("a", "cat /proc/self/cgroup");
    assert!(
        cgroups.lines().any(|line| line.ends_with(":/")),
        "{cgroups}"
    );
    assert!(!cgroups.contains("ts-t1"), "{cgroups}");

    let (_, notes) = lab.up();
    assert!(
        notes.iter().any(|note| note.contains("is up already")),
        "{notes:?}"
    );

    // A host that dies comes back with what it had.
    lab.inside("b", "docker create --name kept busybox sleep 1000");
    let pid = status.hosts[1].pid.unwrap();
    Local
        .text(&Cmd::changes("kill").args(["-KILL", &pid.to_string()]))
        .unwrap();
    let broken = lab::status(&lab.config).unwrap();
    assert!(broken.hosts[0].up && !broken.hosts[1].up);
    assert_eq!(broken.hosts[1].why, ["its init does not run"]);
    let error = lab::host(&lab.config, "b").unwrap_err();
    assert_eq!(error.host(), "b");
    let (repaired, _) = lab.up();
    assert!(repaired.up, "{repaired:?}");
    assert_eq!(repaired.hosts[0].pid, status.hosts[0].pid);
    assert!(lab.inside("b", "docker ps -a").contains("kept"));

    // Daemons, cable and bridge.
    lab.inside(
        "a",
        "kill -KILL $(cat /run/docker.pid) $(cat /run/sshd.pid)",
    );
    Local
        .text(&Cmd::changes("ip").args(["link", "delete", "ts-t1-b"]))
        .unwrap();
    let broken = lab::status(&lab.config).unwrap();
    assert_eq!(broken.hosts[0].why.len(), 2, "{broken:?}");
    assert!(broken.hosts[1].why[0].contains("ts-t1-b"), "{broken:?}");
    assert!(lab.up().0.up);
    Local
        .text(&Cmd::changes("ip").args(["link", "delete", "ts-t1"]))
        .unwrap();
    assert!(lab.up().0.up);
    assert_eq!(lab.ssh("b", "ssh a hostname"), "a");

    // What stands frozen ends too.
    lab.inside("a", "docker pause $(docker run -d busybox sleep 1000)");
    let pids: Vec<u32> = lab::status(&lab.config)
        .unwrap()
        .hosts
        .iter()
        .filter_map(|h| h.pid)
        .collect();
    assert!(lab::down(&lab.config, &mut |_| ()).unwrap());
    assert_eq!(traces(&lab.config), Vec::<String>::new());
    assert!(!pids.into_iter().any(is_running));
    assert!(!lab::down(&lab.config, &mut |_| ()).unwrap());
    assert!(!lab::status(&lab.config).unwrap().exists);
}

#[test]
fn another_name_a_taken_range_and_other_hosts_are_refused() {
    let Some(lab) = Standing::new("t2", 1) else {
        return;
    };
    lab.up();
    let error = lab::up(&config("t3", 1), &mut |_| ()).unwrap_err();
    assert!(
        matches!(&error, LabError::RangeInUse { by, .. } if by.contains("ts-t2")),
        "{error}"
    );
    assert!(!Path::new("/var/lib/transship/lab/t3").exists());
    let more = LabConfig {
        hosts: 3,
        ..lab.config.clone()
    };
    let error = lab::up(&more, &mut |_| ()).unwrap_err();
    assert!(matches!(error, LabError::Differs { .. }), "{error}");
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = LabConfig {
        state_root: elsewhere.path().to_owned(),
        ..lab.config.clone()
    };
    let error = lab::up(&stranger, &mut |_| ()).unwrap_err();
    assert!(matches!(error, LabError::NameTaken { .. }), "{error}");
    assert!(lab::status(&lab.config).unwrap().up);

    // A disk of one MiB.
    let mount = |program: &str, args: &[&str]| {
        let at = elsewhere.path().to_string_lossy();
        let cmd = Cmd::changes(program).args(args.iter().copied()).arg(at);
        Local.text(&cmd).unwrap();
    };
    mount("mount", &["-t", "tmpfs", "-o", "size=1m", "none"]);
    let small = LabConfig {
        state_root: elsewhere.path().to_owned(),
        ..config("t3", 9)
    };
    let error = lab::up(&small, &mut |_| ()).unwrap_err();
    let left = std::fs::read_dir(elsewhere.path()).unwrap().count();
    mount("umount", &[]);
    assert!(
        matches!(
            error,
            LabError::NoSpace {
                available: 0..=1,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(left, 0);
    assert!(traces(&small).is_empty());
}

#[test]
fn killed_at_any_moment_up_goes_on_and_down_leaves_nothing() {
    let Some(lab) = Standing::new("t4", 2) else {
        return;
    };
    // Not to be killed while it builds a root file system: that is the next test's.
    lab.up();
    lab::down(&lab.config, &mut |_| ()).unwrap();
    for (round, after) in [20, 60, 120, 200, 300, 500, 1000, 1800]
        .into_iter()
        .enumerate()
    {
        let killed = Local.run(
            &Cmd::changes(&std::env::current_exe().unwrap().to_string_lossy())
                .args(["--exact", "victim", "--ignored"])
                .env(VICTIM, "up")
                .timeout(Duration::from_millis(after)),
        );
        assert!(
            matches!(killed, Err(HostError::Timeout { .. })),
            "{after} ms: {killed:?}"
        );
        // Commands that it had started have process groups of their own and end by themselves.
        std::thread::sleep(Duration::from_millis(200));
        if round % 2 == 0 {
            assert!(lab.up().0.up, "after {after} ms");
        }
        lab::down(&lab.config, &mut |_| ()).unwrap();
        assert_eq!(
            traces(&lab.config),
            Vec::<String>::new(),
            "after {after} ms"
        );
    }
}

#[test]
fn nothing_that_its_caller_has_open_stays_open_in_a_lab() {
    let Some(_lab) = Standing::new("t4", 2) else {
        return;
    };
    let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let holds = |process: &Path| {
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten();
        open.flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| *to == *file))
    };
    let up = Cmd::changes("bash")
        .args([
            "-c",
            r#"exec 7>"$1" 12>"$1"; "$2" --exact victim --ignored"#,
        ])
        .args(["bash", &file.to_string_lossy()])
        .arg(std::env::current_exe().unwrap().to_string_lossy())
        .env(VICTIM, "once");
    Local.text(&up.timeout(Duration::from_secs(300))).unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let names: Vec<String> = processes
        .map(|process| process.path())
        .filter(|process| holds(process))
        .map(|process| std::fs::read_to_string(process.join("comm")).unwrap_or_default())
        .collect();
    assert_eq!(names, Vec::<String>::new());
}

#[test]
fn a_killed_build_never_counts_as_done() {
    let Some(mut lab) = Standing::new("t5", 3) else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    lab.config.cache = cache.path().to_owned();
    let killed = Local.run(
        &Cmd::changes(&std::env::current_exe().unwrap().to_string_lossy())
            .args(["--exact", "victim", "--ignored"])
            .env(VICTIM, cache.path().to_string_lossy())
            .timeout(Duration::from_secs(4)),
    );
    assert!(
        matches!(killed, Err(HostError::Timeout { .. })),
        "{killed:?}"
    );
    std::thread::sleep(Duration::from_millis(200));
    let entries = || -> Vec<String> {
        let entries = std::fs::read_dir(cache.path()).unwrap().flatten();
        entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    };
    let half: Vec<String> = entries()
        .into_iter()
        .filter(|name| name.ends_with(".half"))
        .collect();
    assert_eq!(half.len(), 1, "{:?}", entries());
    assert!(
        !entries()
            .iter()
            .any(|name| name.starts_with("rootfs-") && !name.contains('.'))
    );
    // Its builder has ended with it, and so have its mounts.
    let size = || walk(&cache.path().join(&half[0]));
    let before = size();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(before, size());

    // The next one begins anew; with no mirror to be reached it says so.
    lab.config.mirror = Some("http://127.0.0.1:9/debian".to_owned());
    let error = lab::up(&lab.config, &mut |_| ()).unwrap_err();
    assert!(
        matches!(&error, LabError::Rootfs { said, .. } if said.contains("127.0.0.1:9")),
        "{error}"
    );
    assert!(
        error
            .fix()
            .contains("curl -I http://127.0.0.1:9/debian/dists/trixie/Release")
    );
}

fn walk(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => 1 + walk(&entry.path()),
            _ => 1,
        })
        .sum()
}

/// Not a test: the process that the tests above start, and mostly kill in the middle of `up`.
#[test]
#[ignore = "started by other tests"]
fn victim() {
    let Ok(what) = std::env::var(VICTIM) else {
        return;
    };
    let mut config = config("t4", 2);
    if !["up", "once"].contains(&what.as_str()) {
        config = self::config("t5", 3);
        config.cache = PathBuf::from(&what);
    }
    // Its killer must find it at work, however quick it was.
    let done = lab::up(&config, &mut |_| ());
    assert!(done.is_ok(), "{done:?}");
    if what == "once" {
        return;
    }
    std::thread::sleep(Duration::from_secs(60));
}
