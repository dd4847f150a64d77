//! Two curves in one picture: payments in each second and latency by share of payments, or both against an option.

#![expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "coordinates of a picture"
)]

use super::run::Measured;
use std::fmt::Write as _;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
/// From the left edge to the first panel, from the top to both.
const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
/// From the first panel's left to the second's.
const STEP: f64 = 520.0;
const COLOURS: [&str; 5] = ["#1b6ca8", "#c8553d", "#588157", "#8e5ea2", "#b8860b"];
/// Shares of payments that the latency's axis names.
const SHARES: [(f64, &str); 6] = [
    (0.0, "0"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
];

/// An SVG of both.
pub(super) fn svg(title: &str, runs: &[Measured]) -> String {
    let mut out = head(title);
    let payments: Vec<Vec<f64>> = runs
        .iter()
        .map(|one| one.seconds.iter().map(|count| *count as f64).collect())
        .collect();
    panel(&mut out, 0.0, "payments acknowledged in each second", &payments);
    let latency: Vec<Vec<f64>> = runs
        .iter()
        .map(|one| {
            SHARES
                .iter()
                .map(|(share, _)| one.tally.latency.value_at_quantile(*share) as f64 / 1000.0)
                .collect()
        })
        .collect();
    panel(&mut out, STEP, "latency in ms, by share of payments", &latency);
    for (at, (_, name)) in SHARES.iter().enumerate() {
        let x = LEFT + STEP + WIDTH * at as f64 / SHARES.len().saturating_sub(1) as f64;
        text(&mut out, x, TOP + HEIGHT + 18.0, "middle", name);
    }
    out.push_str("</svg>\n");
    out
}

/// Throughput and latency against what a sweep changes; its values stand at equal distances.
pub(super) fn against(
    title: &str,
    name: &str,
    values: &[String],
    throughput: &[(&str, Vec<f64>)],
    latency: &[(&str, Vec<f64>)],
) -> String {
    let mut out = head(title);
    let panels = [(0.0, "payments/s", throughput), (STEP, "latency in ms", latency)];
    for (offset, what, named) in panels {
        let curves: Vec<Vec<f64>> = named.iter().map(|(_, curve)| curve.clone()).collect();
        panel(&mut out, offset, &format!("{what} against {name}"), &curves);
        for (at, value) in values.iter().enumerate() {
            let x = LEFT + offset + WIDTH * at as f64 / values.len().saturating_sub(1).max(1) as f64;
            text(&mut out, x, TOP + HEIGHT + 18.0, "middle", value);
        }
        for (at, ((curve, _), colour)) in named.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let (x, y) = (LEFT + offset + 70.0 * at as f64, TOP + HEIGHT + 42.0);
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{curve}</text>"
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

fn head(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1040\" height=\"380\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"24\" font-size=\"11\">{title}</text>\n"
    )
}

fn panel(out: &mut String, offset: f64, name: &str, curves: &[Vec<f64>]) {
    let most = curves.iter().flatten().copied().fold(1.0, f64::max);
    let left = LEFT + offset;
    text(out, left, TOP - 12.0, "start", name);
    for part in 0..=4_u32 {
        let share = f64::from(part) / 4.0;
        let y = TOP + HEIGHT * (1.0 - share);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "<path d=\"M{left} {y}h{WIDTH}\" stroke=\"#ddd\"/>");
        text(out, left - 8.0, y + 4.0, "end", &axis(most * share));
    }
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let last = curve.len().saturating_sub(1).max(1) as f64;
        let points: Vec<String> = curve
            .iter()
            .enumerate()
            .map(|(at, value)| {
                let x = left + WIDTH * at as f64 / last;
                format!("{x:.1},{:.1}", TOP + HEIGHT * (1.0 - value / most))
            })
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            out,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        );
    }
}

fn axis(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}
