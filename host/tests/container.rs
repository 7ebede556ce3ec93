//! No text, however damaged, makes the parsers of containers and logs panic.

use host::facts::container::{Container, Destination, Place};
use host::facts::logs::Logs;
use proptest::prelude::*;

const RECORDED: [&str; 3] = [
    include_str!("transcripts/container.txt"),
    include_str!("transcripts/container-tcp.txt"),
    include_str!("transcripts/destination.txt"),
];

#[test]
fn a_container_as_recorded() {
    let container = Container::parse(RECORDED[1]);
    assert_eq!(container.engine.as_deref(), Some("docker"));
    assert_eq!(container.processes.len(), 1);
    let process = &container.processes[0];
    assert_eq!((process.name.as_str(), process.seccomp), ("stuck", 2));
    assert_eq!(Some(process.pid), container.pid);
    let connected = |container: &Container| {
        let sockets = container.own_sockets();
        sockets.iter().filter(|socket| socket.connected()).count()
    };
    assert_eq!(connected(&container), 2);
    assert!(container.peers_known);
    assert!(process.memory > 0 && process.memory < 1 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_damage_makes_a_parser_panic(
        which in 0..3_usize,
        cuts in prop::collection::vec((0..20_000_usize, 0..40_usize, "[ -~\né|:\\[\\]]{0,12}"), 1..12),
    ) {
        let mut text: Vec<char> = RECORDED[which].chars().collect();
        for (at, length, new) in cuts {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        let _ = Container::parse(&text).own_sockets();
        let place = Place {
            paths: vec!["/srv/data".into()],
            networks: vec!["n".into()],
            volumes: vec!["v".into()],
            ..Place::default()
        };
        let _ = Destination::parse(&text, &place);
        let _ = Logs::parse(&text);
    }
}
