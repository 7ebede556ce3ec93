//! The thesis's figure 4.16, size against running time, as SVG; both axes logarithmic, the same for every link.

use crate::document::{Document, Mode};
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 55.0;

/// Modes in the order of the legend, with colours that people who see no red or green can tell apart.
const MODES: [(Mode, &str); 5] = [
    (Mode::Tarball, "#d55e00"),
    (Mode::Podman, "#cc79a7"),
    (Mode::Copy, "#0072b2"),
    (Mode::PostCopy, "#009e73"),
    (Mode::PreCopy, "#e69f00"),
];

/// The points of a mode, and its colour.
type Series = (Mode, &'static str, Vec<Point>);

/// An axis: values between powers of ten, and where they are.
struct Axis {
    low: i32,
    high: i32,
    begin: f64,
    end: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, begin: f64, end: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values {
            low = low.min(value);
            high = high.max(value);
        }
        if !low.is_finite() {
            (low, high) = (0.1, 10.0);
        }
        let low = low.log10().floor() as i32;
        Axis {
            low,
            high: (high.log10().ceil() as i32).max(low + 1),
            begin,
            end,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.begin + share * (self.end - self.begin)
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, String)> + '_ {
        (self.low..=self.high).map(|power| {
            let value = 10_f64.powi(power);
            (self.at(value), format!("{value}"))
        })
    }
}

/// A point: size, total time, downtime.
type Point = (f64, f64, Option<f64>);

/// Of each move over a link that went well: the tarball's size in MiB (without a tarball, the data sent), total
/// time and downtime.
fn points(document: &Document, link: &str, mode: Mode) -> Vec<Point> {
    document
        .rows
        .iter()
        .filter(|row| row.link == link && row.mode == mode && row.failure.is_none())
        .filter_map(|row| {
            let bytes = row
                .file_bytes
                .or(row.bytes_sent)
                .filter(|bytes| *bytes > 0)?;
            let positive = |seconds: &f64| *seconds > 0.0;
            let total = Some(row.total_seconds).filter(positive)?;
            Some((
                bytes as f64 / f64::from(1 << 20),
                total,
                row.downtime_seconds.filter(positive),
            ))
        })
        .collect()
}

