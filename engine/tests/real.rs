//! Real engines: each case is created and started on one, made anew on the other, and compared.
//!
//! `ENGINE_A` and `ENGINE_B` are the words to put before a command so that it runs on the host of that engine
//! (`ip netns exec …`, `ssh …`, `env` for this machine's own Docker, which it then fills and empties); may be the same. `ENGINE_RECORD` is a file that the
//! descriptions are written to, one JSON object a line, as in `tests/data` of the workspace.

use engine::{Container, Docker, Kind, Name, differences, recreate};
use host::{Cmd, Host, Local, Output, Stream};
use std::fmt::Write as _;

/// A host behind a command: `PREFIX docker …`.
struct Behind {
    prefix: Vec<String>,
}

impl Behind {
    fn new(variable: &str) -> Behind {
        let words = std::env::var(variable).unwrap_or_default();
        Behind {
            prefix: words.split_whitespace().map(str::to_owned).collect(),
        }
    }

    fn wrap(&self, cmd: &Cmd) -> Cmd {
        let mut cmd = cmd.clone();
        if let Some((program, words)) = self.prefix.split_first() {
            let inner = std::mem::replace(&mut cmd.program, program.clone());
            let args = std::mem::take(&mut cmd.args);
            cmd.args = words.iter().cloned().chain([inner]).chain(args).collect();
        }
        cmd
    }

    fn docker(&self, words: &[&str]) -> String {
        let cmd = Cmd::changes("docker").args(words.iter().copied());
        self.text(&cmd).unwrap_or_else(|error| panic!("{error}"))
    }

    fn inspect(&self, name: &str) -> Container {
        let output = self
            .run(&Kind::Docker.inspect(&Name::new(name).unwrap()))
            .unwrap();
        Container::parse(&output.stdout).unwrap_or_else(|| panic!("{}", output.stderr_text()))
    }

    fn forget(&self, name: &str) {
        let _ = self.run(&Cmd::changes("docker").args(["rm", "-f", "-v", name]));
    }
}

impl Host for Behind {
    fn name(&self) -> &str {
        "local"
    }

    fn run(&self, cmd: &Cmd) -> host::Result<Output> {
        Local.run(&self.wrap(cmd))
    }

    fn open(&self, cmd: &Cmd) -> host::Result<Box<dyn Stream>> {
        Local.open(&self.wrap(cmd))
    }
}

