//! Doing what a plan says, and proving that nothing is left to do.

use crate::change::Change;
use crate::plan::{Plan, Refusal, Wanted, plan};
use crate::profile::Profile;
use crate::report::{FailureReport, HostReport, Outcome, Status};
use crate::state::Survey;
use crate::undo::undo;
use doctor::check::Subject;
use host::{Cmd, CriuCheck, Host, HostError, Stream};
use std::io::Read;
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

/// Longest time that a host may stay locked.
const LOCKED: Duration = Duration::from_secs(4 * 3600);

/// Holds the lock for as long as we hold its standard input: it cannot outlive us.
const LOCK: &str = r#"
mkdir -p /run/lock
exec 9>>/run/lock/transship-provision
if ! flock -n 9; then echo busy; exit 0; fi
echo locked
cat >/dev/null
"#;

impl Work {
    /// The profile of the user's own, if it is one.
    fn own(&self) -> Option<&Profile> {
        match self {
            Work::Provision(wanted) => wanted.choice.own(),
            Work::Undo => None,
        }
    }

    /// Looks at a host, with what this needs to know of it.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn look(&self, host: &dyn Host) -> host::Result<Survey> {
        Survey::take(host, self.own(), matches!(self, Work::Undo))
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
    let _lock = lock(host)?;
    // Another run may have been at work between the plan and the lock.
    let now = work.plan(&work.look(host)?)?;
    if now.changes.is_empty() {
        *report = HostReport::planned(host.name(), &now);
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
        host.text(&action.cmd())?;
    }
    Ok(())
}

/// What the doctor holds against the host.
fn judge(host: &dyn Host, survey: &Survey) -> host::Result<Vec<String>> {
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

/// Locks the host for us; the lock goes when the stream does.
fn lock(host: &dyn Host) -> Result<Box<dyn Stream>, Trouble> {
    let cmd = Cmd::changes("sh")
        .args(["-c", LOCK, "transship-lock"])
        .timeout(LOCKED);
    let mut stream = host.open(&cmd)?;
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"\n") {
        match stream.read(&mut byte) {
            Ok(1) => said.push(byte[0]),
            Ok(_) => break,
            Err(error) => {
                return Err(Trouble::Said {
                    what: format!("the host cannot be locked: {error}"),
                    fix: Vec::new(),
                });
            }
        }
    }
    match said.as_slice() {
        b"locked\n" => Ok(stream),
        b"busy\n" => Err(Trouble::Said {
            what: "another transship provision is at work on this host".to_owned(),
            fix: vec!["wait until it has ended, then run this again".to_owned()],
        }),
        _ => {
            let output = stream.finish()?;
            Err(HostError::failed(host.name(), &cmd, &output).into())
        }
    }
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

/// What helps against what apt, dpkg and the system say.
fn advice(said: &str) -> Vec<String> {
    let known = [
        (
            "Could not get lock",
            "wait until the other apt or dpkg has ended (ps -C apt-get,dpkg,unattended-upgr)",
        ),
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
