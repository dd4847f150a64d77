//! One measurement for each value of an option, and what depends on it.

use super::{
    Found, measure, plot,
    report::{self, Row},
};
use crate::stage::say;
use anyhow::Context;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use hub::cli::bench::{BenchArgs, Sweep};
use serde_json::json;
use std::io::Write;

/// Figures in the table of a sweep.
const SHOWN: [&str; 8] = [
    "payments_per_s",
    "latency_p50_ms",
    "latency_p99_ms",
    "latency_p999_ms",
    "hub_cpu_us",
    "generator_cpu_us",
    "disk_bytes",
    "hub_rss_mib",
];

/// One value's figures: medians.
struct Point {
    value: String,
    rows: Vec<Row>,
}

impl Point {
    fn figure(&self, key: &str) -> f64 {
        let row = self.rows.iter().find(|row| row.key == key);
        row.map_or(f64::NAN, Row::median)
    }
}

/// Measures every value on a hub of its own. Returns what does not add up.
pub(super) async fn sweep(args: &BenchArgs, sweep: &Sweep) -> anyhow::Result<Vec<String>> {
    let name = &sweep.option;
    let (mut points, mut all, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for setting in &sweep.settings {
        let value = setting.to_string();
        say(&format!("{name} = {value}"));
        let mut args = args.with(*setting);
        args.dir = args.dir.map(|dir| dir.join(format!("{name}-{value}")));
        args.check().map_err(anyhow::Error::msg)?;
        let found: Found = measure(&args).await?;
        report::say_all(&args, &found)?;
        all.push(report::json(&args, &found));
        differences.extend(
            found
                .differences
                .iter()
                .map(|what| format!("{name} = {value}: {what}")),
        );
        points.push(Point {
            value,
            rows: report::rows(&found.quiet),
        });
    }
    writeln!(std::io::stdout().lock(), "{}", table(name, &points))?;
    if let Some(path) = &args.json {
        let text = json!({ "sweep": name, "points": all });
        std::fs::write(path, serde_json::to_vec_pretty(&text)?)
            .with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.plot {
        let title = report::setting(args);
        std::fs::write(path, picture(&title, name, &points)).with_context(|| path.display().to_string())?;
    }
    Ok(differences)
}

fn table(name: &str, points: &[Point]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let rows = points
        .first()
        .map(|point| point.rows.as_slice())
        .unwrap_or_default();
    let shown: Vec<&Row> = rows.iter().filter(|row| SHOWN.contains(&row.key)).collect();
    let names = shown.iter().map(|row| row.name.to_owned());
    table.set_header(std::iter::once(name.to_owned()).chain(names));
    for point in points {
        let figures = shown
            .iter()
            .map(|row| report::number(point.figure(row.key), row.digits));
        table.add_row(std::iter::once(point.value.clone()).chain(figures));
    }
    table
}

fn picture(title: &str, name: &str, points: &[Point]) -> String {
    let curve = |key: &str| points.iter().map(|point| point.figure(key)).collect::<Vec<_>>();
    let values: Vec<String> = points.iter().map(|point| point.value.clone()).collect();
    plot::against(
        title,
        name,
        &values,
        &[("payments/s", curve("payments_per_s"))],
        &[
            ("p50", curve("latency_p50_ms")),
            ("p99", curve("latency_p99_ms")),
            ("p99.9", curve("latency_p999_ms")),
        ],
    )
}
