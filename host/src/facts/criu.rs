//! What CRIU says of a host: slower than the facts, so a pass of its own.

use super::guard::Guard;
use super::transcript::{Section, Transcript, keyed};
use crate::{Cmd, Host, HostError, Result};
use semver::Version;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

const PROBE: &str = include_str!("criu.sh");

/// Some fifty calls, a few milliseconds each where all is well, seconds in an emulated machine.
const PROBE_TIMEOUT: Duration = Duration::from_secs(300);

/// How long the scripts let one call of CRIU's take.
const ONE_TIMEOUT: Duration = Duration::from_secs(30);

/// The same with what a slow host needs around it.
const JUDGE_TIMEOUT: Duration = Duration::from_secs(60);

/// CRIU's own judgement of a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CriuCheck {
    /// What `criu --version` says; `None` where CRIU is missing.
    pub version: Option<Version>,
    /// `criu check`; `None` where it was not run.
    pub check: Option<Judgement>,
    /// `criu check --feature X`, by feature.
    pub features: BTreeMap<String, Feature>,
    /// The processor as CRIU sees it.
    pub cpuinfo: Option<CpuInfo>,
    /// Why CRIU's answers are missing, all of them or those from some point on.
    pub unanswered: Option<String>,
    /// The probe's own text.
    #[serde(skip)]
    pub transcript: Transcript,
}

/// What a check of CRIU's came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Whether it exited with 0.
    pub good: bool,
    /// What it printed.
    pub text: String,
}

/// Whether kernel and CRIU have a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// There.
    Supported,
    /// CRIU looked and did not find it.
    Missing,
    /// This version of CRIU does not know the name.
    Unknown,
    /// CRIU did not answer in time.
    TimedOut,
    /// CRIU did not start, or could not be asked, so it did not look.
    NotJudged,
}

/// The processor as CRIU records it for a comparison (`criu cpuinfo dump`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CpuInfo {
    /// The image that `criu cpuinfo check` on another host judges, in base64.
    pub image: Option<String>,
    /// Bit mask of the floating point features.
    pub xfeatures: Option<u64>,
    /// Bytes of the floating point state.
    pub xsave_size: Option<u64>,
    /// Bytes if all features were on.
    pub xsave_size_max: Option<u64>,
    /// What went wrong.
    pub error: Option<String>,
}

impl CriuCheck {
    /// Asks CRIU on a host. Nothing is changed there but CRIU's own cache, `/run/criu.kdat`.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn gather(host: &dyn Host) -> Result<CriuCheck> {
        let transcript = super::probe(host, "transship-criu", PROBE, PROBE_TIMEOUT)?;
        let guard = Guard::default();
        let check = guard.read("criu", || Some(CriuCheck::build(transcript)));
        Ok(check.unwrap_or_else(|| CriuCheck {
            unanswered: Some(
                "what CRIU said could not be read, which is a mistake in transship".to_owned(),
            ),
            ..CriuCheck::parse("")
        }))
    }

    /// The judgement of a CRIU that could not be asked, and why it could not.
    #[must_use]
    pub fn failed(error: &HostError) -> CriuCheck {
        CriuCheck {
            unanswered: Some(error.to_string()),
            ..CriuCheck::parse("")
        }
    }

    /// CRIU's judgement from the text of a probe.
    #[must_use]
    pub fn parse(text: &str) -> CriuCheck {
        CriuCheck::build(Transcript::parse(text))
    }

    fn build(transcript: Transcript) -> CriuCheck {
        let version = crate::version::find(transcript.text("version"));
        // Who does not say its version is no CRIU that works, and its answers are none.
        let silent = version.is_none() && transcript.section("version").is_some();
        let features = transcript
            .sections()
            .filter_map(|(name, section)| {
                let judged = match judge(section) {
                    Feature::Missing | Feature::Supported if silent => Feature::NotJudged,
                    judged => judged,
                };
                Some((name.strip_prefix("feature.")?.to_owned(), judged))
            })
            .collect();
        CriuCheck {
            version,
            check: transcript.section("check").map(|section| Judgement {
                good: section.status == Some(0),
                text: match section.status {
                    Some(124 | 137) => "it did not end in time".to_owned(),
                    _ => section.text.trim().to_owned(),
                },
            }),
            features,
            cpuinfo: transcript.section("cpuinfo").map(cpuinfo),
            unanswered: transcript.timed_out().first().map(|section| {
                let command = match section.strip_prefix("feature.") {
                    Some(feature) => format!("criu check --feature {feature}"),
                    None => match *section {
                        "version" => "criu --version".to_owned(),
                        "cpuinfo" => "criu cpuinfo dump".to_owned(),
                        other => format!("criu {other}"),
                    },
                };
                format!("`{command}` did not end in time, and nothing more was asked")
            }),
            transcript,
        }
    }

    /// How a feature stands; where it was not asked for, `NotJudged` after a call that hung, else `Unknown`.
    #[must_use]
    pub fn feature(&self, name: &str) -> Feature {
        let otherwise = match self.unanswered {
            Some(_) => Feature::NotJudged,
            None => Feature::Unknown,
        };
        self.features.get(name).copied().unwrap_or(otherwise)
    }
}

