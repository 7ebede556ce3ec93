//! What a probe printed, section by section.

use std::collections::BTreeMap;

/// One section of a probe: what a command printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// Standard output and standard error, as they came.
    pub text: String,
    /// Exit status; 124 or 137 where it took too long; `None` where the transcript ends before it.
    pub status: Option<i32>,
}

/// The sections of a probe by name. The transcript of a real host is test data: parsed again, it
/// gives the same facts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    sections: BTreeMap<String, Section>,
}

impl Transcript {
    /// Splits a probe's output. Text before the first line that names the mark is ignored (a login
    /// banner, say); so is whatever stands between sections.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut sections = BTreeMap::new();
        let mut lines = text.split_inclusive('\n');
        let mark = lines.by_ref().find_map(|line| {
            let mut words = line.strip_prefix("@@transship ")?.split_whitespace();
            words.nth(2).map(str::to_owned)
        });
        let Some(mark) = mark else {
            return Transcript::default();
        };
        let mut open: Option<(String, String)> = None;
        for line in lines {
            let command = line
                .strip_prefix(mark.as_str())
                .and_then(|rest| rest.strip_prefix(' '))
                .map(str::trim_end);
            let Some(command) = command else {
                if let Some((_, text)) = &mut open {
                    text.push_str(line);
                }
                continue;
            };
            let mut words = command.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("begin"), Some(name), None) => {
                    // A section without an end was cut off; what it had is kept.
                    if let Some((name, text)) = open.replace((name.to_owned(), String::new())) {
                        sections.insert(name, Section { text, status: None });
                    }
                }
                (Some("end"), Some(_), status) => {
                    if let Some((name, mut text)) = open.take() {
                        // The script puts one newline before the mark.
                        text.pop();
                        let status = status.and_then(|status| status.parse().ok());
                        sections.insert(name, Section { text, status });
                    }
                }
                _ => {}
            }
        }
        if let Some((name, text)) = open {
            sections.insert(name, Section { text, status: None });
        }
        Transcript { sections }
    }

    /// A section by name, `None` where the probe did not print it.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.get(name)
    }

    /// The text of a section, empty where it is missing.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.sections
            .get(name)
            .map_or("", |section| section.text.as_str())
    }

    /// Whether a section is there and its command succeeded.
    #[must_use]
    pub fn good(&self, name: &str) -> bool {
        self.sections
            .get(name)
            .is_some_and(|section| section.status == Some(0))
    }

    /// Names of the sections whose command took too long and was ended.
    #[must_use]
    pub fn timed_out(&self) -> Vec<&str> {
        self.sections
            .iter()
            .filter(|(_, section)| matches!(section.status, Some(124 | 137)))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Whether nothing was found: the script did not run at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// All sections in the order of their names.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.sections
            .iter()
            .map(|(name, section)| (name.as_str(), section))
    }
}

/// Lines of the form `key rest`, for sections that the script writes itself.
pub(crate) fn keyed<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.strip_prefix(key)?.strip_prefix(' '))
        .map(str::trim)
}

/// The first JSON object of a text that may have warnings around it.
pub(crate) fn json(text: &str) -> Option<serde_json::Value> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    for start in starts {
        let rest = &text[start..];
        if rest.starts_with('{') {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter();
            if let Some(Ok(value)) = values.next() {
                return Some(value);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Welcome!\n@@transship facts 1 @@aa\n@@aa begin one\nx\n@@bb end one 0\n\n@@aa end one 0\n\
        @@aa begin two\n\n@@aa end two 124\n@@aa begin three\nhalf";

    #[test]
    fn splits_and_keeps_what_looks_like_a_mark_of_another_probe() {
        let transcript = Transcript::parse(TEXT);
        assert_eq!(transcript.text("one"), "x\n@@bb end one 0\n");
        assert!(transcript.good("one"));
        assert_eq!(transcript.text("two"), "");
        assert_eq!(transcript.timed_out(), ["two"]);
    }

    #[test]
    fn keeps_what_a_broken_connection_left() {
        let transcript = Transcript::parse(TEXT);
        let three = transcript.section("three").unwrap();
        assert_eq!((three.text.as_str(), three.status), ("half", None));
    }

    #[test]
    fn json_is_found_behind_warnings() {
        let value = json("WARNING: {x}\n{not json\n{\"a\":\n1}\ntail").unwrap();
        assert_eq!(value["a"], 1);
        assert_eq!(json("{"), None);
    }
}
