//! What is told while something runs, on standard error.

use console::{Term, style};
use host::Cmd;
use migrate::Event;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Tells of progress: on a terminal in one line that is written anew, elsewhere in plain lines.
pub struct Talk {
    quiet: bool,
    verbose: bool,
    term: Term,
    /// Whether the last line stands without a newline.
    open: Mutex<bool>,
    pace: Mutex<Pace>,
}

impl Talk {
    pub fn new(quiet: bool, verbose: bool) -> Self {
        Talk {
            quiet,
            verbose,
            term: Term::stderr(),
            open: Mutex::new(false),
            pace: Mutex::new(Pace::default()),
        }
    }

    /// Whether a line is written anew instead of one below the other.
    fn live(&self) -> bool {
        self.term.is_term() && !self.verbose
    }

    fn status(&self, text: &str) {
        if self.quiet {
            return;
        }
        if !self.live() {
            let _ = self.term.write_line(text);
            return;
        }
        let mut open = self.open.lock().expect("no panic while held");
        let width = usize::from(self.term.size().1).saturating_sub(1);
        let _ = self.term.clear_line();
        let _ = self
            .term
            .write_str(&console::truncate_str(text, width, "…"));
        *open = true;
    }

    fn line(&self, text: &str) {
        self.end();
        let _ = self.term.write_line(text);
    }

    /// Takes the live line away.
    pub fn end(&self) {
        let mut open = self.open.lock().expect("no panic while held");
        if std::mem::take(&mut *open) {
            let _ = self.term.clear_line();
        }
    }

    /// Tells what is being done now.
    pub fn doing(&self, what: &str) {
        self.status(what);
    }

    /// Tells what happens in a migration.
    pub fn migration(&self, event: &Event) {
        match event {
            Event::Begin { phase, title } => self.status(&format!("{phase:<11} {title}")),
            Event::Round { number, round } => self.status(&format!(
                "rounds      round {number}: {} pages, {} in {:.1} s",
                round.pages,
                super::human::size(round.bytes),
                round.seconds
            )),
            Event::Pages { left, total } => {
                if self.live() {
                    let size = |pages: u64| super::human::size(pages * 4096);
                    self.status(&format!(
                        "pages       {left} pages left, {} of {}",
                        size(*left),
                        size(*total)
                    ));
                }
            }
            Event::Link { up } => self.line(if *up {
                "pages       the two hosts reach each other again"
            } else {
                "pages       the two hosts do not reach each other: the container waits for its memory"
            }),
            Event::Progress { phase, done, total } => {
                // A line for every tenth of a second would be too much where lines stay.
                if self.live() {
                    let mut pace = self.pace.lock().expect("no panic while held");
                    let rate = pace.rate(phase, *done, Instant::now());
                    self.status(&progress(phase, *done, *total, rate));
                }
            }
            Event::End { phase, seconds, .. } => {
                if !self.live() && self.verbose {
                    self.status(&format!("{phase:<11} done in {seconds:.3} s"));
                }
            }
            Event::Undoing { why } => self.status(&format!(
                "undoing     {}",
                why.lines().next().unwrap_or_default()
            )),
            // Both are in the report.
            Event::Warning(_) | Event::Planned { .. } => {}
        }
    }

    /// Tells what happens while a lab comes up or goes down.
    pub fn lab(&self, event: &lab::Event) {
        match event {
            lab::Event::Begin { step } => self.status(step),
            lab::Event::Progress {
                step,
                detail,
                share,
            } => {
                if self.live() {
                    self.status(&format!("{step}: {:.0} %, {detail}", share * 100.0));
                }
            }
            lab::Event::End { step, seconds } => {
                if !self.live() {
                    self.status(&format!("{step}: done in {seconds:.1} s"));
                }
            }
            lab::Event::Note { text } => {
                if !self.quiet {
                    self.line(text);
                }
            }
        }
    }

