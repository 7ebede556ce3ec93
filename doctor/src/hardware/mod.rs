//! The hardware of a host as a summary that reads well; the data itself is [`host::Hardware`].

use host::Hardware;
use host::facts::hardware::{Disk, Link};
use schemars::JsonSchema;
use serde::Serialize;

/// What a host is made of: the data, and lines for people.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// The host, as the user wrote it.
    pub subject: String,
    /// Lines for people: what, and what it is.
    pub lines: Vec<Line>,
    /// The data.
    pub hardware: Hardware,
}

/// A line of the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Line {
    /// `cpu`, `memory`, `disk vda` …
    pub label: String,
    /// What it is.
    pub text: String,
}

/// Makes the report of a host. Lines whose facts are missing are left out.
#[must_use]
pub fn report(subject: &str, hardware: Hardware) -> Report {
    let mut lines = Vec::new();
    let mut line = |label: &str, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            lines.push(Line {
                label: label.to_owned(),
                text,
            });
        }
    };
    line("system", hardware.os.as_ref().map(|os| os.name.clone()));
    line("kernel", hardware.kernel.clone());
    line("machine", machine(&hardware));
    line(
        "cpu",
        hardware.cpu.as_ref().and_then(|cpu| cpu.model_name.clone()),
    );
    line("cpu id", cpu_id(&hardware));
    line("cores", cores(&hardware));
    line("caches", caches(&hardware));
    line("instructions", instructions(&hardware));
    line("memory", memory(&hardware));
    for disk in &hardware.disks {
        line(&format!("disk {}", disk.name), Some(disk_text(disk)));
    }
    for link in &hardware.links {
        line(&format!("link {}", link.name), Some(link_text(link)));
    }
    if !hardware.broken.is_empty() {
        let parts = hardware.broken.join(", ");
        line(
            "not read",
            Some(format!(
                "{parts}: a parser broke down, which is a mistake in transship"
            )),
        );
    }
    Report {
        subject: subject.to_owned(),
        lines,
        hardware,
    }
}

fn machine(hardware: &Hardware) -> Option<String> {
    let hypervisor = hardware.cpu.as_ref().and_then(|cpu| cpu.hypervisor.clone());
    let machine = hardware.machine.as_ref();
    let mut words: Vec<String> = machine
        .into_iter()
        .flat_map(|machine| [machine.vendor.clone(), machine.product.clone()])
        .flatten()
        .collect();
    if let Some(hypervisor) = hypervisor {
        words.push(format!("(virtual, {hypervisor})"));
    }
    (!words.is_empty()).then(|| words.join(" "))
}

fn cpu_id(hardware: &Hardware) -> Option<String> {
    let cpu = hardware.cpu.as_ref()?;
    let mut words = Vec::new();
    words.extend(cpu.vendor.clone());
    words.extend(cpu.family.map(|family| format!("family {family}")));
    words.extend(cpu.model.map(|model| format!("model {model}")));
    words.extend(cpu.stepping.as_ref().map(|step| format!("stepping {step}")));
    if let Some(xsave) = &cpu.xsave
        && let Some(bytes) = xsave.bytes.or(xsave.kernel_bytes)
    {
        words.push(format!("state of {bytes} bytes"));
    }
    Some(words.join(", "))
}

fn cores(hardware: &Hardware) -> Option<String> {
    let cpu = hardware.cpu.as_ref()?;
    let plural =
        |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut words = Vec::new();
    words.extend(cpu.threads.map(|count| plural(count, "thread")));
    if let (Some(sockets), Some(cores)) = (cpu.sockets, cpu.cores_per_socket) {
        words.push(plural(sockets.saturating_mul(cores), "core"));
        words.push(plural(sockets, "socket"));
    }
    words.extend(cpu.numa_nodes.map(|count| plural(count, "NUMA node")));
    Some(words.join(", "))
}

fn caches(hardware: &Hardware) -> Option<String> {
    let caches = &hardware.cpu.as_ref()?.caches;
    let words: Vec<String> = caches
        .iter()
        .map(|(name, size)| format!("{name} {size}"))
        .collect();
    Some(words.join(", "))
}

/// The flags that tell generations of x86 processors apart, newest of a family last.
fn instructions(hardware: &Hardware) -> Option<String> {
    const TELLING: [&str; 10] = [
        "sse4_2",
        "aes",
        "avx",
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "amx_tile",
        "sha_ni",
        "xsavec",
    ];
    let flags = &hardware.cpu.as_ref()?.flags;
    let words: Vec<&str> = TELLING
        .into_iter()
        .filter(|flag| flags.contains(*flag))
        .collect();
    Some(words.join(" "))
}

fn memory(hardware: &Hardware) -> Option<String> {
    let memory = hardware.memory.as_ref()?;
    let mut text = crate::check::size(memory.total);
    if let Some(available) = memory.available {
        text += &format!(", {} available", crate::check::size(available));
    }
    match memory.swap_total {
        Some(0) => text += ", no swap",
        Some(swap) => text += &format!(", {} swap", crate::check::size(swap)),
        None => {}
    }
    Some(text)
}

fn disk_text(disk: &Disk) -> String {
    let mut text = crate::check::size(disk.size);
    if let Some(model) = &disk.model {
        text += &format!(", {model}");
    }
    if disk.rotational == Some(false) {
        text += ", solid state";
    }
    text
}

fn link_text(link: &Link) -> String {
    let mut words = vec![link.state.clone()];
    if let Some(speed) = link.speed {
        words.push(format!("{} Mbit/s", speed / 1_000_000));
    }
    words.extend(link.mtu.map(|mtu| format!("MTU {mtu}")));
    words.extend(link.driver.clone());
    words.extend(link.addresses.iter().cloned());
    words.join(", ")
}
