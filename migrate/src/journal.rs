//! The journal: what a migration is, which phases it began and whether it was committed, on the disk of
//! the machine where transship runs. With it a migration that was killed can be undone or finished.
//!
//! A folder for each migration below [`home`], for its owner alone (it holds the container's
//! configuration, and so its environment): `record.json`, replaced as a whole at each change, and `lock`,
//! which the process that runs the migration holds: the kernel lets go of it, however that process ends.

use crate::context::Context;
use crate::layout::Layout;
use crate::{Failure, Kind, Mode, Outcome};
use engine::Engine;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name and version of the record's form.
const FORM: &str = "transship/journal/1";
/// So many migrations that ended are remembered.
const REMEMBERED: usize = 50;

/// The folder with the journals: `$XDG_STATE_HOME/transship`; without that variable
/// `/var/lib/transship/journal` for root, whose home differs with the way root was become, and
/// `~/.local/state/transship` for others. None where there is no home.
#[must_use]
pub fn home() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if let Some(state) = absolute("XDG_STATE_HOME") {
        return Some(state.join("transship"));
    }
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/transship/journal"));
    }
    absolute("HOME").map(|home| home.join(".local/state/transship"))
}

/// How the hosts are reached, besides their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The ssh_config that was named, absolute.
    pub config: Option<PathBuf>,
    /// The private key that was named, absolute.
    pub identity: Option<PathBuf>,
}

impl Reach {
    /// How the user called us, up to the verb (`transship --ssh-config FILE`), for commands to type next.
    #[must_use]
    pub fn invocation(&self) -> String {
        let mut words = vec!["transship".to_owned()];
        for (option, value) in [
            ("--ssh-config", &self.config),
            ("--identity", &self.identity),
        ] {
            if let Some(value) = value {
                words.extend([
                    option.to_owned(),
                    host::quote(&value.to_string_lossy()).into_owned(),
                ]);
            }
        }
        words.join(" ")
    }
}

/// What must be known to undo or finish.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    /// What the engine tells of the container on the source, before.
    pub container: Value,
    /// What the engine tells of its image.
    pub image: Value,
    pub memory: u64,
    pub source: Engine,
    pub destination: Engine,
    /// Id of the container made on the destination.
    pub new_id: Option<String>,
    pub layout: Option<Layout>,
    /// Path of our program on the hosts.
    pub tool: String,
    pub left_behind: Vec<String>,
}

/// One migration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    form: String,
    /// Its id: the container's name and six letters.
    pub id: String,
    /// The container on the source.
    pub container: String,
    /// Its name on the destination.
    pub name: String,
    /// How it is moved.
    pub mode: Mode,
    /// The host it comes from, as the user wrote it.
    pub source: String,
    /// The host it goes to.
    pub destination: String,
    /// Whether the stopped container is to stay on the source.
    pub keep_source: bool,
    /// Whether folders of bind mounts are copied along.
    #[serde(default)]
    pub copy_bind: bool,
    /// Whether established TCP connections are taken along.
    #[serde(default)]
    pub tcp_established: bool,
    /// Whether what the rounds of mode pre-copy left follows as in mode post-copy.
    #[serde(default)]
    pub then_post_copy: bool,
    /// How the hosts are reached.
    pub reach: Reach,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// The process that runs it.
    pub process: u32,
    /// The phases that were begun, in order.
    pub phases: Vec<String>,
    /// The container runs on the destination for good; only cleaning up is left.
    pub committed: bool,
    /// How it ended; none while it runs, and where it was killed.
    pub outcome: Option<Outcome>,
    /// Whether something was left on a host that the next `undo` must remove.
    pub left: bool,
    pub(crate) known: Option<Known>,
}

impl Record {
    /// A migration that begins now.
    pub(crate) fn new(context: &Context) -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Record {
            form: FORM.to_owned(),
            id: format!("{}-{}", context.name, letters()?),
            container: context.name.to_string(),
            name: context.new_name.to_string(),
            mode: context.options.mode,
            source: context.source.name().to_owned(),
            destination: context.destination.name().to_owned(),
            keep_source: context.options.keep_source,
            copy_bind: context.options.copy_bind,
            tcp_established: context.options.tcp_established,
            then_post_copy: context.options.then_post_copy,
            reach: context.options.reach.clone(),
            started: now.map_or(0, |time| time.as_secs()),
            process: std::process::id(),
            phases: Vec::new(),
            committed: false,
            outcome: None,
            left: false,
            known: None,
        })
    }

    /// Whether it ended and nothing is left to be done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.outcome, Some(outcome) if outcome != Outcome::InDoubt) && !self.left
    }
}

/// Six letters that no other migration has.
fn letters() -> Result<String, Failure> {
    let bytes: [u8; 6] = crate::random::bytes()?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(b'a' + byte % 26))
        .collect())
}

/// A record that this process alone may change.
pub(crate) struct Journal {
    folder: PathBuf,
    _lock: File,
    pub record: Record,
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::refused(
        "local",
        format!(
            "the journal of migrations cannot be kept: {}: {error}",
            path.display()
        ),
    )
    .fix("name a folder that you can write to: XDG_STATE_HOME=FOLDER transship ...")
}

