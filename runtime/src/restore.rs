//! `create` and `start` of a container that is restored.

use crate::call::Call;
use crate::hooks::{self, Attaching, Hook};
use crate::pending::{KEPT, LOCKED, Options, PID, Pending};
use crate::{
    announce, binds, cgroup, child, criu, door, gate, marks, network, processes, replay, runc,
};
use serde_json::Value;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// CRIU's configuration for the restore, in the pending folder.
const CRIU_CONF: &str = "criu.conf";

/// How long whoever fetches memory may take until it holds the user faults, and how often is looked.
const HOLD: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(1);

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
    let (network, attach) = configure(call, &pending, &options, cgroup::unified())?;
    if network == Network::There && options.tcp_established && !pending.path(LOCKED).exists() {
        return Err("its network was attached without having been locked first".to_owned());
    }
    let mut command = Command::new(runc());
    command.args(restore_line(call, &pending, &options, network));
    command.env(network::PENDING, pending.path(""));
    command.env(criu::CONFIG_FILE, pending.path(CRIU_CONF));
    let log = pending.path("work/restore.log");
    let ahead = match &options.descriptors {
        Some(descriptors) => Some(
            door::ahead(&mut command, &options.images, descriptors).map_err(|why| {
                let said = last_error(&log).unwrap_or_default();
                format!("CRIU could not restore the container: {why} {said}")
            })?,
        ),
        None => None,
    };
    let silence = Duration::from_secs(options.wait_seconds);
    let (gate, mut runc) = match (gate::wait(&pending.path("gate"), silence), ahead) {
        (Ok(gate), None) => (gate, child::spawn(&mut command)?),
        (Ok(gate), Some((runc, door))) => {
            // One that has ended since says so itself.
            let _ = door.open();
            (gate, runc)
        }
        (Err(why), None) => return Err(why),
        (Err(why), Some((mut runc, door))) => {
            drop(door);
            if !door::ended(&mut runc) {
                child::end(&mut runc);
            }
            return Err(why);
        }
    };
    let pid = child::number(&runc)?;
    let attaching = Attaching {
        hooks: &attach,
        id: call.id().unwrap_or_default(),
        bundle: &call.bundle(),
    };
    // Would the namespace have an interface before it has the sockets of its connections, it would answer with resets.
    let work = |first| match options.tcp_established {
        true => network::lock(first),
        false => attaching.run(first),
    };
    let wanted = network == Network::Later;
    let (status, worked) = std::thread::scope(|scope| {
        let mut begun = None;
        let status = child::watched(&mut runc, &gate, || {
            if wanted && begun.is_none() {
                begun = child::beside(pid, &work, scope);
            }
        })?;
        Ok::<_, String>((status, begun.map(child::Beside::join)))
    })?;
    if !status.success() {
        return Err(format!(
            "CRIU could not restore the container: {}",
            last_error(&log).unwrap_or_else(|| format!("see {}", log.display()))
        ));
    }
    let pid_file = call.pid_file().ok_or("the engine wants no pid file")?;
    if call.has_terminal() {
        replay::print_on_terminal(&pending, first(&pid_file)?)?;
    } else {
        replay::print(&pending)?;
    }
    match worked {
        Some(ended) => ended.map_err(|_| "the thread beside CRIU ended")??,
        None if wanted => work(first(&pid_file)?)?,
        None => {}
    }
    if options.tcp_established && wanted {
        network::take_back(first(&pid_file)?, &options)?;
        attaching.run(first(&pid_file)?)?;
    }
    marks::mark(&options.images, marks::RESTORED);
    // Others wait for it: it appears whole.
    let new = pending.path("pid.new");
    std::fs::copy(&pid_file, &new)
        .and_then(|_| std::fs::rename(&new, pending.path(PID)))
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
    let pid = first(&pending.path(PID))
        .map_err(|error| format!("the container was not restored: {error}"))?;
    let options = pending.options()?;
    marks::mark(&options.images, marks::STARTED);
    if options.lazy_pages {
        kept(&pending)?;
    }
    if options.tcp_established {
        network::open(pid)?;
    }
    replay::wait(&pending);
    processes::let_go_on(pid)?;
    if options.tcp_established {
        // That the neighbours are not told only costs time, and tables that let all through are in nobody's way.
        let _ = announce::announce(pid, false);
        let _ = network::begin_to_unlock(pid);
    }
    pending.remove();
    Ok(true)
}

/// The process id in a file.
fn first(file: &Path) -> Result<i32, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is no process id"))
}

