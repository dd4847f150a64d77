//! `hub liquidity`: where the hub's money is, and what the running hub would do about it now. Sends nothing.

use super::{Failure, ask::ask, data, words};
use crate::{
    liquidity::{Action, ChannelLine, Report, TokenLine},
    settle::table,
};
use futures::future::BoxFuture;
use std::path::PathBuf;

const EXAMPLES: &str = "\
  hub liquidity            what vault and channels hold, and what would be sent now and why; a dry run
  hub liquidity --all      every channel, not only those outside their watermarks
  hub liquidity --json     the same for programs, always with every channel

Asks the hub that runs with this configuration, at [ops] listen; run it as the hub's user. Amounts are token base units.";

/// Arguments of `hub liquidity`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct LiquidityArgs {
    /// The configuration `hub init` wrote.
    #[arg(long, value_name = "FILE", default_value = "hub.toml")]
    pub config: PathBuf,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
    /// Every channel.
    #[arg(long)]
    pub all: bool,
}

/// Runs `hub liquidity`.
pub fn liquidity(args: LiquidityArgs) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        let report: Report = ask(&args.config, "GET", "/liquidity", "").await?;
        if args.json {
            let text = serde_json::to_string_pretty(&report);
            return data(&text.map_err(|error| Failure::Running(error.into()))?);
        }
        show(&report, args.all)
    })
}

fn show(report: &Report, all: bool) -> Result<(), Failure> {
    let price = |wei: &Option<String>, none: &str| wei.clone().unwrap_or_else(|| none.to_owned());
    words(&format!(
        "block {}; gas at {} wei, ceiling {}; a dry run: nothing was sent",
        report.block,
        price(&report.gas_price_wei, "an unknown price of"),
        price(&report.gas_price_max_wei, "none")
    ));
    let mut tokens = table(&[
        "token",
        "in the vault",
        "on the way out",
        "promised",
        "free",
        "in channels",
    ]);
    for line in &report.tokens {
        tokens.add_row(token_row(line));
    }
    data(&tokens.to_string())?;
    let shown = |line: &&ChannelLine| all || line.level != "ok";
    let mut channels = table(&[
        "channel",
        "level",
        "free",
        "low",
        "target",
        "high",
        "received in a day",
        "ordered",
        "quoted",
        "asked back",
        "client",
    ]);
    let mut hidden = 0_usize;
    for line in &report.channels {
        match shown(&line) {
            true => drop(channels.add_row(channel_row(line))),
            false => hidden = hidden.saturating_add(1),
        }
    }
    data(&channels.to_string())?;
    words(&format!(
        "{hidden} further channels are within their watermarks (--all shows them)"
    ));
    let mut actions = table(&["what", "channel", "amount", "now", "why"]);
    for action in &report.actions {
        actions.add_row(action_row(action));
    }
    data(&actions.to_string())?;
    data(&format!("gas of what would be sent now: about {}", report.gas))
}

fn token_row(line: &TokenLine) -> [String; 6] {
    [
        line.token.to_string(),
        line.vault.to_string(),
        line.on_the_way.to_string(),
        line.promised.to_string(),
        line.free.to_string(),
        line.reserved.to_string(),
    ]
}

fn channel_row(line: &ChannelLine) -> [String; 11] {
    let client = if line.online { "online" } else { "offline" };
    [
        line.channel.to_string(),
        line.level.clone(),
        line.free.to_string(),
        line.low.to_string(),
        line.target.to_string(),
        line.high.to_string(),
        line.volume.to_string(),
        line.owed.to_string(),
        line.quoted.to_string(),
        line.offered.to_string(),
        format!("{client}, {}", line.phase),
    ]
}

fn action_row(action: &Action) -> [String; 5] {
    let now = if action.now { "yes" } else { "no" };
    [
        action.what.clone(),
        action.channel.to_string(),
        action.amount.to_string(),
        now.to_owned(),
        action.why.clone(),
    ]
}
