//! One pass over a log: which patterns match on which lines. Linear in the log's length: an automaton looks for
//! the literals of all patterns at once, and only a pattern whose literal is on a line is tried on that line.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

use super::rule::{Component, NOISE, PATTERNS, regex};
use super::versions::Versions;

/// Bytes of a line that are looked at; the rest is skipped. Messages stand at the start of their line.
const LINE: usize = 8 * 1024;
/// Lines kept per pattern: enough for evidence, and it bounds the memory.
const KEPT: usize = 6;
/// Error lines without a rule that are kept.
const UNEXPLAINED: usize = 5;
/// Characters of a line that are shown.
const SHOWN: usize = 400;

/// What a line may say besides the patterns.
#[derive(Debug, Clone, Copy)]
enum Word {
    Version,
    Engine(Component),
    Error,
    Succeeded,
    Failed,
    LogPath,
    Criu,
}

const WORDS: &[(&str, Word)] = &[
    ("version", Word::Version),
    ("running on ", Word::Version),
    ("linux ", Word::Version),
    ("containerd ", Word::Version),
    (
        "error response from daemon",
        Word::Engine(Component::Docker),
    ),
    ("/var/lib/docker/", Word::Engine(Component::Docker)),
    ("docker checkpoint ", Word::Engine(Component::Docker)),
    ("/moby/", Word::Engine(Component::Docker)),
    (
        "/var/lib/containers/storage",
        Word::Engine(Component::Podman),
    ),
    ("podman container ", Word::Engine(Component::Podman)),
    ("lxc-checkpoint:", Word::Engine(Component::Lxd)),
    ("/var/snap/lxd/", Word::Engine(Component::Lxd)),
    ("error (", Word::Error),
    ("error:", Word::Error),
    ("level=error", Word::Error),
    ("erro[", Word::Error),
    ("error response from daemon", Word::Error),
    ("error response from daemon", Word::Failed),
    ("dumping failed", Word::Failed),
    ("restoring failed", Word::Failed),
    ("criu failed", Word::Failed),
    ("because of failure", Word::Failed),
    ("by signal", Word::Failed),
    ("error (criu/pie/", Word::Failed),
    ("error (pie/", Word::Failed),
    ("bug at", Word::Failed),
    ("restore finished successfully", Word::Succeeded),
    ("dumping finished successfully", Word::Succeeded),
    ("log file: /", Word::LogPath),
    ("path= /", Word::LogPath),
    ("criu logfile /", Word::LogPath),
    ("error (criu/", Word::Criu),
    ("error (compel/", Word::Criu),
];

/// What one pass found.
#[derive(Debug)]
pub(super) struct Scan {
    /// Per pattern the lines it matches on, ascending, 1-based.
    hits: Vec<Vec<usize>>,
    texts: BTreeMap<usize, String>,
    pub(super) versions: Versions,
    /// Error lines that no rule and no list of known lines has a word for.
    pub(super) unexplained: Vec<usize>,
    pub(super) lines: usize,
    pub(super) noise: usize,
    pub(super) succeeded: bool,
    pub(super) failed: bool,
    pub(super) criu_log: bool,
    /// The first log file that a message names.
    pub(super) log_path: Option<String>,
}

impl Scan {
    pub(super) fn hits(&self, pattern: usize) -> &[usize] {
        &self.hits[pattern]
    }

    pub(super) fn text(&self, line: usize) -> &str {
        self.texts.get(&line).map_or("", String::as_str)
    }

    /// Reads `log` to its end.
    pub(super) fn read(log: &mut impl BufRead, versions: Versions) -> io::Result<Self> {
        let mut scan = Self {
            hits: vec![Vec::new(); PATTERNS.len()],
            texts: BTreeMap::new(),
            versions,
            unexplained: Vec::new(),
            lines: 0,
            noise: 0,
            succeeded: false,
            failed: false,
            criu_log: false,
            log_path: None,
        };
        let mut raw = Vec::new();
        let mut previous = Vec::new();
        while read_line(log, &mut raw)? {
            let line = clean(&raw);
            scan.lines += 1;
            scan.line(&line);
            if continues(&line) && !previous.is_empty() {
                scan.joined(&previous, &line);
            }
            previous = line;
        }
        Ok(scan)
    }

    fn line(&mut self, line: &[u8]) {
        let found = look(line);
        let words = found.partition_point(|id| *id < PATTERNS.len());
        let mut error = false;
        for id in &found[words..] {
            error |= self.word(WORDS[id - PATTERNS.len()].1, line);
        }
        let mut known = false;
        for &pattern in &found[..words] {
            // The pattern is tried even if enough lines are kept: a known line must not count as unexplained.
            if (self.hits[pattern].len() < KEPT || error) && regex(pattern).is_match(line) {
                self.keep(pattern, self.lines, line);
                known |= PATTERNS[pattern].meaning;
                self.noise += usize::from(NOISE.iter().any(|n| n.pattern == pattern));
            }
        }
        if error && !known && self.unexplained.len() < UNEXPLAINED {
            self.unexplained.push(self.lines);
            self.texts.insert(self.lines, shown(line));
        }
    }

