//! What is known of a host, from one probe pass: one command, one round trip.
//!
//! The probe is a shell script that prints sections; parsers that run nothing make facts of its
//! text. So the transcript of a real host, kept as a file, is test data.

pub mod cgroup;
pub mod container;
pub mod cpu;
pub mod criu;
pub mod disk;
pub mod engines;
mod guard;
pub mod hardware;
pub mod kernel;
pub mod link;
pub mod logs;
pub mod lsm;
pub mod memory;
pub mod os;
pub mod process;
pub mod system;
pub mod tools;
pub mod transcript;

pub use criu::CriuCheck;
pub use hardware::Hardware;
pub use transcript::Transcript;

use crate::{Cmd, Host, HostError, Result};
use guard::Guard;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PROBE: &str = include_str!("probe.sh");

/// Longest time for a whole pass: every slow command in it has a limit of its own.
const PROBE_TIMEOUT: Duration = Duration::from_secs(300);

/// What is known of a host. Whatever it may lack is optional.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// Operating system.
    pub os: Option<os::Os>,
    /// Kernel.
    pub kernel: Option<kernel::Kernel>,
    /// The kernel's configuration; `None` where it is found nowhere.
    pub kernel_config: Option<kernel::KernelConfig>,
    /// The kernel's modules.
    pub modules: kernel::Modules,
    /// Processor.
    pub cpu: Option<cpu::Cpu>,
    /// Memory.
    pub memory: Option<memory::Memory>,
    /// Space for folders that matter.
    pub disks: Vec<disk::FileSystem>,
    /// Control groups.
    pub cgroup: Option<cgroup::Cgroup>,
    /// Security modules.
    pub lsm: lsm::Lsm,
    /// Who our commands run as, and what they may do.
    pub identity: process::Identity,
    /// Kernel parameters that matter, by name.
    pub sysctls: BTreeMap<String, String>,
    /// C library.
    pub libc: Option<system::Libc>,
    /// What starts services.
    pub init: Option<system::Init>,
    /// Clock.
    pub clock: Option<system::Clock>,
    /// Versions of the packages that matter, as the distribution writes them.
    pub packages: BTreeMap<String, String>,
    /// Programs that were found.
    pub tools: BTreeMap<String, tools::Tool>,
    /// CRIU.
    pub criu: Option<tools::Criu>,
    /// runc; Docker 17.09's own copy where there is no other.
    pub runc: Option<tools::Runtime>,
    /// crun.
    pub crun: Option<tools::Runtime>,
    /// Docker.
    pub docker: Option<engines::Docker>,
    /// Podman.
    pub podman: Option<engines::Podman>,
    /// What earlier migrations left.
    pub leftovers: system::Leftovers,
    /// Sections of the probe that took too long.
    pub timed_out: Vec<String>,
    /// Parts of the probe whose parser broke down: nothing is known of them.
    pub broken: Vec<String>,
    /// The probe's own text.
    #[serde(skip)]
    pub transcript: Transcript,
}

impl Facts {
    /// Asks a host for all facts in one pass, which changes nothing there.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn gather(host: &dyn Host) -> Result<Facts> {
        let asked = now();
        let transcript = probe(host, "transship-facts", PROBE, PROBE_TIMEOUT)?;
        Ok(Facts::build(transcript, Some((asked, now()))))
    }

    /// Facts from the text of a probe. Never fails: what is not there is missing in the facts.
    #[must_use]
    pub fn parse(text: &str) -> Facts {
        Facts::build(Transcript::parse(text), None)
    }

    fn build(transcript: Transcript, ours: Option<(Duration, Duration)>) -> Facts {
        let guard = Guard::default();
        let text = |section| transcript.text(section);
        let tools = guard.read("tools", || tools::parse(&transcript));
        let packages = guard.read("packages", || system::packages(text("packages")));
        let runtime = |name| guard.read(name, || tools::runtime(name, &transcript, &tools));
        let mut facts = Facts {
            os: guard.read("os-release", || os::parse(text("os-release"))),
            kernel: guard.read("uname", || kernel::parse(&transcript)),
            kernel_config: guard.read("kernel-config", || {
                kernel::parse_config(text("kernel-config"))
            }),
            modules: guard.read("modules", || kernel::parse_modules(text("modules"))),
            cpu: guard.read("lscpu", || cpu::parse(&transcript)),
            memory: guard.read("meminfo", || memory::parse(text("meminfo"))),
            disks: guard.read("disks", || disk::parse(text("disks"))),
            cgroup: guard.read("cgroup", || cgroup::parse(text("cgroup"))),
            lsm: guard.read("lsm", || lsm::parse(text("lsm"))),
            identity: guard.read("identity", || process::parse(&transcript)),
            sysctls: guard.read("sysctl", || system::sysctls(text("sysctl"))),
            libc: guard.read("libc", || system::libc(text("libc"))),
            init: guard.read("init", || system::init(text("init"))),
            clock: guard.read("clock", || system::clock(&transcript, ours)),
            criu: guard.read("criu", || tools::criu(&transcript, &tools, &packages)),
            runc: runtime("runc").or_else(|| runtime("docker-runc")),
            crun: runtime("crun"),
            docker: guard.read("docker", || engines::docker(&transcript)),
            podman: guard.read("podman", || engines::podman(&transcript)),
            leftovers: guard.read("leftovers", || system::leftovers(&transcript)),
            timed_out: transcript
                .timed_out()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            broken: Vec::new(),
            packages,
            tools,
            transcript: Transcript::default(),
        };
        facts.broken = guard.broken();
        facts.transcript = transcript;
        facts
    }
}

/// Runs one of the probe scripts; the name is only there to be seen, in a log or by a fake.
fn probe(host: &dyn Host, name: &str, script: &str, timeout: Duration) -> Result<Transcript> {
    let cmd = Cmd::reads("sh")
        .args(["-s", name])
        .stdin(script.as_bytes())
        .timeout(timeout);
    transcript_of(host, &cmd)
}

/// Runs a command that prints sections.
fn transcript_of(host: &dyn Host, cmd: &Cmd) -> Result<Transcript> {
    let output = host.run(cmd)?;
    let transcript = Transcript::parse(&output.stdout_text());
    if transcript.is_empty() {
        return Err(HostError::failed(host.name(), cmd, &output));
    }
    Ok(transcript)
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
