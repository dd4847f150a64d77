//! `hub demo`: the whole system on one machine, with a crash, a dispute, and a closing table that must add up.
//!
//! The demo owns the chain and the clients; the hub is a child process that is killed and restarted on the way.
//! The closing table comes from token balances on chain and the clients' own ledgers, never from the hub's database.

mod people;
mod settle;
mod table;
mod traffic;

use crate::stage::{
    child, say,
    world::{Node, Play, WorkDir, World},
};
use anyhow::Context;
use hub::cli::{Failure, demo::DemoArgs};
use std::borrow::Cow;

/// The hub's fee, millionths.
const FEE_PPM: u128 = 1000;
const PLAY: Play = Play {
    name: "demo",
    fee_ppm: FEE_PPM,
    reserve: 1_000_000_000_000,
    channels: 100_000,
    config: Cow::Borrowed(""),
};

/// Runs the demo. Errors: something failed, or the sums do not add up.
pub(crate) async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let funding_key = args.funding_key()?;
    let differences = play(args, funding_key).await.map_err(Failure::Running)?;
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Failure::DoesNotAddUp(differences.join("; ")))
    }
}

/// The story. Returns what does not add up.
async fn play(args: DemoArgs, funding_key: Option<hub::ops::SecretRef>) -> anyhow::Result<Vec<String>> {
    let dir = WorkDir::new(&PLAY, args.dir.clone(), args.keep)?;
    let node = args.rpc_url.clone().zip(funding_key);
    let node = node.map(|(url, funding)| Node { url, funding });
    let world = World::build(&PLAY, node, dir.path())
        .await
        .context("building the chain")?;
    world.keep_time()?;
    let mut hub = child::Hub::start(&world, None)
        .await
        .context("starting the hub")?;
    let people = people::People::arrive(&world, &args)
        .await
        .context("opening channels")?;
    let report = traffic::run(&mut hub, &people, args.seconds)
        .await
        .context("paying")?;
    if args.keep || args.dir.is_some() {
        people.keep(&world).await.context("keeping the evidence")?;
    }
    let left_open = settle::everybody(&world, &people).await.context("settling")?;
    let ledgers = people.ledgers(&report);
    people.shutdown().await;
    let usage = hub.stop().await.context("stopping the hub")?;
    let differences = table::print(&world, &people, &ledgers, &report, &usage, left_open).await?;
    if args.keep || args.dir.is_some() {
        say(&format!("kept: {}", dir.path().display()));
    }
    Ok(differences)
}
