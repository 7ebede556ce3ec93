//! `transship migrate`: moves a container.

use super::Common;
use crate::report::{Talk, human, json};
use clap::{Args as ClapArgs, ValueEnum};
use engine::Name;
use host::{Host, HostError, Logged, Target};
use migrate::{Failure, Kind, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Move a running container to another host, where it goes on
///
/// The container is frozen, its state is moved, and it goes on at the destination where it was. Until
/// it is proven to run there, any failure undoes everything and it goes on at the source.
#[derive(ClapArgs)]
pub struct Args {
    /// Name or id of the container on the source
    container: Name,
    /// Where it runs: local, [user@]host[:port] or an alias of ssh_config
    #[arg(long, value_name = "HOST")]
    from: Target,
    /// Where it is to run
    #[arg(long, value_name = "HOST")]
    to: Target,
    /// Its name on the destination, if it is to be another
    #[arg(long, value_name = "NEW")]
    name: Option<Name>,
    /// How it is moved
    #[arg(long, value_enum, default_value = "copy")]
    mode: Mode,
    /// Leave the stopped container on the source
    #[arg(long)]
    keep_source: bool,
    /// Show the commands, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Quick, with files, volumes and logs; nothing touches a disk twice
    Copy,
    /// The workflow of the thesis: checkpoint, tar -cz, transfer, unpack, create, start
    Tarball,
}

pub fn run(common: &Common, args: &Args) -> u8 {
    let options = Options {
        container: args.container.clone(),
        name: args.name.clone(),
        mode: match args.mode {
            Mode::Copy => migrate::Mode::Copy,
            Mode::Tarball => migrate::Mode::Tarball,
        },
        keep_source: args.keep_source,
        dry_run: args.dry_run,
        invocation: common.invocation(),
    };
    let talk = Arc::new(Talk::new(common.quiet, common.verbose));
    let report = match connect_both(common, args, &talk) {
        Ok((source, destination)) => {
            let hearing = Arc::clone(&talk);
            migrate::run(
                source,
                destination,
                &options,
                &move |event| hearing.migration(&event),
                interrupted(),
            )
        }
        Err(failure) => migrate::refuse(
            &args.from.to_string(),
            &args.to.to_string(),
            &options,
            &failure,
        ),
    };
    talk.end();
    if common.json {
        json::print(&report);
    } else {
        human::migration(&report);
    }
    report.exit_code
}

type Hosts = (Arc<dyn Host>, Arc<dyn Host>);

fn connect_both(common: &Common, args: &Args, talk: &Arc<Talk>) -> Result<Hosts, Failure> {
    if args.from == args.to {
        return Err(Failure::new(
            Kind::Usage,
            format!("source and destination are the same host, {}", args.from),
        )
        .fix("name another host with --to"));
    }
    let ssh = common.ssh();
    let connect = |target: &Target| -> Result<Arc<dyn Host>, HostError> {
        let host = target.connect(&ssh)?;
        if !common.verbose {
            return Ok(host);
        }
        let talk = Arc::clone(talk);
        Ok(Arc::new(Logged::new(
            host,
            move |host, cmd, status, time| talk.command(host, cmd, status, time),
        )))
    };
    std::thread::scope(|scope| {
        let to = scope.spawn(|| connect(&args.to));
        let from = connect(&args.from);
        let to = to.join().expect("connecting does not panic");
        Ok((from?, to?))
    })
}

/// Becomes true at Ctrl-C: the migration then undoes what it did.
fn interrupted() -> &'static AtomicBool {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
    ]);
    // Without a handler Ctrl-C ends transship at once, as it does anywhere; the migration still works.
    if let Ok(mut signals) = signals {
        std::thread::spawn(move || {
            for _ in signals.forever() {
                INTERRUPTED.store(true, Ordering::SeqCst);
            }
        });
    }
    &INTERRUPTED
}
