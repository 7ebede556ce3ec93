//! The processes of a container.

use super::{Inmate, count, some, who};
use crate::check::catalogue::{Check, meta};
use crate::check::verdict::{Group, Outcome};
use host::facts::container::Process;
use semver::Version;
use std::collections::BTreeSet;

pub(super) fn checks<'p>() -> Vec<Check<Inmate<'p>>> {
    vec![
        Check::new(
            meta(
                "container.running",
                Group::Container,
                "The container runs",
                "the engine's description and /proc. It fails where there is no such container, or where it is stopped or paused",
                "only a running container can be checkpointed, and only then can be seen what it has open",
                "start it, or look for its name with `docker ps -a` or `podman ps -a`",
            ),
            running,
        ),
        Check::new(
            meta(
                "container.facts",
                Group::Container,
                "What is seen of it can be read",
                "whether a parser of transship's broke down on what was seen of the container. It warns where one did; the rest is judged",
                "checks that hang on such a part take it for missing",
                "report it, with the output of `transship doctor --json`",
            ),
            |inmate: &Inmate<'_>| crate::check::host::read(&inmate.container.broken),
        ),
        Check::new(
            meta(
                "container.ptrace",
                Group::Container,
                "Nobody traces its processes",
                "TracerPid of each process. It fails where one is traced by a debugger or strace",
                "CRIU stops processes by tracing them, and a process has one tracer at most",
                "end the debugger or strace",
            ),
            ptrace,
        ),
        Check::new(
            meta(
                "container.exec",
                Group::Container,
                "All its processes descend from its first one",
                "the parent of each process. It warns where one came in by `exec`",
                "CRIU checkpoints the first process and its descendants; what came in by exec is not part of it, and ends with the source",
                "let the command that was started by exec end first",
            ),
            exec,
        ),
        Check::new(
            meta(
                "container.sleep",
                Group::Container,
                "It is no mere busybox sleep",
                "name and file of its first process. It fails where that is `sleep` of busybox or toybox, which do not sleep on when they are woken; that of coreutils does",
                "a sleep that CRIU interrupts ends early (EINTR), on the source too: the program then ends, and the container with it",
                "run it with something that goes on: `tail -f /dev/null`, or `sh -c 'while :; do sleep 3600; done'`",
            ),
            sleep,
        ),
        Check::new(
            meta(
                "container.terminal",
                Group::Container,
                "It has no terminal",
                "the engine's description, and terminals that processes have open (/dev/pts). It warns where there is one from outside, and fails with Docker before 19.03, which cannot restore one. Terminals that the container opened for itself go along with both ends",
                "the other end of a terminal is held by the engine outside of the container; CRIU has to be told to connect it anew, which engines do with their own restores only",
                "run it without -t if nobody sits at it",
            ),
            terminal,
        ),
        Check::new(
            meta(
                "container.cpu-state",
                Group::Container,
                "Its processes use no instructions that the destination lacks",
                "when the kernel last saw AVX-512 state in a process (/proc/PID/arch_status), and the processor of the destination. It fails where it was used and the destination has none. Whether AMX is in use the kernel does not tell: it warns where the source's processor has it and the destination's does not",
                "registers that the processor lacks cannot be restored, and the next such instruction ends the program",
                "choose a destination with the same processor, or start the program so that it does without (GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F)",
            ),
            cpu_state,
        ),
        Check::new(
            meta(
                "container.seccomp",
                Group::Container,
                "Its seccomp filters can be checkpointed",
                "the seccomp mode of each process and CRIU's feature seccomp_filters. It fails where filters are in use and the feature is missing",
                "engines start containers under a seccomp filter, which CRIU reads from the kernel",
                "boot a kernel with CONFIG_SECCOMP_FILTER and CONFIG_CHECKPOINT_RESTORE, or run it with --security-opt seccomp=unconfined",
            ),
            seccomp,
        ),
    ]
}

fn running(inmate: &Inmate<'_>) -> Outcome {
    let Some(inspected) = inmate.inspected else {
        return Outcome::fail(format!("there is no container {} there", inmate.name))
            .found(format!(
                "neither Docker nor Podman of {} knows it",
                inmate.source.name
            ))
            .fix("docker ps -a")
            .fix("podman ps -a");
    };
    if inspected.paused() {
        return Outcome::fail(format!("{} is paused", inmate.name)).fix(format!(
            "{} unpause {}",
            inmate.engine(),
            inmate.name
        ));
    }
    if inmate.container.processes.is_empty() {
        return Outcome::fail(format!("{} does not run", inmate.name))
            .found(format!("its status is {}", inspected.status()))
            .fix(format!("{} start {}", inmate.engine(), inmate.name));
    }
    let processes = &inmate.container.processes;
    let threads: u32 = processes.iter().map(|process| process.threads).sum();
    let timers: usize = processes.iter().map(|process| process.timers).sum();
    Outcome::ok(format!(
        "{} runs: {}, {}, {}, {}",
        inmate.name,
        if processes.len() == 1 {
            "1 process".to_owned()
        } else {
            format!("{} processes", processes.len())
        },
        count(usize::try_from(threads).unwrap_or(usize::MAX), "thread"),
        count(timers, "timer"),
        count(inmate.files().count(), "open file")
    ))
}

/// Skips where nothing of the container could be seen.
fn each<'a>(
    inmate: &Inmate<'a>,
    which: impl Fn(&Process) -> bool,
) -> Result<Vec<&'a Process>, Outcome> {
    if inmate.container.processes.is_empty() {
        return Err(Outcome::skip("the container does not run"));
    }
    let processes = inmate.container.processes.iter();
    Ok(processes.filter(|process| which(process)).collect())
}