/// The plot, a panel for each link. Filled: all of it; hollow: how long the container stood still.
#[must_use]
pub fn svg(document: &Document) -> String {
    let mut panels: Vec<(String, Vec<Series>)> = document
        .links
        .iter()
        .map(|link| {
            let series = MODES
                .into_iter()
                .map(|(mode, colour)| (mode, colour, points(document, &link.name, mode)));
            let series = series.filter(|(_, _, points)| !points.is_empty());
            (link.to_string(), series.collect())
        })
        .filter(|(_, series): &(_, Vec<Series>)| !series.is_empty())
        .collect();
    if panels.is_empty() {
        panels.push(("nothing was measured".into(), Vec::new()));
    }
    let series = || panels.iter().flat_map(|(_, series)| series);
    let all = || series().flat_map(|(_, _, points)| points);
    let x = Axis::of(all().map(|point| point.0), LEFT, WIDTH - RIGHT);
    let y = Axis::of(
        all().flat_map(|point| [Some(point.1), point.2].into_iter().flatten()),
        HEIGHT - BOTTOM,
        TOP,
    );
    let height = HEIGHT * panels.len() as f64;
    let mut out = String::new();
    // Writing to a string does not fail.
    macro_rules! line { ($($arg:tt)*) => { let _ = writeln!(out, $($arg)*); }; }
    line!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">"##
    );
    line!(r##"<title>Size of the tarball, or data sent, against running time</title>"##);
    line!(r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##);
    for (index, (title, series)) in panels.iter().enumerate() {
        line!(
            r##"<g transform="translate(0 {})">"##,
            HEIGHT * index as f64
        );
        draw(&mut out, title, series, &x, &y);
        let _ = writeln!(out, "</g>");
    }
    out.push_str("</svg>\n");
    out
}

/// One link. Its name holds nothing that SVG would read as its own.
fn draw(out: &mut String, title: &str, series: &[Series], x: &Axis, y: &Axis) {
    macro_rules! line { ($($arg:tt)*) => { let _ = writeln!(out, $($arg)*); }; }
    line!(
        r##"<text x="{LEFT}" y="{:.1}" font-weight="bold">{title}</text>"##,
        TOP - 16.0
    );
    for (at, label) in x.ticks() {
        line!(
            r##"<path d="M{at:.1} {:.1}V{TOP}" stroke="#dddddd"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{label}</text>"##,
            y.begin,
            y.begin + 18.0
        );
    }
    for (at, label) in y.ticks() {
        line!(
            r##"<path d="M{LEFT} {at:.1}H{:.1}" stroke="#dddddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"##,
            x.end,
            LEFT - 6.0,
            at + 4.0
        );
    }
    line!(
        r##"<text x="{:.1}" y="{:.1}" text-anchor="middle">tarball, or data sent, MiB</text>"##,
        f64::midpoint(x.begin, x.end),
        HEIGHT - 12.0
    );
    let middle = f64::midpoint(y.begin, y.end);
    line!(
        r##"<text x="18" y="{middle:.1}" text-anchor="middle" transform="rotate(-90 18 {middle:.1})">seconds</text>"##
    );
    for (index, (mode, colour, points)) in series.iter().enumerate() {
        for (size, total, down) in points {
            line!(
                r##"<circle cx="{:.1}" cy="{:.1}" r="4" fill="{colour}"/>"##,
                x.at(*size),
                y.at(*total)
            );
            if let Some(down) = down {
                line!(
                    r##"<circle cx="{:.1}" cy="{:.1}" r="4" fill="#ffffff" stroke="{colour}" stroke-width="1.5"/>"##,
                    x.at(*size),
                    y.at(*down)
                );
            }
        }
        let (left, row) = (x.end + 20.0, TOP + 44.0 * index as f64);
        let name = mode.as_str();
        line!(
            r##"<circle cx="{left:.1}" cy="{row:.1}" r="4" fill="{colour}"/><text x="{:.1}" y="{:.1}">{name}, total</text>"##,
            left + 12.0,
            row + 4.0
        );
        let row = row + 18.0;
        line!(
            r##"<circle cx="{left:.1}" cy="{row:.1}" r="4" fill="#ffffff" stroke="{colour}" stroke-width="1.5"/><text x="{:.1}" y="{:.1}">{name}, downtime</text>"##,
            left + 12.0,
            row + 4.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::tests::document;

    #[test]
    fn every_good_move_has_its_points_within_the_frame() {
        let text = svg(&document());
        let x = Axis::of([1.0, 1000.0].into_iter(), 0.0, 300.0);
        assert!((x.at(10.0) - 100.0).abs() < 1e-9);
        // Three good moves, two points each, and the legend of two modes.
        assert_eq!(text.matches("<circle").count(), 3 * 2 + 2 * 2, "{text}");
        for part in text.split("cx=\"").skip(1) {
            let at: f64 = part.split('"').next().unwrap().parse().unwrap();
            assert!((LEFT..=WIDTH).contains(&at), "{at}");
        }
    }

    #[test]
    fn each_link_has_a_panel_of_its_own_with_the_same_axes() {
        let mut document = document();
        let slow = crate::Row {
            link: "zigbee".into(),
            total_seconds: 300.0,
            ..document.rows[0].clone()
        };
        document.rows.push(slow);
        for link in ["wifi", "zigbee"] {
            document.links.push(link.parse().unwrap());
        }
        let text = svg(&document);
        // None for wifi, over which nothing was moved.
        assert_eq!(text.matches("<g ").count(), 2, "{text}");
        assert!(text.contains("lan, as it is") && text.contains("zigbee, 250 kbit/s"));
        assert_eq!(text.matches(">1000</text>").count(), 2, "{text}");
        assert!(text.contains(r#"viewBox="0 0 720 880""#), "{text}");
    }

    #[test]
    fn of_nothing_there_is_an_empty_frame() {
        let mut nothing = document();
        nothing.rows.clear();
        let text = svg(&nothing);
        assert!(
            text.starts_with("<svg") && text.ends_with("</svg>\n") && !text.contains("NaN"),
            "{text}"
        );
        assert!(!text.contains("<circle"));
    }
}