/// Name of the case, options of `docker run -d`, and the words from the image's name on.
const CASES: &[(&str, &str)] = &[
    ("plain", "engine-test sleep 100"),
    ("image-defaults", "engine-full"),
    ("own-command", "engine-full sleep 77"),
    ("own-entrypoint", "--entrypoint /bin/sleep engine-full 78"),
    ("no-entrypoint", "--entrypoint= engine-full sleep 79"),
    (
        "process",
        "--env A=1 --env B=x=y --env IMG=mine --label l=1 --label img=other --user 12:34 --workdir /tmp --hostname h.example --domainname d.example --stop-signal SIGINT --stop-timeout 7 --init --restart on-failure:3 engine-full",
    ),
    ("terminal", "-t -i engine-test sleep 100"),
    ("stdin", "-i engine-test sleep 100"),
    ("rm", "--rm engine-test sleep 100"),
    ("restart", "--restart unless-stopped engine-test sleep 100"),
    (
        "health",
        "--health-cmd true --health-interval 30s --health-timeout 1500ms --health-retries 4 --health-start-period 5s --health-start-interval 2s engine-test sleep 100",
    ),
    ("health-image", "--health-interval 45s engine-full"),
    ("no-health", "--no-healthcheck engine-full"),
    (
        "volumes",
        "-v /tmp:/host:ro -v engine-named:/named -v /anonymous --tmpfs /scratch:size=65536k,mode=1770 --tmpfs /plain engine-full",
    ),
    (
        "mounts",
        "--mount type=bind,source=/tmp,target=/b,readonly --mount type=volume,source=engine-named,target=/n,volume-nocopy --mount type=volume,target=/v,volume-label=a=b --mount type=tmpfs,target=/t,tmpfs-size=1048576,tmpfs-mode=1770 --mount type=bind,source=/tmp,target=/nr,bind-recursive=disabled engine-test sleep 100",
    ),
    (
        "propagation",
        "-v /tmp:/shared:rshared --mount type=bind,source=/tmp,target=/b,bind-propagation=rslave engine-test sleep 100",
    ),
    (
        "ports",
        "-p 18080:80 -p 127.0.0.1:18053:53/udp -p 18100-18102:100-102 -p [::1]:18443:443 -p 90 --expose 1000 --expose 2000-2001/udp engine-full",
    ),
    ("publish-all", "-P engine-full"),
    ("network-none", "--network none engine-test sleep 100"),
    ("network-host", "--network host engine-test sleep 100"),
    (
        "network-container",
        "--network container:engine-other engine-test sleep 100",
    ),
    (
        "network-own",
        "--network engine-net1 --ip 10.91.1.77 --ip6 fd91:1::77 --network-alias al1 --network-alias al2 --mac-address 02:42:0a:5b:01:4d --link engine-other:oth engine-test sleep 100",
    ),
    (
        "network-fields",
        "--network name=engine-net1,alias=al3,driver-opt=com.example.k=v engine-test sleep 100",
    ),
    (
        "network-two",
        "--network name=engine-net1,ip=10.91.1.80 --network name=engine-net2,ip=10.91.2.80,alias=second engine-test sleep 100",
    ),
    (
        "link",
        "--link engine-other:db --mac-address 02:42:ac:11:00:77 engine-test sleep 100",
    ),
    (
        "dns",
        "--dns 10.0.0.1 --dns fd00::1 --dns-option ndots:2 --dns-search example --add-host one:10.0.0.2 --add-host gw:host-gateway engine-test sleep 100",
    ),
    (
        "limits",
        "--memory 64m --memory-swap 128m --memory-reservation 32m --memory-swappiness 10 --cpus 1.5 --cpu-shares 512 --cpuset-cpus 0-1 --cpuset-mems 0 --pids-limit 100 --ulimit nofile=512:1024 --ulimit core=0 --shm-size 128m --oom-kill-disable --oom-score-adj 500 engine-test sleep 100",
    ),
    (
        "memory-unlimited-swap",
        "--memory 64m --memory-swap -1 engine-test sleep 100",
    ),
    (
        "cpu-quota",
        "--cpu-period 50000 --cpu-quota 25000 engine-test sleep 100",
    ),
    (
        "devices-limits",
        "--device-read-bps /dev/fuse:1mb --device-write-bps /dev/fuse:2mb --device-read-iops /dev/fuse:100 --device-write-iops /dev/fuse:200 engine-test sleep 100",
    ),
    (
        "security",
        "--cap-add NET_ADMIN --cap-drop CHOWN --security-opt no-new-privileges --security-opt systempaths=unconfined --device /dev/fuse --device /dev/null:/dev/nil:r --device-cgroup-rule 'c 42:* rmw' --group-add 1234 --group-add nogroup --sysctl net.ipv4.ip_forward=1 --read-only engine-full",
    ),
    (
        "seccomp-off",
        "--security-opt seccomp=unconfined engine-test sleep 100",
    ),
    (
        "seccomp-profile",
        "--security-opt seccomp=/tmp/engine-seccomp.json engine-test sleep 100",
    ),
    ("privileged", "--privileged engine-test sleep 100"),
    (
        "namespaces",
        "--ipc host --pid host --uts host --cgroupns private --userns host engine-test sleep 100",
    ),
    ("shareable", "--ipc shareable engine-test sleep 100"),
    (
        "logs",
        "--log-driver local --log-opt max-size=10m --log-opt max-file=3 engine-test sleep 100",
    ),
    ("log-opts", "--log-opt max-size=1m engine-test sleep 100"),
    (
        "rest",
        "--cgroup-parent /engine --annotation org.example.a=b --runtime runc --isolation default engine-test sleep 100",
    ),
    ("gpus", "--gpus all engine-test sleep 100"),
    (
        "gpus-two",
        "--gpus '\"device=0,1\",\"capabilities=compute,utility\"' engine-test sleep 100",
    ),
    (
        "rt",
        "--cpu-rt-period 1000000 --cpu-rt-runtime 1000 engine-test sleep 100",
    ),
    (
        "blkio",
        "--blkio-weight 300 --blkio-weight-device /dev/fuse:200 engine-test sleep 100",
    ),
    ("storage-opt", "--storage-opt size=1G engine-test sleep 100"),
    (
        "cmd-odd-words",
        "engine-test sh -c 'echo \"$(id)\" `ls` * ; sleep 100' '' 'a b'",
    ),
];

