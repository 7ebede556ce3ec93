//! Turns `rules/*.toml` into Rust statics, so that nothing is parsed at run time, and refuses to build with a
//! rule that could not work: an unknown field, a pattern that does not compile or has no literal to look for,
//! a version range that cannot be read, an id used twice. And `data/*.toml` into JSON, whose parser is in the program
//! anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use regex_syntax::hir::{Hir, HirKind};
use serde::Deserialize;

/// A file of rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    rule: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: String,
    title: String,
    cause: String,
    fix: Vec<String>,
    source: Vec<String>,
    #[serde(default)]
    over: Vec<String>,
    signs: Vec<Sign>,
    examples: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    any: Vec<String>,
    #[serde(default)]
    all: Vec<String>,
    #[serde(default)]
    none: Vec<String>,
    #[serde(default)]
    with: BTreeMap<String, String>,
    #[serde(default)]
    need: BTreeMap<String, String>,
    #[serde(default = "cause")]
    rank: String,
    #[serde(default)]
    weight: i32,
    confidence: String,
}

fn cause() -> String {
    "cause".to_owned()
}

/// `noise.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    noise: Vec<Line>,
    followup: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    line: String,
    why: String,
}

/// Every pattern once, with literals of which any matching line must contain one, and whether it gives a line a
/// meaning (and is not only a condition).
#[derive(Default)]
struct Patterns {
    index: BTreeMap<String, usize>,
    list: Vec<(String, Vec<String>, bool)>,
}

impl Patterns {
    fn add(&mut self, regex: &str, meaning: bool) -> usize {
        if let Some(&i) = self.index.get(regex) {
            self.list[i].2 |= meaning;
            return i;
        }
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(regex)
            .unwrap_or_else(|e| panic!("pattern {regex:?}: {e}"));
        let literals = literals(&hir);
        assert!(
            weight(&literals) >= 3,
            "pattern {regex:?}: no literals of 3 characters, one of which every match contains: {literals:?}"
        );
        let lower = literals.iter().map(|l| l.to_ascii_lowercase());
        self.list.push((regex.to_owned(), lower.collect(), meaning));
        self.index.insert(regex.to_owned(), self.list.len() - 1);
        self.list.len() - 1
    }

    fn add_all(&mut self, patterns: &[String], meaning: bool) -> Vec<usize> {
        patterns.iter().map(|p| self.add(p, meaning)).collect()
    }
}

