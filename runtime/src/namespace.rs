//! Work in the network namespace of a process.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

/// Does something in the network namespace of a process, in a thread of its own; programs that it starts are in
/// there too. What `/proc/thread-self/net` and `/proc/sys/net` say is said of that namespace, `/sys` is not.
pub(crate) fn within<T: Send>(
    pid: i32,
    work: impl FnOnce() -> Result<T, String> + Send,
) -> Result<T, String> {
    inside(Path::new(&format!("/proc/{pid}/ns/net")), work)
}

/// The same in the network namespace that has a path.
pub(crate) fn inside<T: Send>(
    path: &Path,
    work: impl FnOnce() -> Result<T, String> + Send,
) -> Result<T, String> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let namespace = File::open(path).map_err(|error| said(&error))?;
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| said(&error))?;
            work()
        });
        let ended = there.join();
        ended.unwrap_or_else(|_| Err("the thread in the container's network ended".to_owned()))
    })
}

/// Runs a program with an input; returns what it printed.
pub(crate) fn run(program: &str, args: &[&str], input: &str) -> Result<Vec<u8>, String> {
    let said = |error: &dyn std::fmt::Display| format!("{program}: {error}");
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| said(&error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it says by its status how it went.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| said(&error))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(said(&format!("{}: {}", output.status, why.trim())))
}
