//! What the end-to-end tests share: the real binary, and labs of real hosts.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod copy;
pub mod pages;

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Set by `make test`: then nothing of the lab may be skipped.
pub const MUST: &str = "TRANSSHIP_TEST_LAB";

/// How the real binary ended and what it printed.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The JSON document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }
}

/// Where journals of the tests are: they are no user's, and those of one lab are no other's, whose tests may run beside it.
fn journals(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("state")
        .join(of)
}

/// The binary, without the user's own environment for it.
pub fn transship() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transship"));
    command
        .env_remove("TRANSSHIP_LAB")
        .env("XDG_STATE_HOME", journals("none"))
        .env("NO_COLOR", "1")
        .stdin(std::process::Stdio::null());
    command
}

/// The same command, killed after as many seconds as nothing here takes: a wait for what never comes fails its test alone.
fn bounded(seconds: u32, command: &Command) -> Command {
    let mut bounded = Command::new("timeout");
    bounded
        .args(["--foreground", "-k", "10", &seconds.to_string()])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(std::process::Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    bounded
}

/// A lab of its own name and range of addresses; hosts `a` and `b`.
pub struct Lab {
    pub name: &'static str,
    /// The command line of its hosts' engine; that of the first one's, where they differ.
    pub program: &'static str,
}

impl Lab {
    /// The lab for tests that leave its hosts as they are; none, said loudly, where there can be no lab.
    pub fn shared() -> Option<&'static Lab> {
        static LAB: OnceLock<Option<Lab>> = OnceLock::new();
        LAB.get_or_init(|| Lab::up("e2e", "10.84.0.0/24", "docker-26"))
            .as_ref()
    }

    /// Brings up a lab, or repairs it.
    pub fn up(name: &'static str, subnet: &str, engine: &str) -> Option<Lab> {
        Lab::up_with(name, subnet, engine, 2)
    }

    /// The same with more hosts than `a` and `b`; one engine for all, or one for each.
    pub fn up_with(name: &'static str, subnet: &str, engines: &str, hosts: usize) -> Option<Lab> {
        let hosts = hosts.to_string();
        let ran = Ran::of(
            transship()
                .args([
                    "lab", "up", "--lab", name, "--subnet", subnet, "--engine", engines, "--hosts",
                    &hosts,
                ])
                .output()
                .unwrap(),
        );
        if ran.code != 0 && std::env::var_os(MUST).is_none() {
            eprintln!("SKIPPED: no lab: {}", ran.stderr);
            return None;
        }
        ran.expect(0);
        let podman = engines.starts_with("podman");
        let program = if podman { "podman" } else { "docker" };
        Some(Lab { name, program })
    }

    /// The address at which its hosts reach a host.
    pub fn address(&self, host: &str) -> String {
        let script = r"ip -4 -o addr show dev eth0 | sed 's/.*inet \([0-9.]*\).*/\1/'";
        self.ok(host, script)
    }

    /// Where journals of migrations between its hosts are.
    pub fn journals(&self) -> PathBuf {
        journals(self.name)
    }

    pub fn ssh_config(&self) -> PathBuf {
        PathBuf::from(format!("/var/lib/transship/lab/{}/ssh_config", self.name))
    }

    /// Runs a shell script in a host.
    pub fn sh(&self, host: &str, script: &str) -> Ran {
        let mut command = transship();
        command.args([
            "lab", "exec", "--lab", self.name, host, "--", "sh", "-c", script,
        ]);
        Ran::of(bounded(300, &command).output().unwrap())
    }

    /// Runs a shell script in a host; it must succeed. Returns what it printed.
    #[track_caller]
    pub fn ok(&self, host: &str, script: &str) -> String {
        self.sh(host, script).expect(0).stdout.trim_end().to_owned()
    }

    /// The binary with this lab's SSH configuration.
    pub fn transship(&self, args: &[&str]) -> Command {
        let mut command = transship();
        command
            .env("XDG_STATE_HOME", self.journals())
            .arg("--ssh-config")
            .arg(self.ssh_config())
            .args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(bounded(900, &self.transship(args)).output().unwrap())
    }

    /// `transship migrate NAME --from FROM --to TO` and more.
    pub fn migrate(&self, name: &str, from: &str, to: &str, more: &[&str]) -> Ran {
        let mut args = vec![
            "migrate", name, "--from", from, "--to", to, "--mode", "tarball",
        ];
        args.extend(more);
        self.run(&args)
    }

    /// Starts the thesis's counter, a number every `every` seconds, and waits for its first lines.
    pub fn counter(&self, name: &str, every: &str, options: &str) {
        self.forget(name);
        let engine = self.program;
        self.ok(
            "a",
            &format!(
                "{engine} run -d --name {name} {options} busybox /bin/sh -c \
                 'i=0; while true; do echo $i; i=$(expr $i + 1); sleep {every}; done' && \
                 until [ $({engine} logs {name} | wc -l) -ge 2 ]; do sleep 0.1; done"
            ),
        );
    }

    /// Removes all that an earlier run of a test may have left.
    pub fn forget(&self, name: &str) {
        let engine = self.program;
        // A shell that is the first process hears no SIGTERM, and Podman waits ten seconds for it.
        let at_once = if engine == "podman" { "--time 0" } else { "" };
        for host in ["a", "b"] {
            self.sh(
                host,
                &format!("{engine} rm -f {at_once} {name} >/dev/null 2>&1; umount -q /var/lib/transship/migrate/{name}/images; rm -rf /var/lib/transship/migrate/{name} /var/lib/transship/logs/{name}-*"),
            );
        }
    }

    /// Sets whether containers outlive their daemon.
    pub fn live_restore(&self, host: &str, on: bool) {
        let script = r#"
cd /etc/docker; sed -i 's/"live-restore": *[a-z]*,//; 1s/^{/{"live-restore": ON,/' daemon.json; kill -HUP $(cat /run/docker.pid)
for i in $(seq 100); do [ "$(docker info -f '{{.LiveRestoreEnabled}}')" = ON ] && exit; sleep 0.1; done; cat daemon.json; exit 1"#;
        self.ok(
            host,
            &script.replace("ON", if on { "true" } else { "false" }),
        );
    }

    /// The numbers that a counter printed on a host.
    pub fn numbers(&self, host: &str, name: &str) -> Vec<u64> {
        numbers(&self.ok(host, &format!("{} logs {name} 2>&1", self.program)))
    }

    /// The container runs on `a` and went on without a gap; nothing of it is on `b`, nothing of the
    /// migration on either.
    #[track_caller]
    pub fn is_as_before(&self, name: &str) {
        let engine = self.program;
        let state = self.ok(
            "a",
            &format!("{engine} inspect -f '{{{{.State.Running}}}} {{{{.State.Paused}}}}' {name}"),
        );
        assert_eq!(state, "true false");
        let before = self.numbers("a", name);
        self.ok(
            "a",
            &format!(
                "until [ $({engine} logs {name} | wc -l) -ge {} ]; do sleep 0.1; done",
                before.len() + 2
            ),
        );
        in_order(&self.numbers("a", name), 0);
        assert_ne!(
            self.sh("b", &format!("{engine} inspect {name}")).code,
            0,
            "{name} is on b"
        );
        self.nothing_left(name);
    }

    #[track_caller]
    pub fn nothing_left(&self, name: &str) {
        for host in ["a", "b"] {
            self.ok(host, &format!("! ls -d /var/lib/transship/migrate/{name}"));
            let script = format!(
                "id=$(docker inspect -f '{{{{.Id}}}}' {name} 2>/dev/null) && ls -d /var/lib/docker/containers/$id/checkpoints/* 2>/dev/null; true"
            );
            let left = self.ok(host, &script);
            assert_eq!(left, "", "checkpoints left on {host}");
        }
    }
}

/// Lines that are numbers; `docker logs --timestamps` may stand before them.
pub fn numbers(text: &str) -> Vec<u64> {
    text.lines()
        .map(|line| {
            line.rsplit(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap_or_else(|_| panic!("no number: {line}"))
        })
        .collect()
}

/// Every number from `first` on, once, in order.
#[track_caller]
pub fn in_order(numbers: &[u64], first: u64) {
    let expected: Vec<u64> = (first..first + numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
}

/// Validates a document against a committed schema.
#[track_caller]
pub fn fits_schema(document: &Value, schema: &str) {
    let path = format!("{}/docs/schema/{schema}.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {document:#}");
}
