//! Phase `transfer`: the tarball from one host to the other, counted and compared.

use super::archive;
use crate::context::{Context, SLOW, WireBytes};
use crate::event::Event;
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, Kind};
use host::{Cmd, HostError, Stream};
use sha2::{Digest, Sha256};
use std::io::Read as _;
use std::time::{Duration, Instant};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// Moves the tarball through this process: `cat` on one side, `cat` on the other.
pub(super) struct Transfer;

impl Phase for Transfer {
    fn name(&self) -> &'static str {
        "transfer"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "{} to {}",
            context.source.name(),
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let tarball = archive::path(context);
        let read = Cmd::follows("cat").arg(&tarball).timeout(SLOW);
        let write = r#"umask 077; cat > "$1" && sha256sum < "$1""#;
        let write = Cmd::changes("sh")
            .args(["-c", write, "sh", &tarball])
            .timeout(SLOW);
        let mut from = context.source.host.open(&read)?;
        let mut to = context.destination.host.open(&write)?;
        let (bytes, sum) = copy(context, &mut *from, &mut *to)?;
        to.close_stdin()
            .map_err(|error| lost(context.destination.name(), &write, &error))?;
        let mut said = String::new();
        to.read_to_string(&mut said)
            .map_err(|error| lost(context.destination.name(), &write, &error))?;
        // What crossed the network towards the destination is what its connection sent, or, where the
        // destination is this machine, what the source's connection received.
        context.measured.wire = match (to.wire(), from.wire()) {
            (Some((sent, received)), _) => Some(WireBytes { sent, received }),
            (None, Some((sent, received))) => Some(WireBytes {
                sent: received,
                received: sent,
            }),
            (None, None) => None,
        };
        context.measured.phase_bytes = Some(bytes);
        let read_end = from.finish()?;
        if read_end.status != 0 {
            return Err(HostError::failed(context.source.name(), &read, &read_end).into());
        }
        let write_end = to.finish()?;
        if write_end.status != 0 {
            return Err(HostError::failed(context.destination.name(), &write, &write_end).into());
        }
        if context.options.dry_run {
            return Ok(());
        }
        if Some(bytes) != context.measured.tarball_bytes
            || said.split_whitespace().next() != Some(&sum)
        {
            let destination = context.destination.name();
            return Err(Failure::failed(
                destination,
                format!("the tarball that arrived on {destination} is not the one that was sent ({bytes} bytes, sha256 {sum})"),
            )
            .fix("a disk or a memory module is at fault: look at `dmesg` on both hosts, then run the same command again"));
        }
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        Ok(())
    }
}

fn lost(host: &str, cmd: &Cmd, error: &std::io::Error) -> Failure {
    HostError::Lost {
        host: host.to_owned(),
        doing: cmd.line(),
        why: error.to_string(),
    }
    .into()
}

/// Copies all of `from` to `to`; returns the bytes and their SHA-256 in hexadecimal.
fn copy(
    context: &Context,
    from: &mut dyn Stream,
    to: &mut dyn Stream,
) -> Result<(u64, String), Failure> {
    let total = context.measured.tarball_bytes.unwrap_or(0);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut done = 0;
    let mut told = Instant::now();
    loop {
        if context.is_interrupted() {
            return Err(Failure::new(
                Kind::Interrupted,
                format!("interrupted during transfer, {done} of {total} bytes sent"),
            ));
        }
        let n = from
            .read(&mut buffer)
            .map_err(|error| lost(context.source.name(), &Cmd::reads("cat"), &error))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        if let Err(error) = to.write_all(&buffer[..n]) {
            return Err(write_failure(context, &error));
        }
        done += n as u64;
        if told.elapsed() >= TICK {
            told = Instant::now();
            context.tell(Event::Progress {
                phase: "transfer",
                done,
                total: Some(total),
            });
        }
    }
    let sum = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((done, sum))
}

/// A write that fails mostly means that `cat` ended: its disk is full.
fn write_failure(context: &Context, error: &std::io::Error) -> Failure {
    let destination = context.destination.name();
    let folder = crate::leftover::folder(&context.name);
    let free = context
        .destination
        .host
        .text(&Cmd::follows("df").args(["-hP", &folder]))
        .unwrap_or_default();
    Failure::failed(
        destination,
        format!("the tarball could not be written on {destination}: {error}\n{free}"),
    )
    .fix(format!(
        "make room below {folder} on {destination}, then run the same command again"
    ))
}
