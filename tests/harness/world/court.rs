//! Disputes, of Mallory's, of a hub that lies, and of those who leave it, from the first call to the payout.

use super::{
    bank::{Bank, wallet},
    book::Book,
    clock::Clock,
    mallory::CANCEL_S,
    network::Network,
    oracle::Oracle,
    part::Part,
    rules::SEEN_AFTER,
};
use alloy::sol_types::SolCall;
use hub::chain::{AlloyChain, Chain as _, ChainOptions, TxRequest};
use protocol_spec::{
    ChannelId, DirectionEvidence, Side, SignerKey,
    abi::{IAdjudicator, Status},
    calls,
};
use std::time::Duration;
use tokio::time::sleep;

/// Blocks in which everybody must have answered, after all have seen the dispute; and how far time jumps then, again and
/// again.
const ANSWER: Duration = Duration::from_secs(SEEN_AFTER.as_secs() + 5);
const STEP_S: u64 = 6 * 3600;
/// A block later.
const PAST: Duration = Duration::from_secs(2);
const STEPS_MAX: usize = 12;
const TRIES: usize = 3;
const SUITS_MAX: usize = 10;

/// A foe starts a dispute with an old voucher of the hub, or with none, unless it is in one.
pub(super) async fn dispute(
    bank: &Bank,
    book: &Book,
    network: &Network,
    oracle: &Oracle,
    person: usize,
    key: &SignerKey,
) -> anyhow::Result<()> {
    let (Some(config), Some(id)) = (book.config(person), book.account(person).channel) else {
        return Ok(());
    };
    for left in (0..TRIES).rev() {
        if !bank.is_open(id).await? {
            return Ok(());
        }
        // What it opens may have expired, and is refused: none at all is taken in the end.
        let shown = match left {
            0 => None,
            _ => network.mallory(person, |mallory, plan| mallory.stale(plan)),
        };
        let call = calls::dispute(&config, Side::Hub, &shown.unwrap_or_default());
        if sent(bank, key, &call).await? {
            oracle.note(&format!("person {person} disputes"));
            oracle.disputed(id);
            network.mallory(person, |mallory, _| mallory.disputes(true));
            return Ok(());
        }
    }
    Ok(())
}

/// A foe asks the hub to end the dispute that its channel is in.
pub(super) async fn cancel(
    bank: &Bank,
    book: &Book,
    network: &Network,
    clock: &Clock,
    person: usize,
) -> anyhow::Result<()> {
    let Some(id) = book.account(person).channel else {
        return Ok(());
    };
    let state = bank.channel(id).await?;
    if matches!(state.status, Status::Disputed) {
        network.say(person, |mallory, _| {
            mallory.cancels(id, state.disputeNo, clock.now())
        });
    }
    Ok(())
}

/// The hub's owner starts a dispute with an old voucher of a client, or with none, unless there is one.
pub(super) async fn lie(
    bank: &Bank,
    book: &Book,
    network: &Network,
    oracle: &Oracle,
    person: usize,
) -> anyhow::Result<()> {
    let (Some(config), Some(id)) = (book.config(person), book.account(person).channel) else {
        return Ok(());
    };
    if bank.is_open(id).await? {
        let shown = network.rogue(|rogue, plan| rogue.stale(id, plan));
        let shown = DirectionEvidence {
            voucher: shown.flatten(),
            ..DirectionEvidence::default()
        };
        let call = calls::dispute(&config, Side::Client, &shown);
        let started = start(bank, &bank.hub_owner, &call).await?;
        oracle.note(&format!(
            "the hub disputes the channel of person {person}: {started}"
        ));
        if started {
            oracle.disputed(id);
        }
    }
    Ok(())
}

/// The hub's owner, whose keys the hub uses, too, disputes until there is a dispute.
pub(super) async fn sue(
    (bank, book): (&Bank, &Book),
    (network, oracle): (&Network, &Oracle),
    person: usize,
) -> anyhow::Result<()> {
    let Some(id) = book.account(person).channel else {
        return Ok(());
    };
    for _ in 0..SUITS_MAX {
        lie(bank, book, network, oracle, person).await?;
        if !bank.is_open(id).await? {
            return Ok(());
        }
        sleep(Duration::from_secs(1)).await;
    }
    anyhow::bail!("no dispute of the hub gets into a block")
}

