//! The pages under `docs/rules/`.

use std::fmt::Write as _;

use super::rule::{Component, Confidence, PATTERNS, RULES, Rule, Sign};

/// The page of a rule, in Markdown.
pub fn page(rule: &Rule) -> String {
    let mut out = format!(
        "# {}\n\n`{}`\n\n{}\n\n## Fix\n\n",
        rule.title, rule.id, rule.cause
    );
    for fix in rule.fix {
        writeln!(out, "- {fix}").expect("a String takes all");
    }
    out.push_str("\n## Signs\n\n");
    for sign in rule.signs {
        out.push_str(&describe(sign));
    }
    out.push_str("\n## Example\n\n```text\n");
    for line in rule.examples[0].trim().lines() {
        writeln!(out, "{line}").expect("a String takes all");
    }
    out.push_str("```\n\n## Source\n\n");
    for source in rule.source {
        writeln!(out, "- {source}").expect("a String takes all");
    }
    out
}

fn describe(sign: &Sign) -> String {
    let list = |patterns: &[usize], joint: &str| {
        let quoted: Vec<String> = patterns
            .iter()
            .map(|p| format!("`` {} ``", PATTERNS[*p].regex))
            .collect();
        quoted.join(joint)
    };
    let mut text = format!("- {}", list(sign.any, " or "));
    if !sign.all.is_empty() {
        write!(text, ", and {}", list(sign.all, " and ")).expect("a String takes all");
    }
    if !sign.none.is_empty() {
        write!(text, ", without {}", list(sign.none, " and without ")).expect("a String takes all");
    }
    let ranges = |word: &str, list: &[(Component, &str)]| -> String {
        list.iter()
            .map(|(c, r)| match *r {
                "*" => format!("; {word} {}", c.name()),
                r => format!("; {word} {} {r}", c.name()),
            })
            .collect()
    };
    text.push_str(&ranges("with", sign.with));
    text.push_str(&ranges("only if known to be", sign.need));
    let sure = match sign.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    };
    writeln!(text, " ({sure})").expect("a String takes all");
    text
}

/// The list of all rules, by theme, in Markdown.
pub fn index() -> String {
    let mut out = String::from(
        "# What `transship doctor explain` knows\n\nGenerated from `doctor/rules/*.toml`.\n",
    );
    let mut theme = "";
    for rule in RULES {
        if rule.theme != theme {
            theme = rule.theme;
            write!(out, "\n## {theme}\n\n").expect("a String takes all");
        }
        writeln!(out, "- [{}]({}.md): {}", rule.id, rule.id, rule.title)
            .expect("a String takes all");
    }
    out
}
