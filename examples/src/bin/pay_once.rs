//! Connect, open a channel, pay once, close the channel.
//!
//! ```text
//! cargo run --release -p examples --bin pay_once
//! ```
//!
//! Alice deposits 1,000,000, pays a merchant 250,000 and takes the rest home. Opening and closing are transactions on
//! chain; the payment between them is not, and is delivered in milliseconds.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use alloy::signers::local::PrivateKeySigner;
use anyhow::ensure;
use client_sdk::{Amount, Client, RedbStore};
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A chain, a token and a hub of our own. Yours are URLs and an address.
    let world = examples::World::start().await?;

    // The merchant. Without a deposit: the hub sets aside what it will pay her with.
    let merchant = world.client("merchant", 0).await?;
    let till = merchant.open(0_u128).await?;
    till.wait_hub_deposit(250_000_u128).await?;

    // Alice: a key, a file for her vouchers, a view of the chain of her own.
    let key = PrivateKeySigner::random();
    world.fund(key.address(), 1_000_000).await?;
    let alice = Client::builder(&world.hub_url)
        .signer(key.clone())
        .store(RedbStore::open(world.file("alice.redb"))?)
        .rpc(world.rpc_url.as_str())
        .token(world.token)
        .chain_poll(Duration::from_millis(100))
        .connect()
        .await?;
    let channel = alice.open(1_000_000_u128).await?;
    println!("channel {} is open with 1000000", channel.id());

    // When this returns, the merchant has been credited, and Alice holds the hub's signature for it.
    let began = Instant::now();
    let paid = alice.pay(merchant.signer(), 250_000_u128).await?;
    println!(
        "paid {} to {}, fee {}, in {:.1?}",
        paid.amount,
        merchant.signer(),
        paid.fee,
        began.elapsed()
    );

    // Alice's money goes back to her account.
    alice.close().await?;
    let home = world.tokens_of(key.address()).await?;
    println!("closed; alice has {home} on chain again");

    // 1,000,000 - 250,000 - 0.1 % of it.
    ensure!(
        paid.amount == Amount(250_000) && paid.fee == Amount(250),
        "paid {paid:?}"
    );
    ensure!(home == 749_750, "alice has {home}, expected 749750");
    println!("ok: it adds up");
    alice.shutdown().await;
    merchant.shutdown().await;
    world.stop().await
}
