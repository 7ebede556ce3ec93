//! The hardware of a host, for people and for a report: a pass of its own.

use super::guard::Guard;
use super::transcript::{Transcript, keyed};
use super::{Facts, cpu, memory, os};
use crate::{Host, Result};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

const PROBE: &str = include_str!("hardware.sh");

const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a host is made of.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Hardware {
    /// Maker and product of the machine or of the virtual machine; `None` where firmware says nothing.
    pub machine: Option<Machine>,
    /// Operating system.
    pub os: Option<os::Os>,
    /// Release and machine of the kernel (`6.18.44 x86_64`).
    pub kernel: Option<String>,
    /// Processor.
    pub cpu: Option<cpu::Cpu>,
    /// Signature of the processor by CPUID leaf 1, where the tool `cpuid` is installed.
    pub signature: Option<Signature>,
    /// Memory.
    pub memory: Option<memory::Memory>,
    /// Memory of each NUMA node in bytes.
    pub nodes: Vec<u64>,
    /// Disks.
    pub disks: Vec<Disk>,
    /// Network links, without those of containers.
    pub links: Vec<Link>,
    /// The report of `hardinfo` on devices, where it is installed, line by line.
    pub hardinfo: Vec<String>,
    /// Parts of the probe whose parser broke down: nothing is known of them.
    pub broken: Vec<String>,
    /// The probe's own text.
    #[serde(skip)]
    pub transcript: Transcript,
}

/// What firmware says of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Machine {
    /// Who made it.
    pub vendor: Option<String>,
    /// What it is called.
    pub product: Option<String>,
    /// Firmware: vendor, version and date.
    pub firmware: Option<String>,
}

/// The processor's own name for itself (CPUID leaf 1, register eax).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Signature {
    /// Family with its extension added.
    pub family: u32,
    /// Model with its extension in front.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Disk {
    /// The kernel's name (`vda`, `nvme0n1`).
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Whether the kernel takes it for one that rotates (virtual disks often say so).
    pub rotational: Option<bool>,
    /// Model, where it has one.
    pub model: Option<String>,
}

/// A network link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// `up`, `down`, `unknown`.
    pub state: String,
    /// Largest packet in bytes.
    pub mtu: Option<u64>,
    /// Bits per second; `None` where the driver does not say.
    pub speed: Option<u64>,
    /// Driver, for hardware and virtual hardware.
    pub driver: Option<String>,
    /// Addresses with the length of their network.
    pub addresses: Vec<String>,
}

impl Hardware {
    /// Asks a host for its hardware, and takes what its facts know already.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn gather(host: &dyn Host, facts: &Facts) -> Result<Hardware> {
        let transcript = super::probe(host, "transship-hardware", PROBE, PROBE_TIMEOUT)?;
        Ok(Hardware::build(transcript, facts))
    }

    /// Hardware from the text of a probe and from the facts of the same host.
    #[must_use]
    pub fn parse(text: &str, facts: &Facts) -> Hardware {
        Hardware::build(Transcript::parse(text), facts)
    }

    fn build(transcript: Transcript, facts: &Facts) -> Hardware {
        let text = |section| transcript.text(section);
        let kernel = facts.kernel.as_ref();
        let guard = Guard::default();
        let mut hardware = Hardware {
            machine: guard.read("dmi", || machine(text("dmi"))),
            os: facts.os.clone(),
            kernel: kernel.map(|kernel| format!("{} {}", kernel.release, kernel.machine)),
            cpu: facts.cpu.clone(),
            signature: guard.read("cpuid", || signature(text("cpuid"))),
            memory: facts.memory.clone(),
            nodes: keyed(text("dimms"), "node")
                .filter_map(|line| {
                    line.split(' ')
                        .nth(1)?
                        .parse::<u64>()
                        .ok()?
                        .checked_mul(1024)
                })
                .collect(),
            disks: guard.read("disks", || {
                keyed(text("disks"), "disk").filter_map(disk).collect()
            }),
            links: guard.read("links", || links(text("links"))),
            hardinfo: if transcript.good("hardinfo") {
                text("hardinfo").lines().map(str::to_owned).collect()
            } else {
                Vec::new()
            },
            broken: Vec::new(),
            transcript: Transcript::default(),
        };
        hardware.broken = facts.broken.clone();
        hardware.broken.extend(guard.broken());
        hardware.transcript = transcript;
        hardware
    }
}