/// Strings of which every match of `hir` contains one: the set whose shortest is longest; empty if there is none.
fn literals(hir: &Hir) -> Vec<String> {
    match hir.kind() {
        HirKind::Literal(l) => vec![String::from_utf8_lossy(&l.0).into_owned()],
        HirKind::Capture(c) => literals(&c.sub),
        HirKind::Repetition(r) if r.min >= 1 => literals(&r.sub),
        HirKind::Alternation(branches) => {
            let each: Vec<Vec<String>> = branches.iter().map(literals).collect();
            if each.iter().any(Vec::is_empty) {
                return Vec::new();
            }
            each.concat()
        }
        HirKind::Concat(parts) => parts
            .iter()
            .map(literals)
            .max_by_key(|set| weight(set))
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn weight(set: &[String]) -> usize {
    set.iter().map(String::len).min().unwrap_or(0)
}

const COMPONENTS: [(&str, &str); 8] = [
    ("kernel", "Kernel"),
    ("criu", "Criu"),
    ("docker", "Docker"),
    ("podman", "Podman"),
    ("lxd", "Lxd"),
    ("runc", "Runc"),
    ("crun", "Crun"),
    ("containerd", "Containerd"),
];

fn ranges(id: &str, map: &BTreeMap<String, String>) -> String {
    let mut out = String::from("&[");
    for (name, range) in map {
        let component = COMPONENTS
            .iter()
            .find(|(n, _)| n == name)
            .unwrap_or_else(|| panic!("{id}: no component {name:?}"))
            .1;
        semver::VersionReq::parse(range).unwrap_or_else(|e| panic!("{id}: range {range:?}: {e}"));
        write!(out, "(Component::{component}, {range:?}), ").unwrap();
    }
    out + "]"
}

fn name(id: &str, given: &str, names: &[&'static str]) -> &'static str {
    names
        .iter()
        .find(|n| n.eq_ignore_ascii_case(given))
        .unwrap_or_else(|| panic!("{id}: {given:?} is none of {names:?}"))
}

fn rule(out: &mut String, theme: &str, r: &Rule, patterns: &mut Patterns) {
    let id = &r.id;
    for (what, empty) in [
        ("fix", r.fix.is_empty()),
        ("source", r.source.is_empty()),
        ("example", r.examples.is_empty()),
        ("sign", r.signs.is_empty()),
        ("cause", r.cause.trim().is_empty()),
    ] {
        assert!(!empty, "{id}: no {what}");
    }
    write!(
        out,
        "Rule {{ id: {id:?}, theme: {theme:?}, title: {:?}, cause: {:?}, fix: &{:?}, source: &{:?}, over: &{:?}, examples: &{:?}, signs: &[",
        r.title, r.cause, r.fix, r.source, r.over, r.examples
    )
    .unwrap();
    for s in &r.signs {
        assert!(!s.any.is_empty(), "{id}: a sign without `any`");
        write!(
            out,
            "Sign {{ any: &{:?}, all: &{:?}, none: &{:?}, with: {}, need: {}, rank: Rank::{}, weight: {}, confidence: Confidence::{} }}, ",
            patterns.add_all(&s.any, true),
            patterns.add_all(&s.all, false),
            patterns.add_all(&s.none, false),
            ranges(id, &s.with),
            ranges(id, &s.need),
            name(id, &s.rank, &["Cause", "Symptom", "Hint"]),
            s.weight,
            name(id, &s.confidence, &["High", "Medium", "Low"]),
        )
        .unwrap();
    }
    out.push_str("] },\n");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|e| e.expect("an entry of a folder").path())
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
        .collect();
    found.sort();
    found
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn main() {
    println!("cargo::rerun-if-changed=rules");
    println!("cargo::rerun-if-changed=data");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for path in files(Path::new("data")) {
        let table: serde_json::Value = read(&path);
        let name = path.file_stem().expect("a name");
        let target = folder.join(name).with_extension("json");
        fs::write(target, table.to_string()).expect("OUT_DIR can be written");
    }
    let mut patterns = Patterns::default();
    let mut ids = BTreeSet::new();
    let mut over = Vec::new();
    let mut rules = String::new();
    let mut lines = String::new();
    for path in files(Path::new("rules")) {
        let theme = path.file_stem().expect("a name").to_string_lossy();
        if theme == "noise" {
            let read: Lines = read(&path);
            for (name, list) in [("NOISE", &read.noise), ("FOLLOWUP", &read.followup)] {
                writeln!(lines, "/// `noise.toml`.\npub static {name}: &[Known] = &[").unwrap();
                for l in list {
                    let i = patterns.add(&l.line, true);
                    writeln!(lines, "Known {{ pattern: {i}, why: {:?} }},", l.why).unwrap();
                }
                lines.push_str("];\n");
            }
            continue;
        }
        for r in &read::<Rules>(&path).rule {
            assert!(ids.insert(r.id.clone()), "the id {:?} is used twice", r.id);
            over.extend(r.over.iter().cloned());
            rule(&mut rules, &theme, r, &mut patterns);
        }
    }
    for id in over {
        assert!(ids.contains(&id), "`over` names {id:?}, which is no rule");
    }
    let mut out = format!(
        "/// Every rule, by file and in the order of the file.\npub static RULES: &[Rule] = &[\n{rules}];\n{lines}"
    );
    out.push_str("/// Every pattern once.\npub static PATTERNS: &[Pattern] = &[\n");
    for (regex, literals, meaning) in &patterns.list {
        writeln!(
            out,
            "Pattern {{ regex: {regex:?}, literals: &{literals:?}, meaning: {meaning} }},"
        )
        .unwrap();
    }
    out.push_str("];\n");
    fs::write(folder.join("rules.rs"), out).expect("OUT_DIR can be written");
}
