//! How a frozen source is made to go on.

use super::network;
use crate::context::Context;
use crate::layout::{Layout, WentOn};
use crate::pipeline::Doubt;
use crate::{ask, leftover};
use engine::{Container, Kind, Name};
use host::Cmd;
use std::time::{Duration, Instant};

/// How long an engine may take to end a container whose shim was killed.
const ENDED: Duration = Duration::from_secs(5);

/// The commands that let the frozen source go on, in order: first whoever dumps it must have ended. At the end
/// its neighbours are told where it is: the destination may have told them already that it is there.
pub(crate) fn cmds(container: &Container, name: &Name) -> Vec<Cmd> {
    let own = container.pid();
    let own = own.filter(|_| container.has_own_network_namespace());
    let mut cmds = vec![ended(name)];
    cmds.extend(own.map(network::unlock));
    cmds.push(container.kind().unpause(name));
    cmds.extend(own.map(network::announce));
    cmds
}

/// Waits until whoever dumps it has ended.
pub(crate) fn ended(name: &Name) -> Cmd {
    let wait = leftover::ENDS.as_secs().to_string();
    Cmd::changes("flock")
        .args(["-w", &wait, &leftover::held(name), "true"])
        .timeout(leftover::ENDS + Duration::from_secs(10))
}

/// The same, to be pasted.
pub(crate) fn line(container: &Container, name: &Name) -> String {
    let lines: Vec<String> = cmds(container, name).iter().map(Cmd::line).collect();
    lines.join("; ")
}

/// Lets the source go on, and proves that it did. Of one that ended while it stood frozen, or before if that is not
/// known, there is nothing to be undone but what was made for its move: that is said at the end.
pub(super) fn go_on(context: &mut Context, stood_still: bool) -> Result<(), Doubt> {
    let thawed = if context.source_done {
        // An earlier undo did that.
        Ok(())
    } else {
        thaw(context)
    };
    let patience = if thawed.is_ok() {
        Duration::ZERO
    } else {
        ENDED
    };
    if !ends(context, patience) {
        context.measured.stood_still = thawed.is_ok();
        if thawed.is_ok() {
            watched(context);
        }
        return thawed;
    }
    let state = ask::state(&*context.source.host, context.kind(), &context.name);
    if state.is_ok_and(|state| state.running && state.pid != context.container.pid()) {
        context.measured.started_anew = true;
        return Ok(());
    }
    let now = ask::container(&*context.source.host, context.kind(), &context.source_id());
    if !stood_still && matches!(now, Ok(None)) {
        context.measured.last_sign_on_source = None;
        return Ok(());
    }
    let (name, source) = (&context.name, context.source.name());
    let (before, why) = if stood_still {
        ("", "its shim")
    } else {
        (", or before", "by itself, or its shim")
    };
    context.measured.ended = Some(Doubt {
        what: format!(
            "{name} runs nowhere: on {source} it ended while it stood frozen{before}: {why} was killed, say, or CRIU while it was at work in it. Lost is what it kept in memory; its files and its log are on {source} as they were then"
        ),
        fix: vec![format!(
            "to start it anew, on {source}: {}",
            start_anew(context)
        )],
    });
    Ok(())
}

/// Warns where it goes on without its conmon: Podman lets it, but nobody reads what it prints.
fn watched(context: &mut Context) {
    let Some(conmon) = context.container.conmon() else {
        return;
    };
    let script = r#"[ "$(cat "/proc/$1/comm")" = conmon ]"#;
    let cmd = Cmd::reads("sh").args(["-c", script, "sh", &conmon.to_string()]);
    let gone = context.source.host.run(&cmd);
    if gone.is_ok_and(|output| output.status == 1) {
        let (name, on) = (&context.name, context.source.name());
        context.warn(format!(
            "conmon, which Podman has beside {name} on {on}, was killed: what {name} prints is lost, and Podman does not notice its end; to start it anew, without its memory, on {on}: podman stop {name}; podman start {name}"
        ));
    }
}

