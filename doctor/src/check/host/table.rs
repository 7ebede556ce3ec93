//! What each version of an engine can do, from tables in data/.

use crate::check::verdict::Outcome;
use semver::Version;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    range: Vec<Range>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: String,
    status: String,
    sentence: String,
    why: Option<String>,
    fix: Option<String>,
    source: String,
}

fn ranges(table: &str) -> Vec<Range> {
    let table: Table = serde_json::from_str(table).expect("the tables are read by the tests");
    table.range
}

/// Where a table's knowledge comes from, a line for each range.
pub(super) fn sources(table: &str) -> String {
    let ranges = ranges(table).into_iter();
    let lines = ranges.map(|range| format!("From {}: {}.", range.from, range.source));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a table says of a version of `engine`.
pub(super) fn judge(table: &str, engine: &str, text: &str, version: Option<&Version>) -> Outcome {
    let Some(version) = version else {
        return Outcome::skip(format!("the version {text} is not understood"));
    };
    let ranges = ranges(table);
    let range = ranges
        .iter()
        .rfind(|range| host::version::lenient(&range.from).is_some_and(|from| from <= *version));
    let Some(range) = range else {
        return Outcome::skip(format!("nothing is known of {engine} {text}"));
    };
    let sentence = format!("{engine} {text} {}", range.sentence);
    let outcome = match range.status.as_str() {
        "fail" => Outcome::fail(sentence),
        "warn" => Outcome::warn(sentence),
        _ => return Outcome::ok(sentence),
    };
    let outcome = outcome.found(format!("{engine} {text}"));
    match (&range.why, &range.fix) {
        (Some(why), Some(fix)) => outcome.because(why).fix(fix),
        _ => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order_and_explain_what_they_blame() {
        in_order(include_str!(concat!(env!("OUT_DIR"), "/docker.json")));
        in_order(include_str!(concat!(env!("OUT_DIR"), "/podman.json")));
    }

    fn in_order(table: &str) {
        let ranges = ranges(table);
        let versions: Vec<Version> = ranges
            .iter()
            .map(|range| host::version::lenient(&range.from).unwrap())
            .collect();
        assert!(versions.is_sorted());
        for range in &ranges {
            assert!(
                ["ok", "warn", "fail"].contains(&range.status.as_str()),
                "{}",
                range.from
            );
            assert_eq!(range.status == "ok", range.why.is_none(), "{}", range.from);
            assert_eq!(range.why.is_none(), range.fix.is_none(), "{}", range.from);
        }
    }
}
