//! Recordings of genuine engines, read and turned into commands.

use engine::{Container, Docker, Engine, EngineError, Kind, Name, Podman, differences, recreate};
use host::Output;
use serde_json::{Value, json};

const VERSION_17: &str = include_str!("../../tests/data/docker-17.09.1/version.json");
const INFO_17: &str = include_str!("../../tests/data/docker-17.09.1/info.json");
const VERSION_26: &str = include_str!("../../tests/data/docker-26.1.5/version.json");
const INFO_26: &str = include_str!("../../tests/data/docker-26.1.5/info.json");
/// One container a line: its case, options, image and description; written by the test of `real.rs`.
const CONTAINERS_26: &str = include_str!("../../tests/data/docker-26.1.5/containers.jsonl");

fn said(stdout: &str, stderr: &str, status: i32) -> Output {
    Output {
        status,
        stdout: stdout.as_bytes().to_vec(),
        stderr: stderr.as_bytes().to_vec(),
    }
}

fn docker(version: &str, info: &str) -> Docker {
    Docker::parse("h", &said(version, "", 0), &said(info, "", 0)).unwrap()
}

/// The recorded 26.1.5, as if it were another version.
fn docker_as(version: &str) -> Docker {
    let mut json: Value = serde_json::from_str(VERSION_26).unwrap();
    json["Server"]["Version"] = version.into();
    json["Client"]["Version"] = version.into();
    docker(&json.to_string(), INFO_26)
}

