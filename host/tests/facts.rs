//! The probe on this machine, and transcripts of real hosts.

use host::facts::cgroup::CgroupVersion;
use host::facts::container::{Container, Destination, Place};
use host::facts::criu::Feature;
use host::facts::kernel::Setting;
use host::facts::logs::Logs;
use host::{Cmd, CriuCheck, Facts, Fake, Hardware, Host, HostError, Local, Output};
use proptest::prelude::*;

const TRIXIE: &str = include_str!("transcripts/trixie-docker-podman.facts.txt");
const TRIXIE_CRIU: &str = include_str!("transcripts/trixie.criu.txt");
const OLD_CRIU: &str = include_str!("transcripts/criu-3.17.1-on-6.18.criu.txt");
const TRIXIE_HARDWARE: &str = include_str!("transcripts/trixie.hardware.txt");
const BARE: &str = include_str!("transcripts/bookworm-docker-client.facts.txt");
const XENIAL: &str = include_str!("transcripts/xenial-docker-17.09.1.facts.txt");

#[test]
fn debian_13_with_everything() {
    let facts = Facts::parse(TRIXIE);
    assert_eq!(facts.os.as_ref().unwrap().codename, "trixie");
    let kernel = facts.kernel.as_ref().unwrap();
    assert_eq!((kernel.machine.as_str(), kernel.bits), ("x86_64", Some(64)));
    assert_eq!(kernel.version.as_ref().unwrap().to_string(), "6.18.44");
    let config = facts.kernel_config.as_ref().unwrap();
    assert_eq!(config.source, "/proc/config.gz");
    assert_eq!(config.get("CHECKPOINT_RESTORE"), Setting::BuiltIn);
    assert_eq!(config.get("MEM_SOFT_DIRTY"), Setting::Off);
    let cpu = facts.cpu.as_ref().unwrap();
    assert_eq!((cpu.family, cpu.threads), (Some(26), Some(2)));
    assert!(cpu.flags.contains("avx512f"));
    assert_eq!(facts.cgroup.as_ref().unwrap().version, CgroupVersion::V1);
    assert_eq!(facts.sysctls["fs.pipe-max-size"], "16777216");
    assert_eq!(facts.libc.as_ref().unwrap().text, "glibc 2.41");
    let effective = facts.identity.effective.as_ref().unwrap();
    assert!(effective.contains("CAP_SYS_ADMIN") && !effective.contains("CAP_SYS_RESOURCE"));
    assert!(facts.identity.namespaces.contains("time"));
    let criu = facts.criu.as_ref().unwrap();
    assert_eq!(criu.tool.version.as_ref().unwrap().to_string(), "4.2.1");
    assert_eq!(criu.package.as_deref(), Some("4.2.1-1"));
    assert!(criu.library.as_ref().unwrap().ends_with("libcriu.so.2"));
    assert_eq!(facts.runc.as_ref().unwrap().checkpoint, Some(true));
    assert_eq!(facts.crun.as_ref().unwrap().checkpoint, Some(true));
    let docker = facts.docker.as_ref().unwrap().server.as_ref().unwrap();
    assert_eq!(docker.version.as_ref().unwrap().to_string(), "26.1.5");
    assert_eq!(
        (docker.cgroup_version, docker.storage_driver.as_deref()),
        (Some(1), Some("overlay2"))
    );
    assert!(docker.experimental && !docker.rootless);
    let podman = facts.podman.as_ref().unwrap();
    assert_eq!(podman.text.as_deref(), Some("5.4.2"));
    assert_eq!(podman.runtime.as_ref().unwrap().name, "crun");
    let root = facts
        .disks
        .iter()
        .find(|disk| disk.folder == "/var/lib/docker")
        .unwrap();
    assert_eq!(root.kind.as_deref(), Some("ext4"));
    assert!(facts.timed_out.is_empty());
    assert_eq!(facts.leftovers, Default::default());
}

#[test]
fn a_bare_host_is_data_too() {
    let facts = Facts::parse(BARE);
    assert_eq!(facts.os.as_ref().unwrap().version_id, "12");
    assert!(facts.criu.is_none() && facts.podman.is_none() && facts.runc.is_none());
    assert!(facts.tools.contains_key("tar"));
}

