//! A command as a value.

use std::borrow::Cow;
use std::time::Duration;

/// How long a command may take unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a command whose output is streamed may be silent unless it says otherwise.
pub const DEFAULT_SILENCE: Duration = Duration::from_secs(60);

/// For a command that may take as long as it takes: ten years.
pub const NO_LIMIT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a command does to the host: a dry run runs those that read and only shows the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Looks, and leaves everything as it was.
    Reads,
    /// Looks at what an earlier command changed: a dry run, where that did not happen, cannot run it.
    Follows,
    /// Changes something on the host.
    Changes,
}

/// A command as a value: built once, then shown, recorded, or run on any [`Host`](crate::Host).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmd {
    /// Program, looked up in `PATH` (on SSH hosts with the `sbin` folders added).
    pub program: String,
    /// Arguments, passed as they are: no shell ever splits or expands them.
    pub args: Vec<String>,
    /// Environment variables on top of the host's.
    pub env: Vec<(String, String)>,
    /// All of standard input.
    pub stdin: Vec<u8>,
    /// After this long the command counts as hung.
    pub timeout: Duration,
    /// Where its output is streamed from another host: when nothing moved for so long it counts as hung.
    pub silence: Duration,
    /// Whether it may run in a dry run.
    pub effect: Effect,
    /// What a dry run pretends the command printed (an id that is not known before, say).
    pub stand_in: String,
}

impl Cmd {
    fn new(program: &str, effect: Effect) -> Self {
        Cmd {
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            silence: DEFAULT_SILENCE,
            effect,
            stand_in: String::new(),
        }
    }

    /// A command that only looks.
    #[must_use]
    pub fn reads(program: &str) -> Self {
        Cmd::new(program, Effect::Reads)
    }

    /// A command that looks at what an earlier command changed.
    #[must_use]
    pub fn follows(program: &str) -> Self {
        Cmd::new(program, Effect::Follows)
    }

    /// A command that changes the host.
    #[must_use]
    pub fn changes(program: &str) -> Self {
        Cmd::new(program, Effect::Changes)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Gives the command its standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// Sets the time after which the command counts as hung.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets for how long it may be silent where its output is streamed.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// The same command, where it looks at what an earlier command changed.
    #[must_use]
    pub fn following(mut self) -> Self {
        self.effect = Effect::Follows;
        self
    }

    /// Sets what a dry run pretends the command printed.
    #[must_use]
    pub fn stand_in(mut self, text: &str) -> Self {
        self.stand_in = text.to_owned();
        self
    }

    /// The command as a line that can be pasted into a shell.
    #[must_use]
    pub fn line(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        for (name, value) in &self.env {
            words.push(format!("{name}={}", quote(value)));
        }
        words.push(quote(&self.program).into_owned());
        words.extend(self.args.iter().map(|arg| quote(arg).into_owned()));
        words.join(" ")
    }

    /// The command for errors and notes: of a script of several lines only its name and arguments, else
    /// as [`Cmd::line`].
    #[must_use]
    pub fn brief(&self) -> String {
        match self.args.as_slice() {
            [option, script, words @ ..] if option == "-c" && script.contains('\n') => {
                let words: Vec<Cow<'_, str>> = words.iter().map(|word| quote(word)).collect();
                words.join(" ")
            }
            _ => self.line(),
        }
    }
}

/// Quotes a word for a POSIX shell. A NUL byte, which no argument can hold, is dropped.
#[must_use]
pub fn quote(word: &str) -> Cow<'_, str> {
    match shlex::try_quote(word) {
        Ok(quoted) => quoted,
        Err(_) => Cow::Owned(quote(&word.replace('\0', "")).into_owned()),
    }
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Exit status; 128 + n where signal n ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, whatever is no UTF-8 replaced.
    #[must_use]
    pub fn stdout_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Standard error as text, whatever is no UTF-8 replaced.
    #[must_use]
    pub fn stderr_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_pasted() {
        let cmd = Cmd::reads("docker")
            .args(["inspect", "it's", "$(rm)", ""])
            .env("LC_ALL", "a b");
        assert_eq!(
            cmd.line(),
            r#"LC_ALL='a b' docker inspect "it's" '$(rm)' ''"#
        );
    }

    #[test]
    fn of_a_long_script_only_its_name_is_told() {
        let cmd = Cmd::changes("sh").args(["-c", "a\nb", "the-script", "an argument"]);
        assert_eq!(cmd.brief(), "the-script 'an argument'");
        let cmd = Cmd::changes("sh").args(["-c", "a; b", "sh"]);
        assert_eq!(cmd.brief(), cmd.line());
    }

    #[test]
    fn a_nul_byte_cannot_reach_a_shell() {
        assert_eq!(quote("a\0b"), "ab");
    }
}