fn machine(text: &str) -> Option<Machine> {
    let first = |key: &str| {
        keyed(text, key)
            .next()
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    let firmware: Vec<String> = ["bios_vendor", "bios_version", "bios_date"]
        .into_iter()
        .filter_map(first)
        .collect();
    let machine = Machine {
        vendor: first("sys_vendor").or_else(|| first("board_vendor")),
        product: first("product_name").or_else(|| first("board_name")),
        firmware: (!firmware.is_empty()).then(|| firmware.join(" ")),
    };
    let known = machine.vendor.is_some() || machine.product.is_some() || machine.firmware.is_some();
    known.then_some(machine)
}

/// Decodes leaf 1 of `cpuid -1 -r`; the rule is the same in both vendors' manuals for the
/// families in use (extensions count from family 15, the model's also in family 6).
fn signature(text: &str) -> Option<Signature> {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("0x00000001 0x00:"))?;
    let (_, eax) = line.split_once("eax=")?;
    let eax = cpu::hex(eax.split_whitespace().next()?)? as u32;
    let (base_family, base_model) = (eax >> 8 & 0xf, eax >> 4 & 0xf);
    let family = if base_family == 15 {
        base_family + (eax >> 20 & 0xff)
    } else {
        base_family
    };
    let model = if base_family == 15 || base_family == 6 {
        (eax >> 16 & 0xf) << 4 | base_model
    } else {
        base_model
    };
    Some(Signature {
        family,
        model,
        stepping: eax & 0xf,
    })
}

fn disk(line: &str) -> Option<Disk> {
    let mut words = line.splitn(4, ' ');
    let name = words.next()?.to_owned();
    let size = words.next()?.parse::<u64>().ok()?.checked_mul(512)?;
    let rotational = match words.next() {
        Some("0") => Some(false),
        Some("1") => Some(true),
        _ => None,
    };
    let model = words.next().map(str::trim).filter(|text| !text.is_empty());
    Some(Disk {
        name,
        size,
        rotational,
        model: model.map(str::to_owned),
    })
}

fn links(text: &str) -> Vec<Link> {
    let addresses: Vec<(&str, &str)> = keyed(text, "address")
        .filter_map(|line| line.split_once(' '))
        .collect();
    keyed(text, "link")
        .filter_map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?;
            Some(Link {
                state: words.next()?.to_owned(),
                mtu: words.next().and_then(|word| word.parse().ok()),
                // The kernel says -1 where it does not know.
                speed: words
                    .next()
                    .and_then(|word| word.parse::<u64>().ok()?.checked_mul(1_000_000)),
                driver: words
                    .next()
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned),
                addresses: addresses
                    .iter()
                    .filter(|(link, _)| *link == name)
                    .map(|(_, address)| (*address).to_owned())
                    .collect(),
                name: name.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_signatures() {
        let decode = |eax: &str| signature(&format!("CPU:\n   0x00000001 0x00: eax={eax} ebx=0x0"));
        // Skylake server, and a Zen 5 EPYC.
        let skylake = Signature {
            family: 6,
            model: 85,
            stepping: 4,
        };
        assert_eq!(decode("0x00050654"), Some(skylake));
        let turin = Signature {
            family: 26,
            model: 2,
            stepping: 1,
        };
        assert_eq!(decode("0x00b00f21"), Some(turin));
        assert_eq!(signature(""), None);
    }

    #[test]
    fn reads_disks_and_links() {
        let text = "@@transship hardware 1 @@x\n@@x begin disks\ndisk sda 1024 0 QEMU HARDDISK\ndisk vdb 10 - \n\n@@x end disks 0\n\
            @@x begin links\nlink eth0 up 1500 -1 virtio_net\nlink eth1 down 9000 10000 \naddress eth0 10.0.0.2/24\n\n@@x end links 0\n";
        let hardware = Hardware::parse(text, &Facts::parse(""));
        assert_eq!(
            (hardware.disks[0].size, hardware.disks[0].model.as_deref()),
            (524_288, Some("QEMU HARDDISK"))
        );
        assert_eq!(hardware.disks[1].rotational, None);
        assert_eq!(hardware.links[0].addresses, ["10.0.0.2/24"]);
        assert_eq!(
            (hardware.links[0].speed, hardware.links[1].speed),
            (None, Some(10_000_000_000))
        );
    }
}
