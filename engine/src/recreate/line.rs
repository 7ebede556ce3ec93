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
}

impl Line {
    pub(super) fn flag(&mut self, name: &str) {
        self.args.push(format!("--{name}"));
    }

    pub(super) fn option(&mut self, name: &str, value: impl Into<String>) {
        self.args.push(format!("--{name}"));
        self.args.push(value.into());
    }

    /// The environment, which often has passwords in it: through standard input where it can be, so that
    /// they are in no list of processes. That form knows no lines within a value.
    pub(super) fn place_environment(&mut self) {
        let environment = std::mem::take(&mut self.environment);
        let plain = |variable: &String| {
            let name = variable.split('=').next().unwrap_or_default();
            variable.contains('=')
                && !variable.contains(['\n', '\r'])
                && !name.starts_with('#')
                && !name.contains(char::is_whitespace)
        };
        if environment.is_empty() {
            return;
        }
        if self.stdin.is_empty() && environment.iter().all(plain) {
            self.option("env-file", "/proc/self/fd/0");
            self.stdin = (environment.join("\n") + "\n").into_bytes();
            return;
        }
        for variable in environment {
            self.option("env", variable);
        }
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
