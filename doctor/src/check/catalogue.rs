//! Checks as data with a function, and the runner.

use super::verdict::{Group, Outcome, Status, Verdict};
use super::{container, host, known, pair};
use serde::Serialize;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is known of a check without running it; its page in docs/checks/ is made of this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meta {
    /// Stable name: group, dot, words with dashes.
    pub id: Cow<'static, str>,
    /// What it is about.
    pub group: Group,
    /// A statement that should be true.
    pub title: Cow<'static, str>,
    /// What it looks at and when it warns or fails.
    pub what: Cow<'static, str>,
    /// Why it matters.
    pub why: Cow<'static, str>,
    /// What to do where it does not hold.
    pub fix: Cow<'static, str>,
    /// Where the knowledge comes from; empty where it follows from the check itself.
    pub source: Cow<'static, str>,
}

type Judge<T> = Box<dyn Fn(&T) -> Outcome>;

/// A check of subjects of type `T`.
pub struct Check<T: ?Sized> {
    /// What is known of it.
    pub meta: Meta,
    judge: Judge<T>,
}

impl<T: ?Sized> Check<T> {
    pub(super) fn new(meta: Meta, judge: impl Fn(&T) -> Outcome + 'static) -> Self {
        Check {
            meta,
            judge: Box::new(judge),
        }
    }
}

/// The texts of a check in the order in which they are told.
pub(super) fn meta(
    id: &'static str,
    group: Group,
    title: &'static str,
    what: &'static str,
    why: &'static str,
    fix: &'static str,
) -> Meta {
    Meta {
        id: id.into(),
        group,
        title: title.into(),
        what: what.into(),
        why: why.into(),
        fix: fix.into(),
        source: "".into(),
    }
}

/// Runs checks one after the other; one that panics is reported and the rest goes on. `names`
/// are the words of general fixes (`HOST`) and what the user calls them.
pub(super) fn run<T: ?Sized>(
    checks: &[Check<T>],
    subject: &T,
    names: &[(&str, &str)],
) -> Vec<Verdict> {
    checks
        .iter()
        .map(|check| judge(check, subject, names))
        .collect()
}

fn judge<T: ?Sized>(check: &Check<T>, subject: &T, names: &[(&str, &str)]) -> Verdict {
    let outcome =
        catch_unwind(AssertUnwindSafe(|| (check.judge)(subject))).unwrap_or_else(|panic| {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it said nothing");
            Outcome::warn("this check broke down, which is a mistake in transship")
                .found(said.to_owned())
                .because("what it looks at was not judged")
                .fix("report it, with the output of `transship doctor --json`")
        });
    let meta = &check.meta;
    let bad = matches!(outcome.status, Status::Warn | Status::Fail);
    let found = outcome.found.as_deref().map(tidy);
    let sentence = tidy(&outcome.sentence);
    let outcome = Outcome {
        found,
        sentence,
        ..outcome
    };
    Verdict {
        id: meta.id.to_string(),
        group: meta.group,
        status: outcome.status,
        needed_because: bad.then(|| outcome.because.unwrap_or_else(|| meta.why.to_string())),
        found: match outcome.found {
            None if bad => Some(outcome.sentence.clone()),
            found => found,
        },
        fix: match (bad, outcome.fix.is_empty()) {
            (true, true) => vec![general_fix(&meta.fix, names)],
            _ => outcome.fix,
        },
        sentence: outcome.sentence,
        ignored: false,
    }
}

/// Lines of `found` that are shown: a program that fails may print any amount.
const LINES: usize = 20;

/// Foreign text without what would steer a terminal, and not longer than a person reads.
fn tidy(text: &str) -> String {
    let printable = |c: &char| !c.is_control() || *c == '\n';
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.replace('\t', " ").chars().filter(printable).collect())
        .collect();
    match lines.len().checked_sub(LINES) {
        None | Some(0) => lines.join("\n"),
        Some(more) => format!("{}\n({more} more lines)", lines[..LINES].join("\n")),
    }
}

/// A check's general fix for these hosts; a command alone loses its quotes, so that it can be pasted.
fn general_fix(fix: &str, names: &[(&str, &str)]) -> String {
    let named = names.iter().fold(fix.to_owned(), |fix, (word, name)| {
        fix.replace(word, &::host::quote(name))
    });
    match named
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'))
    {
        Some(command) if !command.contains('`') => command.to_owned(),
        _ => named,
    }
}

/// Every check there is: of hosts first, then of pairs, then of containers.
#[must_use]
pub fn catalogue() -> Vec<Meta> {
    let hosts = host::checks().into_iter().map(|check| check.meta);
    let known = known::checks().into_iter().map(|check| check.meta);
    let pairs = pair::checks().into_iter().map(|check| check.meta);
    let containers = container::checks().into_iter().map(|check| check.meta);
    hosts.chain(known).chain(pairs).chain(containers).collect()
}

impl Meta {
    /// The check's page for docs/checks/, in Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        let source = if self.source.is_empty() {
            String::new()
        } else {
            format!("\n## Source\n\n{}\n", self.source)
        };
        format!(
            "# {}\n\n{}.\n\n## What is checked\n\n{}\n\n## Why\n\n{}\n\n## What to do\n\n{}\n{source}",
            self.id,
            self.title,
            sentence(&self.what),
            sentence(&self.why),
            sentence(&self.fix)
        )
    }
}

/// A text as a sentence of its own: capital letter and full stop, but for commands and names.
fn sentence(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    let is_word = first.chars().all(|c| c.is_ascii_lowercase());
    let body = match text.get(..1) {
        Some(letter) if is_word => letter.to_uppercase() + &text[1..],
        _ => text.to_owned(),
    };
    let is_command = text.starts_with('`') && text.ends_with('`');
    if is_command || body.ends_with('.') {
        return body;
    }
    format!("{body}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_general_fix_names_the_host_and_can_be_pasted() {
        let names = [("HOST", "root@my host")];
        assert_eq!(
            general_fix("`transship provision HOST`", &names),
            "transship provision 'root@my host'"
        );
        assert_eq!(general_fix("`a`, then `b`", &names), "`a`, then `b`");
    }

    #[test]
    fn foreign_text_neither_steers_the_terminal_nor_fills_it() {
        assert_eq!(tidy("a\tb\0\u{1b}[2Jc"), "a b[2Jc");
        let long = tidy(&"line\n".repeat(3000));
        assert_eq!(long.lines().count(), LINES + 1);
        assert!(long.ends_with("(2980 more lines)"), "{long}");
    }

    #[test]
    fn a_check_that_panics_is_reported_and_the_rest_goes_on() {
        let meta = |id| meta(id, Group::System, "t", "w", "y", "f");
        let checks = vec![
            Check::new(meta("a"), |number: &u32| {
                assert!(*number > 5, "number {number}");
                Outcome::ok("big")
            }),
            Check::new(meta("b"), |_: &u32| Outcome::fail("no")),
        ];
        let verdicts = run(&checks, &3, &[]);
        assert_eq!(verdicts[0].status, Status::Warn);
        assert_eq!(verdicts[0].found.as_deref(), Some("number 3"));
        assert_eq!(verdicts[1].status, Status::Fail);
        assert_eq!(verdicts[1].fix, ["f"]);
        assert_eq!(verdicts[1].needed_because.as_deref(), Some("y"));
    }
}