/// Waits until the user faults of the container are held.
fn kept(pending: &Pending) -> Result<(), String> {
    let since = Instant::now();
    while !pending.path(KEPT).exists() {
        if since.elapsed() > HOLD {
            return Err("nobody fetches the memory of this container".to_owned());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn restore_line(
    call: &Call,
    pending: &Pending,
    options: &Options,
    network: Network,
) -> Vec<OsString> {
    let mut line = call.global().to_vec();
    line.extend(["restore".into(), "--detach".into()]);
    line.extend(call.for_restore());
    line.extend(["--image-path".into(), options.images.clone().into()]);
    line.extend(["--work-path".into(), pending.path("work").into()]);
    // Without it CRIU leaves out the locks that are in the images, and says nothing.
    line.push("--file-locks".into());
    if network == Network::Later {
        line.extend(["--empty-ns".into(), "network".into()]);
    }
    if options.lazy_pages {
        line.push("--lazy-pages".into());
    } else {
        // Frees each page of the images, which are in memory, as it is restored: one copy of it is enough.
        line.push("--auto-dedup".into());
    }
    if options.tcp_established {
        line.push("--tcp-established".into());
    }
    line.push(call.id().unwrap_or_default().into());
    line
}

/// Who makes the container's network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    /// The runtime; the engine attaches it to networks after `create`, as for any start (Docker).
    Later,
    /// The engine did (Podman), or another container, or it is the host's own.
    There,
}

impl Network {
    /// A namespace with a path is one that is there (OCI runtime-spec, config-linux.md).
    fn of(spec: &Value) -> Self {
        let list = spec["linux"]["namespaces"].as_array();
        let made = list.into_iter().flatten().any(|namespace| {
            namespace["type"] == "network" && namespace["path"].as_str().is_none_or(str::is_empty)
        });
        if made { Network::Later } else { Network::There }
    }
}

/// Writes down for CRIU that it is to leave the processes stopped, and which cgroup is theirs; says
/// what the bundle says of the network, and takes out of it what is to be called after the restore.
fn configure(
    call: &Call,
    pending: &Pending,
    options: &Options,
    unified: bool,
) -> Result<(Network, Vec<Hook>), String> {
    let config = call.bundle().join("config.json");
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", config.display());
    let criu = pending.path(CRIU_CONF);
    let mut text = "leave-stopped\n".to_owned();
    let bytes = std::fs::read(&config).map_err(|error| said(&error))?;
    let mut spec: Value = serde_json::from_slice(&bytes).map_err(|error| said(&error))?;
    let network = Network::of(&spec);
    if options.tcp_established {
        text.push_str("tcp-established\n");
        if network == Network::Later {
            let script = network::script()?;
            text.push_str(&format!("action-script {}\n", script.display()));
        }
    }
    let systemd = call.global().iter().any(|arg| arg == "--systemd-cgroup");
    if let Some(path) = cgroup::path(&spec, systemd).filter(|_| unified) {
        text.push_str(&format!("cgroup-root {path}\n"));
    }
    std::fs::write(&criu, text).map_err(|error| format!("{}: {error}", criu.display()))?;
    let attach = hooks::take(&mut spec);
    binds::follow_links(&mut spec);
    std::fs::write(&config, spec.to_string()).map_err(|error| said(&error))?;
    Ok((network, attach))
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
            addresses: Vec::new(),
            lazy_pages: false,
            descriptors: None,
        };
        std::fs::write(
            folder.join("options.json"),
            serde_json::to_vec(&options).unwrap(),
        )
        .unwrap();
        let spec = r#"{"ociVersion":"1.0","linux":{"cgroupsPath":"system.slice:docker:abc"}}"#;
        std::fs::write(dir.path().join("config.json"), spec).unwrap();
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
        let options = pending.options().unwrap();
        let there = restore_line(&Call::parse(&args), &pending, &options, Network::There);
        assert!(!there.contains(&"--empty-ns".into()));
        let line = restore_line(&Call::parse(&args), &pending, &options, Network::Later);
        let line: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
        let dir = stage.dir.path().display();
        assert_eq!(
            line.join(" "),
            format!(
                "--root /r --log /l restore --detach --bundle /b --pid-file /p --image-path {dir}/img --work-path {dir}/restore/abc/work --file-locks --empty-ns network --auto-dedup abc"
            )
        );
    }

    #[test]
    fn criu_has_a_configuration_that_does_not_stay_with_the_container() {
        let stage = stage();
        let pending = Pending::find(&stage.home, "abc").unwrap().unwrap();
        let config = stage.dir.path().join("config.json");
        let bundle = stage.dir.path().as_os_str().to_owned();
        let args = |systemd: &str| {
            [
                systemd.into(),
                "create".into(),
                "--bundle".into(),
                bundle.clone(),
                "abc".into(),
            ]
        };
        let said = |systemd: &str, unified: bool| {
            let options = pending.options().unwrap();
            let args = args(systemd);
            let call = Call::parse(&args);
            let (network, attach) = configure(&call, &pending, &options, unified).unwrap();
            assert!(attach.is_empty());
            assert_eq!(network, Network::There);
            let spec: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
            assert_eq!(spec["ociVersion"], "1.0");
            assert_eq!(spec["annotations"], Value::Null);
            std::fs::read_to_string(pending.path(CRIU_CONF)).unwrap()
        };
        assert_eq!(said("--systemd-cgroup", false), "leave-stopped\n");
        assert_eq!(
            said("--systemd-cgroup", true),
            "leave-stopped\ncgroup-root /system.slice/docker-abc.scope\n"
        );
        assert_eq!(said("--debug", true), "leave-stopped\n");
    }

    #[test]
    fn a_namespace_without_a_path_is_joined_to_networks_later() {
        let network = |list: &str| {
            let spec = format!(r#"{{"linux":{{"namespaces":[{{"type":"pid"}},{list}]}}}}"#);
            Network::of(&serde_json::from_str(&spec).unwrap())
        };
        assert_eq!(network(r#"{"type":"network"}"#), Network::Later);
        let path = r#"{"type":"network","path":"/run/netns/x"}"#;
        assert_eq!(network(path), Network::There);
        // The host's own.
        assert_eq!(network(r#"{"type":"ipc"}"#), Network::There);
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
