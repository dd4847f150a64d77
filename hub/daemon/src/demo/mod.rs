//! `hub demo`: the whole system on one machine, with a crash, a dispute, and a closing table that must add up.
//!
//! The demo owns the chain and the clients; the hub is a child process that is killed and restarted on the way.
//! The closing table comes from token balances on chain and the clients' own ledgers, never from the hub's database.

mod child;
mod http;
mod people;
mod settle;
mod table;
mod traffic;
mod world;

use anyhow::Context;
use hub::cli::{Failure, demo::DemoArgs};
use std::io::Write;

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
    let dir = world::WorkDir::new(args.dir.clone(), args.keep)?;
    let world = world::World::build(&args, funding_key, dir.path())
        .await
        .context("building the chain")?;
    let mut hub = child::Hub::start(&world).await.context("starting the hub")?;
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

/// One line for people, on stderr.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
