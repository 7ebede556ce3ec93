//! `transship doctor hardware`: what a host is made of.

use super::{Common, doctor::unreachable};
use crate::exit;
use crate::report::{Talk, doctor as human, human::failure, json};
use clap::Args as ClapArgs;
use doctor::document::Hardware;
use host::{Facts, HostError, Target};
use std::sync::Arc;

/// Show what a host is made of: processor, memory, disks, network, system
#[derive(ClapArgs)]
pub struct Args {
    /// The host: local, [user@]host[:port] or an alias of ssh_config
    #[arg(value_name = "HOST", default_value = "local")]
    host: Target,
}

pub fn run(common: &Common, args: &Args) -> u8 {
    let talk = Arc::new(Talk::new(common.quiet, common.verbose));
    talk.doing(&format!("examining {}", args.host));
    let gathered = gather(common, &args.host, &talk);
    talk.end();
    match gathered {
        Ok(document) if common.json => json::print(&document),
        Ok(document) => human::hardware(&document.report),
        Err(error) => {
            let known = unreachable(&error);
            if common.json {
                json::print_error(&known.what, Some(&known.host), &known.fix);
            } else {
                failure(&known.what, &known.fix);
            }
            return exit::UNREACHABLE;
        }
    }
    exit::OK
}

fn gather(common: &Common, target: &Target, talk: &Arc<Talk>) -> Result<Hardware, HostError> {
    let host = common.connect(target, talk)?;
    let facts = Facts::gather(&*host)?;
    let hardware = host::Hardware::gather(&*host, &facts)?;
    Ok(Hardware {
        schema: Hardware::SCHEMA,
        report: doctor::hardware::report(&target.to_string(), hardware),
    })
}
