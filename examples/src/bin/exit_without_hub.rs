//! The hub is gone, with its database. The merchant gets her money from the chain, alone.
//!
//! ```text
//! cargo run --release -p examples --bin exit_without_hub
//! ```
//!
//! All she needs is her evidence file, a node and her key. The command line does the same without a program:
//! `settle dispute --evidence FILE --rpc-url URL --key-file KEY --broadcast --wait`, a day later `settle finalize`.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use alloy::{network::EthereumWallet, signers::local::PrivateKeySigner};
use anyhow::{Context, ensure};
use client_sdk::save_evidence;
use futures::StreamExt;
use hub::settle::{CheckedEvidence, Node, Settle, Verb};
use std::time::Duration;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut world = examples::World::start().await?;
    let key = PrivateKeySigner::random();
    world.fund(key.address(), 0).await?;
    let merchant = world.connect("merchant", &key).await?;
    let alice = world.client("alice", 1_000_000).await?;
    let till = merchant.open(0_u128).await?;
    till.wait_hub_deposit(1_000_000_u128).await?;
    alice.open(1_000_000_u128).await?;

    // Alice pays three times; the merchant sees it.
    for amount in [100_000_u128, 200_000, 34_567] {
        alice.pay(key.address(), amount).await?;
    }
    let mut received = 0_u128;
    let mut payments = till.payments(None).take(3);
    while let Some(payment) = payments.next().await {
        received = received.saturating_add(payment?.receipt.amount.0);
    }
    println!("the merchant has received {received}, and nothing of it is on chain");

    // Her evidence: the hub's newest voucher. `.evidence_dir(..)` on the builder keeps such a file up to date by itself.
    let file = world.file("merchant.json");
    save_evidence(&till.evidence().await?, &file)?;
    merchant.shutdown().await;
    alice.shutdown().await;
    world.destroy_hub().await?;
    println!("the hub is gone, its database too");

    // From here on: the file, a node, the key.
    let evidence = CheckedEvidence::from_json(&std::fs::read(&file)?)?;
    let period = Duration::from_secs(evidence.raw().config.challenge_period_s);
    let settle = Settle::open(Node::connect(&world.rpc_url).await?, evidence).await?;
    let wallet = EthereumWallet::from(key.clone());
    let before = world.tokens_of(key.address()).await?;

    let mined = settle.run(Verb::Dispute, key.address(), &wallet, 1).await?;
    println!("disputed in block {}, {} gas", mined.block, mined.gas_used);
    let early = settle.run(Verb::Finalize, key.address(), &wallet, 1).await;
    let early = early.err().context("finalized before the hub's time was over")?;
    println!("the hub has {period:?} to answer: {early}");

    world.pass(period.saturating_add(Duration::from_secs(1))).await?;
    let mined = settle.run(Verb::Finalize, key.address(), &wallet, 1).await?;
    println!("a day later: paid out in block {}", mined.block);

    let after = world.tokens_of(key.address()).await?;
    println!("the merchant's tokens on chain: {before} before, {after} now");
    ensure!(
        received == 334_567 && after.checked_sub(before) == Some(received),
        "received {received}, but paid out {before} -> {after}"
    );
    println!("ok: everything received was paid out, without the hub");
    world.stop().await
}
