//! Waiting for the images.

use crate::pending::{GO, HERE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long whoever brings the images may take to show up: it knocks all the time.
const SHOW_UP: Duration = Duration::from_secs(5);

/// Waits at a fifo until [`GO`] is written into it, for as long as [`HERE`] comes again and again. Whoever
/// wrote that holds it open until the restore is done: see [`is_held`].
///
/// # Errors
/// Nobody came, the writer went away without a word or said something else, or was silent for `silence`.
pub(crate) fn wait(gate: &Path, silence: Duration) -> Result<OwnedFd, String> {
    let said = |error: rustix::io::Errno| format!("{}: {error}", gate.display());
    // Without NONBLOCK opening would block, for ever, until a writer comes.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fifo = rustix::fs::open(gate, flags, Mode::empty()).map_err(said)?;
    let mut since = Instant::now();
    let mut limit = silence.min(SHOW_UP);
    let mut heard = Vec::new();
    loop {
        let left = limit.saturating_sub(since.elapsed());
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(&fifo, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => {
                return Err(format!(
                    "the images of this container did not come, and nothing was heard of them for {} s",
                    limit.as_secs_f64()
                ));
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(said(error)),
        }
        let mut buffer = [0; 64];
        match rustix::io::read(&fifo, &mut buffer) {
            Ok(0) => return Err("the migration that was to bring this container ended".to_owned()),
            Ok(n) => heard.extend_from_slice(&buffer[..n]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(said(error)),
        }
        while let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
            let word: Vec<u8> = heard.drain(..=end).collect();
            match &word[..] {
                GO => return Ok(fifo),
                HERE => (since, limit) = (Instant::now(), silence),
                other => return Err(String::from_utf8_lossy(other).trim().to_owned()),
            }
        }
    }
}

/// Whether somebody still holds the gate open, after at most so long.
pub(crate) fn is_held(fifo: &OwnedFd, after: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(after.subsec_nanos()),
    };
    let mut polled = [PollFd::new(fifo, PollFlags::empty())];
    match poll(&mut polled, Some(&timeout)) {
        Ok(0) => true,
        Ok(_) => !polled[0].revents().contains(PollFlags::HUP),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::PathBuf;

    fn fifo() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        (dir, path)
    }

    fn while_waiting(path: &Path, write: &'static [u8]) -> Result<(), String> {
        let other = path.to_owned();
        let writer = std::thread::spawn(move || {
            // Blocks until the reader is there.
            let mut file = std::fs::OpenOptions::new().write(true).open(other).unwrap();
            file.write_all(write).unwrap();
        });
        let result = wait(path, Duration::from_secs(20)).map(drop);
        writer.join().unwrap();
        result
    }

    #[test]
    fn the_word_opens_it() {
        let (_dir, path) = fifo();
        while_waiting(&path, GO).unwrap();
        while_waiting(&path, b"here\ngo\n").unwrap();
        assert!(while_waiting(&path, HERE).unwrap_err().contains("ended"));
    }

    #[test]
    fn a_writer_that_goes_away_or_says_no_ends_it_at_once() {
        let (_dir, path) = fifo();
        let start = Instant::now();
        assert!(while_waiting(&path, b"").unwrap_err().contains("ended"));
        assert_eq!(while_waiting(&path, b"no room\n").unwrap_err(), "no room");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn it_is_seen_whether_it_is_still_held() {
        let (_dir, path) = fifo();
        let other = path.clone();
        let writer = std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().write(true).open(other).unwrap();
            file.write_all(GO).unwrap();
            file
        });
        let gate = wait(&path, Duration::from_secs(20)).unwrap();
        let held = writer.join().unwrap();
        assert!(is_held(&gate, Duration::from_millis(20)));
        drop(held);
        assert!(!is_held(&gate, Duration::from_millis(20)));
    }

    #[test]
    fn whoever_says_again_and_again_to_be_there_is_waited_for() {
        let (_dir, path) = fifo();
        let other = path.clone();
        let (silence, moment) = (Duration::from_millis(1500), Duration::from_millis(200));
        let writer = std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().write(true).open(other).unwrap();
            for _ in 0..12 {
                file.write_all(HERE).unwrap();
                std::thread::sleep(moment);
            }
            // Open, and not a word more.
            std::thread::sleep(3 * silence);
            file
        });
        let begun = Instant::now();
        let why = wait(&path, silence).unwrap_err();
        assert!(
            begun.elapsed() >= 11 * moment + silence,
            "{:?}",
            begun.elapsed()
        );
        assert!(why.contains("did not come"), "{why}");
        drop(writer.join().unwrap());
    }

    #[test]
    fn nobody_is_waited_for_without_end() {
        let (_dir, path) = fifo();
        let why = wait(&path, Duration::from_millis(50)).unwrap_err();
        assert!(why.contains("did not come"), "{why}");
    }
}
