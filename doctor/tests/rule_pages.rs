//! The pages under `docs/rules/` say what the rules say. `UPDATE_DOCS=1 cargo test -p doctor` writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use doctor::explain::{RULES, index, page};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules")
}

fn wanted() -> BTreeMap<String, String> {
    let mut pages: BTreeMap<String, String> = RULES
        .iter()
        .map(|rule| (format!("{}.md", rule.id), page(rule)))
        .collect();
    pages.insert("README.md".to_owned(), index());
    pages
}

fn committed() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(folder()) else {
        return BTreeMap::new();
    };
    entries
        .map(|e| e.expect("an entry of docs/rules").path())
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            let text = fs::read_to_string(&path).expect("a page can be read");
            (name.into_owned(), text)
        })
        .collect()
}

#[test]
fn pages_are_up_to_date() {
    let wanted = wanted();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(folder()).expect("docs/rules can be made");
        for name in committed().keys().filter(|n| !wanted.contains_key(*n)) {
            fs::remove_file(folder().join(name)).expect("a page can be removed");
        }
        for (name, text) in &wanted {
            fs::write(folder().join(name), text).expect("a page can be written");
        }
    }
    let committed = committed();
    let stale: Vec<&String> = wanted
        .iter()
        .filter(|(name, text)| committed.get(*name) != Some(text))
        .map(|(name, _)| name)
        .collect();
    let extra: Vec<&String> = committed
        .keys()
        .filter(|name| !wanted.contains_key(*name))
        .collect();
    assert!(
        stale.is_empty() && extra.is_empty(),
        "run UPDATE_DOCS=1 cargo test -p doctor; stale: {stale:?}, without a rule: {extra:?}"
    );
}