#[test]
fn ubuntu_16_04_with_docker_17_09_1() {
    let facts = Facts::parse(XENIAL);
    assert_eq!(facts.os.as_ref().unwrap().name, "Ubuntu 16.04.7 LTS");
    let docker = facts.docker.as_ref().unwrap().server.as_ref().unwrap();
    assert_eq!(docker.text, "17.09.1-ce");
    let xsave = facts.cpu.as_ref().unwrap().xsave.as_ref().unwrap();
    assert_eq!(xsave.kernel_bytes, Some(832));
    assert_eq!(docker.cgroup_version, None);
    assert!(docker.experimental);
    assert_eq!(docker.runtimes["runc"].as_deref(), Some("docker-runc"));
    assert!(docker.runc.as_ref().unwrap().starts_with("3f2f8b84"));
    // Its own runc stands in, and cannot say whether it checkpoints.
    let runc = facts.runc.as_ref().unwrap();
    assert_eq!(
        runc.tool.version.as_ref().unwrap().to_string(),
        "1.0.0-rc.4"
    );
    assert_eq!(runc.checkpoint, None);
    assert_eq!(facts.packages["docker-ce"], "17.09.1~ce-0~ubuntu");
    let criu = facts.criu.as_ref().unwrap();
    assert_eq!(
        criu.configuration["/etc/criu/runc.conf"],
        ["tcp-established", "file-locks"]
    );
    assert!(facts.lsm.apparmor.as_ref().unwrap().enabled);
    assert!(
        facts
            .lsm
            .apparmor
            .as_ref()
            .unwrap()
            .profiles
            .contains_key("docker-default")
    );
}

#[test]
fn criu_says_what_it_has() {
    let check = CriuCheck::parse(TRIXIE_CRIU);
    assert!(check.check.as_ref().unwrap().good);
    assert_eq!(check.check.as_ref().unwrap().text, "Looks good.");
    assert_eq!(check.feature("uffd"), Feature::Supported);
    assert_eq!(check.feature("mem_dirty_track"), Feature::Missing);
    assert_eq!(check.feature("no-such"), Feature::Unknown);
    let cpu = check.cpuinfo.as_ref().unwrap();
    assert_eq!(
        (cpu.xfeatures, cpu.xsave_size, cpu.xsave_size_max),
        (Some(0xe5), Some(2432), Some(2432))
    );
    assert!(cpu.image.as_ref().unwrap().starts_with("GUNW"));
}

#[test]
fn a_criu_that_does_not_start_has_not_looked() {
    let check = CriuCheck::parse(OLD_CRIU);
    assert_eq!(check.version.as_ref().unwrap().to_string(), "3.17.1");
    assert!(!check.check.as_ref().unwrap().good);
    assert_eq!(check.feature("mem_dirty_track"), Feature::NotJudged);
    assert_eq!(check.feature("nftables"), Feature::NotJudged);
    let cpu = check.cpuinfo.as_ref().unwrap();
    assert_eq!((&cpu.image, cpu.xsave_size), (&None, None));
    assert!(cpu.error.as_ref().unwrap().contains("vDSO area bounds"));
}

#[test]
fn hardware_is_read_beside_the_facts() {
    let hardware = Hardware::parse(TRIXIE_HARDWARE, &Facts::parse(TRIXIE));
    assert_eq!(hardware.kernel.as_deref(), Some("6.18.44-fc-v657 x86_64"));
    assert_eq!(hardware.disks[0].name, "vda");
    assert!(!hardware.links.is_empty());
}

#[test]
fn a_hung_tool_is_named_and_the_rest_is_there() {
    let text = TRIXIE.replace("end podman.info 0", "end podman.info 124");
    let facts = Facts::parse(&text);
    assert_eq!(facts.timed_out, ["podman.info"]);
    assert!(facts.docker.is_some());
}

#[test]
fn a_daemon_that_does_not_answer_is_quoted() {
    let said = "{\"Client\":{\"Version\":\"26.1.5\"},\"Server\":null}\nCannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
    let text = format!(
        "@@transship facts 1 @@m\n@@m begin docker.version\n{said}\n\n@@m end docker.version 1\n"
    );
    let docker = Facts::parse(&text).docker.unwrap();
    assert_eq!(docker.client.as_deref(), Some("26.1.5"));
    assert!(docker.server.is_none());
    assert!(docker.error.unwrap().starts_with("Cannot connect"));
}