    /// A message that a mail client or a terminal has wrapped: matches across the break.
    fn joined(&mut self, previous: &[u8], line: &[u8]) {
        let mut text = previous.trim_ascii_end().to_vec();
        let seam = text.len();
        text.push(b' ');
        text.extend_from_slice(line.trim_ascii_start());
        for id in look(&text) {
            if id < PATTERNS.len()
                && self.hits[id].len() < KEPT
                && let Some(m) = regex(id).find(&text)
                && m.start() < seam
                && m.end() > seam + 1
                && !self.hits[id].iter().any(|l| *l + 1 >= self.lines)
            {
                self.keep(id, self.lines - 1, &text);
            }
        }
    }

    fn keep(&mut self, pattern: usize, line: usize, text: &[u8]) {
        if self.hits[pattern].len() < KEPT {
            self.hits[pattern].push(line);
            self.texts.entry(line).or_insert_with(|| shown(text));
        }
    }

    /// Takes in a word; true if it marks an error.
    fn word(&mut self, word: Word, line: &[u8]) -> bool {
        match word {
            Word::Version => self.versions.read(line),
            Word::Engine(engine) => self.versions.read_engine(engine),
            Word::Error => return true,
            Word::Succeeded => self.succeeded = true,
            Word::Failed => self.failed = true,
            Word::Criu => self.criu_log = true,
            Word::LogPath if self.log_path.is_none() => self.log_path = path(line),
            Word::LogPath => {}
        }
        false
    }
}

/// The automaton, and for each of its literals what it stands for: patterns first, then [`WORDS`].
fn automaton() -> &'static (AhoCorasick, Vec<usize>) {
    static AUTOMATON: OnceLock<(AhoCorasick, Vec<usize>)> = OnceLock::new();
    AUTOMATON.get_or_init(|| {
        let (mut literals, mut owners) = (Vec::new(), Vec::new());
        for (index, pattern) in PATTERNS.iter().enumerate() {
            literals.extend_from_slice(pattern.literals);
            owners.resize(literals.len(), index);
        }
        for (index, (word, _)) in WORDS.iter().enumerate() {
            literals.push(word);
            owners.push(PATTERNS.len() + index);
        }
        let automaton = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(literals)
            .expect("a thousand short literals fit");
        (automaton, owners)
    })
}

/// What stands on a line, each once: indices into [`PATTERNS`], and after those into [`WORDS`].
fn look(line: &[u8]) -> Vec<usize> {
    let (automaton, owners) = automaton();
    let mut found: Vec<usize> = automaton
        .find_overlapping_iter(line)
        .map(|m| owners[m.pattern().as_usize()])
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The next line without its end, at most [`LINE`] bytes of it; false at the end of the log.
fn read_line(log: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buffer = match log.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = buffer.iter().position(|b| *b == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        line.extend_from_slice(&part[..part.len().min(LINE - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        log.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Without colours, carriage returns and the escapes of quoted quotes, and with bent quotes made straight.
fn clean(raw: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (0x1b, [b'[', sequence @ ..]) => {
                let end = sequence.iter().position(u8::is_ascii_alphabetic);
                end.map_or(&[], |e| &sequence[e + 1..])
            }
            (0xe2, [0x80, 0x98 | 0x99, after @ ..]) => {
                line.push(b'\'');
                after
            }
            (0xe2, [0x80, 0x9c | 0x9d, after @ ..]) => {
                line.push(b'"');
                after
            }
            // A message quoted inside of another one.
            (b'\\', [b'"' | b'\\', ..]) | (b'\r', _) => tail,
            _ => {
                line.push(first);
                tail
            }
        };
    }
    line
}

/// Whether a line may go on from the one before: it does not start as a log line does.
fn continues(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    !line.is_empty()
        && line[0] != b'('
        && !["Error", "Warn", "pie", "time=", "ERRO", "WARN", "$", "#"]
            .iter()
            .any(|start| line.starts_with(start.as_bytes()))
}

/// As text that a terminal can show without harm.
fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The path after `log file: `, `path= ` or `CRIU logfile `.
fn path(line: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(line);
    let start = ["log file: ", "path= ", "logfile "]
        .iter()
        .filter_map(|mark| line.find(mark).map(|at| at + mark.len()))
        .min()?;
    let end = |c: char| c.is_whitespace() || matches!(c, '"' | '\\' | '\'' | ',' | '`');
    let path = line[start..].split(end).next()?.trim_end_matches(':');
    path.starts_with('/').then(|| path.to_owned())
}
