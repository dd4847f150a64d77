//! `hub bench`: arguments. The binary runs it.

use clap::ValueEnum;
use std::path::PathBuf;

const EXAMPLES: &str = "\
  hub bench                                  256 connections, 32 payments in flight on each, 20 seconds
  hub bench --shape stream --per-voucher 100 one signature for a hundred payments
  hub bench --rate 5000                      open loop: latency at a fixed load, waiting included
  hub bench --runs 5 --json out.json --plot out.svg

The generator plays the clients in this process on this machine's cores; the hub is a process of its own beside it.
Every payment is signed while the load runs, by keys made for it. Their nonces come from a small pool, which tells the
keys to whoever looks: they hold nothing but play money. What is measured counts from the hub's answer, which follows
the durable commit. In the end every credit must have come once, and everything acknowledged must be there after kill -9.";

/// How payments are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Shape {
    /// Every payment has its own signature, from any payer to any payee.
    Wide,
    /// One signature for `--per-voucher` payments.
    Stream,
    /// Everybody pays and is paid.
    Duplex,
    /// All pay one merchant.
    Hot,
}

/// Arguments of `hub bench`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// How payments are laid out.
    #[arg(long, value_enum, default_value = "wide")]
    pub shape: Shape,
    /// Connections with payers.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Payments in flight on each.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub depth: u32,
    /// Payers, each with a channel and a key of its own, spread over the connections.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub payers: u32,
    /// Payees, each with a channel and a key of its own.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub payees: u32,
    /// Connections the payees share.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub payee_connections: u32,
    /// Payments under one signature; 10 in `stream`, 1 elsewhere.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub per_voucher: Option<u32>,
    /// Payees are chosen by Zipf's law with this exponent; uniformly without it.
    #[arg(long, value_name = "EXPONENT", value_parser = exponent)]
    pub zipf: Option<f64>,
    /// Open loop: payments per second in all, whether the hub keeps up or not.
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Seconds before counting starts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=600))]
    pub warm_up: u32,
    /// Seconds that count.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// Repeats of the measurement on the same channels; the table shows median, least and most.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub runs: u32,
    /// Processors the hub may use, as for `taskset -c`: 0 or 0-1 for instance.
    #[arg(long, value_name = "LIST")]
    pub hub_cores: Option<String>,
    /// Where the figures go as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where payments and latency over time go as a picture (SVG).
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Where to work; a temporary directory without it.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl BenchArgs {
    /// Payments under one signature.
    #[must_use]
    pub fn per_voucher(&self) -> u32 {
        let usual = if self.shape == Shape::Stream { 10 } else { 1 };
        self.per_voucher.unwrap_or(usual)
    }
}

fn exponent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match value.is_finite() && (0.0..=5.0).contains(&value) {
        true => Ok(value),
        false => Err("between 0 and 5".to_owned()),
    }
}
