//! `create` and `start` of a container that is restored.

use crate::call::Call;
use crate::pending::{Options, Pending};
use crate::{gate, processes, replay, runc};
use serde_json::Value;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The annotation that names a configuration file for CRIU for this container alone (runc,
/// `libcontainer/criu_linux.go`).
const CRIU_CONFIG: &str = "org.criu.config";

/// `create`: waits for the images and restores. False where nothing is pending.
pub(crate) fn create(home: &Path, call: &Call) -> Result<bool, String> {
    let Some(pending) = call
        .id()
        .map(|id| Pending::find(home, id))
        .transpose()?
        .flatten()
    else {
        return Ok(false);
    };
    let options = pending.options()?;
    pending.claim()?;
    annotate(&call.bundle().join("config.json"), &pending, &options)?;
    gate::wait(
        &pending.path("gate"),
        Duration::from_secs(options.wait_seconds),
    )?;
    let mut command = Command::new(runc());
    command.args(restore_line(call, &pending, &options));
    let status = command
        .status()
        .map_err(|error| format!("runc cannot be started: {error}"))?;
    if !status.success() {
        let log = pending.path("work/restore.log");
        return Err(format!(
            "CRIU could not restore the container: {}",
            last_error(&log).unwrap_or_else(|| format!("see {}", log.display()))
        ));
    }
    if !call.has_terminal() {
        replay::print(&pending.path(crate::pending::REPLAY));
    }
    let pid_file = call.pid_file().ok_or("the engine wants no pid file")?;
    std::fs::copy(&pid_file, pending.path("pid"))
        .map_err(|error| format!("{}: {error}", pid_file.display()))?;
    Ok(true)
}

/// `start`: lets the restored processes go on. False where nothing was restored.
pub(crate) fn start(home: &Path, call: &Call) -> Result<bool, String> {
    let Some(pending) = call
        .id()
        .map(|id| Pending::find(home, id))
        .transpose()?
        .flatten()
    else {
        return Ok(false);
    };
    let pid = std::fs::read_to_string(pending.path("pid"))
        .map_err(|error| format!("the container was not restored: {error}"))?;
    let pid = pid
        .trim()
        .parse()
        .map_err(|_| format!("`{pid}` is no process id"))?;
    processes::let_go_on(pid)?;
    pending.remove();
    Ok(true)
}

fn restore_line(call: &Call, pending: &Pending, options: &Options) -> Vec<OsString> {
    let mut line = call.global().to_vec();
    line.extend(["restore".into(), "--detach".into()]);
    line.extend(call.for_restore());
    line.extend(["--image-path".into(), options.images.clone().into()]);
    line.extend(["--work-path".into(), pending.path("work").into()]);
    // The engine attaches the network after `create`, as for any start.
    line.extend(["--empty-ns".into(), "network".into()]);
    // Frees each page of the images, which are in memory, as it is restored: one copy of it is enough.
    line.push("--auto-dedup".into());
    if options.tcp_established {
        line.push("--tcp-established".into());
    }
    line.push(call.id().unwrap_or_default().into());
    line
}

/// Tells CRIU, through the bundle, to leave the processes stopped.
fn annotate(config: &Path, pending: &Pending, options: &Options) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", config.display());
    let criu = pending.path("criu.conf");
    let mut text = "leave-stopped\n".to_owned();
    if options.tcp_established {
        text.push_str("tcp-established\n");
    }
    std::fs::write(&criu, text).map_err(|error| format!("{}: {error}", criu.display()))?;
    let bytes = std::fs::read(config).map_err(|error| said(&error))?;
    let mut spec: Value = serde_json::from_slice(&bytes).map_err(|error| said(&error))?;
    if !spec["annotations"].is_object() {
        spec["annotations"] = serde_json::json!({});
    }
    spec["annotations"][CRIU_CONFIG] = criu.to_string_lossy().into();
    std::fs::write(config, spec.to_string()).map_err(|error| said(&error))
}

/// The last line in which CRIU says what went wrong, before the lines that only say that it failed.
fn last_error(log: &Path) -> Option<String> {
    let text = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text);
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("Error (") && !line.contains("cg: cgroupd: recv req error"))
        .collect();
    let telling = errors
        .iter()
        .find(|line| !line.contains("rlimit: Can't setup RLIMIT_NOFILE"));
    telling.or(errors.last()).map(|line| (*line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    struct Stage {
        dir: tempfile::TempDir,
        home: PathBuf,
    }

    /// A pending container, and a runc that writes down how it was called.
    fn stage() -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("restore");
        let folder = home.join("abc");
        std::fs::create_dir_all(folder.join("work")).unwrap();
        let options = Options {
            images: dir.path().join("img"),
            wait_seconds: 20,
            tcp_established: false,
        };
        std::fs::write(
            folder.join("options.json"),
            serde_json::to_vec(&options).unwrap(),
        )
        .unwrap();
        std::fs::write(dir.path().join("config.json"), r#"{"ociVersion":"1.0"}"#).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        Stage { dir, home }
    }

    #[test]
    fn the_line_that_restores() {
        let stage = stage();
        let pending = Pending::find(&stage.home, "abc").unwrap().unwrap();
        let args: Vec<OsString> = "--root /r --log /l create --bundle /b --pid-file /p abc"
            .split(' ')
            .map(OsString::from)
            .collect();
        let line = restore_line(&Call::parse(&args), &pending, &pending.options().unwrap());
        let line: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
        let dir = stage.dir.path().display();
        assert_eq!(
            line.join(" "),
            format!(
                "--root /r --log /l restore --detach --bundle /b --pid-file /p --image-path {dir}/img --work-path {dir}/restore/abc/work --empty-ns network --auto-dedup abc"
            )
        );
    }

    #[test]
    fn the_bundle_names_a_configuration_for_this_container_alone() {
        let stage = stage();
        let pending = Pending::find(&stage.home, "abc").unwrap().unwrap();
        let config = stage.dir.path().join("config.json");
        annotate(&config, &pending, &pending.options().unwrap()).unwrap();
        let spec: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        assert_eq!(spec["ociVersion"], "1.0");
        let criu = spec["annotations"][CRIU_CONFIG].as_str().unwrap();
        assert_eq!(std::fs::read_to_string(criu).unwrap(), "leave-stopped\n");
    }

    #[test]
    fn what_was_not_restored_is_not_started() {
        let stage = stage();
        let args = ["start".into(), "abc".into()];
        let why = start(&stage.home, &Call::parse(&args)).unwrap_err();
        assert!(why.contains("not restored"), "{why}");
        let other = ["start".into(), "other".into()];
        assert!(!start(&stage.home, &Call::parse(&other)).unwrap());
    }

    #[test]
    fn the_telling_line_of_criu() {
        let stage = stage();
        let log = stage.dir.path().join("restore.log");
        std::fs::write(
            &log,
            "(00.1) Error (criu/rlimit.c:1): rlimit: Can't setup RLIMIT_NOFILE for self\n\
             (00.2) Error (criu/files-reg.c:2): File bin/x has bad size 1 (expect 2)\n\
             (00.3) Error (criu/cr-restore.c:3): Restoring FAILED.\n",
        )
        .unwrap();
        assert!(last_error(&log).unwrap().contains("bad size"));
        assert_eq!(last_error(Path::new("/no/such/log")), None);
    }
}
