//! What a container printed where it came from, kept there when the container is removed.

use crate::Failure;
use crate::context::{Context, SLOW};
use engine::Name;
use host::{Cmd, HostError};

/// Where it is kept.
const LOGS: &str = "/var/lib/transship/logs";

/// Writes what the engine still has of the source's output into a file on the source; its path.
pub(crate) fn keep(context: &Context, id: &Name) -> Result<String, Failure> {
    let log = format!("{LOGS}/{}-{}.log", context.name, &id.as_str()[..12]);
    let script = r#"umask 077; mkdir -p "$1" && "$4" logs --timestamps "$3" > "$2" 2>&1 || { cat "$2" >&2; rm -f "$2"; exit 1; }"#;
    let program = context.kind().program();
    let cmd = Cmd::changes("sh")
        .args(["-c", script, "sh", LOGS, &log, id.as_str(), program])
        .timeout(SLOW);
    context.source.host.text(&cmd)?;
    Ok(log)
}

/// Of a container that is moved with its log: keeps what of it was not moved, and says so.
pub(crate) fn keep_rest(context: &mut Context, id: &Name) -> Result<(), Failure> {
    let (driver, on) = (context.container.log_driver(), context.source.name());
    let why = match context.source.engine.log_file(&context.container) {
        // Drivers that keep nothing.
        None if driver == "none" => return Ok(()),
        None => format!("its log driver {driver} keeps it where no other host can go on with it"),
        Some(file) if has_older(context, &file)? => {
            "of it, the files that the engine had put away (max-file) were not moved".to_owned()
        }
        Some(_) => return Ok(()),
    };
    let (name, on) = (context.name.clone(), on.to_owned());
    let text = match keep(context, id) {
        Ok(log) => format!("what {name} printed on {on} is kept there in {log}: {why}"),
        Err(failure) => format!(
            "what {name} printed on {on} could not be kept: {why}; {}",
            failure.what
        ),
    };
    context.warn(text);
    Ok(())
}

/// Whether the engine put away files of this log.
fn has_older(context: &Context, file: &str) -> Result<bool, HostError> {
    let script = r#"for old in "$1".*; do [ ! -e "$old" ] || exit 0; done; exit 1"#;
    let cmd = Cmd::reads("sh").args(["-c", script, "sh", file]);
    Ok(context.source.host.run(&cmd)?.status == 0)
}
