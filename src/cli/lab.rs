//! `transship lab`: two or more real hosts on this machine.

use super::Common;
use crate::exit;
use crate::report::{Talk, human, json};
use clap::{Args as ClapArgs, Subcommand};
use host::Local;
use lab::{Engine, LabConfig, LabError};
use std::path::PathBuf;

/// Real hosts on this machine, each with its own network, sshd and container engine, to try things in
///
/// Needs root. The first `up` builds a Debian root file system, which takes about a minute; it is kept.
#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// Name of the lab; several stand side by side
    #[arg(
        long,
        value_name = "LAB",
        default_value = "lab",
        env = "TRANSSHIP_LAB",
        global = true
    )]
    lab: String,
}

#[derive(Subcommand)]
enum Verb {
    /// Bring the lab up, or repair what is broken of it
    Up {
        /// How many hosts: a, b, c ...
        #[arg(long, default_value_t = 2)]
        hosts: usize,
        /// Range of their addresses
        #[arg(long, default_value = "10.77.0.0/24")]
        subnet: String,
        /// docker-26, docker-28 or podman: one for all hosts, or one for each, with commas
        #[arg(long, value_delimiter = ',', default_value = "docker-26")]
        engine: Vec<Engine>,
        /// Debian mirror, if not that of this machine's apt sources
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
        /// Folder for what is kept between labs
        #[arg(long, value_name = "FOLDER", default_value = "/var/cache/transship")]
        cache: PathBuf,
    },
    /// Take it down; nothing of it is left but the cache
    Down,
    /// Say how it is
    Status,
    /// Run a command in one of its hosts
    Exec {
        /// The host: a, b ...
        host: String,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

pub fn run(common: &Common, args: &Args) -> u8 {
    let mut config = LabConfig {
        name: args.lab.clone(),
        ..LabConfig::default()
    };
    let talk = Talk::new(common.quiet, common.verbose);
    let result = match &args.verb {
        Verb::Up {
            hosts,
            subnet,
            engine,
            mirror,
            cache,
        } => {
            let Ok(subnet) = subnet.parse() else {
                return failed(
                    common,
                    &LabError::BadConfig {
                        what: format!("`{subnet}` is no range of addresses"),
                        fix: "--subnet 10.77.0.0/24".to_owned(),
                    },
                );
            };
            config = LabConfig {
                hosts: *hosts,
                subnet,
                engines: engine.clone(),
                mirror: mirror.clone(),
                cache: cache.clone(),
                ..config
            };
            lab::up(&config, &mut |event| talk.lab(&event))
        }
        Verb::Down => {
            lab::down(&config, &mut |event| talk.lab(&event)).and_then(|_| lab::status(&config))
        }
        Verb::Status => lab::status(&config),
        Verb::Exec { host, command } => match lab::exec(&config, host, command) {
            Ok(cmd) => return failed(common, &Local.become_command(&cmd).into()),
            Err(error) => return failed(common, &error),
        },
    };
    talk.end();
    match result {
        Ok(status) => {
            if common.json {
                json::print(&json::Document {
                    schema: "transship/lab/1",
                    body: &status,
                });
            } else {
                human::lab(&status, matches!(args.verb, Verb::Up { .. }));
            }
            let wanted_up = matches!(args.verb, Verb::Status);
            if wanted_up && !status.up {
                exit::FAILED
            } else {
                exit::OK
            }
        }
        Err(error) => failed(common, &error),
    }
}

fn failed(common: &Common, error: &LabError) -> u8 {
    let fix = match error {
        LabError::NotRoot => again_as_root(std::env::args()),
        _ => error.fix(),
    };
    if common.json {
        json::print_error(&error.to_string(), Some(error.host()), &[fix]);
    } else {
        human::failure(&error.to_string(), &[fix]);
    }
    match error {
        LabError::BadConfig { .. } => exit::USAGE,
        _ => exit::FAILED,
    }
}

/// The command line that this process was called with, for root.
fn again_as_root(called: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = called.map(|word| host::quote(&word).into_owned()).collect();
    format!("sudo {}", words.join(" "))
}
