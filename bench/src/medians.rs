//! Medians over the runs, each beside what the hosts take without us.

use crate::document::{Beside, Document, FloorRow, Median, Phase, Row};

/// The median; none of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The floors of so much memory over a link to a host, from any host where that one has none: they are measured
/// in one direction only.
fn beside(floors: &[FloorRow], row: &Row) -> Beside {
    let of = |what: &str, fits: &dyn Fn(&FloorRow) -> bool| {
        let found = floors
            .iter()
            .filter(|floor| floor.what == what && fits(floor));
        median(found.map(|floor| floor.seconds))
    };
    let same = |floor: &FloorRow| floor.size_mib == Some(row.size_mib);
    let criu = |what| of(what, &same);
    Beside {
        start_seconds: of("start", &|floor| floor.host == row.destination),
        criu_seconds: criu("criu-dump")
            .zip(criu("criu-restore"))
            .map(|(dump, restore)| dump + restore),
        tcp_seconds: of("tcp", &|floor| {
            same(floor) && floor.link.as_ref() == Some(&row.link)
        }),
    }
}

/// The medians of a document's rows, in the order in which they were first made.
pub(crate) fn medians(document: &Document) -> Vec<Median> {
    let rows = &document.rows;
    let mut keys: Vec<&Row> = Vec::new();
    let same = |one: &Row, other: &Row| {
        (one.mode, one.size_mib, &one.link) == (other.mode, other.size_mib, &other.link)
            && (&one.source, &one.destination) == (&other.source, &other.destination)
    };
    for row in rows {
        if !keys.iter().any(|key| same(key, row)) {
            keys.push(row);
        }
    }
    keys.into_iter()
        .map(|key| {
            let (good, failed): (Vec<&Row>, Vec<&Row>) = rows
                .iter()
                .filter(|row| same(row, key))
                .partition(|row| row.failure.is_none());
            let count = |rows: &[&Row]| u32::try_from(rows.len()).unwrap_or(u32::MAX);
            let of =
                |get: &dyn Fn(&Row) -> Option<f64>| median(good.iter().filter_map(|row| get(row)));
            let each = |get: fn(&Row) -> &[Phase]| -> Vec<Phase> {
                let names = good.first().map_or(&[][..], |row| get(row)).iter();
                let all = || good.iter().flat_map(|row| get(row));
                let of = |name: &str| {
                    median(all().filter(|one| one.name == name).map(|one| one.seconds))
                };
                names
                    .filter_map(|one| {
                        Some(Phase {
                            name: one.name.clone(),
                            seconds: of(&one.name)?,
                        })
                    })
                    .collect()
            };
            Median {
                mode: key.mode,
                size_mib: key.size_mib,
                link: key.link.clone(),
                source: key.source.clone(),
                destination: key.destination.clone(),
                good: count(&good),
                failed: count(&failed),
                file_bytes: of(&|row| row.file_bytes.map(|bytes| bytes as f64)),
                bytes_sent: of(&|row| row.bytes_sent.map(|bytes| bytes as f64)),
                bytes_received: of(&|row| row.bytes_received.map(|bytes| bytes as f64)),
                downtime_seconds: of(&|row| row.downtime_seconds),
                longest_pause_seconds: of(&|row| Some(row.tcp?.longest_pause_seconds)),
                total_seconds: of(&|row| Some(row.total_seconds)),
                phases: each(|row| &row.phases),
                downtime_parts: each(|row| &row.downtime_parts),
                floor: beside(&document.floors, key),
            }
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Mode;
    use crate::targets::tests::document;

    pub(crate) fn row(mode: Mode, size: &str, downtime: f64) -> Row {
        Row {
            mode,
            size_mib: size.parse().unwrap(),
            link: "lan".into(),
            run: 1,
            source: "a".into(),
            destination: "b".into(),
            file_bytes: (mode == Mode::Tarball).then_some(1 << 20),
            bytes_sent: Some(2 << 20),
            bytes_received: Some(100),
            downtime_seconds: Some(downtime),
            tcp: None,
            total_seconds: downtime * 2.0,
            phases: vec![Phase {
                name: "move".into(),
                seconds: downtime / 2.0,
            }],
            downtime_parts: vec![Phase {
                name: "restore".into(),
                seconds: downtime / 4.0,
            }],
            peaks: Vec::new(),
            memory_whole: true,
            failure: None,
        }
    }

    #[test]
    fn the_middle_one_or_between_the_two() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn what_failed_is_counted_and_in_no_median() {
        let mut bad = row(Mode::Copy, "1M", 100.0);
        bad.failure = Some("no".into());
        let back = Row {
            source: "b".into(),
            destination: "a".into(),
            ..row(Mode::Copy, "1M", 7.0)
        };
        let rows = [
            row(Mode::Copy, "1M", 1.0),
            back,
            bad,
            row(Mode::Copy, "1M", 3.0),
            row(Mode::Tarball, "1M", 5.0),
        ];
        let mut document = document();
        let floor = |what: &str, host: &str, link: Option<&str>, seconds| FloorRow {
            what: what.into(),
            size_mib: link.map(|_| "1M".parse().unwrap()),
            link: link.filter(|_| what == "tcp").map(str::to_owned),
            host: host.into(),
            seconds,
        };
        document.floors = vec![
            floor("start", "a", None, 9.0),
            floor("start", "b", None, 0.5),
            floor("criu-dump", "a", Some("lan"), 1.0),
            floor("criu-restore", "a", Some("lan"), 2.0),
            floor("tcp", "a", Some("lan"), 0.25),
            floor("tcp", "a", Some("zigbee"), 34.0),
        ];
        document.rows = rows.to_vec();
        let slow = Row {
            link: "zigbee".into(),
            ..row(Mode::Copy, "1M", 40.0)
        };
        document.rows.push(slow);
        let medians = medians(&document);
        assert_eq!(medians.len(), 4);
        assert_eq!(
            medians[0].floor,
            Beside {
                start_seconds: Some(0.5),
                criu_seconds: Some(3.0),
                tcp_seconds: Some(0.25),
            }
        );
        assert_eq!(medians[3].floor.tcp_seconds, Some(34.0));
        assert_eq!(medians[3].downtime_seconds, Some(40.0));
        assert_eq!((medians[0].good, medians[0].failed), (2, 1));
        assert_eq!(medians[0].downtime_seconds, Some(2.0));
        assert_eq!(
            medians[0].phases,
            [Phase {
                name: "move".into(),
                seconds: 1.0
            }]
        );
        assert_eq!(medians[0].downtime_parts[0].seconds, 0.5);
        assert_eq!(medians[1].downtime_seconds, Some(7.0));
        assert_eq!(medians[2].file_bytes, Some(f64::from(1 << 20)));
    }
}