impl Journal {
    /// Begins one.
    pub fn begin(home: &Path, record: Record) -> Result<Self, Failure> {
        let folder = home.join(&record.id);
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).recursive(true);
        builder
            .create(&folder)
            .map_err(|error| failed(&folder, &error))?;
        let lock = lock(&folder)
            .map_err(|error| failed(&folder, &error))?
            .ok_or_else(|| failed(&folder, &"it is locked"))?;
        let journal = Journal {
            folder,
            _lock: lock,
            record,
        };
        journal.save(true)?;
        prune(home);
        Ok(journal)
    }

    /// Takes over the one of a process that is gone; none while that process runs.
    pub fn take_over(home: &Path, id: &str) -> Result<Option<Self>, Failure> {
        let folder = home.join(id);
        let said = |error: &dyn std::fmt::Display| failed(&folder, error);
        let Some(lock) = lock(&folder).map_err(|error| said(&error))? else {
            return Ok(None);
        };
        let record = read(&folder).map_err(|error| said(&error))?;
        Ok(Some(Journal {
            folder: folder.clone(),
            _lock: lock,
            record,
        }))
    }

    /// Writes it down. `durable` outlives a loss of power too, and takes a disk's time.
    pub fn save(&self, durable: bool) -> Result<(), Failure> {
        let path = self.folder.join("record.json");
        let new = self.folder.join("record.new");
        let bytes = serde_json::to_vec_pretty(&self.record).expect("a record is plain data");
        let write = || {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&bytes)?;
            if durable {
                file.sync_all()?;
            }
            std::fs::rename(&new, &path)?;
            if durable {
                File::open(&self.folder)?.sync_all()?;
            }
            Ok::<_, std::io::Error>(())
        };
        write().map_err(|error| failed(&path, &error))
    }
}

/// Locks a journal's folder; none where another process holds it.
fn lock(folder: &Path) -> std::io::Result<Option<File>> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join("lock"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read(folder: &Path) -> std::io::Result<Record> {
    let bytes = std::fs::read(folder.join("record.json"))?;
    serde_json::from_slice(&bytes).map_err(std::io::Error::other)
}

/// A migration that the journal has, and whether its process still runs.
pub(crate) struct Found {
    pub record: Record,
    pub under_way: bool,
}

/// All of them, the newest first.
///
/// # Errors
/// The folder cannot be read; that there is none means that there were no migrations.
pub(crate) fn all(home: &Path) -> Result<Vec<Found>, Failure> {
    let entries = match std::fs::read_dir(home) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(home, &error)),
    };
    let mut list: Vec<Found> = entries
        .flatten()
        .filter_map(|entry| one(&entry.path()))
        .collect();
    list.sort_by(|a, b| (b.record.started, &b.record.id).cmp(&(a.record.started, &a.record.id)));
    Ok(list)
}

/// The one of that id, if there is one.
pub(crate) fn find(home: &Path, id: &str) -> Option<Found> {
    let plain = !id.is_empty() && !id.starts_with('.') && !id.contains('/');
    plain.then(|| one(&home.join(id))).flatten()
}

fn one(folder: &Path) -> Option<Found> {
    let record = read(folder).ok()?;
    let under_way = matches!(lock(folder), Ok(None));
    Some(Found { record, under_way })
}

/// Forgets the oldest of those that ended.
fn prune(home: &Path) {
    let over = all(home).unwrap_or_default().into_iter();
    for found in over
        .filter(|found| !found.under_way && found.record.is_over())
        .skip(REMEMBERED)
    {
        // What cannot be removed is tried again next time.
        let _ = std::fs::remove_dir_all(home.join(found.record.id));
    }
}

/// That a migration is not in the journal.
pub(crate) fn unknown(home: &Path, id: &str) -> Failure {
    Failure::new(
        Kind::Usage,
        format!("there is no migration {id} in {}", home.display()),
    )
    .on("local")
    .fix("transship migrate status, on the machine and as the user that began it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn record(id: &str, started: u64, outcome: Option<Outcome>) -> Record {
        Record {
            form: FORM.into(),
            id: id.into(),
            container: "web".into(),
            name: "web".into(),
            mode: Mode::Copy,
            source: "a".into(),
            destination: "b".into(),
            keep_source: false,
            copy_bind: false,
            tcp_established: false,
            then_post_copy: false,
            reach: Reach::default(),
            started,
            process: 1,
            phases: vec!["prepare".into()],
            committed: false,
            outcome,
            left: false,
            known: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_nobody_else_can() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("state/transship");
        let journal = Journal::begin(&home, record("web-a", 1, None)).unwrap();
        assert!(find(&home, "web-a").unwrap().under_way);
        assert!(Journal::take_over(&home, "web-a").unwrap().is_none());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home), 0o700);
        assert_eq!(mode(&home.join("web-a")), 0o700);
        assert_eq!(mode(&home.join("web-a/record.json")), 0o600);
        drop(journal);
        assert!(!find(&home, "web-a").unwrap().under_way);
        let journal = Journal::take_over(&home, "web-a").unwrap().unwrap();
        assert_eq!(journal.record.phases, ["prepare"]);
        for id in ["", "..", "../web-a", "web-b"] {
            assert!(find(&home, id).is_none(), "{id}");
        }
    }

    #[test]
    fn the_newest_come_first_and_what_did_not_end_is_never_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        drop(Journal::begin(dir.path(), record("web-killed", 0, None)).unwrap());
        for n in 1..=(REMEMBERED as u64 + 5) {
            let id = format!("web-{n}");
            drop(Journal::begin(dir.path(), record(&id, n, Some(Outcome::Migrated))).unwrap());
        }
        let list = all(dir.path()).unwrap();
        assert_eq!(list[0].record.id, format!("web-{}", REMEMBERED + 5));
        assert_eq!(list.last().unwrap().record.id, "web-killed");
        assert!(list.len() <= REMEMBERED + 2, "{}", list.len());
    }
}
