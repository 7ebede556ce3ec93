//! Podman's own way: checkpoint into an archive, copy it, restore from it.

use crate::document::{Mode, Phase, Row};
use crate::workload::NAME;
use host::{Cmd, Host};
use migrate::Failure;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const SLOW: Duration = Duration::from_secs(1800);
const ARCHIVE: &str = "/var/tmp/transship-bench.tar";

/// Moves the container; fills times and bytes of the row. The archive is removed on both hosts.
pub(crate) fn migrate(
    source: &dyn Host,
    destination: &dyn Host,
    row: &mut Row,
) -> Result<(), Failure> {
    let result = steps(source, destination, row);
    for host in [source, destination] {
        host.text(&Cmd::changes("rm").args(["-f", ARCHIVE]))?;
    }
    result
}

fn steps(source: &dyn Host, destination: &dyn Host, row: &mut Row) -> Result<(), Failure> {
    debug_assert_eq!(row.mode, Mode::Podman);
    let begin = Instant::now();
    let mut last = begin;
    let mut done = |row: &mut Row, name: &str| {
        let now = Instant::now();
        row.phases.push(Phase {
            name: name.to_owned(),
            seconds: (now - last).as_secs_f64(),
        });
        last = now;
    };
    let podman = |words: &[&str]| {
        Cmd::changes("podman")
            .args(words.iter().copied())
            .timeout(SLOW)
    };
    source.text(&podman(&[
        "container",
        "checkpoint",
        "--export",
        ARCHIVE,
        NAME,
    ]))?;
    done(row, "checkpoint");
    let (bytes, wire) = transfer(source, destination)?;
    row.file_bytes = Some(bytes);
    row.bytes_sent = wire.map(|(sent, _)| sent);
    row.bytes_received = wire.map(|(_, received)| received);
    done(row, "transfer");
    destination.text(&podman(&[
        "--runtime",
        "runc",
        "container",
        "restore",
        "--import",
        ARCHIVE,
    ]))?;
    done(row, "restore");
    row.downtime_seconds = Some(begin.elapsed().as_secs_f64());
    source.text(&podman(&["rm", "-f", NAME]))?;
    done(row, "clean");
    row.total_seconds = begin.elapsed().as_secs_f64();
    Ok(())
}

/// What was sent to a host and came back, encryption included.
type Wire = Option<(u64, u64)>;

/// Through this machine, as mode tarball sends its own. Returns the size, and what was on the wire to the
/// destination.
fn transfer(source: &dyn Host, destination: &dyn Host) -> Result<(u64, Wire), Failure> {
    let mut from = source.open(&Cmd::reads("cat").arg(ARCHIVE).timeout(SLOW))?;
    let write = Cmd::changes("sh").args([
        "-c",
        "umask 077; cat > \"$1\"",
        "write-the-archive",
        ARCHIVE,
    ]);
    let mut to = destination.open(&write.timeout(SLOW))?;
    let lost = |host: &dyn Host, error: std::io::Error| {
        Failure::failed(host.name(), format!("copying the archive: {error}"))
    };
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let count = from
            .read(&mut buffer)
            .map_err(|error| lost(source, error))?;
        if count == 0 {
            break;
        }
        to.write_all(&buffer[..count])
            .map_err(|error| lost(destination, error))?;
        bytes += count as u64;
    }
    to.close_stdin().map_err(|error| lost(destination, error))?;
    // It prints nothing: its end, and then all of it was on the wire.
    to.read(&mut buffer)
        .map_err(|error| lost(destination, error))?;
    let wire = to.wire();
    for (host, stream) in [(source, from), (destination, to)] {
        let output = stream.finish()?;
        if output.status != 0 {
            let why = output.stderr_text().trim().to_owned();
            return Err(Failure::failed(
                host.name(),
                format!("copying the archive: {why}"),
            ));
        }
    }
    Ok((bytes, wire))
}
