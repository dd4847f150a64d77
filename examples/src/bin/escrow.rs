//! Money in escrow: the buyer locks it, an arbiter's signature releases it to the seller. Neither the hub nor the seller
//! can take it before, and the hub cannot keep it after.
//!
//! ```text
//! cargo run --release -p examples --bin escrow
//! ```
//!
//! The condition is a contract, `protocol-spec/contracts/src/examples/ArbiterEscrow.sol`, which the hub's operator has put
//! on the list of resolvers that it forwards. Off chain nobody sends it a transaction: hub, buyer and seller ask it by a
//! call. When the hub is gone, the adjudicator asks it.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use alloy::{network::EthereumWallet, primitives::keccak256, signers::local::PrivateKeySigner};
use anyhow::{Context, ensure};
use client_sdk::{
    Address, ChannelError, ChannelHandle, Client, Condition, Digest, LockedPaid, PayError, ReturnReason,
    SignedInvoice, SignerKey, Witness,
};
use examples::World;
use hub::{
    app::contracts,
    settle::{CheckedEvidence, Node, Settle, Verb},
};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long the seller's offer stands.
const LIFE: Duration = Duration::from_secs(3600);
/// Between looks at what changes by itself.
const LOOK: Duration = Duration::from_millis(20);

/// Somebody whom both trust to judge, and who is online only to sign.
struct Arbiter {
    key: SignerKey,
    escrow: Address,
}

impl Arbiter {
    fn condition(&self, deal: &str) -> Condition {
        contracts::escrow_condition(self.escrow, self.key.address(), keccak256(deal).0)
    }
}

/// What `key` signs for a deal. Only the arbiter's signature opens the lock.
async fn release(world: &World, escrow: &Arbiter, key: &SignerKey, deal: &str) -> anyhow::Result<Witness> {
    let release = contracts::release(world.chain(), escrow.escrow, key, keccak256(deal).0);
    Ok(release.await?)
}

/// The buyer locks the money for a deal; returns once the seller holds the lock.
async fn lock(
    buyer: &Client,
    till: &ChannelHandle,
    seller: Address,
    amount: u128,
    condition: Condition,
) -> anyhow::Result<(SignedInvoice, JoinHandle<Result<LockedPaid, PayError>>)> {
    // The invoice names the condition and is signed by the seller: nobody between them can put in another one.
    let invoice = till.invoice_on(amount, LIFE, Digest::ZERO, condition).await?;
    ensure!(
        invoice.invoice.condition() == condition,
        "the buyer looks at what it pays on"
    );
    let (buyer, asked) = (buyer.clone(), invoice.clone());
    let paying = tokio::spawn(async move { buyer.pay_locked(&asked, seller).await });
    let held = till.held(&invoice).await?;
    ensure!(held.amount.0 == amount && !paying.is_finished(), "{held:?}");
    Ok((invoice, paying))
}

/// The arbiter releases, and the hub pays: nothing goes to the chain.
async fn released_off_chain(
    world: &World,
    (seller_key, seller, till): (&PrivateKeySigner, Client, ChannelHandle),
    buyer: &Client,
    arbiter: &Arbiter,
) -> anyhow::Result<(Client, ChannelHandle)> {
    let deal = "a bicycle, order 17";
    let address = seller_key.address();
    let (invoice, paying) = lock(buyer, &till, address, 250_000, arbiter.condition(deal)).await?;
    println!("250000 are locked; the seller sends the bicycle");
    // Days may pass. What is held is in the seller's store.
    seller.shutdown().await;
    let seller = world.connect("seller", seller_key).await?;
    let till = seller.channel(till.id());
    till.wait_live().await?;
    ensure!(till.held(&invoice).await?.amount.0 == 250_000, "it is held still");

    let own = SignerKey::from_bytes(&seller_key.to_bytes().0)?;
    let forged = release(world, arbiter, &own, deal).await?;
    let forged = till.release(&invoice, forged).await;
    ensure!(matches!(forged, Err(ChannelError::WitnessRefused)), "{forged:?}");
    println!("the seller's own signature releases nothing");
    let signed = release(world, arbiter, &arbiter.key, deal).await?;
    let received = till.release(&invoice, signed.clone()).await?;
    let paid = paying.await??;
    ensure!(received.amount.0 == 250_000 && paid.witness == signed, "{paid:?}");
    println!("the arbiter signs: the seller received {}", received.amount);
    println!(
        "the buyer paid {} and holds the arbiter's release as proof",
        paid.amount
    );
    Ok((seller, till))
}

