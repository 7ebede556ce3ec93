//! A command line that grows, and how values of the engine's JSON are read for it.

use serde_json::Value;

/// Options, notes and standard input of a `create` in the making.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) args: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) needs: Vec<String>,
    pub(super) stdin: Vec<u8>,
    /// The OCI runtime: an option of `create`, or of the program.
    pub(super) runtime: Option<String>,
    /// `NAME=VALUE`.
    pub(super) environment: Vec<String>,
    /// How long the parts of standard input are that come before the engine's own.
    lengths: Option<[usize; 2]>,
}

/// Takes the first parts of standard input and starts the engine's program with the rest.
const UNPACK: &str = r#"
_transship_take() { head -c "$1"; echo x; }
_transship_exports=$(_transship_take "$1"); _transship_list=$(_transship_take "$2"); shift 2
exec 3<&0
eval "${_transship_exports%x}"
printf %s "${_transship_list%x}" | "$@" 4<&0 0<&3 3<&-"#;

/// A name that a shell can export and that changes nothing for the engine's program.
fn can_be_exported(name: &str) -> bool {
    let word = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let theirs = [
        "LD_",
        "DOCKER",
        "CONTAINER",
        "XDG_",
        "GO",
        "PODMAN",
        "_transship",
    ];
    word(name)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !["", "PATH", "HOME", "IFS", "TMPDIR"].contains(&name)
        && !theirs.iter().any(|start| name.starts_with(start))
}

impl Line {
    pub(super) fn flag(&mut self, name: &str) {
        self.args.push(format!("--{name}"));
    }

    pub(super) fn option(&mut self, name: &str, value: impl Into<String>) {
        self.args.push(format!("--{name}"));
        self.args.push(value.into());
    }

    /// The environment, which often has passwords in it: through standard input, so that they are in no list of
    /// processes. A file of variables knows no lines within a value; such ones are put into the environment
    /// of the engine's program, which takes them from there.
    pub(super) fn place_environment(&mut self) {
        let environment = std::mem::take(&mut self.environment);
        let (plain, odd): (Vec<String>, Vec<String>) =
            environment.into_iter().partition(|variable| {
                let name = variable.split('=').next().unwrap_or_default();
                variable.contains('=')
                    && !variable.contains(['\n', '\r'])
                    && !name.starts_with('#')
                    && !name.contains(char::is_whitespace)
            });
        let text = |variables: &[String]| -> String {
            variables.iter().map(|one| format!("{one}\n")).collect()
        };
        let mut exports = String::new();
        for variable in odd {
            match variable.split_once('=') {
                // Without a value there is no secret.
                None => self.option("env", variable),
                Some((name, value)) if can_be_exported(name) => {
                    exports.push_str(&format!("export {name}={}\n", host::quote(value)));
                    self.option("env", name);
                }
                Some((name, _)) => self.note(format!(
                    "the variable {name} of the environment has a value that cannot be given without being seen by all users of the host, and is left out"
                )),
            }
        }
        if exports.is_empty() && self.stdin.is_empty() {
            if !plain.is_empty() {
                self.option("env-file", "/proc/self/fd/0");
                self.stdin = text(&plain).into_bytes();
            }
            return;
        }
        if exports.is_empty() && plain.is_empty() {
            return;
        }
        self.option("env-file", "/proc/self/fd/4");
        let (list, rest) = (text(&plain), std::mem::take(&mut self.stdin));
        self.lengths = Some([exports.len(), list.len()]);
        self.stdin = [exports.into_bytes(), list.into_bytes(), rest].concat();
    }

