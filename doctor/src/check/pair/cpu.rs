//! Whether the destination's processor runs what the source's ran.

use super::Pair;
use crate::check::catalogue::{Check, meta};
use crate::check::subject::list;
use crate::check::verdict::{Group, Outcome};
use host::facts::criu::CpuInfo;

/// Flags that stand for instructions a program may have chosen at its start, as CRIU compares
/// them by default (criu/arch/x86/cpu.c, x86_ins_capability_mask), in the kernel's names.
const INSTRUCTIONS: [&str; 68] = [
    "fpu",
    "tsc",
    "cx8",
    "sep",
    "cmov",
    "clflush",
    "mmx",
    "fxsr",
    "sse",
    "sse2",
    "syscall",
    "mmxext",
    "rdtscp",
    "3dnowext",
    "3dnow",
    "rep_good",
    "nopl",
    "pni",
    "pclmulqdq",
    "monitor",
    "ssse3",
    "cx16",
    "sse4_1",
    "sse4_2",
    "movbe",
    "popcnt",
    "aes",
    "xsave",
    "avx",
    "f16c",
    "rdrand",
    "abm",
    "sse4a",
    "misalignsse",
    "3dnowprefetch",
    "xop",
    "fma4",
    "tbm",
    "fsgsbase",
    "bmi1",
    "hle",
    "avx2",
    "bmi2",
    "erms",
    "rtm",
    "mpx",
    "avx512f",
    "avx512dq",
    "rdseed",
    "adx",
    "clflushopt",
    "avx512pf",
    "avx512er",
    "avx512cd",
    "sha_ni",
    "avx512bw",
    "avx512vl",
    "xsaveopt",
    "xsavec",
    "xgetbv1",
    "avx512vbmi",
    "avx512_vbmi2",
    "gfni",
    "vaes",
    "vpclmulqdq",
    "avx512_vnni",
    "avx512_bitalg",
    "avx512_vpopcntdq",
];

/// Flags beside CRIU's list that programs use all the same: a program that chose them dies with
/// signal 4 (illegal instruction) where they are missing.
const ALSO: [&str; 12] = [
    "fma",
    "lzcnt",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx512ifma",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "serialize",
    "movdiri",
    "movdir64b",
];

pub(super) fn checks<'p>() -> Vec<Check<Pair<'p>>> {
    vec![
        Check::new(
            meta(
                "pair.cpu-features",
                Group::Pair,
                "The destination's processor has every instruction of the source's",
                "the flags of both processors, as far as they stand for instructions. It fails where CRIU would refuse, and warns for newer instructions that CRIU does not compare. More flags on the destination do no harm",
                "programs choose instructions when they start, and end with an illegal instruction where those are missing",
                "choose another destination, or give both virtual machines the same lower CPU model and start the container again; or start it with the feature masked (GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F, the others after a comma)",
            ),
            features,
        ),
        Check::new(
            meta(
                "pair.cpu-state",
                Group::Pair,
                "Both processors save a program's state in the same size",
                "the size of the floating point state (xsave) as CRIU measures it, else by CPUID. It fails where they differ",
                "the saved state is put back byte by byte, and CRIU refuses another size: `CPU xsave size mismatch`",
                "choose another destination, or give both virtual machines the same CPU model",
            ),
            state,
        ),
        Check::new(
            meta(
                "pair.cpu-criu",
                Group::Pair,
                "CRIU on the destination accepts the source's processor",
                "`criu cpuinfo check` on the destination with what `criu cpuinfo dump` wrote on the source. It fails where CRIU refuses, and warns where it does not answer",
                "it is the judgement that a restore would meet",
                "see pair.cpu-features and pair.cpu-state for the cause",
            ),
            criu,
        ),
    ]
}

fn features(pair: &Pair<'_>) -> Outcome {
    let (Some(from), Some(to)) = (&pair.source.facts.cpu, &pair.destination.facts.cpu) else {
        return Outcome::skip("the processor of one of them is not known");
    };
    if from.flags.is_empty() || to.flags.is_empty() {
        return Outcome::skip("the flags of one processor are not known");
    }
    if pair.source.machine() != pair.destination.machine() {
        return Outcome::skip("the architectures differ, see pair.architecture");
    }
    let missing: Vec<&str> = from
        .flags
        .difference(&to.flags)
        .map(String::as_str)
        .collect();
    let x86 = pair.source.machine() == Some("x86_64");
    // Other architectures have few flags, all of them for programs.
    let (refused, risky): (Vec<&str>, Vec<&str>) = missing
        .into_iter()
        .filter(|flag| !x86 || INSTRUCTIONS.contains(flag) || ALSO.contains(flag))
        .partition(|flag| x86 && INSTRUCTIONS.contains(flag));
    let lacks = |flags: &[&str]| format!("{} lacks {}", pair.destination.name, list(flags));
    if !refused.is_empty() {
        let all: Vec<&str> = refused.into_iter().chain(risky).collect();
        return Outcome::fail("the destination's processor lacks instructions").found(lacks(&all));
    }
    if !risky.is_empty() {
        return Outcome::warn("the destination's processor lacks newer instructions")
            .found(lacks(&risky));
    }
    Outcome::ok("the destination's processor has every instruction of the source's")
}

fn state(pair: &Pair<'_>) -> Outcome {
    if pair.source.machine() != Some("x86_64") || pair.destination.machine() != Some("x86_64") {
        return Outcome::skip("only x86_64 saves its state in a size that varies");
    }
    let criu = |cpuinfo: Option<&CpuInfo>| {
        let cpuinfo = cpuinfo?;
        Some((cpuinfo.xsave_size?, cpuinfo.xsave_size_max?))
    };
    let from = criu(pair.source.criu.and_then(|criu| criu.cpuinfo.as_ref()));
    let to = criu(pair.destination.criu.and_then(|criu| criu.cpuinfo.as_ref()));
    let (from, to) = match (from, to) {
        (Some(from), Some(to)) => (from, to),
        _ => {
            // CPUID gives the same two numbers.
            let cpuid = |cpu: &Option<host::facts::cpu::Cpu>| {
                let xsave = cpu.as_ref()?.xsave.as_ref()?;
                Some((xsave.bytes?, xsave.max_bytes?))
            };
            match (
                cpuid(&pair.source.facts.cpu),
                cpuid(&pair.destination.facts.cpu),
            ) {
                (Some(from), Some(to)) => (from, to),
                _ => {
                    return Outcome::skip(
                        "the size is not known on both: CRIU or cpuid would tell",
                    );
                }
            }
        }
    };
    if from == to {
        return Outcome::ok(format!("both processors save {} bytes of state", from.0));
    }
    Outcome::fail("the processors save different amounts of state").found(format!(
        "{}: {} bytes (at most {}); {}: {} bytes (at most {})",
        pair.source.name, from.0, from.1, pair.destination.name, to.0, to.1
    ))
}

fn criu(pair: &Pair<'_>) -> Outcome {
    let judgement = match pair.cpu {
        None => return Outcome::skip("CRIU on the destination was not asked"),
        Some(Err(why)) => {
            return Outcome::warn(
                "CRIU on the destination did not answer about the source's processor",
            )
            .found(why)
            .fix("criu cpuinfo check -v4");
        }
        Some(Ok(judgement)) => judgement,
    };
    if judgement.good {
        return Outcome::ok("CRIU on the destination accepts the source's processor");
    }
    let error = judgement.text.lines().find(|line| line.contains("Error"));
    Outcome::fail("CRIU on the destination refuses the source's processor")
        .found(error.unwrap_or(&judgement.text).trim().to_owned())
}
