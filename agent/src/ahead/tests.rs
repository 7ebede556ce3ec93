use super::*;
use crate::frame::{Frame, Receiver};
use std::process::{Command, Stdio};

type Page = [u8; PAGE as usize];

fn page(byte: u8) -> Page {
    let mut page = [byte; PAGE as usize];
    page[0] = !byte;
    page
}

/// What arrives of an image, and how many of its bytes were sent anew.
fn arrives(stream: &[u8]) -> (Vec<u8>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    std::fs::write(&path, "").unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let (mut image, mut anew) = (Vec::new(), 0);
    let mut receiver = Receiver::new(stream);
    while let Some(frame) = receiver.next().unwrap() {
        match frame {
            Frame::Data {
                id: ID,
                offset,
                bytes,
            } => file.write_all_at(bytes, offset).unwrap(),
            Frame::Data { offset, bytes, .. } => {
                assert_eq!(offset, image.len() as u64);
                image.extend(bytes);
                anew += bytes.len();
            }
            Frame::Again { offset, runs, .. } => {
                assert_eq!(offset, image.len() as u64);
                for run in runs {
                    let mut pages = Vec::new();
                    read(&file, run, &mut pages).unwrap();
                    image.extend(pages);
                }
            }
            _ => {}
        }
    }
    (image, anew)
}

/// How many pages of an image are sent, whatever is looked at at once.
fn sent(memory: &[Page], image: &[Page]) -> usize {
    let [some, many] = [5, 3 * BLOCK].map(|step| sent_by(step, memory, image));
    assert_eq!(some, many);
    some
}

fn sent_by(step: usize, memory: &[Page], image: &[Page]) -> usize {
    let mut stream = Vec::new();
    let mut to = Sender::new(&mut stream);
    let mut ahead = Ahead::default();
    for step in memory.chunks(3) {
        ahead.pages(&step.concat(), &mut to).unwrap();
    }
    ahead.sort();
    let image = image.concat();
    for (at, part) in (0..).zip(image.chunks(step * PAGE as usize)) {
        ahead
            .again(7, at * step as u64 * PAGE, part, &mut to)
            .unwrap();
    }
    let (arrived, anew) = arrives(&stream);
    assert!(arrived == image);
    anew / PAGE as usize
}

#[test]
fn only_what_changed_is_sent_again_wherever_it_lies() {
    let memory: Vec<Page> = (0..80).map(page).collect();
    assert_eq!(sent(&memory, &memory), 0);
    let mut other = memory.clone();
    (other[0], other[17], other[18], other[39]) = (page(100), page(101), page(102), page(103));
    assert_eq!(sent(&memory, &other), 4);
    // More of it, less of it, in another order.
    other.insert(9, page(104));
    other.drain(25..30);
    other.reverse();
    assert_eq!(sent(&memory, &other), 5);
    assert_eq!(sent(&[], &other), other.len());
}

#[test]
fn stretches_that_criu_frees_at_once_are_short() {
    let memory: Vec<Page> = (0..GAP + 2 * READ)
        .map(|number| page(u8::try_from(number % 251).unwrap()))
        .collect();
    let mut stream = Vec::new();
    let mut to = Sender::new(&mut stream);
    let mut ahead = Ahead::default();
    for part in memory.chunks(READ) {
        ahead.pages(&part.concat(), &mut to).unwrap();
    }
    ahead.sort();
    ahead.again(7, 0, &memory.concat(), &mut to).unwrap();
    let (mut pages, mut lengths) = (0, Vec::new());
    let mut receiver = Receiver::new(&stream[..]);
    while let Some(frame) = receiver.next().unwrap() {
        match frame {
            Frame::Data { bytes, .. } => pages += bytes.len() / PAGE as usize,
            Frame::Again { runs, .. } => lengths.extend(runs.iter().map(|run| run.1 as usize)),
            _ => {}
        }
    }
    assert_eq!(pages, memory.len() + 1);
    assert_eq!(lengths, [GAP - 1, 2 * READ + 1]);
}

