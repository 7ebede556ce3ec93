//! What is told while something runs, on standard error.

use console::{Term, style};
use host::Cmd;
use migrate::Event;
use std::sync::Mutex;
use std::time::Duration;

/// Tells of progress: on a terminal in one line that is written anew, elsewhere in plain lines.
pub struct Talk {
    quiet: bool,
    verbose: bool,
    term: Term,
    /// Whether the last line stands without a newline.
    open: Mutex<bool>,
}

impl Talk {
    pub fn new(quiet: bool, verbose: bool) -> Self {
        Talk {
            quiet,
            verbose,
            term: Term::stderr(),
            open: Mutex::new(false),
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
                    self.status(&format!(
                        "{phase:<11} {} of {}",
                        super::human::size(*done),
                        super::human::size(*total)
                    ));
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
