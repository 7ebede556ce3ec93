//! Printing what the container printed last where it came from, so that the engine's log has it.
//!
//! Our standard output and error are those of the container. Until `create` has returned nobody reads
//! them: only as much as the pipe holds can be printed, and more must not block.

use rustix::pipe::fcntl_setpipe_size;
use serde::Deserialize;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

/// What a pipe holds unless told otherwise (pipe(7)).
const DEFAULT: usize = 64 * 1024;

/// A line of the json-file log driver.
#[derive(Deserialize)]
struct Line {
    log: String,
    stream: String,
}

/// Prints the lines of a file, if there is one.
pub(crate) fn print(file: &Path) {
    let Ok(text) = std::fs::read(file) else {
        return;
    };
    let (out, err) = split(&text);
    pour(&out, std::io::stdout());
    pour(&err, std::io::stderr());
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

/// The last lines that fit into the pipe.
fn pour(bytes: &[u8], mut to: impl Write + AsFd) {
    if bytes.is_empty() {
        return;
    }
    let room = match fcntl_setpipe_size(&to, bytes.len().max(DEFAULT)) {
        Ok(size) => size,
        // Beyond what users may ask for: the default holds.
        Err(_) => DEFAULT,
    };
    let cut = bytes.len().saturating_sub(room);
    let start = if cut == 0 {
        0
    } else {
        bytes[cut..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |at| cut + at + 1)
    };
    let _ = to.write_all(&bytes[start..]).and_then(|()| to.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn lines_go_where_they_went() {
        let text = b"{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"t\"}\n{\"log\":\"two\\n\",\"stream\":\"stderr\"}\nbroken\n";
        assert_eq!(split(text), (b"one\n".to_vec(), b"two\n".to_vec()));
    }

    #[test]
    fn more_than_a_pipe_holds_does_not_block() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let bytes = "0123456789\n".repeat(2 << 20).into_bytes();
        pour(&bytes, writer);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert!(
            read.starts_with("0123456789\n") && read.ends_with("9\n"),
            "{}",
            read.len()
        );
    }
}
