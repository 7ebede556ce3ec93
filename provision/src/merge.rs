//! Merging keys into a JSON file without losing what is there.

use serde_json::{Map, Value};

/// Why a file cannot be merged into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// It is no JSON.
    #[error("line {line}, column {column}: {why}")]
    NoJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        why: String,
    },
    /// It is JSON, but no object.
    #[error("line 1, column 1: a {0} stands where an object should")]
    NoObject(&'static str),
}

/// A merged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The whole new text; other keys and their order are as before.
    pub text: String,
    /// Keys that are new or have another value.
    pub changed: Vec<String>,
}

/// Sets keys in the text of a JSON object; `None` where they are all set already. In a key that is an
/// object itself the user's other keys stay too. An empty text is an empty object, as for Docker.
///
/// # Errors
/// Where the text is no JSON object.
pub fn merge(text: &str, wanted: &Map<String, Value>) -> Result<Option<Merged>, MergeError> {
    let mut object = if text.trim().is_empty() {
        Map::new()
    } else {
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => object,
            Ok(other) => return Err(MergeError::NoObject(kind(&other))),
            Err(error) => {
                let why = error.to_string();
                // The parser adds the place to its sentence; it is told apart.
                let why = why.split(" at line ").next().unwrap_or_default().to_owned();
                return Err(MergeError::NoJson {
                    line: error.line(),
                    column: error.column(),
                    why,
                });
            }
        }
    };
    let mut changed = Vec::new();
    for (key, value) in wanted {
        let now = object.get(key);
        let mut new = now.cloned().unwrap_or(Value::Null);
        set(&mut new, value);
        if now != Some(&new) {
            object.insert(key.clone(), new);
            changed.push(key.clone());
        }
    }
    if changed.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string_pretty(&object).expect("an object of JSON is JSON");
    Ok(Some(Merged {
        text: text + "\n",
        changed,
    }))
}

fn set(old: &mut Value, new: &Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                set(old.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (old, new) => *old = new.clone(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "truth value",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn other_keys_stay_in_their_order() {
        let text = r#"{"z": 1, "debug": false, "a": {"x": [1, 2.50]}}"#;
        let merged = merge(text, &wanted(json!({"debug": true, "experimental": true})))
            .unwrap()
            .unwrap();
        assert_eq!(merged.changed, ["debug", "experimental"]);
        let keys: Value = serde_json::from_str(&merged.text).unwrap();
        let keys: Vec<_> = keys.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["z", "debug", "a", "experimental"]);
        assert_eq!(
            merge(&merged.text, &wanted(json!({"debug": true}))),
            Ok(None)
        );
    }

    #[test]
    fn runtimes_of_the_users_own_stay() {
        let text = r#"{"runtimes": {"nvidia": {"path": "nv", "runtimeArgs": []}}}"#;
        let ours = crate::profile::runtime_keys();
        let merged = merge(text, &ours).unwrap().unwrap();
        let value: Value = serde_json::from_str(&merged.text).unwrap();
        assert_eq!(value["runtimes"]["nvidia"]["path"], "nv");
        assert_eq!(
            value["runtimes"]["transship"]["path"],
            "/usr/local/bin/transship-runtime"
        );
        assert_eq!(merge(&merged.text, &ours), Ok(None));
        // A list or a word in its place is no Docker configuration: dockerd refuses it as well.
        let merged = merge(r#"{"runtimes": 1}"#, &ours).unwrap().unwrap();
        assert!(merged.text.contains("transship-runtime"));
    }

    #[test]
    fn what_is_no_json_object_is_refused_with_its_place() {
        let error = merge("{\n  \"a\": 1,\n}\n", &Map::new()).unwrap_err();
        assert_eq!(error.to_string(), "line 3, column 1: trailing comma");
        let error = merge("[]", &Map::new()).unwrap_err();
        assert!(error.to_string().contains("a list stands"), "{error}");
        let merged = merge(" \n", &wanted(json!({"icc": false})))
            .unwrap()
            .unwrap();
        assert_eq!(merged.text, "{\n  \"icc\": false\n}\n");
    }
}
