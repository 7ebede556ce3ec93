//! The processor, from lscpu and /proc/cpuinfo.

use super::transcript::Transcript;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One processor stands for all: a host with different ones cannot be told from this.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Cpu {
    /// `GenuineIntel`, `AuthenticAMD`.
    pub vendor: Option<String>,
    /// The name for people.
    pub model_name: Option<String>,
    /// Family, as the vendor counts.
    pub family: Option<u32>,
    /// Model within the family.
    pub model: Option<u32>,
    /// Stepping (revision of the chip).
    pub stepping: Option<String>,
    /// Version of the microcode.
    pub microcode: Option<String>,
    /// What it can do, in the kernel's words (`avx2`, `xsave` …).
    pub flags: BTreeSet<String>,
    /// Logical processors.
    pub threads: Option<u32>,
    /// Sockets.
    pub sockets: Option<u32>,
    /// Cores of one socket.
    pub cores_per_socket: Option<u32>,
    /// NUMA nodes.
    pub numa_nodes: Option<u32>,
    /// Caches by name (`L1d`, `L2` …), sizes as lscpu writes them.
    pub caches: BTreeMap<String, String>,
    /// Vendor of the hypervisor, where there is one.
    pub hypervisor: Option<String>,
    /// The floating point state.
    pub xsave: Option<Xsave>,
}

/// The area in which the processor saves a program's floating point state: its size must be
/// equal on both sides of a migration (CRIU: criu/arch/x86/cpu.c, cpu_validate_features).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Xsave {
    /// Bit mask of the enabled features, as the kernel logs it (its own features included).
    pub kernel_features: Option<u64>,
    /// Bytes of the kernel's own buffer, of its log; it may be compacted.
    pub kernel_bytes: Option<u64>,
    /// Bytes that a program sees: of CPUID leaf 0xd, or of CRIU.
    pub bytes: Option<u64>,
    /// Bytes if everything that the processor has were enabled.
    pub max_bytes: Option<u64>,
}

/// Reads the sections `cpuinfo`, `lscpu` and `xsave`; `None` where all are empty.
#[must_use]
pub fn parse(transcript: &Transcript) -> Option<Cpu> {
    let info = fields(transcript.text("cpuinfo"));
    let lscpu = fields(transcript.text("lscpu"));
    if info.is_empty() && lscpu.is_empty() {
        return None;
    }
    let either = |info_key: &str, lscpu_key: &str| {
        let found = info.get(info_key).or_else(|| lscpu.get(lscpu_key));
        found.map(|value| (*value).to_owned())
    };
    let count = |key: &str| lscpu.get(key).and_then(|value| value.parse().ok());
    let flags = ["flags", "Features"]
        .iter()
        .find_map(|key| info.get(key))
        .or_else(|| lscpu.get("Flags"))
        .map(|flags| flags.split_whitespace().map(str::to_owned).collect());
    let caches = lscpu
        .iter()
        .filter_map(|(key, value)| Some((key.strip_suffix(" cache")?, *value)))
        .map(|(name, size)| (name.to_owned(), size.to_owned()))
        .collect();
    Some(Cpu {
        vendor: either("vendor_id", "Vendor ID"),
        model_name: either("model name", "Model name"),
        family: either("cpu family", "CPU family").and_then(|text| text.parse().ok()),
        model: either("model", "Model").and_then(|text| text.parse().ok()),
        stepping: either("stepping", "Stepping"),
        microcode: either("microcode", "Microcode version"),
        flags: flags.unwrap_or_default(),
        threads: count("CPU(s)"),
        sockets: count("Socket(s)"),
        cores_per_socket: count("Core(s) per socket"),
        numa_nodes: count("NUMA node(s)"),
        caches,
        hypervisor: lscpu.get("Hypervisor vendor").map(|v| (*v).to_owned()),
        xsave: parse_xsave(transcript.text("xsave")),
    })
}

/// Reads `key : value` lines.
fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim(), value.trim()))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// Reads the kernel's log about the floating point state and `cpuid -1 -r -l 0xd -s 0`.
#[must_use]
pub fn parse_xsave(text: &str) -> Option<Xsave> {
    let mut xsave = Xsave::default();
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("Enabled xstate features ") {
            let mut words = rest.split(|c: char| c == ',' || c.is_whitespace());
            xsave.kernel_features = words.next().and_then(hex);
            xsave.kernel_bytes = rest
                .split_once("context size is ")
                .and_then(|(_, size)| size.split(' ').next()?.parse().ok());
        }
        if line.trim_start().starts_with("0x0000000d 0x00:") {
            let register = |name: &str| {
                let (_, value) = line.split_once(name)?;
                hex(value.split_whitespace().next()?)
            };
            xsave.bytes = register("ebx=");
            xsave.max_bytes = register("ecx=");
        }
    }
    (xsave != Xsave::default()).then_some(xsave)
}

/// Reads a number with `0x` in front.
pub(crate) fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_of_the_log_and_of_cpuid() {
        let xsave = parse_xsave(
            "[ 0.2] x86/fpu: Enabled xstate features 0x18e7, context size is 2472 bytes, using 'compacted' format.\n\
             CPU:\n   0x0000000d 0x00: eax=0x000000e7 ebx=0x00000980 ecx=0x00000980 edx=0x00000000\n",
        )
        .unwrap();
        assert_eq!(
            (xsave.kernel_features, xsave.kernel_bytes),
            (Some(0x18e7), Some(2472))
        );
        assert_eq!((xsave.bytes, xsave.max_bytes), (Some(0x980), Some(0x980)));
        assert_eq!(parse_xsave("nothing"), None);
    }
}