#[test]
fn this_machine_answers_the_probe() {
    let facts = Facts::gather(&Local).unwrap();
    assert_eq!(facts.kernel.as_ref().unwrap().name, "Linux");
    assert!(facts.memory.as_ref().unwrap().total > 1 << 20);
    assert!(facts.tools.contains_key("tar"));
    assert!(facts.disks.iter().any(|disk| disk.folder == "/"));
    let (least, most) = facts.clock.as_ref().unwrap().ahead().unwrap();
    assert!(least <= 0.1 && most >= -0.1, "{least} {most}");
    let check = CriuCheck::gather(&Local).unwrap();
    assert_eq!(check.version.is_some(), facts.criu.is_some());
    let hardware = Hardware::gather(&Local, &facts).unwrap();
    assert_eq!(hardware.cpu, facts.cpu);
    let json = serde_json::to_value(&facts).unwrap();
    assert!(json["memory"]["total"].is_u64());
}

#[test]
fn a_missing_tool_a_hung_tool_and_a_greedy_tool_do_not_stop_the_probe() {
    // Real programs on PATH that behave badly; `timeout` is shortened to half a second.
    let folder = tempfile::tempdir().unwrap();
    let bad = |name: &str, script: &str| {
        let path = folder.path().join(name);
        Local
            .put(path.to_str().unwrap(), script.as_bytes(), 0o755)
            .unwrap();
    };
    bad("podman", "#!/bin/sh\nexec sleep 60\n");
    bad("runc", "#!/bin/sh\ncat\necho runc version 1.1.15\n");
    bad(
        "timeout",
        "#!/bin/sh\nshift 3\nexec /usr/bin/timeout -k 1 0.5 \"$@\"\n",
    );
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let cmd = Cmd::reads("sh")
        .arg("-s")
        .stdin(include_bytes!("../src/facts/probe.sh"))
        .env("PATH", path);
    let output = Local.run(&cmd).unwrap();
    let facts = Facts::parse(&output.stdout_text());
    assert_eq!(
        facts.podman.unwrap().error.as_deref(),
        Some("it did not answer within 30 seconds")
    );
    assert_eq!(
        facts.runc.unwrap().tool.text.as_deref(),
        Some("runc version 1.1.15")
    );
    // What comes after them is there.
    assert!(facts.clock.is_some() && !facts.disks.is_empty());
}

#[test]
fn a_package_that_is_held_is_there_and_one_that_was_removed_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dpkg-query");
    let says = "#!/bin/sh\nprintf 'ii runc 1.1.15\nhi criu 4.1.1-1\nrc podman 5.4.2\n'\n";
    Local
        .put(path.to_str().unwrap(), says.as_bytes(), 0o755)
        .unwrap();
    let cmd = Cmd::reads("sh")
        .arg("-s")
        .stdin(include_bytes!("../src/facts/probe.sh"))
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
    let facts = Facts::parse(&Local.run(&cmd).unwrap().stdout_text());
    assert_eq!(facts.packages["criu"], "4.1.1-1");
    assert_eq!(facts.packages["runc"], "1.1.15");
    assert!(!facts.packages.contains_key("podman"));
}

#[test]
fn a_host_that_runs_no_script_is_an_error_that_quotes_it() {
    let output = Output {
        status: 1,
        stderr: b"This account is not available.".to_vec(),
        ..Output::default()
    };
    let error = Facts::gather(&Fake::new("b").on_output("sh -s", output)).unwrap_err();
    assert!(matches!(error, HostError::Failed { .. }));
    assert!(error.to_string().contains("not available"), "{error}");
}

#[test]
fn a_fake_host_answers_with_a_transcript() {
    let fake = Fake::new("a")
        .on("sh -s transship-facts", TRIXIE)
        .on("sh -s transship-criu", TRIXIE_CRIU);
    assert!(Facts::gather(&fake).unwrap().docker.is_some());
    assert!(CriuCheck::gather(&fake).unwrap().check.unwrap().good);
    assert!(
        fake.ran()
            .iter()
            .all(|cmd| cmd.effect == host::Effect::Reads)
    );
}

