//! Answers of an engine that must be JSON.

use crate::EngineError;
use host::{Cmd, Output};
use serde_json::Value;

pub(crate) fn nonsense(host: &str, cmd: &Cmd, why: &str, said: &str) -> EngineError {
    EngineError::Nonsense {
        host: host.to_owned(),
        doing: cmd.line(),
        why: why.to_owned(),
        said: said.trim().chars().take(200).collect(),
    }
}

pub(crate) fn json(host: &str, cmd: &Cmd, output: &Output) -> Result<Value, EngineError> {
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let why = format!("status {}, {error}", output.status);
        nonsense(
            host,
            cmd,
            &why,
            &format!("{}{}", output.stdout_text(), output.stderr_text()),
        )
    })
}
