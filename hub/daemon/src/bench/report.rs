//! The figures: a table for people, JSON for programs, a picture.

#![expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "figures for people; no money is computed here"
)]

use super::{
    Found,
    abuse::{Done as Deeds, NAMES},
    plot,
    run::Measured,
};
use anyhow::Context;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use hub::cli::bench::{BenchArgs, engine_name};
use serde_json::json;
use std::io::Write;

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
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    values: Vec<f64>,
    pub(super) digits: usize,
}

impl Row {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The lower one of two in the middle.
    pub(super) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len().saturating_sub(1) / 2;
        sorted.get(middle).copied().unwrap_or(f64::NAN)
    }
}

fn quantile(one: &Measured, q: f64) -> f64 {
    one.tally.latency.value_at_quantile(q) as f64 / 1000.0
}

/// Every figure with its value in each run.
pub(super) fn rows(runs: &[Measured]) -> Vec<Row> {
    let row = |name, key, digits, value: &dyn Fn(&Measured) -> f64| Row {
        name,
        key,
        digits,
        values: runs.iter().map(value).collect(),
    };
    let each = |whole: f64, one: &Measured| whole / (one.tally.counted.max(1) as f64);
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
        row("signed ahead, share of vouchers", "signed_ahead", 3, &|one| {
            1.0 - one.tally.signed_live as f64 / (one.tally.signatures.max(1) as f64)
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
    if runs
        .iter()
        .any(|one| one.batches.is_some_and(|batches| batches > 0))
    {
        rows.push(row("signatures verified per batch", "per_batch", 1, &|one| {
            one.verified.unwrap_or(0) as f64 / (one.batches.unwrap_or(1).max(1) as f64)
        }));
    }
    if runs.iter().any(|one| one.table_hits.is_some_and(|hits| hits > 0)) {
        rows.push(row("table hits per signature", "table_hits", 3, &|one| {
            one.table_hits.unwrap_or(0) as f64 / (one.verified.unwrap_or(1).max(1) as f64)
        }));
    }
    rows
}

/// Prints the tables, writes JSON and picture.
pub(super) fn print(args: &BenchArgs, found: &Found) -> anyhow::Result<()> {
    say_all(args, found)?;
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&json(args, found))?)
            .with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.plot {
        let picture = plot::svg(&setting(args), &found.quiet);
        std::fs::write(path, picture).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The tables and what belongs to them, on stdout.
pub(super) fn say_all(args: &BenchArgs, found: &Found) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n{}", setting(args), table(found))?;
    let both = found.quiet.iter().chain(&found.abused);
    let sum = |of: &dyn Fn(&Measured) -> u64| both.clone().map(of).fold(0, u64::saturating_add);
    writeln!(
        out,
        "{} payments in all; {} of the hub's vouchers checked in full by their receivers, the sums of all; \
         kill -9, {} ms until it answered, {} channels compared",
        sum(&|one| one.tally.sent.count),
        sum(&|one| one.tally.checked),
        found.away.as_millis(),
        found.compared
    )?;
    for line in abuse(found).into_iter().chain(scale(found)) {
        writeln!(out, "{line}")?;
    }
    if found.differences.is_empty() {
        writeln!(
            out,
            "everything acknowledged is there, and every credit came once"
        )?;
    }
    Ok(())
}

/// Median, least and most of each figure, without and with abusers.
fn table(found: &Found) -> Table {
    let (quiet, abused) = (rows(&found.quiet), rows(&found.abused));
    let wide = found.quiet.len() > 1;
    let mut head = vec![String::new()];
    for (name, runs) in [("", &found.quiet), (" with abusers", &found.abused)] {
        match (runs.is_empty(), wide) {
            (true, _) => {}
            (false, true) => head.extend(["median", "least", "most"].map(|what| format!("{what}{name}"))),
            (false, false) => head.push(format!("value{name}")),
        }
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(head);
    for row in &quiet {
        let mut cells = vec![row.name.to_owned()];
        let same = abused
            .iter()
            .filter(|other| other.key == row.key && !other.values.is_empty());
        for row in std::iter::once(row).chain(same) {
            let sorted = row.sorted();
            let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
            let last = sorted.len().saturating_sub(1);
            cells.push(number(at(last / 2), row.digits));
            if wide {
                cells.push(number(at(0), row.digits));
                cells.push(number(at(last), row.digits));
            }
        }
        table.add_row(cells);
    }
    table
}

/// What the abusers did, and what the honest ones felt of it.
fn abuse(found: &Found) -> Option<String> {
    let deeds: Vec<_> = found.abused.iter().filter_map(|one| one.deeds).collect();
    let sum = |of: &dyn Fn(&Deeds) -> Option<u64>| {
        let each = deeds.iter().filter_map(of);
        each.fold(0_u64, u64::saturating_add)
    };
    let said: Vec<String> = NAMES
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let messages = sum(&|one| one.messages.get(at).copied());
            let thrown_out = sum(&|one| one.thrown_out.get(at).copied());
            format!("{name} {messages} ({thrown_out})")
        })
        .collect();
    let mut ratios: Vec<f64> = found
        .quiet
        .iter()
        .zip(&found.abused)
        .map(|(quiet, abused)| quantile(abused, 0.99) / quantile(quiet, 0.99))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios.get(ratios.len().saturating_sub(1) / 2)?;
    Some(format!(
        "messages of abusers (times they were thrown out): {}; honest p99 with them is {ratio:.2} times the quiet one",
        said.join(", ")
    ))
}