#[test]
fn equal_pages_are_sent_once() {
    let zeros = [[0; PAGE as usize]; 20];
    assert_eq!(sent(&zeros, &zeros), 0);
    let mut stream = Vec::new();
    let mut ahead = Ahead::default();
    ahead
        .pages(&zeros.concat(), &mut Sender::new(&mut stream))
        .unwrap();
    assert!(stream.len() < 2 * PAGE as usize, "{}", stream.len());
}

#[test]
fn where_all_has_changed_nothing_is_looked_up_for_long() {
    let mut ahead = Ahead::default();
    for _ in 0..2 * TRIAL {
        assert_eq!(ahead.page(&page(1)), None);
    }
    assert_eq!(
        ahead.asked as usize,
        TRIAL as usize * (NOW_AND_THEN + 1) / NOW_AND_THEN
    );
}

#[test]
fn what_is_the_same_is_found_after_much_that_changed() {
    let numbered = |number: usize| {
        let mut page = [0; PAGE as usize];
        page[..8].copy_from_slice(&number.to_le_bytes());
        page
    };
    let (changed, same) = (2 * TRIAL as usize, TRIAL as usize);
    let memory: Vec<Page> = (0..changed + same).map(numbered).collect();
    let mut image = memory.clone();
    image[..changed].fill_with(|| page(7));
    let anew = sent_by(64, &memory, &image);
    assert!(anew < changed + NOW_AND_THEN, "{anew}");
}

#[test]
fn the_memory_of_a_process_is_found_and_one_that_is_gone_has_none() {
    // A shell that has a variable with a text that stands nowhere else.
    let script = "x=$(printf '%s-%s' transship ahead); for i in 1 2 3 4 5 6 7 8 9 10 11 12; do x=$x$x; done; echo ready; read y; echo \"$x\" >/dev/null";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let memory = |most| {
        let mut stream = Vec::new();
        let mut to = Sender::new(&mut stream);
        Ahead::send(shell.id(), most, &mut to, &mut |_| Ok(())).unwrap();
        let mut all = Vec::new();
        let mut receiver = Receiver::new(&stream[..]);
        while let Some(frame) = receiver.next().unwrap() {
            if let Frame::Data { bytes, .. } = frame {
                all.extend_from_slice(bytes);
            }
        }
        all
    };
    let text = b"transship-aheadtransship-ahead";
    let has = |all: &[u8]| all.windows(text.len()).any(|part| part == text);
    assert!(has(&memory(u64::MAX)));
    assert_eq!(memory(3 * PAGE).len(), 3 * PAGE as usize);
    shell.kill().unwrap();
    shell.wait().unwrap();
    let mut stream = Vec::new();
    let mut to = Sender::new(&mut stream);
    let none = Ahead::send(shell.id(), u64::MAX, &mut to, &mut |_| Ok(())).unwrap();
    assert!(none.sums.is_empty());
}

#[test]
fn only_private_mappings_count() {
    let line = |more: &str| format!("7f0000000000-7f0000003000 {more}");
    let pages = Some((0x7_f000_0000, 0x7_f000_0003));
    assert_eq!(private(&line("rw-p 00000000 00:00 0")), pages);
    assert_eq!(
        private(&line("r--p 00000000 fe:00 77 /lib/libc.so.6")),
        pages
    );
    assert_eq!(private(&line("rw-s 00000000 00:01 5 /dev/zero")), None);
    assert_eq!(private(&line("r--p 00000000 00:00 0 [vvar]")), None);
    let entries: Vec<u8> = [PRESENT, PRESENT, PRESENT | FILE_OR_SHARED, 0, PRESENT | 9]
        .iter()
        .flat_map(|entry: &u64| entry.to_ne_bytes())
        .collect();
    assert_eq!(runs(&entries), [(0, 2), (4, 1)]);
}

#[test]
fn no_more_is_read_at_once_than_a_frame_holds() {
    let file = tempfile::tempfile().unwrap();
    let why = read(&file, (0, u32::MAX), &mut Vec::new()).unwrap_err();
    assert!(why.to_string().contains("a run of"), "{why}");
    let why = read(&file, (0, 1), &mut Vec::new()).unwrap_err();
    assert!(why.to_string().contains("pages sent ahead"), "{why}");
}
