//! Parsers kept apart: where one breaks down, that is told, and the rest is read.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs parsers and remembers which of them broke down.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    broken: RefCell<Vec<String>>,
}

impl Guard {
    /// What a parser makes of a part of a probe, or nothing of it where the parser panics.
    pub(crate) fn read<T: Default>(&self, part: &str, parse: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| {
            self.broken.borrow_mut().push(part.to_owned());
            T::default()
        })
    }

    /// The parts whose parsers broke down.
    pub(crate) fn broken(self) -> Vec<String> {
        self.broken.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_that_panics_is_named_and_the_rest_is_read() {
        let guard = Guard::default();
        let torn: &str = "\u{e9}";
        let broken: Option<String> = guard.read("lscpu", || Some(torn[1..].to_owned()));
        assert_eq!(broken, None);
        assert_eq!(guard.read("meminfo", || Some(7)), Some(7));
        assert_eq!(guard.broken(), ["lscpu"]);
    }
}
