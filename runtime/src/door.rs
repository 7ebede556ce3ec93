//! runc and CRIU are started before the images are there: what they do before they read them, some 0.1 s with two
//! starts of CRIU and the container's control groups, then costs the container no time.
//!
//! CRIU reads `inventory.img` first, which says in what form the others are. As long as the images come that is a fifo,
//! and CRIU stands before it. The real one takes its place when it comes, and what it says goes through the fifo then.
//! Should we be gone before, CRIU reads nothing there and gives up by itself.

use crate::child;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
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
    fifo: File,
}

impl Door {
    /// Makes one in the empty folder of the images.
    pub fn close(images: &Path, descriptors: &str) -> Result<(), String> {
        let path = images.join(DESCRIPTORS);
        std::fs::write(&path, descriptors)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let path = images.join(INVENTORY);
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Waits until CRIU stands before it; none where runc ended before.
    pub fn reached(images: &Path, runc: &mut Child) -> Result<Option<Self>, String> {
        let inventory = images.join(INVENTORY);
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let since = Instant::now();
        while since.elapsed() < ARRIVES {
            match open(&inventory, flags, Mode::empty()) {
                Ok(fifo) => {
                    return Ok(Some(Door {
                        inventory,
                        fifo: fifo.into(),
                    }));
                }
                Err(Errno::NXIO) => {}
                Err(error) => return Err(format!("{}: {error}", inventory.display())),
            }
            if runc.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
        Err("CRIU did not get as far as to read the images".to_owned())
    }

    /// The images are there.
    pub fn open(mut self) -> Result<(), String> {
        std::fs::read(&self.inventory)
            .and_then(|bytes| self.fifo.write_all(&bytes))
            .map_err(|error| format!("{}: {error}", self.inventory.display()))
    }
}

/// Starts runc before the images are there, and waits until CRIU asks for them.
pub(crate) fn ahead(
    command: &mut Command,
    images: &Path,
    descriptors: &str,
) -> Result<(Child, Door), String> {
    Door::close(images, descriptors)?;
    let mut runc = child::spawn(command)?;
    let why = match Door::reached(images, &mut runc) {
        Ok(Some(door)) => return Ok((runc, door)),
        Ok(None) => "runc ended before it asked for the images".to_owned(),
        Err(why) => why,
    };
    child::end(&mut runc);
    Err(why)
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
        Door::close(images, "[]").unwrap();
        let mut waits = runc(images);
        let door = Door::reached(images, &mut waits).unwrap().unwrap();
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

        std::fs::remove_file(&inventory).unwrap();
        Door::close(images, "[]").unwrap();
        let mut waits = runc(images);
        let door = Door::reached(images, &mut waits).unwrap().unwrap();
        drop(door);
        assert!(ended(&mut waits));
        assert!(!waits.wait().unwrap().success());
    }

    #[test]
    fn a_runc_that_ends_before_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        Door::close(dir.path(), "[]").unwrap();
        let mut runc = Command::new("false").spawn().unwrap();
        assert!(Door::reached(dir.path(), &mut runc).unwrap().is_none());
    }
}
