//! What a failed checkpoint or restore left on a host.

use super::transcript::Transcript;
use crate::{Cmd, Host, Result};
use std::time::Duration;

const PROBE: &str = include_str!("logs.sh");

/// Logs of one container's last failure, and the versions of what wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logs {
    /// `uname -r`.
    pub kernel: Option<String>,
    /// What `criu --version` printed.
    pub criu: Option<String>,
    /// The engine that knows the container.
    pub engine: Option<String>,
    /// The engine's version as it prints it.
    pub engine_version: Option<String>,
    /// Each log: the file, or what it is, and its text.
    pub logs: Vec<(String, Vec<u8>)>,
}

impl Logs {
    /// Fetches the logs of a container's last failure, wherever engine and runtime put them.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn gather(host: &dyn Host, container: &str) -> Result<Logs> {
        let cmd = Cmd::reads("sh")
            .args(["-s", "transship-logs", container])
            .stdin(PROBE.as_bytes())
            .timeout(Duration::from_secs(60));
        Ok(Logs::build(&super::transcript_of(host, &cmd)?))
    }

    /// Logs from the text of a probe.
    #[must_use]
    pub fn parse(text: &str) -> Logs {
        Logs::build(&Transcript::parse(text))
    }

    fn build(transcript: &Transcript) -> Logs {
        let word = |section: &str| {
            let text = transcript.text(section).trim();
            (transcript.good(section) && !text.is_empty()).then(|| text.to_owned())
        };
        let first = |section: &str| word(section)?.lines().next().map(str::to_owned);
        let mut logs = Vec::new();
        let mut add = |name: &str, text: &str| {
            if !text.trim().is_empty() {
                logs.push((name.to_owned(), text.as_bytes().to_vec()));
            }
        };
        add("the engine's last error", transcript.text("state"));
        add("the times of the checkpoint", transcript.text("fresh"));
        add("the daemon's log", transcript.text("daemon"));
        for number in 1.. {
            let Some(path) = word(&format!("path.{number}")) else {
                break;
            };
            add(&path, transcript.text(&format!("log.{number}")));
        }
        Logs {
            kernel: first("kernel"),
            criu: first("criu").map(|text| text.trim_start_matches("Version: ").to_owned()),
            engine: first("engine"),
            engine_version: first("engine-version")
                .and_then(|text| crate::version::find(&text))
                .map(|version| version.to_string()),
            logs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_come_with_their_files_and_versions() {
        let logs = Logs::parse(
            "@@transship logs 1 @@m\n@@m begin kernel\n6.1.0\n\n@@m end kernel 0\n\
             @@m begin criu\nVersion: 4.2\n\n@@m end criu 0\n\
             @@m begin engine\ndocker\n@@m end engine 0\n\
             @@m begin engine-version\nDocker version 26.1.5, build x\n\n@@m end engine-version 0\n\
             @@m begin path.1\n/run/dump.log\n@@m end path.1 0\n@@m begin log.1\nError\n\n@@m end log.1 0\n",
        );
        assert_eq!(logs.kernel.as_deref(), Some("6.1.0"));
        assert_eq!(logs.criu.as_deref(), Some("4.2"));
        assert_eq!(logs.engine_version.as_deref(), Some("26.1.5"));
        assert_eq!(logs.logs.len(), 1);
        assert_eq!(logs.logs[0].0, "/run/dump.log");
        assert_eq!(Logs::parse(""), Logs::default());
    }
}
