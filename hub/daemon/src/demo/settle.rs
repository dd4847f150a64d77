//! The end: one client disputes with the code of `settle`, everybody else closes co-operatively.

use super::{
    people::{People, Person},
    say,
    world::{CHALLENGE_PERIOD_S, World},
};
use alloy::{network::EthereumWallet, primitives::B256, signers::local::PrivateKeySigner};
use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use hub::{
    chain::{Chain, ChainError},
    settle::{CheckedEvidence, Node, Settle, Verb},
};

/// Closes under way at once.
const CLOSE_AT_ONCE: usize = 25;

/// Settles everybody. Returns true when the dispute had to be left open because the node has no time travel.
pub(super) async fn everybody(world: &mut World, people: &People) -> anyhow::Result<bool> {
    let (disputing, others) = people.payers.split_first().context("there is no client")?;
    say(&format!(
        "{} disputes on its own, with its evidence and a node; the hub is not asked",
        disputing.name
    ));
    let (settle, wallet) = evidence_of(world, disputing).await?;
    let sender = disputing.key.address();
    settle
        .run(Verb::Dispute, sender, &wallet, 0)
        .await
        .context("dispute")?;
    let closing = others.len().saturating_add(people.merchants.len());
    say(&format!("{closing} channels close co-operatively ..."));
    let close = |person| async move { close(person).await };
    stream::iter(others.iter().chain(&people.merchants))
        .map(close)
        .buffer_unordered(CLOSE_AT_ONCE)
        .try_collect::<()>()
        .await?;
    match world
        .bank
        .increase_time(CHALLENGE_PERIOD_S.saturating_add(1))
        .await
    {
        Ok(()) => {}
        Err(ChainError::Unsupported(_)) => {
            say(
                "this node has no time travel: the dispute is left open; finalize it after the challenge period",
            );
            return Ok(true);
        }
        Err(error) => return Err(error).context("time travel"),
    }
    world.bank.mine(1).await?;
    // The hub finalizes disputes too; whoever comes second finds nothing left to do.
    if let Err(error) = settle.run(Verb::Finalize, sender, &wallet, 0).await {
        say(&format!("finalize: {error}"));
    }
    Ok(false)
}

async fn close(person: &Person) -> anyhow::Result<()> {
    person
        .channel
        .close()
        .await
        .with_context(|| format!("{} closes", person.name))
}

async fn evidence_of(world: &World, person: &Person) -> anyhow::Result<(Settle, EthereumWallet)> {
    let evidence = CheckedEvidence::check(person.channel.evidence().await?)?;
    let settle = Settle::open(Node::connect(&world.rpc_url).await?, evidence).await?;
    let key = PrivateKeySigner::from_bytes(&B256::from(*person.key.to_bytes()))?;
    Ok((settle, EthereumWallet::from(key)))
}
