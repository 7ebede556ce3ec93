//! `transship doctor`: judges hosts, pairs and containers.

use super::{Common, explain, hardware};
use crate::exit;
use crate::report::{Talk, doctor as human, json};
use clap::{Args as ClapArgs, Subcommand};
use doctor::check::{Inmate, Pair, Report, Subject};
use doctor::document::{Doctor, Unreachable};
use engine::Reference;
use host::facts::container::{Container, Destination};
use host::facts::link;
use host::{CriuCheck, Facts, Host, HostError, Target, facts};
use std::sync::Arc;
use std::thread;

/// Say whether a host, two hosts or a container are fit for migration, and explain failures
///
/// Nothing is changed on any host. Without a subcommand: examines HOST, and with DESTINATION both hosts and
/// whether containers of the first can move to the second.
#[derive(ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    what: What,
}

#[derive(Subcommand)]
enum Verb {
    Explain(explain::Args),
    Hardware(hardware::Args),
}

#[derive(ClapArgs)]
struct What {
    /// The host: local, [user@]host[:port] or an alias of ssh_config
    #[arg(value_name = "HOST", default_value = "local")]
    host: Target,
    /// Where its containers are to go
    #[arg(value_name = "DESTINATION")]
    destination: Option<Target>,
    /// Look into this running container of HOST too
    #[arg(long, value_name = "NAME")]
    container: Option<Reference>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Let this check's failure be a warning, and its warning no failure with --strict; may be repeated
    #[arg(long, value_name = "ID")]
    ignore: Vec<String>,
}

pub fn run(common: &Common, args: &Args) -> u8 {
    match &args.verb {
        Some(Verb::Explain(args)) => explain::run(common, args),
        Some(Verb::Hardware(args)) => hardware::run(common, args),
        None => examine(common, &args.what),
    }
}

/// What was gathered of a host.
struct Patient {
    name: String,
    host: Arc<dyn Host>,
    facts: Facts,
    criu: Option<CriuCheck>,
}

impl Patient {
    fn gather(common: &Common, target: &Target, talk: &Arc<Talk>) -> Result<Patient, HostError> {
        let host = common.connect(target, talk)?;
        let facts = Facts::gather(&*host)?;
        // A host where CRIU cannot be asked is still judged by its facts, and that it could not be asked.
        let criu = facts
            .criu
            .as_ref()
            .map(|_| CriuCheck::gather(&*host).unwrap_or_else(|error| CriuCheck::failed(&error)));
        Ok(Patient {
            name: target.to_string(),
            host,
            facts,
            criu,
        })
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            name: &self.name,
            facts: &self.facts,
            criu: self.criu.as_ref(),
        }
    }
}

fn examine(common: &Common, what: &What) -> u8 {
    let talk = Arc::new(Talk::new(common.quiet, common.verbose));
    let targets: Vec<&Target> = [Some(&what.host), what.destination.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    talk.doing(&format!("examining {}", names.join(" and ")));
    let gathered: Vec<Result<Patient, HostError>> = thread::scope(|scope| {
        let running: Vec<_> = targets
            .iter()
            .map(|target| scope.spawn(|| Patient::gather(common, target, &talk)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().expect("gathering facts does not panic")
        };
        running.into_iter().map(join).collect()
    });

    let mut document = Doctor {
        schema: Doctor::SCHEMA,
        passed: false,
        unreachable: Vec::new(),
        hosts: Vec::new(),
        pair: None,
        link: None,
        container: None,
        notes: Vec::new(),
    };
    let mut patients = Vec::new();
    for gathered in gathered {
        match gathered {
            Ok(patient) => {
                document.hosts.push(doctor::check::host(&patient.subject()));
                patients.push(patient);
            }
            Err(error) => document.unreachable.push(unreachable(&error)),
        }
    }
    if let [source, destination] = &patients[..] {
        talk.doing(&format!(
            "measuring {} to {}",
            source.name, destination.name
        ));
        let measured = link::measure(&*source.host, &*destination.host);
        document.pair = Some(pair(source, destination, measured));
        document.link = Some(measured);
    }
    if let (Some(name), Some(source)) = (&what.container, patients.first())
        && source.name == what.host.to_string()
    {
        talk.doing(&format!("looking into {name}"));
        match inmate(name, source, patients.get(1), document.link) {
            Ok(report) => document.container = Some(report),
            Err(error) => document.unreachable.push(unreachable(&error)),
        }
    }
    talk.end();
    document.ignore(&what.ignore);
    common.complete_fixes(document.fixes());
    document.judge(what.strict);
    if common.json {
        json::print(&document);
    } else {
        human::examined(&document, common.verbose, &common.invocation());
    }
    if !document.unreachable.is_empty() {
        exit::UNREACHABLE
    } else if document.passed {
        exit::OK
    } else {
        exit::CHECKS_FAILED
    }
}

/// What the pair comes to; CRIU on the destination judges the source's processor where it can.
fn pair(source: &Patient, destination: &Patient, measured: link::Link) -> Report {
    let image = || {
        let cpu = source.criu.as_ref()?.cpuinfo.as_ref()?;
        destination.criu.as_ref()?.check.as_ref()?;
        cpu.image.as_deref()
    };
    let cpu = image().and_then(|image| {
        let judged = facts::criu::judge_cpu(&*destination.host, image);
        judged.map_err(|error| error.to_string()).transpose()
    });
    doctor::check::pair(&Pair {
        source: source.subject(),
        destination: destination.subject(),
        link: Some(measured),
        cpu: cpu.as_ref().map(|cpu| cpu.as_ref().map_err(String::as_str)),
    })
}

/// What a container comes to.
fn inmate(
    name: &Reference,
    source: &Patient,
    destination: Option<&Patient>,
    link: Option<link::Link>,
) -> Result<Report, HostError> {
    let name = name.as_str();
    let container = Container::gather(&*source.host, name)?;
    let inspected = engine::Container::parse(container.inspect.as_bytes());
    let there = match (destination, &inspected) {
        (Some(patient), Some(inspected)) => {
            let place = doctor::check::place(name, &container, inspected);
            let answers = Destination::gather(&*patient.host, &place)?;
            Some((patient.subject(), answers))
        }
        _ => None,
    };
    Ok(doctor::check::container(&Inmate {
        name,
        container: &container,
        inspected: inspected.as_ref(),
        source: source.subject(),
        destination: there.as_ref().map(|(subject, answers)| (*subject, answers)),
        link,
    }))
}

/// A host that could not be examined, as data.
pub fn unreachable(error: &HostError) -> Unreachable {
    Unreachable {
        host: error.host().to_owned(),
        what: error.to_string(),
        fix: match error {
            HostError::Unreachable { fix, .. } => vec![fix.clone()],
            _ => Vec::new(),
        },
    }
}
