//! `transship`: moves a running container from one Linux host to another, prepares hosts for that, and
//! says before and after why it would or did not work.

mod cli;
mod exit;
mod report;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before all else: under that name it is in the way of every container's start.
    let mut args = std::env::args_os();
    if runtime::is_called(args.next().as_ref()) {
        return ExitCode::from(runtime::run(&args.collect::<Vec<_>>()));
    }
    let cli = cli::Cli::parse();
    report::colours(cli.common.color);
    ExitCode::from(cli::run(cli))
}
