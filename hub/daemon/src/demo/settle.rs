//! The end: a merchant and a client dispute with the code of `settle`, everybody else closes co-operatively.

use super::people::{People, Person};
use crate::stage::{
    say,
    world::{CHALLENGE_PERIOD_S, World},
};
use alloy::{network::EthereumWallet, primitives::B256, signers::local::PrivateKeySigner};
use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use hub::{
    chain::{Chain, ChainError},
    settle::{CheckedEvidence, Intent, Node, Settle, SettleError, Verb},
};
use std::time::{Duration, Instant};

/// Closes under way at once.
const CLOSE_AT_ONCE: usize = 25;

/// Longest wait for the hub's answer to a dispute.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Settles everybody. Returns true when the disputes had to be left open because the node has no time travel.
pub(super) async fn everybody(world: &World, people: &People) -> anyhow::Result<bool> {
    let (payer, payers) = people.payers.split_first().context("there is no client")?;
    let (merchant, merchants) = people.merchants.split_first().context("there is no merchant")?;
    say(&format!(
        "{} disputes with its evidence and a node; the hub is not asked",
        merchant.name
    ));
    let shown = dispute(world, merchant, false).await?;
    say(&format!(
        "{} disputes and shows nothing; the hub must answer with its newest voucher",
        payer.name
    ));
    let hidden = dispute(world, payer, true).await?;
    answered(world, payer).await?;
    let closing = payers.len().saturating_add(merchants.len());
    say(&format!("{closing} channels close co-operatively ..."));
    let close = |person| async move { close(person).await };
    stream::iter(payers.iter().chain(merchants))
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
                "this node has no time travel: the disputes are left open; finalize them after the challenge period",
            );
            return Ok(true);
        }
        Err(error) => return Err(error).context("time travel"),
    }
    world.bank.mine(1).await?;
    for (person, (settle, wallet)) in [(merchant, shown), (payer, hidden)] {
        // The hub finalizes too; whoever comes second finds nothing left to do.
        match settle.run(Verb::Finalize, person.key.address(), &wallet, 0).await {
            Ok(_) | Err(SettleError::NothingToDo(_)) => {}
            Err(error) => say(&format!("{} finalizes: {error}", person.name)),
        }
    }
    Ok(false)
}

/// Starts a dispute with the code of `settle`: plan, simulate, broadcast, wait.
async fn dispute(
    world: &World,
    person: &Person,
    without_evidence: bool,
) -> anyhow::Result<(Settle, EthereumWallet)> {
    let (settle, wallet) = evidence_of(world, person).await?;
    let intent = Intent {
        verb: Verb::Dispute,
        sender: person.key.address(),
        force: false,
        without_evidence,
    };
    let plan = settle.plan(intent).await?;
    let call = plan.transaction();
    let cost = settle.node().simulate(&call).await?;
    let hash = settle.node().broadcast(&call, &cost, &wallet).await?;
    settle.node().wait(&call, hash, 0).await?;
    Ok((settle, wallet))
}

/// Waits until the chain would pay the client what its own vouchers say, and no more.
async fn answered(world: &World, person: &Person) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let (client, _) = world.balances(person.channel.id()).await?;
        if client == person.settled().0 {
            return Ok(());
        }
        anyhow::ensure!(
            began.elapsed() < ANSWER_MAX,
            "the hub has not answered the dispute of {}",
            person.name
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
