//! `transship`: moves a running container from one Linux host to another, prepares hosts for that, and
//! says before and after why it would or did not work.

mod cli;
mod exit;
mod report;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    report::colours(cli.common.color);
    ExitCode::from(cli::run(cli))
}
