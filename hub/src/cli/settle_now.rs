//! `hub settle-now`: the running hub sends what it has gathered.

use super::{Failure, ask::ask, data, words};
use crate::{
    driver::{SettleNow, Settled},
    settle::table,
};
use futures::future::BoxFuture;
use protocol_spec::{Address, ChannelId};
use std::path::PathBuf;

const EXAMPLES: &str = "\
  hub settle-now                      every gathered close
  hub settle-now --token 0x...        those of one token
  hub settle-now --channel 0x...      one channel
  hub settle-now --checkpoints        also shows the chain the newest voucher of every open channel

Asks the hub that runs with this configuration, at [ops] listen; run it as the hub's user. `hub liquidity` shows what is gathered.";

/// Arguments of `hub settle-now`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SettleNowArgs {
    /// The configuration `hub init` wrote.
    #[arg(long, value_name = "FILE", default_value = "hub.toml")]
    pub config: PathBuf,
    /// Channels of this token only.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "channel")]
    pub token: Option<Address>,
    /// This channel only.
    #[arg(long, value_name = "CHANNEL")]
    pub channel: Option<ChannelId>,
    /// Checkpoints, too: about 34,000 gas per channel.
    #[arg(long)]
    pub checkpoints: bool,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs `hub settle-now`.
pub fn settle_now(args: SettleNowArgs) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        let what = SettleNow {
            token: args.token,
            channel: args.channel,
            checkpoints: args.checkpoints,
        };
        let body = serde_json::to_string(&what).map_err(|error| Failure::Running(error.into()))?;
        let settled: Settled = ask(&args.config, "POST", "/settle-now", &body).await?;
        if args.json {
            let text = serde_json::to_string_pretty(&settled);
            return data(&text.map_err(|error| Failure::Running(error.into()))?);
        }
        show(&settled)
    })
}

fn show(settled: &Settled) -> Result<(), Failure> {
    let mut rows = table(&["sent", "channel"]);
    let cooperative = settled.cooperative.iter().map(|id| ("close or withdrawal", id));
    let checkpoints = settled.checkpoints.iter().map(|id| ("checkpoint", id));
    for (what, id) in cooperative.chain(checkpoints) {
        rows.add_row([what.to_owned(), id.to_string()]);
    }
    words(&match settled.transactions {
        0 => "nothing was gathered; nothing was sent".to_owned(),
        count => format!("{count} transactions sent; `hub liquidity` and the log show what becomes of them"),
    });
    data(&rows.to_string())
}
