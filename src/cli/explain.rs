//! `transship doctor explain`: names the cause of a failure from its logs.

use super::{Common, doctor::unreachable};
use crate::exit;
use crate::report::{Talk, explain as human, human::failure, json};
use clap::Args as ClapArgs;
use doctor::document::Explain;
use doctor::explain::{Explanation, Given, explain};
use engine::Reference;
use host::Target;
use host::facts::logs::Logs;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal};
use std::sync::Arc;

/// Name cause and fix of a failed checkpoint or restore from its logs
///
/// Reads the engine's message, CRIU's dump.log or restore.log, or all of them one after the other. With
/// --host and --container it fetches them itself, wherever the engine put them.
#[derive(ClapArgs)]
pub struct Args {
    /// The log; - or nothing for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
    /// Fetch the logs of this host
    #[arg(
        long,
        value_name = "HOST",
        requires = "container",
        conflicts_with = "file"
    )]
    host: Option<Target>,
    /// The container whose checkpoint or restore failed there
    #[arg(long, value_name = "NAME", requires = "host")]
    container: Option<Reference>,
    /// The kernel of the host that failed, as uname -r prints it
    #[arg(long, value_name = "VERSION", value_parser = version)]
    kernel: Option<String>,
    /// CRIU's version on that host
    #[arg(long, value_name = "VERSION", value_parser = version)]
    criu: Option<String>,
    /// The engine, and its version if you know it: docker, podman=5.4.2
    #[arg(long, value_name = "NAME[=VERSION]")]
    engine: Option<String>,
}

/// One that has no number would be ignored, and the answer be one that fits any version.
fn version(text: &str) -> Result<String, String> {
    if text.contains(|c: char| c.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("a version has numbers, as 4.2.1".to_owned())
    }
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
    if let (Some(host), Some(container)) = (&args.host, &args.container) {
        return fetched(common, args, host, container);
    }
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
        Ok(explanation) => told(common, vec![args.file.clone()], explanation),
        Err(error) => failed(
            common,
            &format!("{}: {error}", args.file),
            &[],
            exit::FAILED,
        ),
    }
}

/// Explains what a container's last failure left on a host. What the user gave stands above what
/// the host says of its versions.
fn fetched(common: &Common, args: &Args, target: &Target, container: &Reference) -> u8 {
    let talk = Arc::new(Talk::new(common.quiet, common.verbose));
    talk.doing(&format!("fetching the logs of {container} from {target}"));
    let logs = common
        .connect(target, &talk)
        .and_then(|host| Logs::gather(&*host, container.as_str()));
    talk.end();
    let logs = match logs {
        Ok(logs) => logs,
        Err(error) => {
            let known = unreachable(&error);
            return failed(common, &known.what, &known.fix, exit::UNREACHABLE);
        }
    };
    if logs.logs.is_empty() {
        return failed(
            common,
            &format!("{target} has no log of a failed checkpoint or restore of {container}"),
            &["give the engine's own message: transship doctor explain FILE".to_owned()],
            exit::FAILED,
        );
    }
    let asked = args.given();
    let given = Given {
        kernel: asked.kernel.or(logs.kernel),
        criu: asked.criu.or(logs.criu),
        engine_version: match &asked.engine {
            Some(_) => asked.engine_version,
            None => logs.engine_version,
        },
        engine: asked.engine.or(logs.engine),
    };
    let (names, mut text) = (
        logs.logs.iter().map(|(name, _)| name.clone()).collect(),
        Vec::new(),
    );
    for (_, log) in &logs.logs {
        text.extend_from_slice(log);
        text.push(b'\n');
    }
    match explain(&text[..], &given) {
        Ok(explanation) => told(common, names, explanation),
        Err(error) => failed(common, &error.to_string(), &[], exit::FAILED),
    }
}

fn told(common: &Common, logs: Vec<String>, explanation: Explanation) -> u8 {
    let document = Explain {
        schema: Explain::SCHEMA,
        logs,
        explanation,
    };
    if common.json {
        json::print(&document);
    } else {
        human::explained(&document, common.verbose);
    }
    exit::OK
}

fn failed(common: &Common, what: &str, fix: &[String], code: u8) -> u8 {
    if common.json {
        json::print_error(what, None, fix);
    } else {
        failure(what, fix);
    }
    code
}
