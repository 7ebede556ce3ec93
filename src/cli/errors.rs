//! What the errors of hosts, engines and the lab say, word for word, and that what they tell to type is understood.

use super::Cli;
use clap::Parser as _;
use engine::{EngineError, Kind};
use host::HostError;
use lab::LabError;
use std::iter::successors;
use std::time::Duration;

/// One of each kind, each after the one before it: a new kind has to be put in here.
fn host_error(last: Option<&HostError>) -> Option<HostError> {
    let (host, doing) = ("a".to_owned(), "docker ps".to_owned());
    Some(match last {
        None => HostError::Unreachable {
            host,
            what: "no connection to 10.0.0.1:22: Connection refused (os error 111)".into(),
            fix: "Try: ssh a true".into(),
        },
        Some(HostError::Unreachable { .. }) => HostError::Lost {
            host,
            doing,
            why: "the connection ended before the command did".into(),
        },
        Some(HostError::Lost { .. }) => HostError::Timeout {
            host,
            doing,
            after: Duration::from_secs(30),
        },
        Some(HostError::Timeout { .. }) => HostError::NoProgram {
            host,
            program: "docker".into(),
        },
        Some(HostError::NoProgram { .. }) => HostError::Failed {
            host,
            doing,
            status: 1,
            said: "Cannot connect to the Docker daemon".into(),
        },
        Some(HostError::Failed { .. }) => return None,
    })
}

/// The same for engines.
fn engine_error(last: Option<&EngineError>) -> Option<EngineError> {
    let (host, said) = ("root@a".to_owned(), "what the client said".to_owned());
    Some(match last {
        None => EngineError::Missing {
            host,
            engine: Kind::Docker,
        },
        Some(EngineError::Missing { .. }) => EngineError::Rootless { host },
        Some(EngineError::Rootless { .. }) => EngineError::Down { host, said },
        Some(EngineError::Down { .. }) => EngineError::Denied { host, said },
        Some(EngineError::Denied { .. }) => EngineError::NotExperimental { host },
        Some(EngineError::NotExperimental { .. }) => EngineError::Nonsense {
            host,
            doing: "docker version --format '{{json .}}'".into(),
            why: "expected value at line 1 column 1".into(),
            said,
        },
        Some(EngineError::Nonsense { .. }) => EngineError::Host(host_error(None)?),
        Some(EngineError::Host(last)) => EngineError::Host(host_error(Some(last))?),
    })
}

