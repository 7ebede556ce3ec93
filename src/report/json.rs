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

/// A document as text.
pub fn text(document: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(document).expect("documents are made of plain data");
    text + "\n"
}

/// Prints a document. A reader that went away is nobody to tell about it; a disk that is full is said, since the
/// exit code tells of what was done.
pub fn print(document: &impl Serialize) {
    if let Err(error) = super::whole(&text(document)) {
        super::human::failure(&super::unwritten(&error), &[]);
    }
}

/// Prints what went wrong before there was anything to report, on standard error.
pub fn print_error(what: &str, host: Option<&str>, fix: &[String]) {
    let document = json!({ "schema": "transship/error/1", "what": what, "host": host, "fix": fix });
    let _ = writeln!(std::io::stderr(), "{document}");
}
