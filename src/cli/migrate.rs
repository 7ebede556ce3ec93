//! `transship migrate`: moves a container; `migrate status` and `migrate undo` read the journal of that.

use super::Common;
use crate::report::{Talk, human, journal, json};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use engine::Name;
use host::{Host, HostError, SshOptions, Target};
use migrate::{Failure, Kind, Options, Record};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Move a running container to another host, where it goes on
///
/// The container is frozen, its state is moved, and it goes on at the destination where it was. Until
/// it is proven to run there, any failure undoes everything and it goes on at the source. What is done is
/// kept in a journal, so that `undo` works after transship itself was killed.
#[derive(ClapArgs)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    past: Option<Past>,
    /// Name or id of the container on the source
    #[arg(required = true)]
    container: Option<Name>,
    /// Where it runs: local, [user@]host[:port] or an alias of ssh_config
    #[arg(long, value_name = "HOST", required = true)]
    from: Option<Target>,
    /// Where it is to run
    #[arg(long, value_name = "HOST", required = true)]
    to: Option<Target>,
    /// Its name on the destination, if it is to be another
    #[arg(long, value_name = "NEW")]
    name: Option<Name>,
    /// How it is moved
    #[arg(long, value_enum, default_value = "copy")]
    mode: Mode,
    /// Copy the folders of bind mounts along; on the destination they must be missing or empty
    #[arg(long)]
    copy_bind: bool,
    /// Leave the stopped container on the source
    #[arg(long)]
    keep_source: bool,
    /// Take established TCP connections along: the container needs an address of its own that both hosts'
    /// networks can give it (docker run --network NAME --ip ADDRESS, macvlan or ipvlan)
    #[arg(long)]
    tcp_established: bool,
    /// How long the two hosts may be out of each other's reach. Mode post-copy, while memory is fetched: the
    /// container waits; after that it is ended there, and its frozen state at the source is for you to decide
    /// about. In all modes but tarball, while the container stands frozen before that: so long, but no longer
    /// than 15 s, then it goes on at the source
    #[arg(long, value_name = "SECONDS", default_value_t = migrate::LINK_TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(5..))]
    link_timeout: u64,
    /// Mode pre-copy: send no more rounds of memory once the container would stand still for no longer than
    /// this (300ms, 2s). Without it, and where it cannot be reached, it is frozen once a round brings hardly
    /// anything, or more than the one before, and after 8 rounds in any case
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_downtime: Option<Duration>,
    /// Mode pre-copy: what is left after the rounds follows as in mode post-copy, once the container has gone
    /// on at the destination
    #[arg(long)]
    then_post_copy: bool,
    /// Try it though this check of the container fails; may be repeated
    #[arg(long, value_name = "ID", value_parser = doctor::check::UNDUMPABLE)]
    ignore: Vec<String>,
    /// Show the commands, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Subcommand)]
enum Past {
    /// List the migrations in the journal, and what is to be done about them
    Status {
        /// Show this one alone
        id: Option<String>,
    },
    /// Undo a migration that was killed: the container goes on at the source
    ///
    /// One whose container runs on the destination for good is finished instead. Doing it twice is harmless.
    Undo {
        /// Its id; may be left out where only one can be undone
        id: Option<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Copy, unless the container would stand still for long and post-copy is possible and bears little
    /// risk; tarball where copy is refused and nothing would be lost. Says which, and why
    Auto,
    /// Quick, with files, volumes and logs; nothing touches a disk twice
    Copy,
    /// The shortest pause, however much memory: it goes on there at once and its memory follows; until
    /// the last page has come, both hosts and the link between them are needed
    PostCopy,
    /// Its memory is sent while it runs, again and again what changed since; what is left when it is frozen
    /// is soon sent. The kernel of the source must track which memory changes (CONFIG_MEM_SOFT_DIRTY)
    PreCopy,
    /// The workflow of the thesis: checkpoint, tar -cz, transfer, unpack, create, start
    Tarball,
}

pub fn run(common: &Common, args: &Args) -> u8 {
    match (&args.past, &args.container, &args.from, &args.to) {
        (Some(Past::Status { id }), ..) => status(common, id.as_deref()),
        (Some(Past::Undo { id }), ..) => undo(common, id.as_deref()),
        (None, Some(container), Some(from), Some(to)) => {
            migrate(common, args, container, &Hosts { from, to })
        }
        // clap lets nothing else pass.
        _ => crate::exit::USAGE,
    }
}

pub(super) struct Hosts<'a> {
    pub from: &'a Target,
    pub to: &'a Target,
}

fn migrate(common: &Common, args: &Args, container: &Name, hosts: &Hosts) -> u8 {
    let options = Options {
        container: container.clone(),
        name: args.name.clone(),
        mode: match args.mode {
            // Copy is what is asked for first.
            Mode::Auto | Mode::Copy => migrate::Mode::Copy,
            Mode::PostCopy => migrate::Mode::PostCopy,
            Mode::PreCopy => migrate::Mode::PreCopy,
            Mode::Tarball => migrate::Mode::Tarball,
        },
        auto: matches!(args.mode, Mode::Auto),
        keep_source: args.keep_source,
        copy_bind: args.copy_bind,
        tcp_established: args.tcp_established,
        link_timeout: Duration::from_secs(args.link_timeout),
        max_downtime: args.max_downtime,
        then_post_copy: args.then_post_copy,
        ignore: args.ignore.clone(),
        dry_run: args.dry_run,
        reach: common.reach(),
        journal: migrate::journal_home(),
    };
    let talk = Arc::new(Talk::new(common.quiet, common.verbose));
    let connected = if hosts.from == hosts.to {
        Err(Failure::new(
            Kind::Usage,
            format!("source and destination are the same host, {}", hosts.from),
        )
        .fix("name another host with --to"))
    } else {
        connect_both(hosts, |target| common.connect(target, &talk))
    };
    let report = match connected {
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
            &hosts.from.to_string(),
            &hosts.to.to_string(),
            &options,
            &failure,
        ),
    };
    show(common, &talk, report)
}

