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
