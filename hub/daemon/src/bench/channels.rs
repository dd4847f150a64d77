//! The clients' channels: opened on chain by the account that pays for everything, then registered and resumed.

use super::{
    keys::{LoadKey, Nonces},
    lane::Lane,
    open,
    wire::Wire,
};
use crate::stage::{
    child::Hub,
    say,
    world::{CHALLENGE_PERIOD_S, World},
};
use alloy::primitives::{Address, keccak256};
use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use protocol_spec::{Config, Digest, Domain};
use std::time::{Duration, Instant};

/// What a payer deposits: more than it can pay away.
const DEPOSIT: u128 = 1_000_000_000_000;
/// Connections set up at once.
const SETTING_UP: usize = 16;
/// Longest wait for the hub's money in the payees' channels.
const RESERVE_MAX: Duration = Duration::from_secs(600);

/// Channels with the keys of their clients, which are made on all processors.
pub(super) fn lanes(
    world: &World,
    domain: &Domain,
    seed: u64,
    numbers: std::ops::Range<u32>,
) -> anyhow::Result<Vec<Lane>> {
    let lane = |number: u32| {
        let key = LoadKey::new(seed, number)?;
        let config = config(world, key.address, number);
        anyhow::Ok(Lane::new(config, key, domain))
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let each = numbers.len().div_ceil(workers).max(1);
    let all: Vec<u32> = numbers.collect();
    let make = |part: &[u32]| part.iter().copied().map(lane).collect::<anyhow::Result<Vec<_>>>();
    let make = &make;
    std::thread::scope(|scope| {
        let working: Vec<_> = all
            .chunks(each)
            .map(|part| scope.spawn(move || make(part)))
            .collect();
        let mut lanes = Vec::with_capacity(all.len());
        for part in working {
            lanes.extend(part.join().map_err(|_| anyhow::anyhow!("a key was not made"))??);
        }
        Ok(lanes)
    })
}

/// The facts of the channel of this client with this number.
fn config(world: &World, client: Address, number: u32) -> Config {
    Config {
        client,
        client_signer: client,
        hub: world.hub,
        hub_signer: world.hub_signer,
        token: world.deployed.token,
        challenge_period_s: CHALLENGE_PERIOD_S,
        salt: Digest(keccak256(number.to_be_bytes()).0),
    }
}

/// Opens the channels, with a deposit or without.
pub(super) async fn open(world: &World, lanes: &[Lane], paying: bool) -> anyhow::Result<()> {
    let configs: Vec<Config> = lanes.iter().map(|lane| lane.config.clone()).collect();
    open::open(world, &configs, if paying { DEPOSIT } else { 0 }).await
}

/// Opens channels whose clients never come. Nobody has their keys.
pub(super) async fn open_idle(world: &World, numbers: std::ops::Range<u32>) -> anyhow::Result<()> {
    let client = |number: u32| Address::from_word(keccak256(number.to_le_bytes()));
    let configs: Vec<Config> = numbers
        .map(|number| config(world, client(number), number))
        .collect();
    open::open(world, &configs, DEPOSIT).await
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
    let (mut groups, mut rest) = (Vec::new(), lanes.into_iter());
    while rest.len() > 0 {
        // Collected: what a vector leaves by `split_off` keeps the room of the whole.
        groups.push(rest.by_ref().take(each).collect::<Vec<Lane>>());
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
