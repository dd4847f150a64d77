//! The same payments through LDK's channel manager: payers pay payees through one hub, each payment locked with an
//! HTLC in both channels, in one process and without sockets. See `compare` beside this for what differs.

mod chain;
mod client;
mod hub;
mod load;
mod node;
mod store;
mod sums;
mod ways;
mod world;

use anyhow::{Context, ensure};
use clap::Parser;
use load::{Load, Used};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use store::Files;
use world::{Size, World};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The same payments through LDK's channel manager
#[derive(Parser)]
struct Arguments {
    /// Payers, each a node with a channel
    #[arg(long, default_value_t = 64)]
    payers: usize,
    /// Payees, each a node with a channel
    #[arg(long, default_value_t = 64)]
    payees: usize,
    /// Payments in flight for each payer
    #[arg(long, default_value_t = 8)]
    depth: usize,
    /// Threads that play the clients and carry their messages into the hub
    #[arg(long, default_value_t = 32)]
    workers: usize,
    /// Of each payment but those of the last row; not dust
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1000..))]
    amount_sat: u64,
    /// Seconds before counting starts
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Seconds that count
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Where the hub's files go; a temporary directory without it
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the figures go as JSON, too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What the hub's node keeps.
#[derive(Clone, Copy)]
enum Keeps {
    Nothing,
    Files { sync: bool },
}

/// Of a payment that is dust: it has no output of its own while it is in flight, and needs no signature for that.
const DUST_SAT: u64 = 1;
/// What is measured: its name, what the hub keeps, and whether payments are dust.
const ROWS: [(&str, Keeps, bool); 4] = [
    ("files, synced", Keeps::Files { sync: true }, false),
    ("files, not synced", Keeps::Files { sync: false }, false),
    ("in memory", Keeps::Nothing, false),
    ("files, synced, dust", Keeps::Files { sync: true }, true),
];

/// A row of the table.
struct Row {
    name: &'static str,
    used: Used,
    latencies: Vec<Duration>,
}

impl Row {
    fn per_payment(&self, value: f64) -> f64 {
        value / self.latencies.len() as f64
    }

    fn latency_ms(&self, per_cent: usize) -> f64 {
        let at = self.latencies.len() * per_cent / 100;
        self.latencies
            .get(at)
            .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }

    fn figures(&self) -> [(&'static str, f64); 8] {
        let used = &self.used;
        let micros = |cpu: Duration| self.per_payment(cpu.as_secs_f64() * 1e6);
        [
            (
                "payments/s",
                self.latencies.len() as f64 / used.time.as_secs_f64(),
            ),
            ("latency p50, ms", self.latency_ms(50)),
            ("latency p99, ms", self.latency_ms(99)),
            ("hub CPU per payment, us", micros(used.hub_cpu)),
            ("all CPU per payment, us", micros(used.all_cpu)),
            ("syncs per payment", self.per_payment(used.syncs as f64)),
            ("disk bytes per payment", self.per_payment(used.bytes as f64)),
            (
                "manager writes/s",
                used.manager_writes as f64 / used.time.as_secs_f64(),
            ),
        ]
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let in_flight = arguments.payers.saturating_mul(arguments.depth);
    let room = arguments.payees.saturating_mul(usize::from(node::HTLCS_MAX));
    ensure!(
        arguments.workers > 0 && arguments.seconds > 0 && in_flight > 0,
        "nothing to do"
    );
    ensure!(
        in_flight <= room / 2,
        "{in_flight} payments in flight may be too many for {room} HTLCs to payees"
    );
    let mut rows = Vec::new();
    for (name, keeps, dust) in ROWS {
        let amount_sat = if dust { DUST_SAT } else { arguments.amount_sat };
        rows.push(measure(&arguments, name, keeps, amount_sat).context(name)?);
    }
    print(&rows);
    println!("every payment was claimed once, and all balances add up, in the hub's files, too");
    if let Some(path) = &arguments.json {
        let of = |row: &Row| {
            (
                row.name.to_owned(),
                serde_json::json!(BTreeMap::from(row.figures())),
            )
        };
        let json: serde_json::Map<_, _> = rows.iter().map(of).collect();
        std::fs::write(path, serde_json::to_string_pretty(&json)?)?;
    }
    Ok(())
}

/// One measurement on a new hub. Errors: something failed, or the sums do not add up.
fn measure(arguments: &Arguments, name: &'static str, keeps: Keeps, amount_sat: u64) -> anyhow::Result<Row> {
    let temporary = tempfile::tempdir()?;
    let dir = arguments
        .dir
        .as_deref()
        .unwrap_or(temporary.path())
        .join(name.replace([',', ' '], ""));
    let store = match keeps {
        Keeps::Nothing => None,
        Keeps::Files { sync } => Some(Arc::new(Files::new(&dir, sync))),
    };
    let load = Load::new(arguments.depth, amount_sat.saturating_mul(1000));
    let size = Size {
        payers: arguments.payers,
        payees: arguments.payees,
        workers: arguments.workers,
    };
    let mut world = World::open(size, store, &load)?;
    let before = sums::Before::now(&world.hub, &world.workers)?;
    let (warm_up, seconds) = (
        Duration::from_secs(arguments.warm_up),
        Duration::from_secs(arguments.seconds),
    );
    let used = load::run(&mut world.workers, &world.hub, &load, warm_up, seconds)?;
    world.rest(&load)?;
    before.compare(&world.hub, &world.workers)?;
    if let Some(store) = &world.hub.store {
        world.hub.persist()?;
        sums::same(&world.hub.node, &world::kept(store)?)?;
    }
    let clients = world.workers.iter().flat_map(|worker| &worker.clients);
    let mut latencies: Vec<_> = clients
        .flat_map(|client| client.latencies.iter().copied())
        .collect();
    latencies.sort_unstable();
    ensure!(!latencies.is_empty(), "no payment came in time to count");
    Ok(Row {
        name,
        used,
        latencies,
    })
}

fn print(rows: &[Row]) {
    for row in rows {
        println!("{}", row.name);
        for (name, value) in row.figures() {
            println!("  {name:24} {value:>12.1}");
        }
    }
}