/// CRIU's name for telling which pages of a process changed (the kernel's soft-dirty bits).
pub const DIRTY_TRACKING: &str = "mem_dirty_track";

/// Asks CRIU on a host for one feature alone.
///
/// # Errors
/// Where there is no CRIU, or the host cannot be asked.
pub fn feature(host: &dyn Host, name: &str) -> Result<Feature> {
    let cmd = Cmd::reads("criu").args(["check", "--feature", name]);
    let output = host.run(&cmd)?;
    Ok(judge(&Section {
        text: format!("{}{}", output.stdout_text(), output.stderr_text()),
        status: Some(output.status),
    }))
}

fn judge(section: &Section) -> Feature {
    match section.status {
        Some(0) => Feature::Supported,
        Some(124 | 137) => Feature::TimedOut,
        _ if section.text.contains("Unknown feature") => Feature::Unknown,
        // 126 and 127: the program or one of its libraries is missing; above, a signal ended it. CRIU's own no is 1 or -1.
        Some(126..=254) => Feature::NotJudged,
        _ if section
            .text
            .contains("Could not initialize kernel features detection") =>
        {
            Feature::NotJudged
        }
        _ => Feature::Missing,
    }
}

fn cpuinfo(section: &Section) -> CpuInfo {
    let line = section
        .text
        .lines()
        .find_map(|line| line.split_once("xfeatures_mask "))
        .map(|(_, rest)| rest);
    let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse().ok()
    };
    CpuInfo {
        image: keyed(&section.text, "image").next().map(str::to_owned),
        xfeatures: words.first().and_then(|word| super::cpu::hex(word)),
        xsave_size: after("xsave_size"),
        xsave_size_max: after("xsave_size_max"),
        error: section
            .text
            .lines()
            .find(|line| line.contains("Error"))
            .map(|line| line.trim().to_owned()),
    }
}

/// Has CRIU on `host` judge the processor of another host by the image of its `criu cpuinfo dump`,
/// in base64: whether programs checkpointed there can run here. `None` where it could not be asked:
/// CRIU reads the image from a folder, which a host that is read-only everywhere does not give.
///
/// # Errors
/// Where the host cannot run a shell script, or CRIU did not answer in time.
pub fn judge_cpu(host: &dyn Host, image: &str) -> Result<Option<Judgement>> {
    const SCRIPT: &str = r#"PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin"
        umask 077
        folder=$(mktemp -d /dev/shm/transship-cpuinfo.XXXXXX 2>/dev/null) ||
            folder=$(mktemp -d /tmp/transship-cpuinfo.XXXXXX) || exit 125
        limit=
        if command -v timeout >/dev/null 2>&1; then limit='timeout -k 2 30'; fi
        base64 -d >"$folder/cpuinfo.img" && $limit criu cpuinfo check --images-dir "$folder" 2>&1
        status=$?
        rm -rf -- "$folder"
        exit "$status""#;
    let cmd = Cmd::reads("sh")
        .args(["-c", SCRIPT, "transship-cpuinfo"])
        .stdin(image.as_bytes())
        .timeout(JUDGE_TIMEOUT);
    let output = host.run(&cmd)?;
    if matches!(output.status, 124 | 137) {
        return Err(HostError::Timeout {
            host: host.name().to_owned(),
            doing: "criu cpuinfo check".to_owned(),
            after: ONE_TIMEOUT,
        });
    }
    Ok((output.status != 125).then(|| Judgement {
        good: output.status == 0,
        text: format!("{}{}", output.stdout_text(), output.stderr_text())
            .trim()
            .to_owned(),
    }))
}
