//! The rules test themselves: each must explain the examples it brings.

use doctor::explain::{Confidence, Given, NOISE, RULES, explain, rule};

fn top(log: &str) -> Vec<(&'static str, Confidence)> {
    let said = explain(log.as_bytes(), &Given::default()).expect("memory can be read");
    said.diagnoses
        .iter()
        .map(|d| (d.id, d.confidence))
        .collect()
}

#[test]
fn every_rule_explains_its_examples() {
    let mut wrong = Vec::new();
    for rule in RULES {
        for example in rule.examples {
            let got = top(example);
            if got.first().map(|(id, _)| *id) != Some(rule.id) {
                wrong.push(format!("{}: {got:?} for\n{example}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ids_are_short_names() {
    for rule in RULES {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        assert!(
            rule.id.chars().all(fits) && rule.id.len() <= 40,
            "{}",
            rule.id
        );
        assert!(
            !rule.title.ends_with('.'),
            "{}: a title is no sentence",
            rule.id
        );
        assert!(
            rule.cause.ends_with('.'),
            "{}: a cause is a sentence",
            rule.id
        );
        assert!(doctor::explain::rule(rule.id).is_some());
    }
    assert!(rule("no-such-rule").is_none());
    assert!(!NOISE.is_empty());
}
