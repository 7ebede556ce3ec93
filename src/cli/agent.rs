//! `transship agent`: what a migration starts on its two hosts.

use crate::exit;
use agent::{AgentError, Result};
use clap::{Args as ClapArgs, Subcommand};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::fd::AsFd;

/// Run by `migrate` on the two hosts; its standard input says what to do
#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    side: Side,
}

#[derive(Subcommand)]
enum Side {
    /// On the source
    Send,
    /// On the destination
    Receive,
    /// On the source, what its engine prints of an image
    Save,
    /// On the destination, into its engine
    Load,
    /// On the destination, beside the one that receives
    Keep,
}

pub fn run(args: &Args) -> u8 {
    let Ok(mut input) = input() else {
        return exit::FAILED;
    };
    let result = match args.side {
        Side::Send => {
            job(&mut input).and_then(|job| agent::send(&job, input, BufWriter::new(output()?)))
        }
        Side::Receive => {
            job(&mut input).and_then(|job| agent::receive(&job, input, &mut std::io::stdout()))
        }
        Side::Save => {
            job(&mut input).and_then(|job| agent::save(&job, input, BufWriter::new(output()?)))
        }
        Side::Load => {
            job(&mut input).and_then(|job| agent::load(&job, input, &mut std::io::stdout()))
        }
        Side::Keep => {
            job(&mut input).and_then(|job| agent::keep(&job, &mut input, &mut std::io::stdout()))
        }
    };
    match result {
        Ok(()) => exit::OK,
        Err(error) => {
            // Whoever started us shows it; there may be nobody any more.
            let _ = writeln!(std::io::stderr(), "{error}");
            exit::FAILED
        }
    }
}

/// The first line says what to do.
fn job<T: DeserializeOwned>(input: &mut impl BufRead) -> Result<T> {
    let mut line = String::new();
    input
        .read_line(&mut line)
        .map_err(|error| AgentError::Other(format!("no job came: {error}")))?;
    serde_json::from_str(&line).map_err(|error| AgentError::Other(format!("no job: {error}")))
}

/// Standard output without the line buffer that is for people.
fn output() -> Result<File> {
    let fd = std::io::stdout().as_fd().try_clone_to_owned();
    fd.map(File::from)
        .map_err(|error| AgentError::Other(format!("no standard output: {error}")))
}

/// Standard input as a file that a thread may have.
fn input() -> std::io::Result<BufReader<File>> {
    let fd = std::io::stdin().as_fd().try_clone_to_owned()?;
    Ok(BufReader::new(File::from(fd)))
}