    /// Tells what happens on a host that is prepared.
    pub fn provision(&self, host: &str, event: &provision::Event) {
        match event {
            provision::Event::Begin { sentence } => self.status(&format!("{host}: {sentence}")),
            provision::Event::End { sentence, seconds } => {
                if !self.live() && self.verbose {
                    self.status(&format!("{host}: {sentence}: done in {seconds:.1} s"));
                }
            }
            provision::Event::Proof => self.status(&format!("{host}: looking again")),
        }
    }

    /// Tells of a command (`-v`).
    pub fn command(&self, host: &str, cmd: &Cmd, status: Option<i32>, time: Duration) {
        let end = match status {
            Some(0) => format!("{:.3} s", time.as_secs_f64()),
            Some(status) => format!("status {status}, {:.3} s", time.as_secs_f64()),
            None => "streams".to_owned(),
        };
        let text = format!("  {host}$ {} # {end}", cmd.line());
        self.line(&style(text).for_stderr().dim().to_string());
    }
}

/// Over so long a rate is taken: it follows the link, and does not jump.
const WINDOW: Duration = Duration::from_secs(5);
/// A shorter time tells no rate.
const MOMENT: Duration = Duration::from_millis(500);

/// How quickly bytes have moved lately.
#[derive(Default)]
struct Pace {
    phase: &'static str,
    /// When how many bytes were done, the oldest first.
    seen: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// Bytes a second; none where that is not known yet.
    fn rate(&mut self, phase: &'static str, done: u64, now: Instant) -> Option<f64> {
        // A phase begins anew with each round.
        let again = self.seen.back().is_some_and(|(_, last)| done < *last);
        if self.phase != phase || again {
            *self = Pace {
                phase,
                seen: VecDeque::new(),
            };
        }
        self.seen.push_back((now, done));
        while self
            .seen
            .front()
            .is_some_and(|(then, _)| now - *then > WINDOW)
        {
            self.seen.pop_front();
        }
        let (then, before) = self.seen.front()?;
        let took = now - *then;
        (took >= MOMENT).then(|| (done - before) as f64 / took.as_secs_f64())
    }
}

/// A line with what is done, of how much, how quickly, and how long it will take.
fn progress(phase: &str, done: u64, total: Option<u64>, rate: Option<f64>) -> String {
    use super::human::size;
    let total = total.filter(|total| *total >= done);
    let mut line = format!("{phase:<11} {}", size(done));
    if let Some(total) = total {
        line.push_str(&format!(" of {}", size(total)));
    }
    if let Some(rate) = rate {
        line.push_str(&format!(", {}/s", size(rate as u64)));
    }
    if let (Some(total), Some(rate)) = (total, rate.filter(|rate| *rate > 0.0)) {
        let left = ((total - done) as f64 / rate).ceil() as u64;
        let left = match left {
            0..=119 => format!("{left} s"),
            120..=7199 => format!("{} min", left.div_ceil(60)),
            _ => format!("{} h", left.div_ceil(3600)),
        };
        line.push_str(&format!(", {left} left"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_phase_bytes_rate_and_time_left_on_a_narrow_terminal() {
        let (mebi, begun) = (1 << 20, Instant::now());
        let mut pace = Pace::default();
        assert_eq!(pace.rate("move", 0, begun), None);
        let rate = pace.rate("move", 8 * mebi, begun + Duration::from_secs(2));
        assert_eq!(rate, Some(4.0 * mebi as f64));
        let line = progress("move", 8 * mebi, Some(48 * mebi), rate);
        assert_eq!(
            line,
            "move        8.0 MiB of 48.0 MiB, 4.0 MiB/s, 10 s left"
        );
        // Without a total, and one that was too small.
        let line = progress("image", 8 * mebi, Some(mebi), rate);
        assert_eq!(line, "image       8.0 MiB, 4.0 MiB/s");
        let longest = progress("restore", 1023 << 30, Some(1023 << 30), Some(1023e9));
        assert!(longest.len() < 80, "{longest}");
        // What was long ago does not matter, nor another phase.
        let later = begun + Duration::from_secs(60);
        pace.rate("move", 9 * mebi, later);
        let rate = pace.rate("move", 10 * mebi, later + Duration::from_secs(1));
        assert_eq!(rate, Some(mebi as f64));
        assert_eq!(pace.rate("files", 0, later), None);
    }
}
