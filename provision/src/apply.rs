//! Doing what a plan says, and proving that nothing is left to do.

use crate::change::{APT_LOCK_SECONDS, Change};
use crate::lock::{Unlocked, lock};
use crate::plan::{Plan, Refusal, Wanted, plan};
use crate::profile::Profile;
use crate::report::{FailureReport, HostReport, Outcome, Status};
use crate::state::Survey;
use crate::undo::undo;
use doctor::check::Subject;
use host::{Cmd, CriuCheck, Host, HostError};
use std::time::{Duration, Instant};

/// What is to be done to hosts.
#[derive(Clone)]
pub enum Work {
    /// They become what is wanted.
    Provision(Wanted),
    /// They become what they were.
    Undo,
}

/// What happens while a plan is carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A change begins.
    Begin {
        /// Its sentence.
        sentence: String,
    },
    /// It is done.
    End {
        /// Its sentence.
        sentence: String,
        /// Seconds it took.
        seconds: f64,
    },
    /// The host is looked at again.
    Proof,
}

impl Work {
    /// The profile of the user's own, if it is one.
    fn own(&self) -> Option<&Profile> {
        match self {
            Work::Provision(wanted) => wanted.choice.own(),
            Work::Undo => None,
        }
    }

    fn docker_users(&self) -> &[String] {
        match self {
            Work::Provision(wanted) => &wanted.docker_users,
            Work::Undo => &[],
        }
    }

    /// Looks at a host, with what this needs to know of it.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn look(&self, host: &dyn Host) -> host::Result<Survey> {
        Survey::take(
            host,
            self.own(),
            self.docker_users(),
            matches!(self, Work::Undo),
        )
    }

    /// What this comes to on a host.
    ///
    /// # Errors
    /// As for [`plan`].
    pub fn plan(&self, survey: &Survey) -> Result<Plan, Refusal> {
        match self {
            Work::Provision(wanted) => plan(survey, wanted),
            Work::Undo => undo(survey),
        }
    }
}

enum Trouble {
    Host(HostError),
    Refused(Refusal),
    Said { what: String, fix: Vec<String> },
}

impl From<HostError> for Trouble {
    fn from(error: HostError) -> Self {
        Trouble::Host(error)
    }
}

impl From<Unlocked> for Trouble {
    fn from(error: Unlocked) -> Self {
        match error {
            Unlocked::Busy(_) => Trouble::Said {
                what: error.to_string(),
                fix: vec!["wait until it has ended, then run this again".to_owned()],
            },
            Unlocked::Host(error) => Trouble::Host(error),
        }
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Trouble::Refused(refusal)
    }
}

/// Does what a plan says, one change after the other; then looks at the host again, which must need
/// nothing more. `invocation` is the command to type next after a failure.
pub fn apply(
    host: &dyn Host,
    work: &Work,
    shown: &Plan,
    invocation: &str,
    on: &dyn Fn(&Event),
) -> HostReport {
    let mut report = HostReport::planned(host.name(), shown);
    if shown.changes.is_empty() {
        return report;
    }
    if let Err(trouble) = carry_out(host, work, shown, &mut report, on) {
        fail(&mut report, trouble, invocation);
    }
    report
}

fn carry_out(
    host: &dyn Host,
    work: &Work,
    shown: &Plan,
    report: &mut HostReport,
    on: &dyn Fn(&Event),
) -> Result<(), Trouble> {
    // Another run takes long; a migration that makes its runtime known does not.
    let _lock = lock(host, Duration::from_secs(5))?;
    // Another run may have been at work between the plan and the lock.
    let survey = work.look(host)?;
    let now = work.plan(&survey)?;
    if now.changes.is_empty() {
        *report = HostReport::planned(host.name(), &now);
        if matches!(work, Work::Provision(_)) {
            report.doctor = judge(host, &survey)?;
        }
        return Ok(());
    }
    if now.changes != shown.changes {
        return Err(Trouble::Said {
            what: "the host changed after the plan was shown".to_owned(),
            fix: Vec::new(),
        });
    }
    for (change, entry) in shown.changes.iter().zip(&mut report.changes) {
        let sentence = change.sentence.clone();
        on(&Event::Begin {
            sentence: sentence.clone(),
        });
        let start = Instant::now();
        let done = run(host, change);
        let seconds = start.elapsed().as_secs_f64();
        entry.seconds = Some(seconds);
        if let Err(error) = done {
            entry.status = Status::Failed;
            return Err(error.into());
        }
        entry.status = Status::Done;
        report.changed += 1;
        on(&Event::End { sentence, seconds });
    }
    on(&Event::Proof);
    let survey = work.look(host)?;
    let left = work.plan(&survey)?;
    if !left.changes.is_empty() {
        let left: Vec<&str> = left
            .changes
            .iter()
            .map(|change| change.sentence.as_str())
            .collect();
        return Err(Trouble::Said {
            what: format!(
                "every command succeeded, and yet this is still to be done: {}",
                left.join("; ")
            ),
            fix: Vec::new(),
        });
    }
    report.outcome = Outcome::Changed;
    if matches!(work, Work::Provision(_)) {
        report.doctor = judge(host, &survey)?;
    }
    Ok(())
}