/// The deal is off: the seller gives the lock up.
async fn given_back(
    till: &ChannelHandle,
    seller: Address,
    buyer: &Client,
    arbiter: &Arbiter,
) -> anyhow::Result<()> {
    let before = buyer.balance().spendable;
    let (invoice, paying) = lock(buyer, till, seller, 100_000, arbiter.condition("order 18")).await?;
    till.give_up(&invoice).await?;
    match paying.await? {
        Err(PayError::Bounced { reason, .. }) => ensure!(reason == ReturnReason::Cancelled, "{reason:?}"),
        other => anyhow::bail!("a deal that is off was paid: {other:?}"),
    }
    while buyer.balance().spendable != before {
        tokio::time::sleep(LOOK).await;
    }
    println!("order 18 is off: the buyer has its money back");
    Ok(())
}

/// The hub is gone when the arbiter releases. The seller's evidence, a node and its key are all that is needed.
async fn released_on_chain(
    world: &mut World,
    (seller_key, seller, till): (&PrivateKeySigner, Client, ChannelHandle),
    buyer: Client,
    arbiter: &Arbiter,
) -> anyhow::Result<()> {
    let deal = "a piano, order 19";
    let address = seller_key.address();
    let (invoice, paying) = lock(&buyer, &till, address, 300_000, arbiter.condition(deal)).await?;
    println!("300000 are locked; the seller sends the piano");
    world.destroy_hub().await?;
    while seller.connected() {
        tokio::time::sleep(LOOK).await;
    }
    println!("the hub is gone, its database too");
    let signed = release(world, arbiter, &arbiter.key, deal).await?;
    let offline = till.release(&invoice, signed).await;
    ensure!(matches!(offline, Err(ChannelError::Offline)), "{offline:?}");
    // The witness is stored all the same, and in the evidence.
    let file = world.file("seller.json");
    client_sdk::save_evidence(&till.evidence().await?, &file)?;
    paying.abort();
    seller.shutdown().await;
    buyer.shutdown().await;

    let evidence = CheckedEvidence::from_json(&std::fs::read(&file)?)?;
    let period = Duration::from_secs(evidence.raw().config.challenge_period_s);
    let settle = Settle::open(Node::connect(&world.rpc_url).await?, evidence).await?;
    let wallet = EthereumWallet::from(seller_key.clone());
    let mined = settle.run(Verb::Dispute, address, &wallet, 1).await?;
    println!("disputed, with the arbiter's release, in {} gas", mined.gas_used);
    // The hub's time to answer, and the time after it in which locks are counted.
    let wait = period.checked_mul(2).context("a period of years")?;
    world.pass(wait.saturating_add(Duration::from_secs(1))).await?;
    settle.run(Verb::Finalize, address, &wallet, 1).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let key = PrivateKeySigner::random();
    world.fund(key.address(), 0).await?;
    let seller = world.connect("seller", &key).await?;
    let till = seller.open(0_u128).await?;
    till.wait_hub_deposit(1_000_000_u128).await?;
    let buyer = world.client("buyer", 2_000_000).await?;
    buyer.open(2_000_000_u128).await?;
    let arbiter = Arbiter {
        key: SignerKey::from_bytes(&PrivateKeySigner::random().to_bytes().0)?,
        escrow: world.escrow,
    };

    let (seller, till) = released_off_chain(&world, (&key, seller, till), &buyer, &arbiter).await?;
    given_back(&till, key.address(), &buyer, &arbiter).await?;
    released_on_chain(&mut world, (&key, seller, till), buyer, &arbiter).await?;
    let on_chain = world.tokens_of(key.address()).await?;
    println!("the seller has {on_chain} on chain");
    ensure!(on_chain == 550_000, "{on_chain} instead of 550000");
    println!("ok: released off chain and on chain, and by nobody but the arbiter");
    world.stop().await
}
