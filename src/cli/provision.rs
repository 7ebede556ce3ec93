//! `transship provision`: prepares hosts.

use super::Common;
use crate::exit;
use crate::report::{self, Talk, human, json, provision as people};
use clap::Args as ClapArgs;
use host::{Host, Target};
use provision::{Binary, Choice, HostReport, Outcome, Plan, Report, Survey, Wanted, Work};
use std::sync::Arc;

/// Prepare hosts: engine, CRIU, configuration, so that containers can be moved from and to them
///
/// Shows what would change, asks, does it, and looks again. A host that needs nothing is left alone.
/// A file that is changed is kept as it was before the first run, beside the new one, with .transship-backup at
/// the end of its name.
#[derive(ClapArgs)]
pub struct Args {
    /// The hosts: local, [user@]host[:port] or an alias of ssh_config
    #[arg(required_unless_present = "cloud_init")]
    hosts: Vec<Target>,
    /// What they are to become: auto, docker-17.09, docker, podman, or a file of your own (*.toml)
    #[arg(long, default_value = "auto")]
    profile: Choice,
    /// Put this user of the hosts into group docker, which is as good as root; may be given again
    #[arg(long = "docker-user", value_name = "NAME", conflicts_with_all = ["undo", "cloud_init"])]
    docker_users: Vec<String>,
    /// Show what would change, change nothing; exit code 5 if something would
    #[arg(long, visible_aliases = ["check", "dry-run"], conflicts_with = "yes")]
    plan: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Put back what provision did
    #[arg(long, conflicts_with = "profile")]
    undo: bool,
    /// Print user-data for cloud-init that prepares a fresh host
    #[arg(long, conflicts_with_all = ["hosts", "undo", "plan", "yes"])]
    cloud_init: bool,
    /// The release that the user-data is for, such as ubuntu-24.04; the profile's first without it
    #[arg(long, requires = "cloud_init")]
    release: Option<String>,
}

pub fn run(common: &Common, args: &Args) -> u8 {
    if args.cloud_init {
        return cloud_init(common, args);
    }
    if common.json && !args.plan && !args.yes {
        return usage(common, args, "--json leaves nobody to ask");
    }
    let work = if args.undo {
        Work::Undo
    } else {
        match Binary::own() {
            Ok(binary) => Work::Provision(Wanted {
                choice: args.profile.clone(),
                binary: Some(binary),
                docker_users: args.docker_users.clone(),
            }),
            Err(error) => {
                human::failure(&format!("this program cannot be read: {error}"), &[]);
                return exit::FAILED;
            }
        }
    };
    let talk = Arc::new(Talk::new(common.quiet, common.verbose));
    let mut hosts = survey(common, args, &work, &talk);
    talk.end();
    let pending = hosts.iter().any(Preparation::pending);
    if pending && !args.plan && !args.yes {
        let reports: Vec<HostReport> = hosts.iter().map(|host| host.report.clone()).collect();
        people::plan(&reports, common.verbose);
        match people::confirm("Change these hosts?") {
            None => return usage(common, args, "there is no terminal to ask on"),
            Some(false) => {
                human::failure("nothing was changed", &[]);
                return exit::FAILED;
            }
            Some(true) => {}
        }
    }
    if !args.plan {
        let invocation = invocation(common, args, "");
        std::thread::scope(|scope| {
            for host in &mut hosts {
                let (work, talk, invocation) = (&work, &talk, &invocation);
                scope.spawn(move || host.apply(work, talk, invocation));
            }
        });
        talk.end();
    }
    let report = Report::new(hosts.into_iter().map(|host| host.report).collect());
    if common.json {
        json::print(&report);
    } else if args.plan {
        people::plan(&report.hosts, common.verbose);
    } else {
        people::provision(&report, &common.invocation());
    }
    report.exit_code
}

/// A host on the way from its name to its report.
struct Preparation {
    host: Option<Arc<dyn Host>>,
    plan: Option<(Survey, Plan)>,
    report: HostReport,
}

impl Preparation {
    fn pending(&self) -> bool {
        self.report.outcome == Outcome::Planned
    }

    /// Does what is planned; of a host that needs nothing the doctor is asked all the same.
    fn apply(&mut self, work: &Work, talk: &Talk, invocation: &str) {
        let (Some(host), Some((survey, plan))) = (&self.host, &self.plan) else {
            return;
        };
        if self.pending() {
            self.report = provision::apply(&**host, work, plan, invocation, &|event| {
                talk.provision(host.name(), event);
            });
        } else if matches!(work, Work::Provision(_)) {
            match provision::judge(&**host, survey) {
                Ok(doctor) => self.report.doctor = doctor,
                Err(error) => {
                    self.report = HostReport::unreachable(&self.report.host, &error);
                }
            }
        }
    }
}

/// Connects to all hosts at once, looks at them and plans.
fn survey(common: &Common, args: &Args, work: &Work, talk: &Arc<Talk>) -> Vec<Preparation> {
    let one = |target: &Target| {
        let name = target.to_string();
        let (host, survey) = match common
            .connect(target, talk)
            .and_then(|host| work.look(&*host).map(|survey| (host, survey)))
        {
            Ok(found) => found,
            Err(error) => {
                return Preparation {
                    host: None,
                    plan: None,
                    report: HostReport::unreachable(&name, &error),
                };
            }
        };
        match work.plan(&survey) {
            Ok(plan) => Preparation {
                host: Some(host),
                report: HostReport::planned(&name, &plan),
                plan: Some((survey, plan)),
            },
            Err(refusal) => Preparation {
                host: None,
                plan: None,
                report: HostReport::refused(&name, &refusal),
            },
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = args
            .hosts
            .iter()
            .map(|target| scope.spawn(|| one(target)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("looking at a host does not panic"))
            .collect()
    })
}

/// How the user called us, for a command to type next.
fn invocation(common: &Common, args: &Args, more: &str) -> String {
    let mut words = vec![common.invocation(), "provision".to_owned()];
    words.extend(
        args.hosts
            .iter()
            .map(|host| host::quote(&host.to_string()).into_owned()),
    );
    if args.undo {
        words.push("--undo".to_owned());
    } else {
        match &args.profile {
            Choice::Auto => {}
            Choice::Named(name) => words.push(format!("--profile {name}")),
            Choice::Own(profile) => words.push(format!("--profile {}", host::quote(&profile.name))),
        }
    }
    for user in &args.docker_users {
        words.push(format!("--docker-user {}", host::quote(user)));
    }
    if !more.is_empty() {
        words.push(more.to_owned());
    }
    words.join(" ")
}

fn usage(common: &Common, args: &Args, what: &str) -> u8 {
    let what = format!("{what}; nothing was changed");
    let fix = [
        invocation(common, args, "--plan"),
        invocation(common, args, "--yes"),
    ];
    if common.json {
        json::print_error(&what, None, &fix);
    } else {
        human::failure(&what, &fix);
    }
    exit::USAGE
}

fn cloud_init(common: &Common, args: &Args) -> u8 {
    match provision::cloud_init(&args.profile, args.release.as_deref()) {
        Ok(text) => match report::whole(&format!("{}\n", text.trim_end())) {
            Ok(()) => exit::OK,
            Err(error) => {
                human::failure(&report::unwritten(&error), &[]);
                exit::FAILED
            }
        },
        Err(refusal) if common.json => {
            json::print_error(&refusal.what, None, &refusal.fix);
            exit::FAILED
        }
        Err(refusal) => {
            human::failure(&refusal.what, &refusal.fix);
            exit::FAILED
        }
    }
}