/// What idle channels and connections take.
fn scale(found: &Found) -> Vec<String> {
    let scale = &found.scale;
    let mib = |bytes: u64| bytes >> 20;
    let each = |bytes: Option<u64>, before, after| {
        let each = bytes.map_or(
            "their memory is not known, because the hub gave other memory back".to_owned(),
            |bytes| format!("{bytes} bytes of hub memory each"),
        );
        format!("{each} ({} MiB -> {} MiB)", mib(before), mib(after))
    };
    let channels = (scale.channels > 0).then(|| {
        format!(
            "{} idle channels: {}, opened within {:.1} s, known to the hub after {:.1} s",
            scale.channels,
            each(scale.channel_bytes(), scale.channels_before, scale.channels_after),
            scale.opened_in.as_secs_f64(),
            scale.known_in.as_secs_f64()
        )
    });
    let connections = (scale.connections > 0).then(|| {
        let bytes = scale.connection_bytes();
        format!(
            "{} idle connections: {}",
            scale.connections,
            each(bytes, scale.connections_before, scale.connections_after)
        )
    });
    channels.into_iter().chain(connections).collect()
}

/// All figures of a hub.
pub(super) fn json(args: &BenchArgs, found: &Found) -> serde_json::Value {
    let figures = |runs: &[Measured]| -> serde_json::Map<String, serde_json::Value> {
        rows(runs)
            .iter()
            .map(|row| (row.key.to_owned(), json!(row.values)))
            .collect()
    };
    let seconds: Vec<_> = found.quiet.iter().map(|one| &one.seconds).collect();
    let deeds = found.abused.iter().filter_map(|one| one.deeds);
    json!({
        "setting": setting(args),
        "arguments": format!("{args:?}"),
        "runs": figures(&found.quiet),
        "runs_with_abusers": figures(&found.abused),
        "messages_of_abusers": deeds.clone().map(|one| one.messages).collect::<Vec<_>>(),
        "abusers_thrown_out": deeds.map(|one| one.thrown_out).collect::<Vec<_>>(),
        "payments_in_each_second": seconds,
        "bytes_per_idle_channel": found.scale.channel_bytes(),
        "bytes_per_idle_connection": found.scale.connection_bytes(),
        "channels_compared_after_kill": found.compared,
        "away_ms": u64::try_from(found.away.as_millis()).unwrap_or(u64::MAX),
        "differences": found.differences,
    })
}

/// What was measured, in one line.
pub(super) fn setting(args: &BenchArgs) -> String {
    let shape = format!("{:?}", args.shape).to_lowercase();
    let load = match args.rate {
        Some(rate) => format!("open loop, {rate} payments/s wanted"),
        None => "closed loop".to_owned(),
    };
    let choice = args.zipf.map_or(String::new(), |s| format!(", Zipf {s}"));
    let signing = args
        .presign
        .map_or(String::new(), |count| format!(", {count} vouchers signed ahead"));
    let all = std::thread::available_parallelism().map_or(0, usize::from);
    let cores = match args.hub_cores {
        None => format!("hub and generator share {all} processors"),
        Some(cores) => format!("the hub has {cores} of {all} processors, the generator what is left, or all"),
    };
    let engine = args.engine.map_or(String::new(), |engine| {
        format!(", engine {}", engine_name(engine))
    });
    format!(
        "{shape}: {} payers on {} connections x {} in flight, {} payees{choice}, {} payments per signature{signing}{engine}, \
         {load}, {} s; {cores}",
        args.payers,
        args.connections.min(args.payers),
        args.depth,
        args.payees(),
        args.per_voucher(),
        args.seconds,
    )
}

pub(super) fn number(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}