    /// The words before the engine's own, where standard input has more than one thing in it: first what is
    /// exported, then the file of variables, then what is the engine's.
    pub(super) fn unpacking(&self) -> Vec<String> {
        let Some([exports, list]) = self.lengths else {
            return Vec::new();
        };
        let words = [
            "sh",
            "-c",
            UNPACK,
            "unpack",
            &exports.to_string(),
            &list.to_string(),
        ];
        words.map(str::to_owned).to_vec()
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// What has to be there on the destination.
    pub(super) fn need(&mut self, what: impl std::fmt::Display) {
        self.needs
            .push(format!("{what} has to be there on the destination"));
    }

    /// A switch that is off by default.
    pub(super) fn switch(&mut self, name: &str, value: &Value) {
        if value.as_bool() == Some(true) {
            self.flag(name);
        }
    }

    /// A text whose default is to be empty.
    pub(super) fn text(&mut self, name: &str, value: &Value) {
        self.text_unless(name, value, &[]);
    }

    /// A text with other defaults.
    pub(super) fn text_unless(&mut self, name: &str, value: &Value, defaults: &[&str]) {
        if let Some(text) = value
            .as_str()
            .filter(|text| !text.is_empty() && !defaults.contains(text))
        {
            self.option(name, text);
        }
    }

    /// A number whose default is 0.
    pub(super) fn number(&mut self, name: &str, value: &Value) {
        if let Some(number) = value.as_i64().filter(|number| *number != 0) {
            self.option(name, number.to_string());
        }
    }

    /// An option for each text of a list.
    pub(super) fn each(&mut self, name: &str, value: &Value) {
        for text in strings(value) {
            self.option(name, text);
        }
    }

    /// An option `key=value` for each entry of a map.
    pub(super) fn map(&mut self, name: &str, value: &Value) {
        for (key, value) in pairs(value) {
            self.option(name, format!("{key}={value}"));
        }
    }
}

/// The texts of a list; none for null.
pub(super) fn strings(value: &Value) -> Vec<&str> {
    items(value).iter().filter_map(Value::as_str).collect()
}

/// The entries of a list; none for null.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The entries of a map from text to text; none for null.
pub(super) fn pairs(value: &Value) -> Vec<(&str, &str)> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        .collect()
}

/// The keys of a map; none for null.
pub(super) fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect()
}

/// Joins the fields of an option whose value is one line of CSV (`--mount`, `--network`, `--gpus`).
pub(super) fn fields(fields: &[String]) -> String {
    let quoted: Vec<String> = fields
        .iter()
        .map(|field| {
            if field.contains([',', '"', '\n', '\r']) || field.starts_with(' ') {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.clone()
            }
        })
        .collect();
    quoted.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::{Cmd, Host, Local};

    #[test]
    fn secrets_come_through_standard_input_whatever_they_look_like() {
        let mut line = Line {
            stdin: b"the profile".to_vec(),
            ..Line::default()
        };
        let key = "KEY=-----BEGIN\n it's $(secret)\n";
        line.environment = ["A=1", key, "B=two words", "PATH=x\ny"]
            .map(str::to_owned)
            .to_vec();
        line.place_environment();
        assert_eq!(line.args, ["--env", "KEY", "--env-file", "/proc/self/fd/4"]);
        assert_eq!(line.notes.len(), 1);
        // Stands in for the engine's program.
        let show = r#"cat /proc/self/fd/4; echo; cat; printf '|%s|' "$KEY""#;
        let mut words = line.unpacking();
        words.extend(["sh", "-c", show].map(str::to_owned));
        let cmd = Cmd::changes(&words[0]).args(words[1..].to_vec());
        let output = Local.text(&cmd.stdin(&line.stdin)).unwrap();
        let value = key.strip_prefix("KEY=").unwrap();
        assert_eq!(output, format!("A=1\nB=two words\n\nthe profile|{value}|"));
        assert!(!words.concat().contains("secret"));
    }

    #[test]
    fn fields_with_commas_and_quotes_are_quoted() {
        let list = [
            "type=bind".to_owned(),
            "source=/a,b".to_owned(),
            r#"target=/"x""#.to_owned(),
        ];
        assert_eq!(fields(&list), r#"type=bind,"source=/a,b","target=/""x""""#);
    }
}