fn ptrace(inmate: &Inmate<'_>) -> Outcome {
    match each(inmate, |process| process.tracer != 0) {
        Err(skip) => skip,
        Ok(traced) if traced.is_empty() => Outcome::ok("no process is traced"),
        Ok(traced) => {
            let said: Vec<String> = traced
                .iter()
                .map(|process| format!("{} is traced by process {}", who(process), process.tracer))
                .collect();
            Outcome::fail("a process is traced").found(some(&said))
        }
    }
}

fn exec(inmate: &Inmate<'_>) -> Outcome {
    let inside: BTreeSet<u32> = inmate.container.processes.iter().map(|p| p.pid).collect();
    let outside = |process: &Process| {
        Some(process.pid) != inmate.container.pid && !inside.contains(&process.parent)
    };
    match each(inmate, outside) {
        Err(skip) => skip,
        Ok(strangers) if strangers.is_empty() => {
            Outcome::ok("all processes descend from the first one")
        }
        Ok(strangers) => {
            let said: Vec<String> = strangers.iter().map(|process| who(process)).collect();
            Outcome::warn("a process came in by exec and will not be moved").found(some(&said))
        }
    }
}

fn sleep(inmate: &Inmate<'_>) -> Outcome {
    let first = |process: &Process| Some(process.pid) == inmate.container.pid;
    let sleeps = |process: &&Process| {
        let file = process.program.rsplit('/').next();
        process.name == "sleep" && matches!(file, Some("busybox" | "toybox"))
    };
    match each(inmate, first) {
        Err(skip) => skip,
        Ok(first) => match first.into_iter().find(sleeps) {
            None => Outcome::ok("its first process does more than to sleep"),
            Some(process) => Outcome::fail("the container would end as soon as it is checkpointed")
                .found(format!("{} is {}", who(process), process.program)),
        },
    }
}

fn terminal(inmate: &Inmate<'_>) -> Outcome {
    let Some(inspected) = inmate.inspected else {
        return Outcome::skip("the container does not run");
    };
    // Who has opened /dev/ptmx holds the other end of its terminals inside.
    let own = inmate.files().any(|(_, file)| is_master(&file.target));
    let open = inmate.open(|file| {
        file.target == "/dev/console"
            || file.target.starts_with("/dev/pts/") && !is_master(&file.target)
    });
    if !inspected.tty() && (open.is_empty() || own) {
        return Outcome::ok(match open.len() {
            0 => "the container has no terminal".to_owned(),
            _ => "the container has terminals of its own, both ends of them inside".to_owned(),
        });
    }
    let found = if inspected.tty() {
        "it was created with --tty (-t)".to_owned()
    } else {
        format!("{}, whose other end is outside", some(&open))
    };
    let docker = inmate.source.docker().filter(|_| !inmate.podman());
    match docker {
        Some(docker) if docker.version.as_ref().is_some_and(|version| *version < Version::new(19, 3, 0)) => {
            Outcome::fail("the container has a terminal, which this Docker cannot restore")
                .found(format!("{found}; Docker {}", docker.text))
                .because("Docker before 19.03 gives a restored container no terminal: `cannot allocate tty if runc will detach without setting console socket`")
        }
        _ => Outcome::warn("the container has a terminal").found(found),
    }
}

fn is_master(path: &str) -> bool {
    matches!(path, "/dev/ptmx" | "/dev/pts/ptmx")
}

fn cpu_state(inmate: &Inmate<'_>) -> Outcome {
    let Some((destination, _)) = &inmate.destination else {
        return Outcome::skip("no destination was named");
    };
    let Some(cpu) = &destination.facts.cpu else {
        return Outcome::skip("the destination's processor is not known");
    };
    let source = inmate.source.facts.cpu.as_ref();
    let amx = source.is_some_and(|source| source.flags.contains("amx_tile"));
    let no_amx = amx && !cpu.flags.contains("amx_tile");
    match each(inmate, |process| process.avx512.is_some()) {
        Err(skip) => skip,
        Ok(users) if no_amx && (users.is_empty() || cpu.flags.contains("avx512f")) => {
            Outcome::warn("whether a process uses AMX is not known, and the destination has none")
                .found(format!(
                    "amx_tile on {}, not on {}",
                    inmate.source.name, destination.name
                ))
                .because("a program that has asked for AMX (libraries for machine learning do) ends with an illegal instruction where it is missing")
                .fix("choose a destination with AMX, or go on if the program does no such thing")
        }
        Ok(users) if users.is_empty() => Outcome::ok("no process has AVX-512 state"),
        Ok(_) if cpu.flags.contains("avx512f") => {
            Outcome::ok("the destination has AVX-512, which is in use")
        }
        Ok(users) => {
            let said: Vec<String> = users.iter().map(|process| who(process)).collect();
            Outcome::fail("a process uses AVX-512, and the destination has none").found(some(&said))
        }
    }
}

fn seccomp(inmate: &Inmate<'_>) -> Outcome {
    let filtered = match each(inmate, |process| process.seccomp == 2) {
        Err(skip) => return skip,
        Ok(filtered) => filtered.len(),
    };
    if filtered == 0 {
        return Outcome::ok("no process is under a seccomp filter");
    }
    let feature = inmate
        .source
        .criu
        .map(|criu| criu.feature("seccomp_filters"));
    match feature {
        Some(host::facts::criu::Feature::Missing) => {
            Outcome::fail("seccomp filters are in use, and CRIU cannot read them").found(format!(
                "{filtered} processes under a filter; seccomp_filters is missing"
            ))
        }
        _ => Outcome::ok(format!(
            "{} under a seccomp filter, which CRIU can read",
            if filtered == 1 {
                "1 process is".to_owned()
            } else {
                format!("{filtered} processes are")
            }
        )),
    }
}
