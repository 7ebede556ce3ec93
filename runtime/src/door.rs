//! runc and CRIU are started before the images are there: what they do before they read them, with two starts of
//! CRIU and the container's control groups, then costs the container no time.
//!
//! CRIU reads `inventory.img` first, which says in what form the others are. As long as the images come that is a link to
//! a pipe of ours, and CRIU stands before it. The real one takes its place when it comes, and what it says goes through
//! the pipe then. Should we be gone before, CRIU finds nothing there, or reads nothing, and gives up by itself.

use crate::{child, processes};
use rustix::fs::{Stat, fstat};
use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Says which of CRIU's descriptors are the container's: runc reads it before it starts CRIU (`descriptorsFilename` in
/// libcontainer, `criu_linux.go`). It is known before the images are.
const DESCRIPTORS: &str = "descriptors.json";
const INVENTORY: &str = "inventory.img";

/// How long runc and CRIU may take to get there, how long to end where the images do not come, and how often is
/// looked.
const ARRIVES: Duration = Duration::from_secs(30);
const ENDS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(1);

/// What CRIU stands before.
pub(crate) struct Door {
    inventory: PathBuf,
    /// CRIU opens it anew, through us.
    reader: PipeReader,
    writer: PipeWriter,
}

impl Door {
    /// Makes one in the folder of the images, where there are none yet.
    pub fn close(images: &Path, descriptors: &str) -> Result<Self, String> {
        let path = images.join(DESCRIPTORS);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(descriptors.as_bytes()))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let inventory = images.join(INVENTORY);
        let said = |error| format!("{}: {error}", inventory.display());
        let (reader, writer) = std::io::pipe().map_err(said)?;
        let through = format!("/proc/{}/fd/{}", std::process::id(), reader.as_raw_fd());
        symlink(through, &inventory).map_err(said)?;
        Ok(Door {
            inventory,
            reader,
            writer,
        })
    }

    /// Waits until CRIU stands before it.
    ///
    /// # Errors
    /// It did not get there: runc ended before, or takes too long.
    pub fn reached(&self, runc: &mut Child) -> Result<(), String> {
        let ours = fstat(&self.reader).map_err(|error| format!("the pipe to CRIU: {error}"))?;
        let pid = child::number(runc)?;
        let since = Instant::now();
        while since.elapsed() < ARRIVES {
            let below = processes::tree(pid);
            if below.into_iter().any(|pid| has_open(pid, &ours)) {
                return Ok(());
            }
            if runc.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err("runc ended before it asked for the images".to_owned());
            }
            std::thread::sleep(LOOK);
        }
        Err("CRIU did not get as far as to read the images".to_owned())
    }

    /// The images are there.
    pub fn open(mut self) -> Result<(), String> {
        std::fs::read(&self.inventory)
            .and_then(|bytes| self.writer.write_all(&bytes))
            .map_err(|error| format!("{}: {error}", self.inventory.display()))
    }
}

/// Starts runc before the images are there, and waits until CRIU asks for them.
pub(crate) fn ahead(
    command: &mut Command,
    images: &Path,
    descriptors: &str,
) -> Result<(Child, Door), String> {
    let door = Door::close(images, descriptors)?;
    let mut runc = child::spawn(command)?;
    match door.reached(&mut runc) {
        Ok(()) => Ok((runc, door)),
        Err(why) => {
            child::end(&mut runc);
            Err(why)
        }
    }
}

/// Whether a process has this file open.
fn has_open(pid: i32, file: &Stat) -> bool {
    let list = std::fs::read_dir(format!("/proc/{pid}/fd"));
    list.into_iter().flatten().flatten().any(|entry| {
        std::fs::metadata(entry.path())
            .is_ok_and(|it| it.dev() == file.st_dev && it.ino() == file.st_ino)
    })
}

/// Whether runc ended by itself soon, since CRIU found nothing behind the door.
pub(crate) fn ended(runc: &mut Child) -> bool {
    let since = Instant::now();
    while since.elapsed() < ENDS {
        if runc.try_wait().is_ok_and(|ended| ended.is_some()) {
            return true;
        }
        std::thread::sleep(LOOK);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the images, as runc and CRIU do, and writes down what they say.
    fn runc(images: &Path) -> Child {
        let script = r#"cat "$1/descriptors.json" > "$1/known" && cat "$1/inventory.img" > "$1/read" && [ -s "$1/read" ]"#;
        let mut sh = Command::new("sh");
        sh.args(["-c", script, "sh"]).arg(images).spawn().unwrap()
    }

    #[test]
    fn what_comes_later_goes_through_it_and_nothing_ends_who_waits() {
        let dir = tempfile::tempdir().unwrap();
        let (images, inventory) = (dir.path(), dir.path().join(INVENTORY));
        let door = Door::close(images, "[]").unwrap();
        let mut waits = runc(images);
        door.reached(&mut waits).unwrap();
        assert_eq!(std::fs::read_to_string(images.join("known")).unwrap(), "[]");
        assert!(waits.try_wait().unwrap().is_none());
        // The real one takes its place.
        std::fs::remove_file(&inventory).unwrap();
        std::fs::write(&inventory, "inventory").unwrap();
        door.open().unwrap();
        assert!(waits.wait().unwrap().success());
        assert_eq!(
            std::fs::read_to_string(images.join("read")).unwrap(),
            "inventory"
        );

        for name in [INVENTORY, DESCRIPTORS] {
            std::fs::remove_file(images.join(name)).unwrap();
        }
        let door = Door::close(images, "[]").unwrap();
        let mut waits = runc(images);
        door.reached(&mut waits).unwrap();
        drop(door);
        assert!(ended(&mut waits));
        assert!(!waits.wait().unwrap().success());
        // And nobody who comes when we are gone.
        let mut late = runc(images);
        assert!(ended(&mut late));
        assert!(!late.wait().unwrap().success());
    }

    #[test]
    fn a_runc_that_ends_before_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let door = Door::close(dir.path(), "[]").unwrap();
        let mut runc = Command::new("false").spawn().unwrap();
        assert!(door.reached(&mut runc).unwrap_err().contains("ended"));
    }
}