#[test]
fn a_processor_is_judged_by_criu_on_the_other_host() {
    // CRIU's own words for a mismatch.
    let refused = Output {
        status: 1,
        stdout: b"Error (criu/arch/x86/cpu.c:257): cpu: CPU xsave size mismatch (2432/832)\n"
            .to_vec(),
        ..Output::default()
    };
    let fake = Fake::new("b").on_output("sh -c", refused);
    let judgement = host::facts::criu::judge_cpu(&fake, "GUNW")
        .unwrap()
        .unwrap();
    assert!(!judgement.good && judgement.text.ends_with("(2432/832)"));
    assert_eq!(fake.ran()[0].stdin, b"GUNW");
    // No folder could be made there: nobody was asked, so nobody refused.
    let nowhere = Output {
        status: 125,
        ..Output::default()
    };
    let fake = Fake::new("b").on_output("sh -c", nowhere);
    assert_eq!(host::facts::criu::judge_cpu(&fake, "GUNW").unwrap(), None);
    if !Facts::gather(&Local).unwrap().tools.contains_key("criu") {
        eprintln!("SKIPPED: a real judgement, since CRIU is not installed here");
        return;
    }
    let check = CriuCheck::gather(&Local).unwrap();
    let image = check.cpuinfo.unwrap().image.unwrap();
    let judgement = host::facts::criu::judge_cpu(&Local, &image)
        .unwrap()
        .unwrap();
    assert!(judgement.good, "{}", judgement.text);
}

/// What a failed restore left, in the form of its probe.
const LOGS: &str = "@@transship logs 1 @@m\n@@m begin kernel\n6.1.0\n@@m end kernel 0\n\
    @@m begin criu\nVersion: 4.2\n@@m end criu 0\n@@m begin engine\ndocker\n@@m end engine 0\n\
    @@m begin engine-version\nDocker version 26.1.5, build x\n@@m end engine-version 0\n\
    @@m begin path.1\n/run/dump.log\n@@m end path.1 0\n@@m begin log.1\nError\n@@m end log.1 0\n";

/// Transcripts with bytes changed, cut and repeated: near enough to the real form to get deep
/// into the parsers.
fn damaged() -> impl Strategy<Value = String> {
    let source = prop::sample::select(vec![
        TRIXIE,
        XENIAL,
        BARE,
        TRIXIE_CRIU,
        TRIXIE_HARDWARE,
        include_str!("transcripts/container.txt"),
        include_str!("transcripts/container-tcp.txt"),
        include_str!("transcripts/destination.txt"),
        LOGS,
    ]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), ".{0,3}"), 1..40);
    (source, edits).prop_map(|(source, edits)| {
        let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
        for (index, text) in edits {
            let at = index.index(lines.len());
            let line = &mut lines[at];
            let middle = line
                .char_indices()
                .nth(index.index(line.chars().count().max(1)))
                .map_or(0, |(at, _)| at);
            line.truncate(middle);
            line.push_str(&text);
        }
        lines.join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_makes_a_parser_panic(text in damaged()) {
        let facts = Facts::parse(&text);
        let _ = CriuCheck::parse(&text);
        let _ = Hardware::parse(&text, &facts);
        let container = Container::parse(&text);
        let _ = (container.own_sockets(), serde_json::to_string(&container).unwrap());
        let place = Place { paths: vec!["/srv/data".into()], networks: vec!["n".into()], ..Place::default() };
        let _ = serde_json::to_string(&Destination::parse(&text, &place)).unwrap();
        let _ = Logs::parse(&text);
        let _ = serde_json::to_string(&facts).unwrap();
    }

    #[test]
    fn no_section_makes_a_parser_panic(text in "[ -~\n\"'=:@éß]{0,400}") {
        use host::facts::{cgroup, cpu, disk, kernel, lsm, memory, os, process, system};
        let _ = (cgroup::parse(&text), cpu::parse_xsave(&text), disk::parse(&text), kernel::parse_config(&text));
        let _ = (kernel::parse_modules(&text), lsm::parse(&text), memory::parse(&text), os::parse(&text));
        let _ = (process::capabilities(&text), system::libc(&text), system::init(&text));
        let _ = (system::packages(&text), system::sysctls(&text));
    }
}