/// What starts a source anew that has ended. Where the shim was killed, Docker's containerd and runc keep what they
/// would make for it: they do not wait for the end of what CRIU still holds.
pub(super) fn start_anew(context: &Context) -> String {
    let line = context.kind().start(&context.name).line();
    if context.kind() == Kind::Podman {
        return line;
    }
    let tasks = "io.containerd.runtime.v2.task/moby";
    let id = context.container.id();
    let root = context.source.engine.runc_root(context.container.runtime());
    format!(
        "{line} || {{ runc --root {root} delete --force {id}; rm -r --one-file-system /run/docker/containerd/daemon/{tasks}/{id} || rm -r --one-file-system /run/containerd/{tasks}/{id}; {line}; }}"
    )
}

/// Whether the source's first process ends, or has ended, within so long. That nobody can say is no.
pub(super) fn ends(context: &Context, within: Duration) -> bool {
    let until = Instant::now() + within;
    let Some(pid) = context.container.pid() else {
        return false;
    };
    let another = |now: &Layout| {
        let before = context.layout.as_ref();
        before.is_some_and(|before| before.compare(now) == WentOn::StartedAnew)
    };
    loop {
        match Layout::read(&*context.source.host, pid) {
            Ok(None) => return true,
            // Another has its number by now.
            Ok(Some(now)) if another(&now) => return true,
            Err(_) => return false,
            Ok(_) if Instant::now() >= until => return false,
            Ok(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn thaw(context: &Context) -> Result<(), Doubt> {
    let cmds = cmds(&context.container, &context.name);
    let (name, source) = (context.name.clone(), context.source.name().to_owned());
    let line = line(&context.container, &name);
    let doubt = |why: String| Doubt {
        what: format!(
            "{name} stands frozen on {source} and could not be thawed: {why}; it runs nowhere else"
        ),
        fix: vec![format!("on {source}: {line}")],
    };
    let host = &context.source.host;
    for cmd in &cmds {
        let mut output = host.run(cmd).map_err(|error| doubt(error.to_string()))?;
        if output.status != 0
            && output.stderr_text().contains(RUNTIME_DISAGREES)
            && let root = context.source.engine.runc_root(context.container.runtime())
            && let Some(refreeze) = refreeze(&root, &context.container)
        {
            // Whether that worked shows at once: the engine thaws it, or not.
            output = host
                .run(&refreeze)
                .and_then(|_| host.run(cmd))
                .map_err(|error| doubt(error.to_string()))?;
        }
        let harmless = output.stderr_text().contains("is not paused");
        if output.status != 0 && !harmless {
            return Err(doubt(output.stderr_text().trim().to_owned()));
        }
    }
    let state = ask::state(&*context.source.host, context.kind(), &name)
        .map_err(|error| doubt(error.what))?;
    if !state.running || state.paused {
        return Err(doubt("the engine does not see it running".into()));
    }
    Ok(())
}

/// What the engine's runtime says where the engine takes the container for frozen and the kernel does not: a
/// CRIU that ends half-way (killed, out of memory) had thawed it for the dump.
pub(crate) const RUNTIME_DISAGREES: &str = "container not paused";

/// Freezes the container anew, cleanly, so that the engine can thaw it. What is left half frozen by a CRIU that
/// ended, or is thawed already, is thawed first: runc takes neither for frozen.
pub(crate) fn refreeze(runc_root: &str, container: &Container) -> Option<Cmd> {
    let script = format!("{MELT}\nexec runc --root \"$2\" pause \"$3\"\n");
    let pid = container.pid()?.to_string();
    Some(Cmd::changes("sh").args(["-c", &script, "sh", &pid, runc_root, container.id()]))
}

/// Lets process `$1` and all others of its control group go on, whoever froze them.
const MELT: &str = r#"
v1=$(sed -n 's/^[0-9]*:freezer://p' "/proc/$1/cgroup"); v2=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
if [ -n "$v1" ] && [ -e "/sys/fs/cgroup/freezer$v1/freezer.state" ]; then echo THAWED > "/sys/fs/cgroup/freezer$v1/freezer.state"
elif [ -e "/sys/fs/cgroup$v2/cgroup.freeze" ]; then echo 0 > "/sys/fs/cgroup$v2/cgroup.freeze"
fi"#;

/// Lets a container go on that the engine has not frozen, and that a CRIU left frozen which ended half-way.
pub(crate) fn melt(container: &Container) -> Option<Cmd> {
    let pid = container.pid()?.to_string();
    Some(Cmd::changes("sh").args(["-c", MELT, "sh", &pid]))
}
