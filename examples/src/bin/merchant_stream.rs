//! A merchant who gets every payment exactly once, over a restart of her program.
//!
//! ```text
//! cargo run --release -p examples --bin merchant_stream
//! ```
//!
//! She remembers the cursor of the last payment she processed. After a restart she goes on behind it: nothing is
//! missing, nothing comes twice, however much was paid meanwhile. A crash between processing and remembering repeats
//! that one payment; who cannot bear this keeps the cursor where the goods are booked, in one transaction with them.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, ensure};
use client_sdk::{Address, Client, Payments, ReceivedPayment};
use std::{ops::RangeInclusive, time::Duration};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let world = examples::World::start().await?;
    let key = PrivateKeySigner::random();
    world.fund(key.address(), 0).await?;
    let merchant = world.connect("merchant", &key).await?;
    let alice = world.client("alice", 1_000_000).await?;
    let till = merchant.open(0_u128).await?;
    till.wait_hub_deposit(1_000_000_u128).await?;
    alice.open(1_000_000_u128).await?;

    // Alice pays 1000, 2000, ... 10000.
    pay(&alice, key.address(), 1..=10).await?;

    // The merchant processes four of them, and remembers each one after it is processed. Then her program ends.
    let mut delivered = Vec::new();
    let mut payments = till.payments(None);
    for _ in 0..4 {
        let payment = next(&mut payments).await?;
        process(&mut delivered, &payment);
        merchant.save_cursor(till.id(), payment.cursor).await?;
    }
    drop(payments);
    println!("the merchant stops after {} payments", delivered.len());

    // Alice pays on: to a client that does not read, and to one that is not even connected.
    pay(&alice, key.address(), 11..=15).await?;
    let channel = till.id();
    // A handle keeps the store open: it goes with the client.
    drop(till);
    merchant.shutdown().await;
    pay(&alice, key.address(), 16..=20).await?;

    // The program starts again: same key, same store. The channel resumes by itself.
    let merchant = world.connect("merchant", &key).await?;
    let till = merchant.channel(channel);
    let cursor = merchant.saved_cursor(channel).await?;
    println!(
        "the merchant is back and goes on behind position {}",
        cursor.as_ref().context("no cursor was saved")?.position
    );
    let mut payments = till.payments(cursor);
    while delivered.len() < 20 {
        let payment = next(&mut payments).await?;
        process(&mut delivered, &payment);
        merchant.save_cursor(channel, payment.cursor).await?;
    }
    let more = timeout(Duration::from_millis(500), payments.next()).await;

    println!("received {delivered:?}");
    let expected: Vec<u128> = (1..=20_u128).map(price).collect();
    ensure!(delivered == expected, "expected {expected:?}");
    ensure!(more.is_err(), "one payment too many: {more:?}");
    let total: u128 = delivered.iter().sum();
    let settled = merchant.balance().settled;
    ensure!(
        settled.0 == total,
        "received {total}, but the vouchers are worth {settled}"
    );
    println!("ok: 20 payments, each exactly once, {total} in all");
    alice.shutdown().await;
    merchant.shutdown().await;
    world.stop().await
}

/// What a merchant would do with a payment: verified already, so deliver the goods.
fn process(delivered: &mut Vec<u128>, payment: &ReceivedPayment) {
    delivered.push(payment.receipt.amount.0);
}

async fn next(payments: &mut Payments) -> anyhow::Result<ReceivedPayment> {
    let payment = timeout(Duration::from_secs(5), payments.next()).await;
    let payment = payment.context("no payment in 5 s")?;
    Ok(payment.context("the stream has ended")??)
}

/// Alice pays `price` of each of `numbers`, one after the other.
async fn pay(alice: &Client, merchant: Address, numbers: RangeInclusive<u128>) -> anyhow::Result<()> {
    for number in numbers {
        alice.pay(merchant, price(number)).await?;
    }
    Ok(())
}

fn price(number: u128) -> u128 {
    number.saturating_mul(1000)
}
