//! The command line: one file for each verb.

mod agent;
mod bench;
mod common;
mod doctor;
#[cfg(test)]
mod errors;
mod explain;
mod hardware;
mod lab;
mod migrate;
mod provision;

pub use common::{Color, Common};

use clap::{Parser, Subcommand};

/// Moves a running container from one Linux host to another while it runs.
#[derive(Parser)]
#[command(
    name = "transship",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Doctor(doctor::Args),
    Migrate(migrate::Args),
    Provision(provision::Args),
    Bench(bench::Args),
    Lab(lab::Args),
    #[command(hide = true)]
    Agent(agent::Args),
}

/// Runs the verb; returns the exit code.
pub fn run(cli: Cli) -> u8 {
    match cli.verb {
        Verb::Doctor(args) => doctor::run(&cli.common, &args),
        Verb::Migrate(args) => migrate::run(&cli.common, &args),
        Verb::Provision(args) => provision::run(&cli.common, &args),
        Verb::Bench(args) => bench::run(&cli.common, &args),
        Verb::Lab(args) => lab::run(&cli.common, &args),
        Verb::Agent(args) => agent::run(&args),
    }
}
