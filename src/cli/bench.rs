//! `transship bench`: what migrations between two hosts take.

use super::Common;
use super::migrate::{Hosts, connect_both, interrupted, refuse};
use crate::report::{Talk, bench as people, json};
use bench::{Document, Link, Mode, Service, Size, Wanted};
use clap::{Args as ClapArgs, ValueEnum};
use engine::Reference;
use host::Target;
use migrate::{Failure, Kind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Measure what migrations between two hosts take
///
/// A process with so much memory, half of it random, moves there and back in each mode over each link; beside that
/// stand a plain start, CRIU alone, its page server and TCP on the same hosts. Nobody else should use them meanwhile.
/// Prints a table, and writes figures.json, figures.md and figures.svg. The containers are removed.
#[derive(ClapArgs)]
pub struct Args {
    /// One host: local, [user@]host[:port] or an alias of ssh_config
    a: Target,
    /// The other
    b: Target,
    /// Memory of the processes that move, with commas; 0 is a shell that counts
    #[arg(
        long,
        value_name = "SIZES",
        value_delimiter = ',',
        default_value = "1M,64M,1G"
    )]
    sizes: Vec<Size>,
    /// How they move, with commas; all that work between the hosts, unless named
    #[arg(long, value_enum, value_delimiter = ',')]
    modes: Vec<Way>,
    /// Links, with commas: lan (as it is), wifi, bluetooth, zigbee, a rate as 10M, or NAME=RATE
    ///
    /// For a rate all that leaves the hosts by the device that leads to the other is slowed down with tc, and no
    /// longer when it ends. What would take minutes for its bytes alone is left out.
    #[arg(long, value_delimiter = ',', default_value = "lan")]
    links: Vec<Link>,
    /// Somebody is connected over TCP meanwhile: the container's network, and its address there
    #[arg(long, value_name = "NETWORK=ADDRESS")]
    tcp: Option<Service>,
    /// How often each move is made; medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Image of the container, with the program hog; that of the lab has it
    #[arg(long, default_value = "busybox")]
    image: Reference,
    /// Folder for what is written
    #[arg(long, value_name = "FOLDER", default_value = "transship-bench")]
    out: PathBuf,
    /// Say what would be measured, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    Copy,
    PostCopy,
    /// Where the kernel tracks which memory changes
    PreCopy,
    /// Docker only
    Tarball,
    /// Podman's own: checkpoint --export, a copy, restore --import
    Podman,
}

pub fn run(common: &Common, args: &Args) -> u8 {
    let talk = Arc::new(Talk::new(common.quiet, common.verbose));
    let result = measure(common, args, &talk);
    talk.end();
    match result {
        Ok(document) => {
            if common.json {
                json::print(&document);
            } else {
                people::figures(&document, (!args.dry_run).then_some(&*args.out));
            }
            document.exit_code
        }
        Err(failure) if failure.kind == Kind::Unreachable => {
            refuse(common, &failure);
            crate::exit::UNREACHABLE
        }
        Err(failure) if failure.kind == Kind::Refused => {
            refuse(common, &failure);
            crate::exit::CHECKS_FAILED
        }
        Err(failure) => refuse(common, &failure),
    }
}

fn measure(common: &Common, args: &Args, talk: &Arc<Talk>) -> Result<Document, Failure> {
    if args.a == args.b {
        let what = format!("both hosts are the same, {}", args.a);
        return Err(Failure::new(Kind::Usage, what).fix("name another host"));
    }
    let hosts = Hosts {
        from: &args.a,
        to: &args.b,
    };
    let (a, b) = connect_both(&hosts, |target| common.connect(target, talk))?;
    let wanted = Wanted {
        sizes: args.sizes.clone(),
        modes: args.modes.iter().map(|way| mode(*way)).collect(),
        runs: args.runs,
        links: args.links.clone(),
        tcp: args.tcp.clone(),
        image: args.image.to_string(),
        reach: common.reach(),
        journal: migrate::journal_home(),
    };
    // Whatever is refused is refused before anything is made.
    let plan = bench::plan([Arc::clone(&a), Arc::clone(&b)], &wanted)?;
    if args.dry_run {
        return Ok(plan);
    }
    // Hours of figures shall not be lost to a folder that cannot be made.
    std::fs::create_dir_all(&args.out).map_err(|error| unwritten(&args.out, &error))?;
    let hearing = Arc::clone(talk);
    let document = bench::run(
        [a, b],
        &wanted,
        &move |line| hearing.doing(line),
        interrupted(),
    )?;
    write(&args.out, &document)?;
    Ok(document)
}

fn mode(way: Way) -> Mode {
    match way {
        Way::Copy => Mode::Copy,
        Way::PostCopy => Mode::PostCopy,
        Way::PreCopy => Mode::PreCopy,
        Way::Tarball => Mode::Tarball,
        Way::Podman => Mode::Podman,
    }
}

fn write(folder: &Path, document: &Document) -> Result<(), Failure> {
    for (name, text) in [
        ("figures.json", json::text(document)),
        ("figures.md", bench::markdown::text(document, "figures.svg")),
        ("figures.svg", bench::plot::svg(document)),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| unwritten(&path, &error))?;
    }
    Ok(())
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed("local", format!("{}: {error}", path.display())).fix("--out FOLDER")
}