fn prepare(a: &Behind, b: &Behind, same: bool) {
    let import = "mkdir -p /tmp/engine-image/bin /tmp/engine-image/etc && cp $(command -v busybox) /tmp/engine-image/bin/ && \
        for x in sh sleep echo true id ls; do ln -sf busybox /tmp/engine-image/bin/$x; done && \
        echo root:x:0: > /tmp/engine-image/etc/group && echo nogroup:x:65534: >> /tmp/engine-image/etc/group && \
        tar -C /tmp/engine-image -c . | docker import - engine-test >/dev/null && \
        docker save engine-test | docker load >/dev/null && tar -C /tmp/engine-image -c . | docker import \
        --change 'ENTRYPOINT [\"/bin/sleep\"]' --change 'CMD [\"100\"]' --change 'ENV IMG=1' --change 'ENV PATH=/bin' \
        --change 'LABEL img=label' --change 'EXPOSE 80' --change 'VOLUME /data' --change 'WORKDIR /' --change 'USER 0' \
        --change 'STOPSIGNAL SIGQUIT' --change 'HEALTHCHECK --interval=60s CMD true' - engine-full >/dev/null";
    a.text(&Cmd::changes("sh").args(["-c", import])).unwrap();
    if !same {
        let save = Cmd::reads("docker").args(["save", "engine-test", "engine-full"]);
        let tar = a.run(&save).unwrap();
        assert_eq!(tar.status, 0, "{}", tar.stderr_text());
        b.text(&Cmd::changes("docker").arg("load").stdin(&tar.stdout))
            .unwrap();
    }
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["acct"],"action":"SCMP_ACT_ERRNO"}]}"#;
    a.put("/tmp/engine-seccomp.json", profile.as_bytes(), 0o600)
        .unwrap();
    for host in [a, b] {
        for (number, name) in [("1", "engine-net1"), ("2", "engine-net2")] {
            let create = format!(
                "docker network inspect {name} >/dev/null 2>&1 || docker network create --ipv6 --subnet 10.91.{number}.0/24 --subnet fd91:{number}::/64 {name}"
            );
            host.text(&Cmd::changes("sh").args(["-c", &create]))
                .unwrap();
        }
    }
    for host in if same { vec![a] } else { vec![a, b] } {
        host.forget("engine-other");
        host.docker(&[
            "run",
            "-d",
            "--name",
            "engine-other",
            "engine-test",
            "sleep",
            "10000",
        ]);
        host.docker(&["network", "connect", "engine-net1", "engine-other"]);
    }
}

/// Splits a line of options at spaces outside of quotes.
fn words(line: &str) -> Vec<String> {
    shlex::split(line).expect("the cases are well-formed")
}

