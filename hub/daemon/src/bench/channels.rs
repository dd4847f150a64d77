//! The clients' channels: opened on chain by the account that pays for everything, then registered and resumed.

use super::{
    keys::{LoadKey, Nonces},
    lane::Lane,
    wire::Wire,
};
use crate::stage::{
    child::Hub,
    say,
    world::{CHALLENGE_PERIOD_S, World},
};
use alloy::{
    primitives::{B256, U256, keccak256},
    sol_types::SolCall,
};
use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use hub::{
    app::dev,
    chain::{Chain, TxRequest},
};
use indicatif::{ProgressBar, ProgressStyle};
use protocol_spec::{Config, Digest, Domain, abi::IAdjudicator};
use std::time::{Duration, Instant};

/// What a payer deposits: more than it can pay away.
const DEPOSIT: u128 = 1_000_000_000_000;
/// Gas of an opening, at most.
const OPEN_GAS: u64 = 300_000;
/// Openings under way at once.
const OPENINGS: usize = 64;
/// Connections set up at once.
const SETTING_UP: usize = 16;
/// Longest wait for the hub's money in the payees' channels.
const RESERVE_MAX: Duration = Duration::from_secs(600);

/// A channel that is open on chain, its money being there or not.
pub(super) fn lanes(
    world: &World,
    domain: &Domain,
    seed: u64,
    numbers: std::ops::Range<u32>,
) -> anyhow::Result<Vec<Lane>> {
    numbers
        .map(|number| {
            let key = LoadKey::new(seed, number)?;
            let config = Config {
                client: key.address,
                client_signer: key.address,
                hub: world.hub,
                hub_signer: world.hub_signer,
                token: world.deployed.token,
                challenge_period_s: CHALLENGE_PERIOD_S,
                salt: Digest(keccak256(number.to_be_bytes()).0),
            };
            Ok(Lane::new(config, key, domain))
        })
        .collect()
}

/// Opens the channels, with a deposit or without.
pub(super) async fn open(world: &World, lanes: &[Lane], paying: bool) -> anyhow::Result<()> {
    let amount = if paying { DEPOSIT } else { 0 };
    let all = amount.checked_mul(lanes.len() as u128).context("deposits")?;
    dev::mint_and_approve(&world.bank, world.deployed, all).await?;
    let bar = progress(lanes.len(), "channels opened on chain")?;
    let send = |lane: &Lane| {
        let call = IAdjudicator::openCall {
            config: lane.config.to_abi(),
            amount: U256::from(amount),
        };
        let request = TxRequest {
            to: Some(world.deployed.adjudicator),
            data: call.abi_encode().into(),
            gas_limit: Some(OPEN_GAS),
            ..TxRequest::default()
        };
        let bar = &bar;
        async move {
            let sent = world.bank.send(request).await?;
            bar.inc(1);
            anyhow::Ok(sent.hash)
        }
    };
    let sent: Vec<B256> = stream::iter(lanes)
        .map(send)
        .buffered(OPENINGS)
        .try_collect()
        .await?;
    for hash in sent.last().into_iter().chain(sent.first()) {
        world.settled(*hash).await?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Connects, logs in, registers and resumes: `per_line` channels on each connection.
pub(super) async fn connect(
    hub: &Hub,
    world: &World,
    lanes: Vec<Lane>,
    connections: usize,
    nonces: &Nonces,
) -> anyhow::Result<Vec<(Wire, Vec<Lane>)>> {
    let bar = progress(lanes.len(), "channels connected")?;
    let each = lanes.len().div_ceil(connections.max(1)).max(1);
    let mut groups = Vec::new();
    let mut rest = lanes;
    while !rest.is_empty() {
        let later = rest.split_off(each.min(rest.len()));
        groups.push(std::mem::replace(&mut rest, later));
    }
    let one = |lanes: Vec<Lane>| {
        let bar = &bar;
        async move {
            let mut wire = Wire::connect(world.listen).await?;
            wire.log_in(&lanes, nonces).await?;
            wire.register(&lanes).await?;
            wire.resume(&lanes).await?;
            bar.inc(lanes.len() as u64);
            anyhow::Ok((wire, lanes))
        }
    };
    let lines = stream::iter(groups)
        .map(one)
        .buffered(SETTING_UP)
        .try_collect()
        .await;
    bar.finish_and_clear();
    lines.with_context(|| format!("the hub's log is {}", hub.log().display()))
}

/// Waits until the hub has set money aside in every payee's channel.
pub(super) async fn wait_for_reserves(lines: &mut [(Wire, Vec<Lane>)]) -> anyhow::Result<()> {
    let began = Instant::now();
    for (wire, lanes) in lines {
        loop {
            let channels = wire.channels(lanes).await?;
            if channels.iter().all(|channel| !channel.hub_deposit.is_zero()) {
                break;
            }
            anyhow::ensure!(began.elapsed() < RESERVE_MAX, "no reserves after {RESERVE_MAX:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    say(&format!(
        "every payee has its reserve after {} s",
        began.elapsed().as_secs()
    ));
    Ok(())
}

pub(super) fn progress(length: usize, what: &'static str) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(length as u64);
    let template = "{elapsed:>4} {bar:20} {pos}/{len} {msg}, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).context("template")?);
    bar.set_message(what);
    Ok(bar)
}
