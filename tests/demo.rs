//! What `make demo` runs, in a lab of its own.

mod support;

use std::process::{Command, Stdio};
use support::{Lab, Ran, in_order};

#[test]
fn the_demo_shows_a_counter_that_goes_on() {
    let Some(_lab) = Lab::up("demo", "10.82.0.0/24", "docker-26") else {
        return;
    };
    let target = std::path::Path::new(env!("CARGO_BIN_EXE_transship"))
        .ancestors()
        .nth(2)
        .unwrap();
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo"))
        .env("CARGO_TARGET_DIR", target)
        .env("TRANSSHIP_LAB", "demo")
        .env("DEMO_SUBNET", "10.82.0.0/24")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = Ran::of(output).expect(0).stdout;
    assert!(
        text.contains("looper100 runs on b.") && text.contains("down "),
        "{text}"
    );
    let numbers: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(numbers.len() >= 6, "{text}");
    in_order(&numbers, 0);
}
