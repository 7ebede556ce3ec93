//! A call of an engine: runc's global options, a verb, its options, a container id.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::PathBuf;

/// Global options of runc that take a value; all others are switches (runc(8)).
const GLOBAL: [&str; 5] = ["--log", "--log-format", "--root", "--criu", "--rootless"];

/// Options of `runc create` that take a value and that `runc restore` has too (runc-restore(8)).
const SHARED: [&str; 3] = ["--bundle", "--pid-file", "--console-socket"];

/// What an engine asks for.
pub(crate) struct Call<'a> {
    global: &'a [OsString],
    verb: Option<&'a OsString>,
    rest: &'a [OsString],
}

impl<'a> Call<'a> {
    pub fn parse(args: &'a [OsString]) -> Self {
        let mut at = 0;
        while let Some(arg) = args.get(at) {
            let text = arg.to_string_lossy();
            if !text.starts_with('-') {
                break;
            }
            at += if GLOBAL.contains(&&*text) { 2 } else { 1 };
        }
        let at = at.min(args.len());
        Call {
            global: &args[..at],
            verb: args.get(at),
            rest: args.get(at + 1..).unwrap_or_default(),
        }
    }

    pub fn verb(&self) -> Option<&str> {
        self.verb?.to_str()
    }

    pub fn global(&self) -> &'a [OsString] {
        self.global
    }

    /// The container: the last argument, by runc's own rule.
    pub fn id(&self) -> Option<&'a str> {
        let id = self.rest.last()?.to_str()?;
        (!id.starts_with('-')).then_some(id)
    }

    /// An option's value, as `--name value`, `--name=value` or with one of runc's short names.
    fn value(options: &'a [OsString], names: &[&str]) -> Option<&'a OsStr> {
        for (at, option) in options.iter().enumerate() {
            let Some(text) = option.to_str() else {
                continue;
            };
            if names.contains(&text) {
                return options.get(at + 1).map(OsString::as_os_str);
            }
            for name in names {
                let value = text
                    .strip_prefix(name)
                    .and_then(|end| end.strip_prefix('='));
                if let Some(value) = value {
                    return Some(OsStr::new(value));
                }
            }
        }
        None
    }

    /// The folder of the container's OCI bundle; by default the working directory.
    pub fn bundle(&self) -> PathBuf {
        Self::value(self.rest, &["--bundle", "-b"])
            .map_or_else(|| PathBuf::from("."), PathBuf::from)
    }

    /// The file that the engine wants the process id in.
    pub fn pid_file(&self) -> Option<PathBuf> {
        Self::value(self.rest, &["--pid-file"]).map(PathBuf::from)
    }

    /// Whether the container gets a terminal; then our standard output is not its own.
    pub fn has_terminal(&self) -> bool {
        Self::value(self.rest, &["--console-socket"]).is_some()
    }

    /// The options of `create` that `restore` takes too.
    pub fn for_restore(&self) -> Vec<OsString> {
        let mut options = Vec::new();
        for name in SHARED {
            let names: &[&str] = if name == "--bundle" {
                &["--bundle", "-b"]
            } else {
                &[name]
            };
            if let Some(value) = Self::value(self.rest, names) {
                options.extend([name.into(), value.to_owned()]);
            }
        }
        if self.rest.iter().any(|option| option == "--no-pivot") {
            options.push("--no-pivot".into());
        }
        options
    }

    /// Says what went wrong where engines look for it: in runc's log, and on standard error.
    pub fn complain(&self, why: &str) {
        let _ = writeln!(std::io::stderr(), "{why}");
        let Some(path) = Self::value(self.global, &["--log"]) else {
            return;
        };
        let json = Self::value(self.global, &["--log-format"]).is_some_and(|form| form == "json");
        let line = if json {
            serde_json::json!({ "level": "error", "msg": why }).to_string()
        } else {
            format!("level=error msg={why:?}")
        };
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        if let Ok(mut log) = log {
            let _ = writeln!(log, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_call_of_containerd() {
        let args = args(
            "--root /run/r --log /l --log-format json --systemd-cgroup create --bundle /b --pid-file /p --no-new-keyring abc",
        );
        let call = Call::parse(&args);
        assert_eq!((call.verb(), call.id()), (Some("create"), Some("abc")));
        assert_eq!(call.global().len(), 7);
        assert_eq!(call.bundle(), PathBuf::from("/b"));
        assert_eq!(call.pid_file(), Some(PathBuf::from("/p")));
        assert_eq!(call.for_restore(), self::args("--bundle /b --pid-file /p"));
    }

    #[test]
    fn other_forms_of_options() {
        let args = args("--root=/run/r create -b /b --console-socket=/s --no-pivot abc");
        let call = Call::parse(&args);
        assert_eq!(call.verb(), Some("create"));
        assert_eq!(
            call.for_restore(),
            self::args("--bundle /b --console-socket /s --no-pivot")
        );
    }

    #[test]
    fn calls_without_a_container() {
        assert_eq!(Call::parse(&args("--version")).verb(), None);
        assert_eq!(Call::parse(&args("--root")).verb(), None);
        assert_eq!(Call::parse(&args("features")).id(), None);
        assert_eq!(Call::parse(&[]).verb(), None);
    }
}
