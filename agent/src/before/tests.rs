use super::*;
use crate::pagemap::{Entry, Reader, Writer};

/// A folder with images as they come: a process with pages at three places, and all that was sent ahead.
struct Images {
    folder: tempfile::TempDir,
    before: Before,
}

const ID: u32 = u32::MAX;
const SENT: u64 = 100_000;

impl Images {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(ahead::NAME), "sent ahead").unwrap();
        let mut before = Before::default();
        before.open(ID, b"pages-7.img");
        Images { folder, before }
    }

    fn leave(&mut self, begin: u32, count: u32) -> bool {
        let offset = self.before.files[&ID].length;
        let left = self.before.leave(ID, (offset, (begin, count)), SENT);
        let left = left.unwrap();
        if !left {
            self.own(u64::from(count));
        }
        left
    }

    /// Pages that come anew, or are copied.
    fn own(&mut self, count: u64) {
        let pages = &self.before.files[&ID];
        let (offset, place) = (pages.length, pages.length - pages.left_out);
        let length = usize::try_from(count * PAGE).unwrap();
        assert_eq!(self.before.place(ID, offset, length).unwrap(), place);
    }

    fn describe(&self, entries: &[Entry]) {
        let path = self.folder.path().join("pagemap-1.img");
        let mut image = Writer::new(File::create(path).unwrap(), *b"CRIUmagi", 7).unwrap();
        for entry in entries {
            image.entry(*entry).unwrap();
        }
    }

    fn described(&self, name: &str) -> (u32, Vec<Entry>) {
        let image = std::fs::read(self.folder.path().join(name)).unwrap();
        let mut image = Reader::new(&image[..]).unwrap();
        assert_eq!(image.magic(), *b"CRIUmagi");
        let mut entries = Vec::new();
        while let Some(entry) = image.next().unwrap() {
            entries.push(entry);
        }
        (image.number(), entries)
    }
}

fn pages(address: u64, count: u64) -> Entry {
    Entry::in_file(address * PAGE, count)
}

#[test]
fn what_did_not_change_is_read_where_it_was_sent() {
    let mut images = Images::new();
    images.own(2);
    assert!(images.leave(5, 10));
    assert!(images.leave(15, 10));
    images.own(1);
    assert!(images.leave(26, 8));
    images.describe(&[pages(100, 5), pages(200, 26)]);
    let Images { before, folder } = &mut images;
    assert_eq!(before.size(ID, 31 * PAGE).unwrap(), 3 * PAGE);
    assert!(before.size(ID, 30 * PAGE).is_err());
    before.finish(folder.path()).unwrap();
    let own = [
        pages(100, 2),
        pages(102, 3).in_parent(),
        pages(200, 17).in_parent(),
        pages(217, 1),
        pages(218, 8).in_parent(),
    ];
    assert_eq!(images.described("pagemap-1.img"), (7, own.to_vec()));
    let left = [
        pages(97, 5),
        pages(102, 3),
        pages(200, 17),
        // The page that changed.
        pages(217, 1),
        pages(218, 8),
    ];
    let before = images.described("parent/pagemap-1.img");
    assert_eq!(before, (NUMBER, left.to_vec()));
    let sent = std::fs::read(images.folder.path().join("parent/pages-1.img"));
    assert_eq!(sent.unwrap(), b"sent ahead");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        let meta = std::fs::metadata(images.folder.path().join(name)).unwrap();
        meta.permissions().mode() & 0o7777
    };
    assert_eq!((mode("before"), mode("pagemap-1.img")), (0o700, 0o600));
    assert_eq!(mode("before/pagemap-1.img"), 0o600);
}

#[test]
fn a_page_is_left_once_and_in_order() {
    let mut images = Images::new();
    assert!(!images.leave(0, LEAST - 1));
    assert!(images.leave(100, 10));
    assert!(!images.leave(105, 10), "a second time");
    assert!(!images.leave(50, 10), "one before");
    assert!(!images.leave(90_000, LEAST), "far ahead, and short");
    assert!(images.leave(90_000, 50));
    assert!(!images.leave(99_990, 20), "none were sent there");
    // Another process has the same: CRIU frees them once one has it.
    images.before.open(1, b"pages-8.img");
    let mut of_other = |begin| images.before.leave(1, (0, (begin, 10)), SENT).unwrap();
    assert!(!of_other(95));
    assert!(of_other(50));
    // What is no pages file is left alone, and what does not come in order is refused.
    let before = &mut images.before;
    before.open(2, b"core-1.img");
    assert!(!before.leave(2, (0, (200, 10)), SENT).unwrap());
    assert_eq!(before.place(2, 77, 5).unwrap(), 77);
    assert!(before.place(ID, 0, 1).is_err());
    assert!(before.leave(ID, (0, (200, 10)), SENT).is_err());
}

#[test]
fn what_was_sent_in_vain_is_removed() {
    let mut images = Images::new();
    images.own(5);
    images.describe(&[pages(100, 5)]);
    let Images { before, folder } = &mut images;
    before.finish(folder.path()).unwrap();
    assert!(!folder.path().join(ahead::NAME).exists());
    assert!(!folder.path().join("parent").exists());
    assert_eq!(images.described("pagemap-1.img"), (7, vec![pages(100, 5)]));
}

#[test]
fn pages_that_nobody_has_are_refused() {
    for described in [None, Some([pages(100, 3)])] {
        let mut images = Images::new();
        assert!(images.leave(5, 10));
        if let Some(described) = described {
            images.describe(&described);
        }
        let Images { before, folder } = &mut images;
        let why = before.finish(folder.path()).unwrap_err().to_string();
        assert!(why.contains("pages"), "{why}");
    }
}
