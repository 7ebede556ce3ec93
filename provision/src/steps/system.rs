//! Kernel parameters and our own program.

use crate::change::{Change, install_binary, note};
use crate::plan::{Refusal, Situation};
use crate::profile::SYSCTL;
use host::Cmd;

type Changes = Result<Vec<Change>, Refusal>;

/// Bytes that a pipe may hold: CRIU's page server asks for 4 MiB, and does not look whether it got them.
const PIPE_SIZE: u64 = 16 << 20;
const PARAMETER: &str = "fs.pipe-max-size";

/// Pipes may be as large as CRIU wants them, now and after a reboot.
pub(super) fn sysctl(situation: &Situation<'_>) -> Changes {
    let survey = situation.survey;
    let now: Option<u64> = survey
        .facts
        .sysctls
        .get(PARAMETER)
        .and_then(|text| text.parse().ok());
    let text = format!("# CRIU moves memory through pipes.\n{PARAMETER} = {PIPE_SIZE}\n");
    let enough = now.is_some_and(|now| now >= PIPE_SIZE);
    let kept = survey.state.has_file(SYSCTL, &text);
    if enough && kept {
        return Ok(Vec::new());
    }
    let mut change = Change::new(
        "sysctl",
        format!("{PARAMETER} is {PIPE_SIZE}, after a reboot too"),
    );
    if !kept {
        change = change.write(SYSCTL, &text);
    }
    if !enough {
        if let Some(now) = now {
            change = change.run(note(&[format!("sysctl {PARAMETER} {now}")]));
        }
        change = change.run(Cmd::changes("sysctl").args([
            "-q",
            "-w",
            &format!("{PARAMETER}={PIPE_SIZE}"),
        ]));
    }
    Ok(vec![change])
}

/// This very program is on the host.
pub(super) fn binary(situation: &Situation<'_>) -> Changes {
    let Some(binary) = situation.binary else {
        return Ok(Vec::new());
    };
    let there = situation.survey.state.binary.as_deref();
    if there == Some(binary.hash.as_str()) {
        return Ok(Vec::new());
    }
    let sentence = format!(
        "/usr/local/bin/transship is this program ({}…)",
        &binary.hash[..12]
    );
    Ok(vec![
        Change::new("binary", sentence).run(install_binary(&binary.bytes)),
    ])
}
