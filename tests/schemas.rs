//! The committed schemas are those of the code. `UPDATE_DOCS=1` writes them anew.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

fn committed<T: JsonSchema>(name: &str) {
    let schema = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>();
    let path = format!("{}/docs/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "{path} is not what the code says: run UPDATE_DOCS=1 cargo test --test schemas"
    );
}

#[test]
fn migrate() {
    committed::<migrate::Report>("migrate");
}

#[test]
fn doctor() {
    committed::<doctor::document::Doctor>("doctor");
}

#[test]
fn explain() {
    committed::<doctor::document::Explain>("explain");
}

#[test]
fn hardware() {
    committed::<doctor::document::Hardware>("hardware");
}

#[test]
fn provision() {
    committed::<provision::Report>("provision");
}

#[test]
fn bench() {
    committed::<bench::Document>("bench");
}

#[test]
fn migrate_status() {
    committed::<migrate::Status>("migrate-status");
}
