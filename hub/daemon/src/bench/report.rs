//! The figures: a table for people, JSON for programs, a picture.

#![expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "figures for people; no money is computed here"
)]

use super::{plot, run::Measured};
use anyhow::Context;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use hub::cli::bench::BenchArgs;
use serde_json::json;
use std::{io::Write, time::Duration};

/// What of one run does not add up.
pub(super) fn differences(one: &Measured) -> Vec<String> {
    let (sent, credited) = (&one.tally.sent, &one.tally.credited);
    let mut found = Vec::new();
    if one.tally.bounced > 0 {
        found.push(format!("{} payments bounced", one.tally.bounced));
    } else if sent != credited {
        found.push(format!(
            "sent {} payments of {} in all, credited {} of {}, or not the same ones",
            sent.count, sent.amount, credited.count, credited.amount
        ));
    }
    found
}

/// One line of the table: its name, and its value in each run.
struct Row {
    name: &'static str,
    key: &'static str,
    values: Vec<f64>,
    digits: usize,
}

fn rows(runs: &[Measured]) -> Vec<Row> {
    let row = |name, key, digits, value: &dyn Fn(&Measured) -> f64| Row {
        name,
        key,
        digits,
        values: runs.iter().map(value).collect(),
    };
    let each = |whole: f64, one: &Measured| whole / (one.tally.counted.max(1) as f64);
    let quantile = |one: &Measured, q: f64| one.tally.latency.value_at_quantile(q) as f64 / 1000.0;
    let mut rows = vec![
        row("payments/s", "payments_per_s", 0, &|one| {
            one.tally.counted as f64 / one.took.as_secs_f64()
        }),
        row("latency p50, ms", "latency_p50_ms", 2, &|one| quantile(one, 0.5)),
        row("latency p99, ms", "latency_p99_ms", 2, &|one| quantile(one, 0.99)),
        row("latency p99.9, ms", "latency_p999_ms", 2, &|one| {
            quantile(one, 0.999)
        }),
        row("latency max, ms", "latency_max_ms", 2, &|one| {
            one.tally.latency.max() as f64 / 1000.0
        }),
        row("hub CPU per payment, us", "hub_cpu_us", 2, &|one| {
            each(one.hub_cpu_ms as f64 * 1000.0, one)
        }),
        row("generator CPU per payment, us", "generator_cpu_us", 2, &|one| {
            each(one.own_cpu_ms as f64 * 1000.0, one)
        }),
        row("hub cores in use", "hub_cores", 2, &|one| {
            one.hub_cpu_ms as f64 / one.took.as_secs_f64() / 1000.0
        }),
        row("durable commits/s", "commits_per_s", 0, &|one| {
            one.commits as f64 / one.took.as_secs_f64()
        }),
        row("payments per commit", "payments_per_commit", 1, &|one| {
            one.tally.counted as f64 / (one.commits.max(1) as f64)
        }),
        row("disk bytes per payment", "disk_bytes", 0, &|one| {
            each(one.disk_bytes as f64, one)
        }),
        row("hub memory, MiB", "hub_rss_mib", 0, &|one| {
            one.rss_bytes as f64 / 1_048_576.0
        }),
        row("asked to send later", "busy", 0, &|one| one.tally.busy as f64),
    ];
    if runs.iter().all(|one| one.verified.is_some()) {
        rows.push(row("signatures verified per payment", "verified", 3, &|one| {
            each(one.verified.unwrap_or(0) as f64, one)
        }));
    }
    if runs.iter().any(|one| one.table_hits.is_some_and(|hits| hits > 0)) {
        rows.push(row("table hits per signature", "table_hits", 3, &|one| {
            one.table_hits.unwrap_or(0) as f64 / (one.verified.unwrap_or(1).max(1) as f64)
        }));
    }
    rows
}

/// Prints the table, writes JSON and picture.
pub(super) fn print(
    args: &BenchArgs,
    runs: &[Measured],
    channels: usize,
    away: Duration,
    differences: &[String],
) -> anyhow::Result<()> {
    let rows = rows(runs);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let wide = runs.len() > 1;
    let head: &[&str] = if wide {
        &["", "median", "least", "most"]
    } else {
        &["", "value"]
    };
    table.set_header(head.iter().copied());
    for row in &rows {
        let mut sorted = row.values.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let mut cells = vec![row.name.to_owned(), number(at(last / 2), row.digits)];
        if wide {
            cells.push(number(at(0), row.digits));
            cells.push(number(at(last), row.digits));
        }
        table.add_row(cells);
    }
    let counted: u64 = runs
        .iter()
        .map(|one| one.tally.sent.count)
        .fold(0, u64::saturating_add);
    let checked: u64 = runs
        .iter()
        .map(|one| one.tally.checked)
        .fold(0, u64::saturating_add);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n{table}", setting(args))?;
    writeln!(
        out,
        "{counted} payments in all; {checked} of the hub's vouchers checked in full by their receivers, the sums of all; \
         kill -9, {} ms until it answered, {channels} channels compared",
        away.as_millis()
    )?;
    if differences.is_empty() {
        writeln!(
            out,
            "everything acknowledged is there, and every credit came once"
        )?;
    }
    if let Some(path) = &args.json {
        let values: serde_json::Map<_, _> = rows
            .iter()
            .map(|row| (row.key.to_owned(), json!(row.values)))
            .collect();
        let seconds: Vec<_> = runs.iter().map(|one| &one.seconds).collect();
        let text = json!({
            "setting": setting(args),
            "arguments": format!("{args:?}"),
            "runs": values,
            "payments_in_each_second": seconds,
            "channels_compared_after_kill": channels,
            "away_ms": u64::try_from(away.as_millis()).unwrap_or(u64::MAX),
            "differences": differences,
        });
        std::fs::write(path, serde_json::to_vec_pretty(&text)?)
            .with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.plot {
        std::fs::write(path, plot::svg(&setting(args), runs)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// What was measured, in one line.
fn setting(args: &BenchArgs) -> String {
    let shape = format!("{:?}", args.shape).to_lowercase();
    let load = match args.rate {
        Some(rate) => format!("open loop, {rate} payments/s wanted"),
        None => "closed loop".to_owned(),
    };
    let choice = args.zipf.map_or(String::new(), |s| format!(", Zipf {s}"));
    format!(
        "{shape}: {} payers on {} connections x {} in flight, {} payees{choice}, {} payments per signature, {load}, {} s; \
         hub and generator share {} processors{}",
        args.payers,
        args.connections.min(args.payers),
        args.depth,
        args.payees,
        args.per_voucher(),
        args.seconds,
        std::thread::available_parallelism().map_or(0, usize::from),
        args.hub_cores
            .as_ref()
            .map_or(String::new(), |cores| format!(", the hub has {cores}")),
    )
}

fn number(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}