fn run(host: &dyn Host, change: &Change) -> host::Result<()> {
    for action in &change.actions {
        let cmd = action.cmd();
        if matches!(cmd.program.as_str(), "apt-get" | "dpkg") {
            apt(host, &cmd)?;
        } else {
            host.text(&cmd)?;
        }
    }
    Ok(())
}

/// Longest wait for another apt. Its own option for that is unknown to old versions, and has nothing to say
/// of the lock of the index.
const APT_LOCK: Duration = Duration::from_secs(APT_LOCK_SECONDS);
/// What apt and dpkg say to that.
const LOCKED: [&str; 3] = [
    "Could not get lock",
    "is another process using it?",
    "frontend lock was locked by",
];

/// Runs apt-get or dpkg, which may have to wait for another one. To old versions of apt an index that they could
/// not read is no failure.
fn apt(host: &dyn Host, cmd: &Cmd) -> host::Result<()> {
    let begin = Instant::now();
    loop {
        let output = host.run(cmd)?;
        let said = output.stderr_text();
        let locked = LOCKED.iter().any(|text| said.contains(text));
        if output.status != 0 && locked && begin.elapsed() < APT_LOCK {
            std::thread::sleep(Duration::from_secs(2));
            continue;
        }
        let unread = said.lines().any(|line| {
            line.starts_with("W: Failed to fetch") || line.starts_with("E: Failed to fetch")
        });
        // A package that dpkg cannot configure for want of another one: apt brings that one, and is asked next.
        let wanting = cmd.program == "dpkg" && output.status == 1;
        if (output.status != 0 && !wanting) || unread {
            return Err(HostError::failed(host.name(), cmd, &output));
        }
        return Ok(());
    }
}

/// What the doctor holds against a host: ids and sentences of failed checks.
///
/// # Errors
/// Where the host cannot be looked at.
pub fn judge(host: &dyn Host, survey: &Survey) -> host::Result<Vec<String>> {
    let criu = CriuCheck::gather(host)?;
    let subject = Subject {
        name: host.name(),
        facts: &survey.facts,
        criu: Some(&criu),
    };
    Ok(doctor::check::host(&subject)
        .verdicts()
        .filter(|verdict| verdict.status == doctor::check::Status::Fail)
        .map(|verdict| {
            let found = verdict.found.as_deref().unwrap_or_default();
            format!("{}: {} ({found})", verdict.id, verdict.sentence)
        })
        .collect())
}

fn fail(report: &mut HostReport, trouble: Trouble, invocation: &str) {
    let host = report.host.clone();
    report.outcome = Outcome::Failed;
    report.failed = 1;
    let (what, mut fix) = match trouble {
        Trouble::Refused(refusal) => (refusal.what, refusal.fix),
        Trouble::Said { what, fix } => (what, fix),
        Trouble::Host(HostError::Failed {
            doing,
            status,
            said,
            ..
        }) => (
            format!("`{doing}` ended with status {status}: {said}"),
            advice(&said),
        ),
        Trouble::Host(HostError::Timeout { doing, after, .. }) => (
            format!("`{doing}` did not end within {} s", after.as_secs()),
            Vec::new(),
        ),
        Trouble::Host(error) => (error.to_string(), Vec::new()),
    };
    fix.push(invocation.to_owned());
    let total = report.changes.len();
    let state = match report.changed {
        0 => format!("nothing was completed on {host}; the next run begins where this one ended"),
        done => format!(
            "{done} of {total} changes were made on {host} and stay; the next run does the rest"
        ),
    };
    report.failure = Some(FailureReport { what, fix, state });
}

const OTHER_APT: &str =
    "wait until the other apt or dpkg has ended (ps -C apt-get,dpkg,unattended-upgr)";

/// What helps against what apt, dpkg and the system say.
fn advice(said: &str) -> Vec<String> {
    let known = [
        (LOCKED[0], OTHER_APT),
        (LOCKED[1], OTHER_APT),
        (LOCKED[2], OTHER_APT),
        ("No space left on device", "df -h / /var; apt-get clean"),
        ("enough free space", "df -h / /var; apt-get clean"),
        ("Read-only file system", "mount -o remount,rw /"),
        (
            "NO_PUBKEY",
            "see that the source's key is there: the file after signed-by= in its line",
        ),
        (
            "is not signed",
            "see that the source's key is there: the file after signed-by= in its line",
        ),
        (
            "Temporary failure resolving",
            "see that the host reaches its package mirror: apt-get update",
        ),
        (
            "Failed to fetch",
            "see that the host reaches its package mirror: apt-get update",
        ),
        (
            "has no installation candidate",
            "apt-get update && apt-cache policy shows what the host's sources have",
        ),
        (
            "Unable to locate package",
            "apt-get update shows which of the host's sources cannot be read",
        ),
        (
            "was not found",
            "apt-get update shows which of the host's sources cannot be read",
        ),
    ];
    known
        .iter()
        .filter(|(text, _)| said.contains(text))
        .map(|(_, fix)| (*fix).to_owned())
        .take(1)
        .collect()
}
