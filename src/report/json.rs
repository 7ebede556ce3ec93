//! Results as JSON: one document on standard output.

use serde::Serialize;
use serde_json::json;
use std::io::Write as _;

/// Adds a document's name and version to its contents.
#[derive(Serialize)]
pub struct Document<'a, T: Serialize> {
    pub schema: &'static str,
    #[serde(flatten)]
    pub body: &'a T,
}

/// Prints a document. A reader that went away is nobody to tell about it.
pub fn print(document: &impl Serialize) {
    let text = serde_json::to_string_pretty(document).expect("documents are made of plain data");
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints what went wrong before there was anything to report, on standard error.
pub fn print_error(what: &str, host: Option<&str>, fix: &[String]) {
    let document = json!({ "schema": "transship/error/1", "what": what, "host": host, "fix": fix });
    let _ = writeln!(std::io::stderr(), "{document}");
}
