//! What CRIU's log says about a failure, and what it means.

use crate::Failure;
use crate::context::Side;
use doctor::explain::{Confidence, Given};
use host::Cmd;

/// How many lines of a log are shown.
const LINES: usize = 6;

/// Adds the telling lines of CRIU's log to a failure of an engine's command: from the path that its
/// message names, or from where the engines are known to put it. Logs of 17.11 and later are often
/// gone by then.
pub(crate) fn explain(side: &Side, id: &str, images: &str, mut failure: Failure) -> Failure {
    let mut paths: Vec<String> = named(&failure.what);
    if let Some(docker) = side.engine.docker() {
        let root = &docker.root_dir;
        let task = format!("containerd/daemon/io.containerd.runtime.v2.task/moby/{id}");
        for log in [
            "criu-dump.log",
            "dump.log",
            "restore.log",
            "work/dump.log",
            "work/restore.log",
        ] {
            paths.push(format!("{root}/{task}/{log}"));
        }
    }
    let script = r#"images=$1; shift; for f in "$@" $(find "$images" -name '*.log' 2>/dev/null); do [ -s "$f" ] && { tail -c 65536 "$f"; exit; }; done"#;
    let mut cmd = Cmd::follows("sh").args(["-c", script, "sh", images]);
    cmd = cmd.args(paths);
    let log = side.host.text(&cmd).unwrap_or_default();
    failure.log = telling(&log);
    // What the engine said comes last, as it did: CRIU's own lines name the cause, the engine repeats.
    let all = format!("{log}\n{}", failure.what);
    let given = Given {
        engine: Some(side.engine.kind().program().to_owned()),
        engine_version: Some(side.engine.version().to_string()),
        ..Given::default()
    };
    let diagnoses = doctor::explain::explain(all.as_bytes(), &given).map(|said| said.diagnoses);
    // A guess would send the reader astray.
    if let Some(first) = diagnoses
        .unwrap_or_default()
        .first()
        .filter(|first| first.confidence != Confidence::Low)
    {
        failure.cause = Some(format!("{}: {}", first.title, first.cause));
        failure
            .fix
            .extend(first.fix.iter().map(|fix| (*fix).to_owned()));
    }
    failure
}

/// Paths of logs that a message names.
fn named(message: &str) -> Vec<String> {
    message
        .split_whitespace()
        .map(|word| {
            word.trim_start_matches("path=")
                .trim_matches(|c: char| ":;,\"'".contains(c))
        })
        .filter(|word| word.starts_with('/') && word.ends_with(".log"))
        .map(str::to_owned)
        .collect()
}

/// The last lines that say something, without those that successful runs have too.
fn telling(log: &str) -> Vec<String> {
    const NOISE: [&str; 3] = [
        "RLIMIT_NOFILE",
        "cgroupd: recv req error",
        "exited, status=1",
    ];
    let lines: Vec<String> = log
        .lines()
        .filter(|line| line.contains("Error") && !NOISE.iter().any(|noise| line.contains(noise)))
        .map(str::to_owned)
        .collect();
    lines[lines.len().saturating_sub(LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_found_in_messages_of_both_families() {
        let old = "Error: criu failed: type NOTIFY errno 0\\nlog file: /t/x/criu.work/dump.log";
        assert_eq!(named(old), ["/t/x/criu.work/dump.log"]);
        let new = "exit status 1: criu failed: type NOTIFY errno 0 path= /run/c/moby/1/criu-dump.log: unknown";
        assert_eq!(named(new), ["/run/c/moby/1/criu-dump.log"]);
    }

    #[test]
    fn noise_of_successful_runs_is_left_out() {
        let log = "(00.001) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self\n(00.1) step\n\
                   (00.2) Error (criu/files-ext.c:94): Can't dump file 3\n";
        assert_eq!(
            telling(log),
            ["(00.2) Error (criu/files-ext.c:94): Can't dump file 3"]
        );
    }
}