/// A time with its unit.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or_default(), 1.0),
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * unit).ok())
        .ok_or_else(|| "a time is a number with its unit, as 300ms or 2s".to_owned())
}

fn show(common: &Common, talk: &Talk, mut report: migrate::Report) -> u8 {
    talk.end();
    let failure = report.failure.iter_mut();
    common.complete_fixes(failure.flat_map(|failure| &mut failure.fix));
    if common.json {
        json::print(&report);
    } else {
        human::migration(&report);
    }
    report.exit_code
}

pub(super) type Connected = (Arc<dyn Host>, Arc<dyn Host>);

pub(super) fn connect_both(
    hosts: &Hosts,
    connect: impl Fn(&Target) -> Result<Arc<dyn Host>, HostError> + Sync,
) -> Result<Connected, Failure> {
    std::thread::scope(|scope| {
        let to = scope.spawn(|| connect(hosts.to));
        let from = connect(hosts.from);
        let to = to.join().expect("connecting does not panic");
        Ok((from?, to?))
    })
}

/// The folder with the journals.
fn home() -> Result<PathBuf, Failure> {
    migrate::journal_home().ok_or_else(|| {
        Failure::new(
            Kind::Usage,
            "there is no journal of migrations: neither XDG_STATE_HOME nor HOME is set",
        )
    })
}

fn status(common: &Common, id: Option<&str>) -> u8 {
    match home().and_then(|home| migrate::status(&home, id)) {
        Ok(status) => {
            if common.json {
                json::print(&status);
            } else {
                journal::status(&status);
            }
            crate::exit::OK
        }
        Err(failure) => refuse(common, &failure),
    }
}

pub(super) fn refuse(common: &Common, failure: &Failure) -> u8 {
    if common.json {
        json::print_error(&failure.what, failure.host.as_deref(), &failure.fix);
    } else {
        human::failure(&failure.what, &failure.fix);
    }
    match failure.kind {
        Kind::Usage => crate::exit::USAGE,
        _ => crate::exit::FAILED,
    }
}

fn undo(common: &Common, id: Option<&str>) -> u8 {
    let found = home().and_then(|home| {
        let id = match id {
            Some(id) => id.to_owned(),
            None => only(&migrate::status(&home, None)?)?,
        };
        Ok((home, id))
    });
    let (home, id) = match found {
        Ok(found) => found,
        Err(failure) => return refuse(common, &failure),
    };
    let talk = Arc::new(Talk::new(common.quiet, common.verbose));
    let hearing = Arc::clone(&talk);
    let connect = |record: &Record| reconnect(common, record, &talk);
    let report = migrate::undo(&home, &id, &connect, &move |event| {
        hearing.migration(&event);
    });
    show(common, &talk, report)
}

/// The one migration that can be undone.
fn only(status: &migrate::Status) -> Result<String, Failure> {
    let open: Vec<&str> = status
        .migrations
        .iter()
        .filter(|one| one.state != migrate::State::UnderWay && !one.next.is_empty())
        .map(|one| one.id.as_str())
        .collect();
    match open.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(
            Failure::new(Kind::Usage, "no migration in the journal is to be undone")
                .fix("transship migrate status"),
        ),
        some => Err(Failure::new(
            Kind::Usage,
            format!("{} migrations can be undone: name one", some.len()),
        )
        .fix(format!("transship migrate undo {}", some[0]))),
    }
}

/// Connects to the hosts of a migration as it did; what is said on the command line now comes first.
fn reconnect(common: &Common, record: &Record, talk: &Arc<Talk>) -> Result<Connected, Failure> {
    let target = |text: &str| {
        text.parse::<Target>()
            .map_err(|error| Failure::failed("local", error.to_string()))
    };
    let (from, to) = (target(&record.source)?, target(&record.destination)?);
    let now = common.ssh();
    let ssh = SshOptions {
        config: now.config.or_else(|| record.reach.config.clone()),
        identity: now.identity.or_else(|| record.reach.identity.clone()),
        ..now
    };
    let hosts = Hosts {
        from: &from,
        to: &to,
    };
    connect_both(&hosts, |target| common.connect_with(target, &ssh, talk))
}

/// Becomes true at Ctrl-C, and when the terminal is lost: the migration then undoes what it did.
pub(super) fn interrupted() -> &'static AtomicBool {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let mut wanted = vec![SIGINT, SIGTERM];
    // Whoever said nohup wants it to go on.
    if !ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    // Without a handler Ctrl-C ends transship at once, as it does anywhere; the migration still works.
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(wanted) {
        std::thread::spawn(move || {
            for _ in signals.forever() {
                INTERRUPTED.store(true, Ordering::SeqCst);
            }
        });
    }
    &INTERRUPTED
}

/// Whether this program was started with that signal ignored.
fn ignored(signal: i32) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(time("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(time("0.25s"), Ok(Duration::from_millis(250)));
        for wrong in ["", "300", "s", "ms", "-1s", "1 m", "nans", "1e99s", "2m"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
