//! Results as JSON: one document on standard output.

use serde::Serialize;
use std::io::Write as _;

/// Prints a document. A reader that went away is nobody to tell about it.
pub fn print(document: &impl Serialize) {
    let text = serde_json::to_string_pretty(document).expect("documents are made of plain data");
    let _ = writeln!(std::io::stdout(), "{text}");
}
