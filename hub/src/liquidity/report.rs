//! What `hub liquidity` shows.

use super::{LiquidityPolicy, Plan, gas};
use crate::ledger::{ChannelLevel, Liquidity};
use protocol_spec::{Address, Amount, ChannelId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole of it. Amounts are token base units.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Newest confirmed block that it rests on.
    pub block: u64,
    /// What gas costs now, wei, as a decimal string; none: not known.
    pub gas_price_wei: Option<String>,
    /// Above this, what nobody waits for is put off; none: never.
    pub gas_price_max_wei: Option<String>,
    /// One line per token served.
    pub tokens: Vec<TokenLine>,
    /// One line per channel that is not closed.
    pub channels: Vec<ChannelLine>,
    /// What would be sent now and what waits, with the reason.
    pub actions: Vec<Action>,
    /// All that would be sent now, in gas, estimated.
    pub gas: u64,
}

/// One token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenLine {
    /// The token.
    pub token: Address,
    /// In the vault on chain.
    pub vault: Amount,
    /// Of that in transactions on their way.
    pub on_the_way: Amount,
    /// Of that ordered or in open quotes.
    pub promised: Amount,
    /// The rest: what can be promised. A refill may take what is only quoted.
    pub free: Amount,
    /// Set aside in channels, less what was taken back.
    pub reserved: Amount,
}

/// One channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChannelLine {
    /// The channel.
    pub channel: ChannelId,
    /// Its token.
    pub token: Address,
    /// `open`, `closing` or `disputed`.
    pub phase: String,
    /// Its client is connected.
    pub online: bool,
    /// Set aside, less what was taken back.
    pub reserved: Amount,
    /// What its client can be paid now.
    pub free: Amount,
    /// Watermarks now; `high` zero: nothing is taken back.
    pub low: Amount,
    /// See `low`.
    pub target: Amount,
    /// See `low`.
    pub high: Amount,
    /// Received in the last day.
    pub volume: Amount,
    /// Ordered and on its way.
    pub owed: Amount,
    /// In an open quote.
    pub quoted: Amount,
    /// In a release that its client was asked for.
    pub offered: Amount,
    /// `low`, `ok` or `high`.
    pub level: String,
}

/// Something done now, or not now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Action {
    /// `refill`, `release`, `close` or `checkpoint`.
    pub what: String,
    /// The channel.
    pub channel: ChannelId,
    /// How much moves or is at risk.
    pub amount: Amount,
    /// True: with the next transaction.
    pub now: bool,
    /// Why.
    pub why: String,
}

/// Puts it together. `vaults`: what is on chain, and on its way out of it.
#[must_use]
pub fn report(
    block: u64,
    gas_price_wei: Option<u128>,
    policy: LiquidityPolicy,
    vaults: &BTreeMap<Address, (Amount, Amount)>,
    liquidity: &Liquidity,
    plan: &Plan,
) -> Report {
    let tokens = liquidity.tokens.iter().map(|(token, _, promised)| {
        let (vault, on_the_way) = vaults.get(token).copied().unwrap_or_default();
        let of_token = liquidity
            .channels
            .iter()
            .filter(|channel| channel.token == *token);
        let reserved = of_token.fold(0_u128, |sum, channel| sum.saturating_add(channel.reserved.0));
        TokenLine {
            token: *token,
            vault,
            on_the_way,
            promised: *promised,
            free: vault.saturating_minus(Amount(on_the_way.0.saturating_add(promised.0))),
            reserved: Amount(reserved),
        }
    });
    let refill_gas = gas::reserves(plan.refills.len());
    Report {
        block,
        gas_price_wei: gas_price_wei.map(|price| price.to_string()),
        gas_price_max_wei: policy.gas_price_max_wei.map(|price| price.to_string()),
        tokens: tokens.collect(),
        channels: liquidity.channels.iter().map(line).collect(),
        actions: actions(plan),
        gas: refill_gas.saturating_add(gas::releases(plan.releases.len())),
    }
}

fn line(channel: &ChannelLevel) -> ChannelLine {
    let levels = channel.levels;
    let level = match () {
        () if channel.free < levels.low => "low",
        () if !levels.high.is_zero() && channel.free > levels.high => "high",
        () => "ok",
    };
    ChannelLine {
        channel: channel.channel,
        token: channel.token,
        phase: channel.phase.to_owned(),
        online: channel.online,
        reserved: channel.reserved,
        free: channel.free,
        low: levels.low,
        target: levels.target,
        high: levels.high,
        volume: channel.volume,
        owed: channel.owed,
        quoted: channel.quoted,
        offered: channel.offered,
        level: level.to_owned(),
    }
}

fn actions(plan: &Plan) -> Vec<Action> {
    let refills = plan.refills.iter().map(|refill| {
        let need = &refill.need;
        let why = match () {
            () if !need.owed.is_zero() => "ordered and paid for",
            () if need.urgent => "somebody waits, or the channel is nearly dry",
            () => "below the low watermark",
        };
        (("refill", need.channel, need.amount), true, why)
    });
    let releases = plan.releases.iter().map(|surplus| {
        let what = ("release", surplus.channel, surplus.amount);
        (what, true, "above the high watermark")
    });
    let waiting = plan.waiting.iter().map(|waiting| {
        let what = if waiting.refill { "refill" } else { "release" };
        (
            (what, waiting.channel, waiting.amount),
            false,
            waiting.why.words(),
        )
    });
    let all = refills.chain(releases).chain(waiting);
    all.map(|((what, channel, amount), now, why)| Action {
        what: what.to_owned(),
        channel,
        amount,
        now,
        why: why.to_owned(),
    })
    .collect()
}
