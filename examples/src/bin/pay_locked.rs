//! Pay an invoice so that nobody has to be trusted: the hub gets the money only with the merchant's secret, and that secret
//! is the payer's proof.
//!
//! ```text
//! cargo run --release -p examples --bin pay_locked
//! ```
//!
//! Then the same with a merchant who is away: the payer learns at once, has its money back, and chooses to pay directly.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use anyhow::ensure;
use client_sdk::{Amount, ChannelHandle, Client, Digest, PayError, ReturnReason, SignedInvoice};
use std::time::{Duration, Instant};

/// Payments measured of each kind.
const MEASURED: u32 = 100;
/// The hub forwards 64 locks of one client at once, unless its operator says otherwise.
const AT_ONCE: u32 = 60;
const LIFE: Duration = Duration::from_secs(3600);

async fn invoices(till: &ChannelHandle, amount: u128, count: u32) -> anyhow::Result<Vec<SignedInvoice>> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(till.invoice(amount, LIFE, Digest::ZERO).await?);
    }
    Ok(all)
}

/// One after the other, directly and locked: how long each takes.
async fn measure(alice: &Client, merchant: &Client, till: &ChannelHandle) -> anyhow::Result<()> {
    let began = Instant::now();
    for _ in 0..MEASURED {
        alice.pay(merchant.signer(), 1_000_u128).await?;
    }
    let direct = began.elapsed().checked_div(MEASURED).unwrap_or_default();
    let asked = invoices(till, 1_000, MEASURED).await?;
    let began = Instant::now();
    for invoice in &asked {
        alice.pay_locked(invoice, merchant.signer()).await?;
    }
    let locked = began.elapsed().checked_div(MEASURED).unwrap_or_default();
    println!("one after the other: {direct:.1?} a direct payment, {locked:.1?} a locked one");

    let asked = invoices(till, 1_000, AT_ONCE).await?;
    let began = Instant::now();
    let all = asked
        .iter()
        .map(|invoice| alice.pay_locked(invoice, merchant.signer()));
    for paid in futures::future::join_all(all).await {
        paid?;
    }
    println!("{AT_ONCE} locked payments at once: {:.1?}", began.elapsed());
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let world = examples::World::start().await?;
    let merchant = world.client("merchant", 0).await?;
    let till = merchant.open(0_u128).await?;
    till.wait_hub_deposit(1_000_000_u128).await?;
    let alice = world.client("alice", 1_000_000).await?;
    alice.open(1_000_000_u128).await?;

    // The merchant asks. The invoice and the merchant's signer reach Alice outside the hub: a QR code, a web page.
    let invoice = till.invoice(250_000_u128, LIFE, Digest([7; 32])).await?;
    let waiting = tokio::spawn({
        let (till, invoice) = (till.clone(), invoice.clone());
        async move { till.accept(&invoice).await }
    });
    let paid = alice.pay_locked(&invoice, merchant.signer()).await?;
    ensure!(
        invoice.invoice.condition().opened_by(paid.witness.as_bytes()),
        "the proof opens the invoice's hash"
    );
    let received = waiting.await??;
    println!(
        "alice paid {} and holds the merchant's secret as proof",
        paid.amount
    );
    println!("the merchant received {}", received.amount);
    ensure!(received.amount == Amount(250_000), "{received:?}");

    // Somebody else's invoice is refused before anything is signed.
    let forged = alice.pay_locked(&invoice, alice.signer()).await;
    ensure!(matches!(forged, Err(PayError::Invoice(_))), "{forged:?}");

    measure(&alice, &merchant, &till).await?;

    // The merchant goes away. Nothing is left hanging.
    let late = till.invoice(1_000_u128, LIFE, Digest::ZERO).await?;
    let (signer, till_id) = (merchant.signer(), till.id());
    let before = alice.balance().spendable;
    merchant.shutdown().await;
    let refused = match alice.pay_locked(&late, signer).await {
        Err(PayError::Bounced { reason, .. }) => reason,
        other => anyhow::bail!("a locked payment to nobody: {other:?}"),
    };
    ensure!(refused == ReturnReason::PayeeOffline, "{refused:?}");
    println!("the merchant is away: {refused:?}; alice pays directly instead");
    alice.pay(till_id, 1_000_u128).await?;
    let spent = before.0.checked_sub(alice.balance().spendable.0);
    // 0.1 % of 1,000.
    ensure!(spent == Some(1_001), "spent {spent:?}");
    println!("ok: paid once, proven, and nothing left in locks");
    alice.shutdown().await;
    world.stop().await
}
