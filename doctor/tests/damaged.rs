//! Facts that are damaged in any way are judged without a check breaking down.

mod common;

use common::*;
use doctor::check::{Inmate, Link, Pair, Report, Subject};
use host::facts::container::{Container, Destination};
use host::facts::criu::Judgement;
use host::{CriuCheck, Facts};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

const CONTAINERS: [&str; 2] = [
    include_str!("../../host/tests/transcripts/container.txt"),
    include_str!("../../host/tests/transcripts/container-tcp.txt"),
];
const THERE: &str = include_str!("../../host/tests/transcripts/destination.txt");

/// Where, how much and what: a number where one stands may become any other, a line may go, double or be torn.
type Damage = Vec<(Index, u8, String)>;

fn damage() -> impl Strategy<Value = Damage> {
    let text = prop_oneof![
        "[0-9]{1,20}",
        "[ -~]{0,12}",
        Just("-1".to_owned()),
        Just("18446744073709551615".to_owned()),
        "\\PC{0,6}",
    ];
    prop::collection::vec((any::<Index>(), any::<u8>(), text), 0..30)
}

/// A transcript with its lines damaged; the marks of sections stay, so that what is between them is read.
fn damaged(text: &str, damage: &Damage) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (index, how, text) in damage {
        let at = index.index(lines.len());
        if lines[at].starts_with("@@") {
            continue;
        }
        match how % 5 {
            0 => lines[at].clone_from(text),
            1 => lines[at].push_str(text),
            2 => {
                let word = lines[at].split_whitespace().next_back().unwrap_or("");
                lines[at] = lines[at].replace(word, text);
            }
            3 => {
                let half = lines[at].chars().count() / 2;
                lines[at] = lines[at].chars().take(half).collect();
            }
            _ => lines[at] = lines[at].replace(|c: char| c.is_ascii_digit(), text),
        }
    }
    lines.join("\n")
}

fn broke_down(report: &Report) -> Option<String> {
    let mut verdicts = report.verdicts();
    let broken = verdicts.find(|verdict| verdict.sentence.contains("broke down"));
    broken.map(|verdict| format!("{verdict:#?}"))
}

/// A JSON value at any place of another is replaced by one of any kind, or taken out.
fn disfigured(mut value: Value, edits: &[(Index, u8)]) -> Value {
    fn places(value: &Value, at: String, all: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    places(field, format!("{at}/{name}"), all);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    places(item, format!("{at}/{index}"), all);
                }
            }
            _ => {}
        }
        all.push(at);
    }
    for (index, kind) in edits {
        let mut all = Vec::new();
        places(&value, String::new(), &mut all);
        let other = match kind % 7 {
            0 => Value::Null,
            1 => Value::from(i64::MIN),
            2 => Value::from("/\u{e9}:x=\0"),
            3 => serde_json::json!([null, [], {}]),
            4 => serde_json::json!({"": {"HostPort": -1}}),
            5 => Value::from(true),
            _ => Value::from(1e308),
        };
        if let Some(place) = value.pointer_mut(&all[index.index(all.len())]) {
            *place = other;
        }
    }
    value
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_damage_of_facts_breaks_a_check_down(
        which in 0..3_usize,
        first in damage(),
        second in damage(),
        criu in damage(),
        measured in any::<(Option<f64>, Option<f64>)>(),
        judged in "\\PC{0,30}",
    ) {
        let facts = Facts::parse(&damaged([TRIXIE, XENIAL, CLIENT][which], &first));
        let other = Facts::parse(&damaged(TRIXIE, &second));
        let criu = CriuCheck::parse(&damaged(TRIXIE_CRIU, &criu));
        let subject = |name, facts, criu| Subject { name, facts, criu };
        let (from, to) = (subject("a", &facts, Some(&criu)), subject("b", &other, None));
        prop_assert_eq!(broke_down(&doctor::check::host(&from)), None);
        let judgement = Judgement { good: false, text: judged };
        let report = doctor::check::pair(&Pair {
            source: from,
            destination: to,
            link: Some(Link { round_trip: measured.0, direct: true, throughput: measured.1, throughput_direct: false }),
            cpu: Some(Ok(&judgement)),
        });
        prop_assert_eq!(broke_down(&report), None);
    }

    #[test]
    fn no_damage_of_a_container_breaks_a_check_down(
        which in 0..2_usize,
        running in damage(),
        there in damage(),
        facts in damage(),
        json in prop::collection::vec((any::<Index>(), any::<u8>()), 0..8),
    ) {
        let container = Container::parse(&damaged(CONTAINERS[which], &running));
        // The engine's words twice: torn as text, and whole with other values in it.
        let whole = serde_json::from_str(&Container::parse(CONTAINERS[which]).inspect).expect("it was recorded");
        let whole = disfigured(whole, &json).to_string();
        let facts = Facts::parse(&damaged(TRIXIE, &facts));
        let subject = Subject { name: "a", facts: &facts, criu: None };
        for text in [container.inspect.as_str(), &whole] {
            let Some(inspected) = engine::Container::parse(text.as_bytes()) else { continue };
            let place = doctor::check::place("rec", &container, &inspected);
            let answers = Destination::parse(&damaged(THERE, &there), &place);
            let report = doctor::check::container(&Inmate {
                name: "rec",
                container: &container,
                inspected: Some(&inspected),
                source: subject,
                destination: Some((subject, &answers)),
                link: None,
            });
            prop_assert_eq!(broke_down(&report), None);
        }
    }

    #[test]
    fn no_description_of_a_container_makes_its_parser_panic(
        which in 0..2_usize,
        json in prop::collection::vec((any::<Index>(), any::<u8>()), 0..12),
        torn in any::<Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let recorded = Container::parse(CONTAINERS[which]).inspect;
        let whole = disfigured(serde_json::from_str(&recorded).expect("it was recorded"), &json);
        let whole = whole.to_string();
        let mut torn_text = whole.as_bytes()[..torn.index(whole.len())].to_vec();
        torn_text.extend_from_slice(&bytes);
        for text in [whole.as_bytes(), &torn_text, &bytes] {
            let Some(container) = engine::Container::parse(text) else { continue };
            let _ = (container.mounts(), container.networks(), container.id(), container.name());
            let _ = (container.restart_policy(), container.runtime(), container.pod(), container.tty());
            let _ = (container.upper_dir(), container.log_path(), container.image_ref(), container.pid());
        }
    }
}
