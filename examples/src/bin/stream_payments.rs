//! A thousand small payments, as fast as they go.
//!
//! ```text
//! cargo run --release -p examples --bin stream_payments
//! ```
//!
//! Payments that wait share the next voucher, so the more are under way at once, the more are delivered per second.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use anyhow::ensure;
use client_sdk::{Amount, Paid, PayOptions};
use futures::{StreamExt, TryStreamExt, stream};
use std::time::Instant;

/// How many.
const PAYMENTS: u32 = 1000;
/// What each of them brings the merchant.
const PRICE: u128 = 500;
/// Payments under way at once.
const AT_ONCE: usize = 100;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let world = examples::World::start().await?;
    let merchant = world.client("merchant", 0).await?;
    let alice = world.client("alice", 1_000_000).await?;
    let till = merchant.open(0_u128).await?;
    till.wait_hub_deposit(1_000_000_u128).await?;
    alice.open(1_000_000_u128).await?;

    // Asked once: with `fee_max` named, a payment needs no quote of its own.
    let quote = alice.quote(merchant.signer(), PRICE).await?;
    let options = PayOptions {
        fee_max: Some(quote.fee),
        ..PayOptions::default()
    };

    // `pay` returns when its payment is delivered; a hundred of them wait at any time.
    let began = Instant::now();
    let paid: Vec<Paid> = stream::iter(0..PAYMENTS)
        .map(|_| alice.pay_with(merchant.signer(), PRICE, options.clone()))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let took = began.elapsed();

    let amount: u128 = paid.iter().map(|paid| paid.amount.0).sum();
    let fees: u128 = paid.iter().map(|paid| paid.fee.0).sum();
    let vouchers = paid.iter().map(|paid| paid.seq).max();
    println!(
        "{} payments delivered in {took:.1?}, in {} vouchers",
        paid.len(),
        vouchers.unwrap_or_default()
    );
    println!("alice paid {amount} and {fees} in fees");

    // The merchant's own view: receipts, each backed by a voucher of the hub that she holds.
    let mut received = 0_u128;
    let mut payments = till.payments(None).take(paid.len());
    while let Some(payment) = payments.next().await {
        received = received.saturating_add(payment?.receipt.amount.0);
    }
    let settled = merchant.balance().settled;
    println!("the merchant received {received}; her vouchers are worth {settled} on chain");

    ensure!(
        paid.len() == 1000 && amount == 500_000,
        "{} payments, {amount}",
        paid.len()
    );
    ensure!(
        received == amount && settled == Amount(amount),
        "the merchant's figures differ"
    );
    let left = alice.balance().spendable;
    ensure!(
        left == Amount(1_000_000 - 500_000 - 1000),
        "alice has {left} left"
    );
    println!("ok: it adds up");
    alice.shutdown().await;
    merchant.shutdown().await;
    world.stop().await
}
