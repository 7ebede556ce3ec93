//! What no mode can move although CRIU dumps it: a container that merely sleeps.

use crate::Failure;
use engine::Container;
use host::{Cmd, Host};

/// It is no mere `sleep` of busybox or toybox: a sleep that CRIU interrupts ends early (criu, `compel/arch/x86/src/lib/infect.c`:
/// ERESTART_RESTARTBLOCK becomes EINTR), on the source too, and with these the program and its container.
pub(crate) fn does_not_merely_sleep(host: &dyn Host, container: &Container) -> Result<(), Failure> {
    let Some(first) = container.pid() else {
        return Ok(());
    };
    let script = r#"cat "/proc/$1/comm"; readlink "/proc/$1/exe"; true"#;
    let found = host.text(&Cmd::reads("sh").args(["-c", script, "sh", &first.to_string()]))?;
    let mut lines = found.lines();
    let name = lines.next();
    let program = lines.next().unwrap_or_default();
    if name != Some("sleep") || !["busybox", "toybox"].contains(&file_name(program)) {
        return Ok(());
    }
    let (on, name) = (host.name(), container.name());
    Err(Failure::refused(
        on,
        format!("{name} on {on} is a mere sleep ({program}): a checkpoint wakes it, and it ends, on {on} too"),
    )
    .fix(format!("run something that goes on, with the options that {name} has: docker run IMAGE tail -f /dev/null")))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