/// The hub takes what clients have signed for it.
pub(super) async fn take(bank: &Bank, book: &Book, network: &Network, oracle: &Oracle) -> anyhow::Result<()> {
    let withdrawals = network.rogue(|rogue, _| rogue.withdrawals());
    for (call, by_hub) in withdrawals.into_iter().flatten() {
        let config = book.config_of(call.withdraw.channel_id);
        if let Some(config) = config {
            oracle.note(&format!("the hub withdraws: {:?}", call.withdraw));
            bank.send(&calls::withdraw(
                &config,
                &call.withdraw,
                &call.signature.0,
                &by_hub.0,
            ))
            .await?;
        }
    }
    Ok(())
}

/// False: it does not get into a block, or is refused there.
pub(super) async fn start(
    bank: &Bank,
    key: &SignerKey,
    call: &IAdjudicator::disputeCall,
) -> anyhow::Result<bool> {
    for _ in 0..TRIES {
        if sent(bank, key, call).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// False: it does not get into a block, or is refused there.
pub(super) async fn sent(bank: &Bank, key: &SignerKey, call: &impl SolCall) -> anyhow::Result<bool> {
    let options = ChainOptions {
        signer: Some(wallet(key)?),
        ..ChainOptions::default()
    };
    let port = AlloyChain::embedded(&bank.chain, options).await?;
    let request = TxRequest {
        to: Some(bank.deployed.adjudicator),
        data: call.abi_encode().into(),
        ..TxRequest::default()
    };
    // Its own client may have used the nonce; then it tries again.
    let Ok(sent) = port.send(request).await else {
        return Ok(false);
    };
    let mined = port.wait(sent.hash, 0).await;
    Ok(mined.is_ok_and(|receipt| receipt.success))
}

/// Blocks have vanished, perhaps with disputes, or one was cancelled.
pub(super) async fn look_again(
    bank: &Bank,
    book: &Book,
    network: &Network,
    oracle: &Oracle,
) -> anyhow::Result<()> {
    let disputed = (0..book.people()).filter(|person| book.is_foe(*person) || book.hub_lies());
    for person in disputed {
        if let Some(id) = book.account(person).channel
            && bank.is_open(id).await?
        {
            oracle.undisputed(id);
            network.mallory(person, |mallory, _| mallory.disputes(false));
        }
    }
    Ok(())
}

/// Everything that is still open goes to court, and is paid out.
pub(super) async fn settle(
    bank: &Bank,
    book: &Book,
    network: &Network,
    oracle: &Oracle,
    clock: &Clock,
    keys: &[SignerKey],
) -> anyhow::Result<()> {
    let mut open = Vec::new();
    if network.plan(|plan| plan.is_on(Part::Cancel)) {
        // None of what was asked for comes after the disputes that follow.
        clock.jump(2 * CANCEL_S);
        sleep(PAST).await;
    }
    for (person, key) in keys.iter().enumerate().filter(|(person, _)| book.is_foe(*person)) {
        dispute(bank, book, network, oracle, person, key).await?;
        open.extend(book.account(person).channel.map(|id| (person, id)));
    }
    end(bank, book, network, oracle, clock, open).await
}

/// Everybody answers, time passes, and these channels are paid out.
pub(super) async fn end(
    bank: &Bank,
    book: &Book,
    network: &Network,
    oracle: &Oracle,
    clock: &Clock,
    mut open: Vec<(usize, ChannelId)>,
) -> anyhow::Result<()> {
    if open.is_empty() {
        return Ok(());
    }
    sleep(ANSWER).await;
    for _ in 0..STEPS_MAX {
        let mut rest = Vec::new();
        for (person, id) in open {
            if !matches!(bank.channel(id).await?.status, Status::Closed) {
                rest.push((person, id));
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        open = rest;
        clock.jump(STEP_S);
        for (person, _) in &open {
            if network.plan(|plan| plan.in_court(Part::Persist)) {
                network.persist(*person);
            }
        }
        sleep(Duration::from_secs(8)).await;
    }
    // The hub pays no gas for a channel in which nothing is its own: then somebody else does.
    for (person, _) in &open {
        if let Some(config) = book.config(*person) {
            bank.send(&calls::finalize(&config)).await?;
        }
    }
    for (person, id) in open {
        if !matches!(bank.channel(id).await?.status, Status::Closed) {
            oracle.violation(format!("O8: the dispute of person {person} does not end"));
        }
    }
    Ok(())
}
