//! Memory that is sent ahead, in rounds, while the container runs (pre-copy). The first round has all of it,
//! each later one what changed since; the dump of the frozen container then has the last changes alone.

use crate::aside::{Aside, Control};
use crate::destination::{Desk, moving, tell};
use crate::error::{AgentError, Result};
use crate::frame::{Frame, Message, Receiver, Sender};
use crate::images::Images;
use crate::job::{ENOUGH, Event, ROUND, ReceiveJob, Rounds, SendJob, command};
use crate::source::{Writing, stream};
use host::{Cmd, Host, Local};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Sends rounds as long as whoever steers wants them; returns the command of the dump that comes after them.
pub(crate) fn send<W: Write + Send, A: Write + Send>(
    job: &SendJob,
    rounds: &Rounds,
    control: &Control,
    to: &mut Sender<W>,
    aside: &mut Aside<A>,
) -> Result<Vec<String>> {
    let mut number = 0;
    loop {
        match control.word().unwrap_or_default().trim() {
            ROUND => {
                number += 1;
                to.message(&Message::Round(number))?;
                let images = folder(&job.images, number);
                // It is looked into before runc has made it.
                make(&images)?;
                let pre_dump = Writing::start(command(&rounds.command(&job.images, number)));
                let pages = stream(pre_dump, Images::new(&images), to, aside, |_, _| Ok(()))?.pages;
                to.pass(false)?;
                let (bytes, wire) = (to.bytes(), aside.wire());
                aside.tell(to, &Event::Round { pages, bytes, wire })?;
            }
            ENOUGH => {
                to.message(&Message::Enough)?;
                to.flush()?;
                return Ok(with(&job.dump, parent("", number)));
            }
            _ => return Err(AgentError::Ended),
        }
    }
}

impl Rounds {
    /// The command of the round of this number, where the images of the dump are to be in `images`.
    #[must_use]
    pub fn command(&self, images: &Path, number: u32) -> Vec<String> {
        let path = folder(images, number).display().to_string();
        let mut more = vec!["--image-path".to_owned(), path];
        more.extend(parent("../", number - 1));
        with(&self.pre_dump, more)
    }
}

/// The folder of a round, in that of the dump.
fn folder(images: &Path, number: u32) -> PathBuf {
    images.join(name(number))
}

fn name(number: u32) -> String {
    format!("round-{number}")
}

/// The options that name the images of the round of this number as those before; none before the first.
/// runc takes no absolute path, and tracks memory with these (runc, `libcontainer/criu_linux.go`).
fn parent(up: &str, number: u32) -> Vec<String> {
    if number == 0 {
        return Vec::new();
    }
    vec!["--parent-path".to_owned(), format!("{up}{}", name(number))]
}

/// Puts options before the last word of a command, which is the container.
fn with(words: &[String], more: Vec<String>) -> Vec<String> {
    let at = words.len().saturating_sub(1);
    let mut all = words.to_vec();
    all.splice(at..at, more);
    all
}

/// A folder for images, for root alone.
fn make(folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(|error| AgentError::file(folder, error))
}

/// Takes the rounds, until there are enough.
pub(crate) fn receive<R: Read>(
    job: &ReceiveJob,
    from: &mut Receiver<R>,
    control: &mut (dyn Write + Send),
) -> Result<()> {
    loop {
        let number = match from.next()? {
            Some(Frame::Message(Message::Round(number))) => number,
            Some(Frame::Message(Message::Enough)) => return Ok(()),
            // A sign that the source is there.
            Some(Frame::Event) => continue,
            Some(_) => return Err(AgentError::stream("a frame out of place")),
            None => return Err(AgentError::Broken("it ended too early".into())),
        };
        let images = folder(&job.images, number);
        make(&images)?;
        Desk::of_round(job, &images)?.pass(from, &mut |bytes| moving(control, bytes))?;
        if number > 1 {
            forget_old(&images);
        }
        tell(control, &Event::Pass)?;
    }
}

