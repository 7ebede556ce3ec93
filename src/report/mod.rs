//! Everything that is printed: results to standard output, talk to standard error.

pub mod bench;
pub mod doctor;
pub mod explain;
pub mod human;
pub mod journal;
pub mod json;
pub mod provision;
mod talk;
mod wrap;

pub use talk::Talk;

use crate::cli::Color;
use std::io::{ErrorKind, Write as _};

/// Sets when to colour, for either stream by itself.
pub fn colours(color: Color) {
    match color {
        Color::Auto => {}
        Color::Always | Color::Never => {
            console::set_colors_enabled(color == Color::Always);
            console::set_colors_enabled_stderr(color == Color::Always);
        }
    }
}

/// Prints a text as it is, all of it; a reader that went away is no error.
pub fn whole(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// What is said where that failed.
pub fn unwritten(error: &std::io::Error) -> String {
    format!("the result could not be written to standard output: {error}")
}
