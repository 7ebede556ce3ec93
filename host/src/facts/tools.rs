//! Programs on the host: where they are, and what they say of themselves.

use super::transcript::{Transcript, keyed};
use semver::Version;
use serde::Serialize;
use std::collections::BTreeMap;

/// A program that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Where it is.
    pub path: String,
    /// What it says of its version; `None` where it was not asked or said nothing.
    pub text: Option<String>,
    /// The version in that text.
    pub version: Option<Version>,
}

/// An OCI runtime and whether it can checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// The program.
    pub tool: Tool,
    /// Whether it was built with checkpoint and restore; `None` where it cannot say, as before
    /// runc 1.1.
    pub checkpoint: Option<bool>,
}

/// CRIU as it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Criu {
    /// The program.
    pub tool: Tool,
    /// libcriu, which crun needs.
    pub library: Option<String>,
    /// Version of the distribution's package, where CRIU comes from one.
    pub package: Option<String>,
    /// Configuration files that are there, with their lines.
    pub configuration: BTreeMap<String, Vec<String>>,
    /// When CRIU wrote down what the kernel can (/run/criu.kdat), and when the program came on
    /// the host; seconds since 1970.
    pub cache: Option<(u64, Option<u64>)>,
}

/// Reads the section `tools` and the sections `version.*`.
#[must_use]
pub fn parse(transcript: &Transcript) -> BTreeMap<String, Tool> {
    transcript
        .text("tools")
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter(|(_, path)| path.starts_with('/'))
        .map(|(name, path)| {
            let text = transcript.text(&format!("version.{name}")).trim();
            let tool = Tool {
                path: path.to_owned(),
                version: crate::version::find(text),
                text: (!text.is_empty()).then(|| text.to_owned()),
            };
            (name.to_owned(), tool)
        })
        .collect()
}

/// What is known of runc or crun.
#[must_use]
pub fn runtime(
    name: &str,
    transcript: &Transcript,
    tools: &BTreeMap<String, Tool>,
) -> Option<Runtime> {
    let tool = tools.get(name)?.clone();
    let features = transcript.text(&format!("features.{name}"));
    let said = keyed(features, "org.opencontainers.runc.checkpoint.enabled")
        .next()
        .map(|value| value == "true");
    let built = tool
        .text
        .as_deref()
        .filter(|text| text.contains("+SECCOMP") || text.contains("+CAP"))
        .map(|text| text.split_whitespace().any(|word| word == "+CRIU"));
    Some(Runtime {
        tool,
        checkpoint: said.or(built),
    })
}

/// What is known of CRIU; `None` where it is not installed.
#[must_use]
pub fn criu(
    transcript: &Transcript,
    tools: &BTreeMap<String, Tool>,
    packages: &BTreeMap<String, String>,
) -> Option<Criu> {
    let tool = tools.get("criu")?.clone();
    let files = transcript.text("criu-files");
    let mut configuration: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current: Option<&str> = None;
    for line in files.lines() {
        if let Some(path) = line.strip_prefix("file ") {
            current = Some(path);
            configuration.entry(path.to_owned()).or_default();
        } else if let (Some(path), Some(text)) = (current, line.strip_prefix(": ")) {
            let text = text.trim();
            if !text.is_empty() && !text.starts_with('#') {
                configuration
                    .entry(path.to_owned())
                    .or_default()
                    .push(text.to_owned());
            }
        }
    }
    let seconds = |key| keyed(files, key).next().and_then(|text| text.parse().ok());
    Some(Criu {
        library: tools
            .iter()
            .find(|(name, _)| name.starts_with("libcriu.so"))
            .map(|(_, library)| library.path.clone()),
        package: packages.get("criu").cloned(),
        configuration,
        cache: seconds("kdat").map(|written| (written, seconds("criu"))),
        tool,
    })
}
