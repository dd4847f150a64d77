//! `hub bench`: arguments. The binary runs it.

use crate::engine::EngineChoice;
use clap::ValueEnum;
use std::{
    fmt::{self, Display, Formatter},
    path::PathBuf,
};

/// Locks that a hub forwards at once by default (R22).
const LOCKS_IN_FLIGHT_MAX: u32 = 9_000;

const EXAMPLES: &str = "\
  hub bench                                  256 connections, 32 payments in flight on each, 20 seconds
  hub bench --presign                        the same, signed before: the cores are the hub's
  hub bench --shape stream --per-voucher 100 one signature for a hundred payments
  hub bench --rate 5000                      open loop: latency at a fixed load, waiting included
  hub bench --abusers 10 --rate 5000         honest latency without and with one abuser for ten honest connections
  hub bench --channels 1000000               a million channels, most of which nobody uses
  hub bench --sweep rate=5000,10000,20000 --plot out.svg
  hub bench --sweep engine=tables,one_lane,libsecp256k1,k256
  hub bench --runs 5 --json out.json --plot out.svg

The generator plays the clients in this process on this machine's cores; the hub is a process of its own beside it.
Every payment is signed by keys made for it, while the load runs or before (--presign). Their nonces come from a small
pool, which tells the keys to whoever looks: they hold nothing but play money. What is measured counts from the hub's
answer, which follows the durable commit. In the end every credit must have come once, and everything acknowledged must
be there after kill -9, to the last unit in every channel.";

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
    /// Every payment is locked through the hub; its payee reveals, then its payer folds the lock in.
    Locked,
}

/// What a sweep sets for one of its measurements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// `--rate`: latency against load.
    Rate(u32),
    /// `--hub-cores`.
    Cores(u32),
    /// `--connections`.
    Connections(u32),
    /// `--depth`.
    Depth(u32),
    /// `--payers`.
    Payers(u32),
    /// `--channels`.
    Channels(u32),
    /// `--engine`.
    Engine(EngineChoice),
}

impl Display for Setting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(engine) => f.write_str(engine_name(*engine).as_str()),
            Self::Rate(value)
            | Self::Cores(value)
            | Self::Connections(value)
            | Self::Depth(value)
            | Self::Payers(value)
            | Self::Channels(value) => value.fmt(f),
        }
    }
}

/// As `--engine` and hub.toml have it.
#[must_use]
pub fn engine_name(engine: EngineChoice) -> String {
    engine
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// One measurement for each of some settings of an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sweep {
    /// The option.
    pub option: String,
    /// Its settings, in the order measured; not empty.
    pub settings: Vec<Setting>,
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
    /// Processors the hub may use, the first ones. The generator gets the others, or all when none is left.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub hub_cores: Option<u32>,
    /// Vouchers signed before each measurement, 1,000,000 without a number: about 540 bytes of memory each. Payments
    /// beyond them are signed while the load runs, and the table tells.
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "1000000")]
    pub presign: Option<u32>,
    /// How the hub verifies signatures; without it as a hub does by default.
    #[arg(long, value_enum)]
    pub engine: Option<EngineChoice>,
    /// Abusers, per cent of the connections: bad signatures, malformed frames, floods, slow readers. Each run is
    /// measured without and with them, under the limits that a hub has by default.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub abusers: Option<u32>,
    /// Channels in all, open on chain and known to the hub; those of payers and payees are among them.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub channels: Option<u32>,
    /// Connections that log in and do nothing.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub idle_connections: Option<u32>,
    /// One measurement for each value of an option, as in rate=5000,10000: rate, cores, connections, depth, payers,
    /// channels or engine. The picture shows throughput and latency against it.
    #[arg(long, value_name = "OPTION=VALUES", value_parser = sweep)]
    pub sweep: Option<Sweep>,
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

    /// Payees' channels of their own: `duplex` has none, `hot` has one.
    #[must_use]
    pub fn payees(&self) -> u32 {
        match self.shape {
            Shape::Duplex => 0,
            Shape::Hot => 1,
            Shape::Wide | Shape::Stream | Shape::Locked => self.payees,
        }
    }

    /// Channels in all.
    #[must_use]
    pub fn all_channels(&self) -> u32 {
        let used = self.payers.saturating_add(self.payees());
        self.channels.map_or(used, |channels| channels.max(used))
    }

    /// The first thing that does not go together.
    pub fn check(&self) -> Result<(), String> {
        let in_flight = self.connections.saturating_mul(self.depth);
        let said = match self.shape {
            Shape::Duplex | Shape::Locked if self.presign.is_some() => {
                "--presign: vouchers of this shape depend on what was received"
            }
            Shape::Locked if self.per_voucher() != 1 => "--per-voucher: a lock is one payment",
            Shape::Locked if in_flight > LOCKS_IN_FLIGHT_MAX => {
                "a hub forwards 9,000 locks at once: connections times depth is more"
            }
            _ => return Ok(()),
        };
        Err(said.to_owned())
    }

    /// The arguments with another setting.
    #[must_use]
    pub fn with(&self, setting: Setting) -> Self {
        let mut args = self.clone();
        match setting {
            Setting::Rate(value) => args.rate = Some(value),
            Setting::Cores(value) => args.hub_cores = Some(value),
            Setting::Connections(value) => args.connections = value,
            Setting::Depth(value) => args.depth = value,
            Setting::Payers(value) => args.payers = value,
            Setting::Channels(value) => args.channels = Some(value),
            Setting::Engine(engine) => args.engine = Some(engine),
        }
        args
    }
}

fn sweep(text: &str) -> Result<Sweep, String> {
    let (option, values) = text.split_once('=').ok_or("not of the form option=values")?;
    let numbers: fn(u32) -> Setting = match option {
        "rate" => Setting::Rate,
        "cores" => Setting::Cores,
        "connections" => Setting::Connections,
        "depth" => Setting::Depth,
        "payers" => Setting::Payers,
        "channels" => Setting::Channels,
        "engine" => {
            let engine = |value: &str| EngineChoice::from_str(value, false).map(Setting::Engine);
            return collect(option, values, engine);
        }
        _ => return Err(format!("{option} is not what a sweep can change")),
    };
    collect(option, values, |value| match value.parse() {
        Ok(number) if (1..=2_000_000).contains(&number) => Ok(numbers(number)),
        _ => Err(format!("{value} is not a number from 1 to 2000000")),
    })
}

fn collect(
    option: &str,
    values: &str,
    setting: impl Fn(&str) -> Result<Setting, String>,
) -> Result<Sweep, String> {
    Ok(Sweep {
        option: option.to_owned(),
        settings: values.split(',').map(setting).collect::<Result<_, _>>()?,
    })
}

fn exponent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match value.is_finite() && (0.0..=5.0).contains(&value) {
        true => Ok(value),
        false => Err("between 0 and 5".to_owned()),
    }
}
