//! The hook by which Docker before 28 attaches a container to its networks.
//!
//! runc calls it in the middle of a restore, once the namespaces are there and before any socket is, and CRIU waits
//! for it. So it is taken out of the bundle, and called while CRIU goes on; with established connections after the
//! restore, since a packet that comes in before their sockets are there would be answered with a reset.

use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The first argument of the hook (moby, `libnetwork/sandbox_externalkey_unix.go`).
const SETKEY: &str = "libnetwork-setkey";

/// A hook of a bundle (OCI runtime-spec, config.md). Docker gives this one no time limit: it has one itself.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Hook {
    path: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
}

/// Takes the hook out of the bundle's configuration.
pub(crate) fn take(spec: &mut Value) -> Vec<Hook> {
    let mut taken = Vec::new();
    for list in ["prestart", "createRuntime"] {
        let Some(hooks) = spec["hooks"][list].as_array_mut() else {
            continue;
        };
        hooks.retain(|hook| {
            if hook["args"][0] != SETKEY {
                return true;
            }
            match Hook::deserialize(hook) {
                Ok(hook) => {
                    taken.push(hook);
                    false
                }
                Err(_) => true,
            }
        });
    }
    taken
}

/// Calls one, with the container's state as its standard input.
fn run(hook: &Hook, id: &str, pid: i32, bundle: &Path) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{}: {error}", hook.path);
    let state = json!({
        "ociVersion": "1.0.2", "id": id, "status": "creating", "pid": pid,
        "bundle": std::fs::canonicalize(bundle).map_err(said)?,
    });
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    let environment = hook.env.iter().filter_map(|both| both.split_once('='));
    let mut child = command
        .env_clear()
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(said)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it says by its status how it went.
        let _ = stdin.write_all(state.to_string().as_bytes());
    }
    let output = child.wait_with_output().map_err(said)?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "the network could not be attached: {}: {}",
        output.status,
        errors.trim()
    ))
}

/// The hooks by which the engine attaches networks.
pub(crate) struct Attaching<'a> {
    pub hooks: &'a [Hook],
    pub id: &'a str,
    pub bundle: &'a Path,
}

impl Attaching<'_> {
    /// Calls them for a container with this first process.
    pub fn run(&self, first: i32) -> Result<(), String> {
        let mut hooks = self.hooks.iter();
        hooks.try_for_each(|hook| run(hook, self.id, first, self.bundle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(script: &str) -> Value {
        json!({"hooks": {"prestart": [
            {"path": "/usr/bin/other", "args": ["other"]},
            {"path": "/bin/sh", "args": [SETKEY, "-c", script], "env": ["WHO=me"]},
        ]}})
    }

    #[test]
    fn only_the_networks_hook_is_taken() {
        let mut one = spec("exit");
        assert_eq!(take(&mut one).len(), 1);
        assert_eq!(one["hooks"]["prestart"].as_array().unwrap().len(), 1);
        assert!(take(&mut one).is_empty());
        assert!(take(&mut json!({"ociVersion": "1.0.2"})).is_empty());
    }

    #[test]
    fn it_is_told_of_the_container_and_its_failure_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("said");
        let script = format!("cat > {}; echo $WHO >> {0}", there.display());
        let hook = take(&mut spec(&script)).remove(0);
        run(&hook, "abc", 42, dir.path()).unwrap();
        let said = std::fs::read_to_string(&there).unwrap();
        assert!(said.contains(r#""pid":42"#), "{said}");
        assert!(said.contains(r#""id":"abc""#), "{said}");
        assert!(said.ends_with("me\n"), "{said}");
        let hook = take(&mut spec("echo no such network >&2; exit 3")).remove(0);
        let why = run(&hook, "abc", 42, dir.path()).unwrap_err();
        assert!(why.contains("no such network"), "{why}");
    }
}
