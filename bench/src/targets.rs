//! The ratios that count: figures of one run on one machine, so that it does not matter how fast it is.

use crate::document::{Document, Mode, Row, Target};
use crate::medians::median;

/// Seconds that a median is made of.
type Figure = fn(&Row) -> Option<f64>;

const DOWN: Figure = |row| row.downtime_seconds;
const TOTAL: Figure = |row| Some(row.total_seconds);
/// The images' way into the destination's memory, dump and encryption included.
const MOVE: Figure = |row| {
    let phase = row.phases.iter().find(|phase| phase.name == "move")?;
    Some(phase.seconds)
};

/// Both directions, all runs, over the hosts' own link: over a slow one they are of the link.
fn moved(document: &Document, mode: Mode, mib: u32, figure: Figure) -> Option<f64> {
    median(
        document
            .rows
            .iter()
            .filter(|row| is_own(document, &row.link))
            .filter(|row| row.mode == mode && row.size_mib.mib() == mib && row.failure.is_none())
            .filter_map(figure),
    )
}

/// Whether a link is that of the hosts, as it is.
fn is_own(document: &Document, name: &str) -> bool {
    let mut links = document.links.iter();
    links.any(|link| link.name == name && link.bits_per_second.is_none())
}

/// Both hosts.
fn floor(document: &Document, what: &str, mib: Option<u32>) -> Option<f64> {
    median(
        document
            .floors
            .iter()
            .filter(|floor| floor.what == what && floor.size_mib.map(crate::Size::mib) == mib)
            .filter(|floor| {
                let link = floor.link.as_deref();
                link.is_none_or(|link| is_own(document, link))
            })
            .map(|floor| floor.seconds),
    )
}

/// Those whose figures were measured.
pub(crate) fn of(document: &Document) -> Vec<Target> {
    let down = |mode, mib| moved(document, mode, mib, DOWN);
    let start = || floor(document, "start", None);
    let mut targets = Vec::new();
    let mut put = |what: &str, figure: Option<f64>, bound: f64, at_least: bool| {
        if let Some(figure) = figure.filter(|figure| figure.is_finite()) {
            let reached = if at_least {
                figure >= bound
            } else {
                figure <= bound
            };
            targets.push(Target {
                what: what.to_owned(),
                figure,
                bound,
                at_least,
                reached,
            });
        }
    };
    let ratio = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    put(
        "downtime of tarball / of copy, 1 GiB",
        ratio(down(Mode::Tarball, 1024), down(Mode::Copy, 1024)),
        20.0,
        true,
    );
    put(
        "downtime of Podman's own / of copy, 1 GiB",
        ratio(down(Mode::Podman, 1024), down(Mode::Copy, 1024)),
        5.0,
        true,
    );
    put(
        "downtime of copy / a plain start, 1 MiB",
        ratio(down(Mode::Copy, 1), start()),
        2.0,
        false,
    );
    put(
        "downtime of copy / a plain start, 64 MiB",
        ratio(down(Mode::Copy, 64), start()),
        3.0,
        false,
    );
    put(
        "downtime of post-copy / a plain start, 64 MiB",
        ratio(down(Mode::PostCopy, 64), start()),
        1.5,
        false,
    );
    put(
        "downtime of post-copy / a plain start, 4 GiB",
        ratio(down(Mode::PostCopy, 4096), start()),
        3.0,
        false,
    );
    put(
        "downtime of tarball / of post-copy, 1 GiB",
        ratio(down(Mode::Tarball, 1024), down(Mode::PostCopy, 1024)),
        120.0,
        true,
    );
    let total = |mode| moved(document, mode, 1024, TOTAL);
    put(
        "total of post-copy / of copy, 1 GiB",
        ratio(total(Mode::PostCopy), total(Mode::Copy)),
        2.0,
        false,
    );
    for (mib, size) in [(64, "64 MiB"), (1024, "1 GiB"), (4096, "4 GiB")] {
        let pages = ratio(
            moved(document, Mode::Copy, mib, MOVE),
            floor(document, "page-server", Some(mib)),
        );
        put(
            &format!("phase move of copy, encrypted / CRIU's page server, {size}"),
            pages,
            1.3,
            false,
        );
    }
    let largest = document.rows.iter().flat_map(|row| &row.peaks);
    let largest = largest.map(|peak| peak.bytes as f64 / f64::from(1 << 20));
    put(
        "MiB of the largest process of ours, from 1 GiB on",
        largest.reduce(f64::max),
        64.0,
        false,
    );
    let added = floor(document, "start-runtime", None)
        .zip(start())
        .map(|(ours, plain)| (ours - plain) * 1e3);
    put(
        "milliseconds that our runtime adds to a plain start",
        added,
        5.0,
        false,
    );
    targets
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Link;
    use crate::document::FloorRow;
    use crate::medians::medians;
    use crate::medians::tests::row;

    pub(crate) fn document() -> Document {
        let rows = vec![
            row(Mode::Copy, "1G", 2.0),
            row(Mode::Tarball, "1G", 30.0),
            row(Mode::Copy, "64M", 0.5),
            Row {
                failure: Some("restore: no <room> | on b".into()),
                ..row(Mode::Tarball, "64M", 9.0)
            },
        ];
        let start = FloorRow {
            what: "start".into(),
            size_mib: None,
            link: None,
            host: "a".into(),
            seconds: 0.25,
        };
        let mut document = Document {
            schema: "transship/bench/1".into(),
            complete: true,
            hosts: Vec::new(),
            image: "busybox".into(),
            runs: 1,
            links: vec![Link::own()],
            plan: Vec::new(),
            medians: Vec::new(),
            rows,
            floors: vec![
                FloorRow {
                    what: "start-runtime".into(),
                    seconds: 0.253,
                    ..start.clone()
                },
                start,
            ],
            targets: Vec::new(),
            notes: Vec::new(),
            total_seconds: 1.0,
            exit_code: 1,
        };
        document.medians = medians(&document);
        document
    }

    #[test]
    fn a_ratio_that_is_missed_says_so_and_one_without_figures_is_not_there() {
        let targets = of(&document());
        let said: Vec<(&str, bool)> = targets
            .iter()
            .map(|target| (&*target.what, target.reached))
            .collect();
        assert_eq!(
            said,
            [
                ("downtime of tarball / of copy, 1 GiB", false),
                ("downtime of copy / a plain start, 64 MiB", true),
                ("milliseconds that our runtime adds to a plain start", true),
            ]
        );
        assert!((targets[0].figure - 15.0).abs() < 1e-9 && (targets[2].figure - 3.0).abs() < 1e-6);
    }
}
