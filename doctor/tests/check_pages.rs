//! One page for each check under docs/checks/, made of the checks' own texts.

use doctor::check::catalogue;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/checks"))
}

/// `UPDATE_DOCS=1 cargo test -p doctor --test check_pages` writes them anew.
#[test]
fn every_check_has_its_page_and_no_page_is_left_over() {
    let mut checks = catalogue();
    checks.sort_by_key(|meta| meta.group);
    let mut pages: BTreeMap<String, String> = checks
        .iter()
        .map(|meta| (format!("{}.md", meta.id), meta.page()))
        .collect();
    assert_eq!(pages.len(), checks.len(), "two checks have one id");
    let mut index = String::from(
        "# Checks of `transship doctor`\n\nMade from the checks themselves; `--ignore ID` turns a failure of one into a warning.\n",
    );
    let mut group = None;
    for meta in &checks {
        if group != Some(meta.group) {
            index += &format!("\n## {}\n\n", meta.group.title());
            group = Some(meta.group);
        }
        index += &format!("- [{}]({}.md): {}\n", meta.id, meta.id, meta.title);
    }
    pages.insert("README.md".to_owned(), index);

    let folder = folder();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &pages {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    let mut there = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).expect("docs/checks is there") {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        there.insert(name, std::fs::read_to_string(&path).unwrap());
    }
    let differing: Vec<&String> = pages
        .iter()
        .filter(|(name, text)| there.get(*name) != Some(*text))
        .map(|(name, _)| name)
        .chain(there.keys().filter(|name| !pages.contains_key(*name)))
        .collect();
    assert!(
        differing.is_empty(),
        "run UPDATE_DOCS=1 cargo test -p doctor --test check_pages: {differing:?}"
    );
}

#[test]
fn every_check_says_what_why_and_what_to_do() {
    for meta in catalogue() {
        let (group, rest) = meta.id.split_once('.').expect("group.name");
        assert_eq!(group, meta.group.title(), "{}", meta.id);
        assert!(
            rest.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{}",
            meta.id
        );
        for text in [&meta.title, &meta.what, &meta.why, &meta.fix] {
            assert!(text.len() > 10, "{}: {text:?}", meta.id);
            assert!(text.is_ascii(), "{}: {text:?}", meta.id);
        }
        assert!(!meta.title.ends_with('.'), "{}", meta.id);
    }
}
