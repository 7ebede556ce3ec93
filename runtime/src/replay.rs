//! Printing what the container printed last where it came from, so that the engine's log has it.
//!
//! Our standard output and error are those of the container, but with a terminal. Until `create` has returned
//! nobody reads them, and more than a pipe holds must not block: then a process of its own prints, and the
//! container goes on once it has, in `start`.

use crate::pending::{Pending, REPLAY};
use serde::Deserialize;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a pipe holds at the least (pipe(7)).
const ROOM: usize = 64 * 1024;
/// Major number of the terminals of containers (Linux, `Documentation/admin-guide/devices.txt`).
const TERMINALS: u64 = 136;
/// Name of the file with the process id of the process that prints.
const PRINTING: &str = "printing";
/// How long the container waits for it. After that it goes on, and lines of both may be mixed.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);

/// A line of the json-file log driver.
#[derive(Deserialize)]
struct Line {
    log: String,
    stream: String,
}

/// Prints the lines that are there to be printed, where the container's output goes.
pub(crate) fn print(pending: &Pending) -> Result<(), String> {
    let Ok(text) = std::fs::read(pending.path(REPLAY)) else {
        return Ok(());
    };
    let (out, err) = split(&text);
    if out.len().max(err.len()) > ROOM {
        return pour(pending, &out, &err, Stdio::inherit(), Stdio::inherit());
    }
    // As nobody reads, there is room.
    let _ = std::io::stdout()
        .write_all(&out)
        .and_then(|()| std::io::stdout().flush());
    let _ = std::io::stderr().write_all(&err);
    Ok(())
}

/// The same for a container with a terminal, which its first process has open.
pub(crate) fn print_on_terminal(pending: &Pending, first: i32) -> Result<(), String> {
    let Ok(text) = std::fs::read(pending.path(REPLAY)) else {
        return Ok(());
    };
    let (out, _) = split(&text);
    match (0..=2).find_map(|number| terminal(first, number)) {
        Some(terminal) if !out.is_empty() => {
            let plain = as_printed(&out);
            pour(pending, &plain, &[], terminal.into(), Stdio::null())
        }
        _ => Ok(()),
    }
}

/// The terminal that a process has as this descriptor, if it is one.
fn terminal(pid: i32, number: i32) -> Option<File> {
    let path = format!("/proc/{pid}/fd/{number}");
    let is_one = |meta: std::fs::Metadata| {
        meta.file_type().is_char_device() && rustix::fs::major(meta.rdev()) as u64 == TERMINALS
    };
    if !std::fs::metadata(&path).is_ok_and(is_one) {
        return None;
    }
    let flags = rustix::fs::OFlags::NOCTTY.bits();
    let file = File::options()
        .write(true)
        .custom_flags(flags as i32)
        .open(&path)
        .ok()?;
    // It may have become another meanwhile.
    file.metadata().is_ok_and(is_one).then_some(file)
}

/// What was printed, without the carriage returns that a terminal puts before each end of a line and will
/// put there again.
fn as_printed(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if *byte == b'\n' && plain.last() == Some(&b'\r') {
            plain.pop();
        }
        plain.push(*byte);
    }
    plain
}

/// What went to standard output, and what to standard error.
fn split(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    for line in text.split(|byte| *byte == b'\n') {
        if let Ok(Line { log, stream }) = serde_json::from_slice(line) {
            let to = if stream == "stderr" {
                &mut err
            } else {
                &mut out
            };
            to.extend_from_slice(log.as_bytes());
        }
    }
    (out, err)
}

/// Starts a process that prints all of it, however long that takes.
fn pour(
    pending: &Pending,
    out: &[u8],
    err: &[u8],
    stdout: Stdio,
    stderr: Stdio,
) -> Result<(), String> {
    let files = [pending.path("replay.out"), pending.path("replay.err")];
    for (file, bytes) in files.iter().zip([out, err]) {
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .and_then(|mut new| new.write_all(bytes))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let child = Command::new("sh")
        .args(["-c", r#"cat "$1" & cat "$2" >&2; wait"#, "sh"])
        .args(files)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(|error| format!("what it printed last cannot be printed: {error}"))?;
    let path = pending.path(PRINTING);
    std::fs::write(&path, child.id().to_string())
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Waits until all was printed.
pub(crate) fn wait(pending: &Pending) {
    let Ok(pid) = std::fs::read_to_string(pending.path(PRINTING)) else {
        return;
    };
    let stat = format!("/proc/{}/stat", pid.trim());
    let since = Instant::now();
    while lives(Path::new(&stat)) && since.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
    }
}

/// One that ended and was not asked for its status does not.
fn lives(stat: &Path) -> bool {
    std::fs::read_to_string(stat)
        .is_ok_and(|text| !text.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn lines_go_where_they_went() {
        let text = b"{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"t\"}\n{\"log\":\"two\\n\",\"stream\":\"stderr\"}\nbroken\n";
        assert_eq!(split(text), (b"one\n".to_vec(), b"two\n".to_vec()));
        assert_eq!(as_printed(b"a\r\nb\rc\n\r\n"), b"a\nb\rc\n\n");
    }

    #[test]
    fn all_of_it_is_printed_however_much_it_is_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pending = Pending::at(dir.path()).unwrap();
        wait(&pending);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let bytes = "0123456789\n".repeat(1 << 18).into_bytes();
        pour(&pending, &bytes, b"", writer.into(), Stdio::null()).unwrap();
        let read = std::thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read
        });
        wait(&pending);
        assert!(read.join().unwrap() == bytes);
    }

    #[test]
    fn what_is_no_terminal_is_left_alone() {
        let ours = std::process::id().try_into().unwrap();
        let file = tempfile::tempfile().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert!(terminal(ours, number).is_none());
        let null = File::open("/dev/null").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&null);
        assert!(terminal(ours, number).is_none());
    }
}