fn cases() -> Vec<Value> {
    CONTAINERS_26
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn case(name: &str) -> (Container, Value) {
    let case = cases()
        .into_iter()
        .find(|case| case["case"] == name)
        .unwrap();
    (container(&case["inspect"]), case["image"].clone())
}

fn container(json: &Value) -> Container {
    Container::parse(json.to_string().as_bytes()).unwrap()
}

fn name() -> Name {
    Name::new("new").unwrap()
}

#[test]
fn facts_of_the_recorded_engines() {
    let old = docker(VERSION_17, INFO_17);
    assert_eq!(old.version.to_string(), "17.9.1+ce");
    assert!(old.experimental);
    assert_eq!(
        (
            old.root_dir.as_str(),
            old.storage_driver.as_str(),
            old.cgroup_version
        ),
        ("/var/lib/docker", "overlay2", 1)
    );
    assert_eq!(old.runtimes, ["runc"]);
    assert_eq!(old.containerd, None);
    let new = docker(VERSION_26, INFO_26);
    assert_eq!(new.version.to_string(), "26.1.5+dfsg1");
    assert_eq!(new.containerd.unwrap().to_string(), "1.7.24+ds1");
    assert_eq!(new.runtimes, ["io.containerd.runc.v2", "runc"]);
}

#[test]
fn engines_that_cannot_be_used() {
    let parse =
        |version: Output, info: Output| Docker::parse("root@a", &version, &info).unwrap_err();
    let down = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n";
    let error = parse(
        said(
            r#"{"Client":{"Version":"17.09.1-ce"},"Server":null}"#,
            down,
            1,
        ),
        said("", down, 1),
    );
    assert!(matches!(error, EngineError::Down { .. }), "{error}");
    assert_eq!(error.fix(), "ssh root@a 'systemctl restart docker'");
    let denied = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get \"http://%2Fvar%2Frun%2Fdocker.sock/v1.45/version\": dial unix /var/run/docker.sock: connect: permission denied\n";
    let error = parse(said("{}", denied, 1), said("{}", denied, 0));
    assert!(matches!(error, EngineError::Denied { .. }), "{error}");
    let error = parse(said("<html>", "", 0), said("", "", 0));
    assert!(matches!(error, EngineError::Nonsense { .. }), "{error}");
    let error = parse(
        said(r#"{"Client":{"Version":"5.4.2"}}"#, "", 0),
        said("{}", "", 0),
    );
    assert!(error.to_string().contains("no server version"), "{error}");
    let mut info: Value = serde_json::from_str(INFO_17).unwrap();
    info["ExperimentalBuild"] = false.into();
    let docker = Docker::parse(
        "local",
        &said(VERSION_17, "", 0),
        &said(&info.to_string(), "", 0),
    )
    .unwrap();
    let error = docker.makes_checkpoints("local").unwrap_err();
    assert_eq!(error.fix(), "transship provision local");
}

#[test]
fn what_each_version_can_do() {
    let (plain, _) = case("plain");
    let (host_network, _) = case("network-host");
    let (none, _) = case("network-none");
    let (other, _) = case("network-container");
    let (tty, _) = case("terminal");
    let mut old_containerd = docker_as("20.10.0");
    old_containerd.containerd = Some("1.4.3".parse().unwrap());
    assert!(old_containerd.can_restore(&plain).is_err());
    let old = docker(VERSION_17, INFO_17);
    assert!(old.can_restore(&plain).is_ok() && old.can_restore(&tty).is_err());
    assert!(old.restores_from_folder() && !old.restores_tty() && old.takes_runtimes());
    assert_eq!(
        old.checkpoint_path("/d/", "id", "cp"),
        "/d/id/checkpoints/cp"
    );
    assert_eq!(
        old.restore_dir("id"),
        "/var/lib/docker/containers/id/checkpoints"
    );
    assert_eq!(old.runc_root("runc"), "/run/runc");
    // version, restores: bridge, none, host, container:
    for (version, expected) in [
        ("17.10.0-ce", [true, true, true, true]),
        ("17.12.1-ce", [false, false, false, false]),
        ("18.06.3-ce", [false, false, false, false]),
        ("18.09.0", [false, false, false, false]),
        ("19.03.13", [true, true, true, true]),
        ("25.0.3", [false, false, false, false]),
        ("25.0.4", [true, true, true, true]),
        ("26.0.0", [false, false, true, true]),
        ("26.0.1", [true, true, true, true]),
        ("26.1.5+dfsg1", [true, true, true, true]),
        ("27.5.1", [true, true, true, true]),
        ("28.0.0-rc.1", [false, false, true, true]),
        ("28.5.2+dfsg4", [false, false, true, true]),
        ("29.7.2", [false, false, true, true]),
    ] {
        let docker = docker_as(version);
        let can = [&plain, &none, &host_network, &other]
            .map(|container| docker.can_restore(container).is_ok());
        assert_eq!(can, expected, "{version}");
    }
    assert_eq!(
        docker_as("17.12.1-ce").checkpoint_path("/d", "id", "cp"),
        "/d/id/checkpoints/cp"
    );
    assert_eq!(
        docker_as("18.01.0-ce").checkpoint_path("/d", "id", "cp"),
        "/d/cp"
    );
    assert!(!docker_as("17.11.0-ce").restores_from_folder());
    assert_eq!(
        docker_as("19.03.1").runc_root("own"),
        "/run/docker/runtime-own/moby"
    );
    assert_eq!(
        docker_as("28.5.2").runc_root("own"),
        "/run/docker/runtime-runc/moby"
    );
}

/// The command lines, to be read by people: each was run on a real engine when its case was recorded.
#[test]
fn commands_that_make_the_recorded_containers_anew() {
    let docker = docker(VERSION_26, INFO_26);
    let mut text = String::new();
    for case in cases() {
        let new = recreate(
            &container(&case["inspect"]),
            &case["image"],
            &name(),
            &docker.clone().into(),
        );
        text += &format!(
            "{}: {}\n",
            case["case"].as_str().unwrap(),
            case["options"].as_str().unwrap()
        );
        for cmd in std::iter::once(&new.create).chain(&new.connect) {
            text += &format!("    {}\n", cmd.line());
        }
        for note in new.notes.iter().chain(&new.needs) {
            text += &format!("    # {note}\n");
        }
    }
    insta::with_settings!({filters => vec![(r"\b[0-9a-f]{64}\b", "<id>"), (r"--hostname [0-9a-f]{12}\b", "--hostname <id>")]}, {
        insta::assert_snapshot!(text);
    });
}

#[test]
fn a_seccomp_profile_goes_through_standard_input() {
    let (container, image) = case("seccomp-profile");
    let create = recreate(
        &container,
        &image,
        &name(),
        &docker(VERSION_26, INFO_26).into(),
    )
    .create;
    assert!(
        create
            .line()
            .contains("--security-opt 'seccomp=/proc/self/fd/0'"),
        "{}",
        create.line()
    );
    let profile: Value = serde_json::from_slice(&create.stdin).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ALLOW");
}

/// The shape that 17.09's inspect has where it differs (moby, `api/types/container` of that time).
fn as_17_09(json: &Value) -> Value {
    let mut json = json.clone();
    let short_id = json["Id"].as_str().unwrap()[..12].to_owned();
    let host = json["HostConfig"].as_object_mut().unwrap();
    for key in [
        "MaskedPaths",
        "ReadonlyPaths",
        "CgroupnsMode",
        "DeviceRequests",
    ] {
        host.remove(key);
    }
    host["PidsLimit"] = host["PidsLimit"].as_i64().unwrap_or(0).into();
    host["MemorySwappiness"] = host["MemorySwappiness"].as_i64().unwrap_or(-1).into();
    host.insert("KernelMemory".to_owned(), 0.into());
    host.insert("DiskQuota".to_owned(), 0.into());
    if host["NetworkMode"] == "bridge" {
        host["NetworkMode"] = "default".into();
    }
    if host["IpcMode"] == "private" {
        host["IpcMode"] = "".into();
    }
    for endpoint in json["NetworkSettings"]["Networks"]
        .as_object_mut()
        .unwrap()
        .values_mut()
    {
        let endpoint = endpoint.as_object_mut().unwrap();
        endpoint.remove("DNSNames");
        let mut aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
        aliases.push(short_id.as_str().into());
        endpoint["Aliases"] = aliases.into();
    }
    json
}

#[test]
fn the_shape_of_17_09_makes_the_same_command() {
    let docker = docker_as("28.5.2");
    for case in cases() {
        let new = container(&case["inspect"]);
        let old = container(&as_17_09(&case["inspect"]));
        let lost: Vec<_> = differences(&new, &old)
            .into_iter()
            .filter(|difference| difference.allowed.is_none())
            .collect();
        // What 17.09 could not have had.
        if ["namespaces", "security", "gpus", "gpus-two"].contains(&case["case"].as_str().unwrap())
        {
            continue;
        }
        let [new, old] = [new, old]
            .map(|container| recreate(&container, &case["image"], &name(), &docker.clone().into()));
        assert_eq!(new, old, "{}", case["case"]);
        let defaults = [
            "HostConfig/MaskedPaths",
            "HostConfig/ReadonlyPaths",
            "HostConfig/CgroupnsMode",
            "HostConfig/IpcMode",
        ];
        let lost: Vec<_> = lost
            .iter()
            .filter(|difference| !defaults.contains(&difference.path.as_str()))
            .collect();
        assert!(lost.is_empty(), "{}: {lost:?}", case["case"]);
    }
}

#[test]
fn an_old_destination_gets_no_option_that_it_does_not_know_and_says_so() {
    let old = docker(VERSION_17, INFO_17);
    for (name_of_case, option, note) in [
        ("process", "--domainname", "h.example"),
        (
            "health",
            "--health-start-interval",
            "--health-start-interval",
        ),
        ("rest", "--annotation", "--annotation"),
        ("gpus", "--gpus", "--gpus"),
        ("security", "systempaths=unconfined", "unmasked"),
        ("namespaces", "--cgroupns", "cgroup namespace"),
        ("network-fields", "driver-opt", "driver options"),
        ("mounts", "bind-recursive", "bind-nonrecursive"),
        ("plain", "--pull", ""),
    ] {
        let (container, image) = case(name_of_case);
        let new = recreate(&container, &image, &name(), &old.clone().into());
        assert!(
            !new.create.line().contains(option),
            "{name_of_case}: {}",
            new.create.line()
        );
        let noted = new.notes.iter().any(|line| line.contains(note)) || name_of_case == "process";
        assert!(note.is_empty() || noted, "{name_of_case}: {:?}", new.notes);
    }
}

#[test]
fn block_device_limits() {
    // The client of 26.1.5 drops them, and the kernel of the recording had no weights: so not recorded.
    let (container, image) = case("plain");
    let mut json = container.raw().clone();
    json["HostConfig"]["BlkioWeight"] = json!(300);
    json["HostConfig"]["BlkioWeightDevice"] = json!([{"Path": "/dev/vda", "Weight": 200}]);
    json["HostConfig"]["BlkioDeviceReadBps"] = json!([{"Path": "/dev/vda", "Rate": 1_048_576}]);
    json["HostConfig"]["BlkioDeviceWriteIOps"] = json!([{"Path": "/dev/vda", "Rate": 100}]);
    let container = Container::parse(json.to_string().as_bytes()).unwrap();
    let new = |version: &str| recreate(&container, &image, &name(), &docker_as(version).into());
    let line = new("28.5.2").create.line();
    let expected = "--blkio-weight 300 --blkio-weight-device /dev/vda:200 --device-read-bps /dev/vda:1048576 --device-write-iops /dev/vda:100";
    assert!(line.contains(expected), "{line}");
    for (version, notes) in [
        ("24.0.9", 0),
        ("25.0.6", 2),
        ("25.0.7", 0),
        ("26.1.5", 2),
        ("27.1.1", 2),
        ("27.1.2", 0),
    ] {
        assert_eq!(new(version).notes.len(), notes, "{version}");
    }
}

#[test]
fn what_nobody_foresaw_is_noted() {
    let (container, image) = case("plain");
    let mut json = container.raw().clone();
    json["HostConfig"]["BrandNew"] = json!({"a": 1});
    json["HostConfig"]["BrandNewOff"] = json!(false);
    let container = Container::parse(json.to_string().as_bytes()).unwrap();
    let notes = recreate(
        &container,
        &image,
        &name(),
        &docker(VERSION_26, INFO_26).into(),
    )
    .notes;
    assert_eq!(notes, [r#"HostConfig.BrandNew is not carried: {"a":1}"#]);
}

#[test]
fn lost_configuration_is_a_difference_that_is_not_allowed() {
    let (before, _) = case("limits");
    for (pointer, value) in [
        ("/HostConfig/Memory", json!(0)),
        ("/HostConfig/Ulimits", json!(null)),
        ("/Config/Hostname", json!("other")),
        ("/Config/Env", json!(["NEW=1"])),
        ("/HostConfig/NetworkMode", json!("host")),
        (
            "/NetworkSettings/Networks/bridge/IPAMConfig",
            json!({"IPv4Address": "10.0.0.9"}),
        ),
        ("/Image", json!("sha256:other")),
    ] {
        let mut json = before.raw().clone();
        *json.pointer_mut(pointer).unwrap() = value;
        let after = Container::parse(json.to_string().as_bytes()).unwrap();
        let found = differences(&before, &after);
        assert!(
            found.iter().any(|difference| difference.allowed.is_none()),
            "{pointer}: {found:?}"
        );
    }
    assert_eq!(differences(&before, &before), []);
}

#[test]
fn a_container_as_inspect_tells_it() {
    let (container, _) = case("volumes");
    assert_eq!(container.name(), "engine-volumes");
    assert!(container.running() && !container.paused() && container.pid().is_some());
    assert_eq!(
        (container.status(), container.restart_policy().as_str()),
        ("running", "no")
    );
    let mounts = container.mounts();
    let find = |path: &str| {
        mounts
            .iter()
            .find(|mount| mount.destination == path)
            .unwrap()
    };
    assert!(
        !find("/host").writable && find("/host").kind == "bind" && find("/host").source == "/tmp"
    );
    assert_eq!(find("/named").volume.as_deref(), Some("engine-named"));
    assert!(!find("/named").anonymous && find("/anonymous").anonymous && find("/data").anonymous);
    let (container, _) = case("network-two");
    let networks = container.networks();
    assert_eq!(networks[0].ip.as_deref(), Some("10.91.1.80"));
    assert_eq!(networks[1].ip.as_deref(), Some("10.91.2.80"));
    assert_eq!(case("process").0.restart_policy(), "on-failure:3");
    assert!(Container::parse(b"[]").is_none() && Container::parse(b"nonsense").is_none());
}

const INFO_PODMAN: &str = include_str!("../../tests/data/podman-5.4.2/info.json");
const CONTAINER_PODMAN: &str = include_str!("../../tests/data/podman-5.4.2/container.json");
const IMAGE_PODMAN: &str = include_str!("../../tests/data/podman-5.4.2/image.json");

#[test]
fn a_container_of_podman_reads_like_one_of_docker_and_is_made_anew() {
    let podman = Podman::parse("h", &said(INFO_PODMAN, "", 0)).unwrap();
    assert_eq!(
        (
            podman.version.to_string().as_str(),
            podman.default_runtime.as_str()
        ),
        ("5.4.2", "runc")
    );
    let container = Container::parse(CONTAINER_PODMAN.as_bytes()).unwrap();
    assert_eq!(
        (container.kind(), container.runtime()),
        (Kind::Podman, "runc")
    );
    assert_eq!(container.network_mode(), "mynet");
    assert!(container.upper_dir().unwrap().ends_with("/diff"));
    assert!(container.merged_dir().unwrap().ends_with("/merged"));
    let anonymous: Vec<bool> = container
        .mounts()
        .iter()
        .map(|mount| mount.anonymous)
        .collect();
    assert_eq!(anonymous, [false, true, false]);
    // What has Docker's form stays as it is: a journal keeps it.
    let again = Container::parse(container.raw().to_string().as_bytes()).unwrap();
    assert_eq!(again, container);
    let engine = Engine::Podman(podman);
    assert!(
        engine
            .log_file(&container)
            .unwrap()
            .ends_with("/userdata/ctr.log")
    );
    assert!(!engine.runtime_makes_network(&container));
    let image: Value = serde_json::from_str(IMAGE_PODMAN).unwrap();
    let ours = container.clone().with_runtime("/ours");
    let line = recreate(&ours, &image, &name(), &engine).create.line();
    for part in [
        "podman --runtime /ours create --pull never --name new ",
        " --network mynet --ip 10.50.0.9 --network-alias foo ",
        " --volume 'nv:/named:rw,rprivate,nosuid,nodev,rbind' ",
        " --volume /anon ",
        " --publish 0.0.0.0:8080:80 ",
        " --ulimit 'nofile=20000:20000' ",
        " --cap-add CAP_NET_ADMIN ",
        " localhost/busybox:latest sh -c ",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!line.contains("20eddd5c7524"), "{line}");
    let rootless = INFO_PODMAN.replace(r#""rootless": false"#, r#""rootless": true"#);
    let error = Podman::parse("h", &said(&rootless, "", 0)).unwrap_err();
    assert!(matches!(error, EngineError::Rootless { .. }), "{error}");
}