#[test]
fn containers_made_anew_are_the_same() {
    let (a, b) = (Behind::new("ENGINE_A"), Behind::new("ENGINE_B"));
    if a.prefix.is_empty() || b.prefix.is_empty() {
        eprintln!("SKIPPED: ENGINE_A and ENGINE_B name no engines to test with");
        return;
    }
    let (from, to) = match (Docker::probe(&a), Docker::probe(&b)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("SKIPPED: no Docker to test with: {error}");
            return;
        }
    };
    let same = a.prefix == b.prefix;
    prepare(&a, &b, same);
    let other_id = b.inspect("engine-other").id().to_owned();
    let mut lost = String::new();
    let mut record = String::new();
    let mut compared = 0;
    for (case, line) in CASES {
        let name = format!("engine-{case}");
        a.forget(&name);
        b.forget(&name);
        let args = words(line);
        let run = Cmd::changes("docker")
            .args(["run", "-d", "--name", &name])
            .args(args);
        let output = a.run(&run).unwrap();
        let refused = match output.status {
            0 => String::new(),
            _ => output.stderr_text().trim().to_owned(),
        };
        // An engine or host without the feature (a device, a controller) may still keep the configuration.
        let known = a
            .run(&Kind::Docker.inspect(&Name::new(&name).unwrap()))
            .unwrap();
        let Some(before) = Container::parse(&known.stdout) else {
            eprintln!("SKIPPED: {case}: {refused}");
            continue;
        };
        let image = a
            .run(&Kind::Docker.inspect_image(before.image_id()))
            .unwrap();
        let image: serde_json::Value = serde_json::from_slice(&image.stdout).unwrap();
        if !refused.is_empty() {
            eprintln!("{case}: created, not started: {refused}");
        }
        let mut json = before.raw().clone();
        for key in [
            "GraphDriver",
            "LogPath",
            "HostsPath",
            "HostnamePath",
            "ResolvConfPath",
        ] {
            json.as_object_mut().unwrap().remove(key);
        }
        let of_image = ["Id", "RepoTags", "Config"].map(|key| (key, image[0][key].clone()));
        let of_image: serde_json::Map<String, serde_json::Value> = of_image
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        let kept =
            serde_json::json!({"case": case, "options": line, "image": of_image, "inspect": json});
        writeln!(record, "{kept}").unwrap();
        a.forget(&name);

        let new = recreate(
            &before,
            &image,
            &Name::new(&name).unwrap(),
            &to.clone().into(),
        );
        let mut create = new.create.clone();
        for arg in &mut create.args {
            // The other container's id is of its own host.
            if arg.starts_with("container:") {
                *arg = format!("container:{other_id}");
            }
        }
        let all = std::iter::once(&create).chain(&new.connect);
        let outputs: Vec<_> = all.map(|cmd| b.run(cmd).unwrap()).collect();
        let said: String = outputs
            .iter()
            .map(|output| output.stderr_text().into_owned())
            .collect();
        if outputs.iter().any(|output| output.status != 0) {
            writeln!(lost, "{case}: {said}\n    by {}", create.line()).unwrap();
            continue;
        }
        // The host lacks a controller: the engine says so, and drops the limit.
        if said.contains("discarded") {
            eprintln!("SKIPPED: {case}: {}", said.trim());
            b.forget(&name);
            continue;
        }
        if refused.is_empty() {
            b.docker(&["start", &name]);
        }
        let after = b.inspect(&name);
        for difference in differences(&before, &after) {
            let note = difference.allowed.unwrap_or("LOST");
            eprintln!(
                "{case}: {} {} -> {}: {note}",
                difference.path, difference.before, difference.after
            );
            let shares = difference.path == "HostConfig/NetworkMode"
                && before.network_mode().starts_with("container:");
            let dropped = difference.path.contains("BlkioDevice")
                && new.notes.iter().any(|note| note.contains("drops --device"));
            if difference.allowed.is_none() && !shares && !dropped {
                writeln!(lost, "{case}: {difference:?}\n    by {}", create.line()).unwrap();
            }
        }
        b.forget(&name);
        compared += 1;
    }
    for host in [&a, &b] {
        host.forget("engine-other");
        for network in ["engine-net1", "engine-net2"] {
            let _ = host.run(&Cmd::changes("docker").args(["network", "rm", network]));
        }
        let _ = host.run(&Cmd::changes("docker").args(["volume", "rm", "engine-named"]));
    }
    if let Ok(file) = std::env::var("ENGINE_RECORD") {
        std::fs::write(file, record).unwrap();
    }
    eprintln!(
        "{compared} containers of Docker {} made anew on {}",
        from.version, to.version
    );
    assert!(lost.is_empty(), "{lost}");
    assert!(
        compared > CASES.len() / 2,
        "only {compared} of {} cases could be made",
        CASES.len()
    );
}