/// The same for the lab.
fn lab_error(last: Option<&LabError>) -> Option<LabError> {
    let (name, host) = ("two".to_owned(), "b".to_owned());
    Some(match last {
        None => LabError::NotRoot,
        Some(LabError::NotRoot) => LabError::BadConfig {
            what: "a lab cannot have 99 hosts".into(),
            fix: "--hosts 2".into(),
        },
        Some(LabError::BadConfig { .. }) => LabError::MissingTools {
            programs: vec!["ip".into(), "debootstrap".into()],
            packages: vec!["debootstrap".into(), "iproute2".into()],
        },
        Some(LabError::MissingTools { .. }) => LabError::NoSpace {
            path: "/var/lib/transship/lab".into(),
            needed: 1024,
            available: 12,
        },
        Some(LabError::NoSpace { .. }) => LabError::RangeInUse {
            name,
            subnet: "10.77.0.0/24".into(),
            by: "interface eth0 has 10.77.0.9/24".into(),
            free: "10.88.0.0/24".into(),
        },
        Some(LabError::RangeInUse { .. }) => LabError::NameTaken {
            interface: "ts-two-a".into(),
            state: "/var/lib/transship/lab/two".into(),
            name,
        },
        Some(LabError::NameTaken { .. }) => LabError::Differs {
            name,
            have: "2 hosts (docker-26, docker-26) in 10.77.0.0/24".into(),
            wanted: "2 hosts (podman, podman) in 10.77.0.0/24".into(),
        },
        Some(LabError::Differs { .. }) => LabError::NoLab { name },
        Some(LabError::NoLab { .. }) => LabError::NoHost {
            name,
            host: "c".into(),
            hosts: vec!["a".into(), host],
        },
        Some(LabError::NoHost { .. }) => LabError::HostDown {
            name,
            host,
            why: "its init does not run".into(),
        },
        Some(LabError::HostDown { .. }) => LabError::NoMirror,
        Some(LabError::NoMirror) => LabError::Rootfs {
            suite: "trixie".into(),
            mirror: "http://deb.debian.org/debian".into(),
            said: "E: Failed getting release file".into(),
        },
        Some(LabError::Rootfs { .. }) => LabError::Image {
            what: "local: there is no program `gcc`".into(),
        },
        Some(LabError::Image { .. }) => LabError::Boot {
            name,
            host,
            said: "mount: unknown filesystem type 'overlay'".into(),
        },
        Some(LabError::Boot { .. }) => LabError::Daemon {
            host,
            daemon: "dockerd".into(),
            said: "failed to start daemon".into(),
            log: "/var/lib/transship/lab/two/b/upper/var/log/dockerd.log".into(),
        },
        Some(LabError::Daemon { .. }) => LabError::Link {
            from: "a".into(),
            to: host,
            said: "no answer".into(),
            bridge: "ts-two".into(),
        },
        Some(LabError::Link { .. }) => LabError::NoCgroups,
        Some(LabError::NoCgroups) => LabError::Stuck {
            name,
            what: "processes [4711] do not end".into(),
        },
        Some(LabError::Stuck { .. }) => LabError::Io {
            path: "/var/lib/transship/lab/two".into(),
            source: std::io::Error::from_raw_os_error(30),
        },
        Some(LabError::Io { .. }) => LabError::Command(host_error(None)?),
        Some(LabError::Command(last)) => LabError::Command(host_error(Some(last))?),
    })
}

fn lab_errors() -> impl Iterator<Item = LabError> {
    successors(lab_error(None), |last| lab_error(Some(last)))
}

/// Held against the texts beside the others.
fn snapshot(name: &str, text: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");
    insta::with_settings!({snapshot_path => folder, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn errors_of_the_lab() {
    let texts: Vec<String> = lab_errors()
        .map(|error| format!("✗ {error}\n  fix    {}\n", error.fix()))
        .collect();
    assert!(texts.len() > 20, "{texts:#?}");
    snapshot("errors-of-the-lab", &texts.join("\n"));
}

#[test]
fn errors_of_engines() {
    let texts: Vec<String> = successors(engine_error(None), |last| engine_error(Some(last)))
        .map(|error| format!("✗ {error}\n  fix    {}\n", error.fix()))
        .collect();
    snapshot("errors-of-engines", &texts.join("\n"));
}

#[test]
fn errors_of_hosts() {
    let texts: Vec<String> = successors(host_error(None), |last| host_error(Some(last)))
        .map(|error| format!("✗ {error}\n"))
        .collect();
    snapshot("errors-of-hosts", &texts.concat());
}

/// A fix is there to be pasted.
#[test]
fn what_errors_of_the_lab_tell_to_type_is_understood() {
    let mut parsed = 0;
    // A lab whose hosts are not known has another fix.
    let nothing = LabError::NoHost {
        name: "two".into(),
        host: "a".into(),
        hosts: Vec::new(),
    };
    for error in lab_errors().chain([nothing]) {
        let fix = error.fix();
        // Another way may stand behind the first one: `COMMAND   # or: COMMAND`.
        for part in fix.split(" # ").flat_map(|part| part.split(": ")) {
            if part.starts_with("transship ") {
                if let Err(error) = Cli::try_parse_from(part.split_whitespace()) {
                    panic!("{fix}: {error}");
                }
                parsed += 1;
            }
        }
    }
    assert!(parsed > 8, "{parsed}");
}