/// Frees the pages of earlier rounds that this one has anew, so that all rounds together take no more memory
/// than the container. Where CRIU cannot, the file system for the images sets the limit.
fn forget_old(images: &Path) {
    let images = images.display().to_string();
    let _ = Local.run(&Cmd::changes("criu").args(["dedup", "--images-dir", &images]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Wire;
    use std::sync::Arc;

    /// Stands in for runc: as many pages as the round before had, less one; and a link to that round.
    const PRE_DUMP: &str = r#"
[ "$1" = --image-path ] || exit 9
if [ "$3" = --parent-path ]; then ln -s "$4" "$2/parent"; size=4096; id=$5; else size=8192; id=$3; fi
[ "$id" = CONTAINER ] || exit 9
head -c $size /dev/zero | tr '\0' x > "$2/pages-1.img"; echo map > "$2/pagemap-1.img""#;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    fn send_job(folder: &Path) -> SendJob {
        SendJob {
            dump: words(&["runc", "checkpoint", "CONTAINER"]),
            rounds: Some(Rounds {
                pre_dump: words(&["sh", "-c", PRE_DUMP, "sh", "CONTAINER"]),
            }),
            ..SendJob::idle(folder)
        }
    }

    fn receive_job(folder: &Path) -> ReceiveJob {
        ReceiveJob {
            images: folder.to_owned(),
            pending: PathBuf::new(),
            trees: Vec::new(),
            log: None,
            print_late: false,
            start: Vec::new(),
            token: crate::job::Token([0; 32]),
            lazy_seconds: None,
            rounds: true,
            ahead: false,
            frozen_seconds: 15,
        }
    }

    /// What is sent when these words are said, what is told aside, and the dump that follows.
    fn sent(folder: &Path, said: &str) -> (Vec<u8>, Vec<u64>, Result<Vec<String>>) {
        let job = send_job(folder);
        let rounds = job.rounds.clone().unwrap();
        let (mut stream, mut told) = (Vec::new(), Vec::new());
        let wire = Wire::default();
        let mut to = Sender::new(&mut stream);
        let mut events = Sender::new(&mut told);
        let control = Control::said(said);
        let mut aside = Aside::new(Some((&mut events, &wire)), control.over(), Arc::default());
        let dump = send(&job, &rounds, &control, &mut to, &mut aside);
        drop((to, events));
        let (mut told, mut pages) = (&told[..], Vec::new());
        let mut nowhere = std::io::sink();
        while let Some(crate::Passing::Event(json)) =
            crate::carry(&mut told, &mut nowhere, &mut Vec::new()).unwrap()
        {
            if let Event::Round { pages: some, .. } = serde_json::from_slice(&json).unwrap() {
                pages.push(some);
            }
        }
        (stream, pages, dump)
    }

    #[test]
    fn each_round_arrives_in_its_folder_and_knows_the_one_before() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (stream, pages, dump) = sent(here.path(), "round\nround\nround\nenough\n");
        assert_eq!(pages, [2, 1, 1]);
        assert_eq!(
            dump.unwrap(),
            [
                "runc",
                "checkpoint",
                "--parent-path",
                "round-3",
                "CONTAINER"
            ]
        );
        let mut told = Vec::new();
        let job = receive_job(there.path());
        receive(&job, &mut Receiver::new(&stream[..]), &mut told).unwrap();
        assert_eq!(String::from_utf8(told).unwrap().lines().count(), 3);
        let at = |number, name: &str| folder(there.path(), number).join(name);
        assert_eq!(std::fs::read(at(1, "pages-1.img")).unwrap(), [b'x'; 8192]);
        assert_eq!(std::fs::read(at(3, "pages-1.img")).unwrap(), [b'x'; 4096]);
        assert!(std::fs::read_link(at(1, "parent")).is_err());
        let link = std::fs::read_link(at(3, "parent")).unwrap();
        assert_eq!(link, Path::new("../round-2"));
        // The next round needs to know which pages there were, and not what was in them.
        let kept = |name: &str| std::fs::read(folder(here.path(), 3).join(name)).unwrap();
        assert_eq!(kept("pagemap-1.img"), b"map\n");
        assert_eq!(kept("pages-1.img"), [0; 4096]);
    }

    #[test]
    fn without_a_word_there_is_an_end() {
        let here = tempfile::tempdir().unwrap();
        let (stream, pages, dump) = sent(here.path(), "round\n");
        assert_eq!(pages, [2]);
        assert!(matches!(dump, Err(AgentError::Ended)), "{dump:?}");
        let there = tempfile::tempdir().unwrap();
        let job = receive_job(there.path());
        let why = receive(&job, &mut Receiver::new(&stream[..]), &mut Vec::new());
        assert!(matches!(why, Err(AgentError::Broken(_))), "{why:?}");
    }

    #[test]
    fn a_round_that_failed_is_no_round() {
        let here = tempfile::tempdir().unwrap();
        let mut job = send_job(here.path());
        let mut rounds = job.rounds.take().unwrap();
        rounds.pre_dump = words(&["sh", "-c", "echo no >&2; exit 1", "CONTAINER"]);
        let mut to = Sender::new(Vec::new());
        let control = Control::said("round\nenough\n");
        let mut aside = Aside::<Vec<u8>>::new(None, control.over(), Arc::default());
        let why = send(&job, &rounds, &control, &mut to, &mut aside);
        let why = why.unwrap_err().to_string();
        assert!(why.contains("no"), "{why}");
    }
}
