//! `transship doctor explain`: names the cause of a failure from its logs.

use super::Common;
use crate::exit;
use crate::report::{explain as human, human::failure, json};
use clap::Args as ClapArgs;
use doctor::document::Explain;
use doctor::explain::{Given, explain};
use std::fs::File;
use std::io::{self, BufReader, IsTerminal};

/// Name cause and fix of a failed checkpoint or restore from its logs
///
/// Reads the engine's message, CRIU's dump.log or restore.log, or all of them one after the other.
#[derive(ClapArgs)]
pub struct Args {
    /// The log; - or nothing for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
    /// The kernel of the host that failed, as uname -r prints it
    #[arg(long, value_name = "VERSION")]
    kernel: Option<String>,
    /// CRIU's version on that host
    #[arg(long, value_name = "VERSION")]
    criu: Option<String>,
    /// The engine, and its version if you know it: docker, podman=5.4.2
    #[arg(long, value_name = "NAME[=VERSION]")]
    engine: Option<String>,
}

impl Args {
    fn given(&self) -> Given {
        let engine = self.engine.as_deref();
        let (name, version) = match engine.and_then(|engine| engine.split_once('=')) {
            Some((name, version)) => (Some(name), Some(version)),
            None => (engine, None),
        };
        Given {
            kernel: self.kernel.clone(),
            criu: self.criu.clone(),
            engine: name.map(str::to_owned),
            engine_version: version.map(str::to_owned),
        }
    }
}

pub fn run(common: &Common, args: &Args) -> u8 {
    if args.file == "-" && io::stdin().is_terminal() {
        return failed(
            common,
            "there is no log to read",
            &["transship doctor explain restore.log".to_owned()],
            exit::USAGE,
        );
    }
    let explained = if args.file == "-" {
        explain(io::stdin().lock(), &args.given())
    } else {
        File::open(&args.file).and_then(|file| explain(BufReader::new(file), &args.given()))
    };
    match explained {
        Ok(explanation) => {
            let document = Explain {
                schema: Explain::SCHEMA,
                logs: vec![args.file.clone()],
                explanation,
            };
            if common.json {
                json::print(&document);
            } else {
                human::explained(&document, common.verbose);
            }
            exit::OK
        }
        Err(error) => failed(
            common,
            &format!("{}: {error}", args.file),
            &[],
            exit::FAILED,
        ),
    }
}

fn failed(common: &Common, what: &str, fix: &[String], code: u8) -> u8 {
    if common.json {
        json::print_error(what, None, fix);
    } else {
        failure(what, fix);
    }
    code
}
