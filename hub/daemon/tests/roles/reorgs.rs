//! Reorganisations against a real hub with k = 1: every step, k + 2 deep, after the hub saw it; with `REORGS=all`
//! every depth up to k + 2, before and after.

use crate::{
    court::{Case, closed, dispute, give_bank, pass, purse, rest_of_window, send, state, until},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::World,
};
use alloy::{primitives::U256, providers::Provider};
use client_sdk::Evidence;
use hub::chain::Chain;
use protocol_spec::{abi, calls};
use std::time::{Duration, Instant};

/// Confirmations of the tests' hubs.
const K: u64 = 1;
const PAID: u128 = 30_000;
/// Paid in later.
const MORE: u128 = 50_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Somebody pays in more for the client.
    Deposit,
    /// The client disputes with an old state.
    Dispute,
    /// The hub shows the newest one.
    Answer,
    /// The hub has it paid out.
    Finalize,
}

/// Replaces the newest `depth` blocks by empty ones. Transactions are lost, as in anvil.
async fn reorg(world: &World, depth: u64) {
    let provider = world.bank.provider();
    let none: [(String, u64); 0] = [];
    let asked = provider.raw_request::<_, serde_json::Value>("anvil_reorg".into(), (depth, none));
    asked.await.unwrap();
    // The bank's own queue must not go on with nonces of the other branch.
    world.bank.resync().await.unwrap();
}

/// Lets the hub see the newest block, or not, then replaces the newest blocks so that the step is among them.
async fn undo(world: &World, depth: u64, seen: bool) {
    let from = world.bank.head().await.unwrap().number;
    if seen || depth > 1 {
        // Blocks come by themselves, one a second.
        while world.bank.head().await.unwrap().number < from + depth - 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    if seen {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mined = world.bank.head().await.unwrap().number - from;
    reorg(world, depth.max(mined + 1)).await;
}

/// Somebody with an old state and the newest one.
async fn arrive(world: &World, name: &str, shop: &Person) -> (Person, Evidence) {
    let person = Person::arrive(world, name, world.listen).await;
    person.pay(shop, PAID).await;
    let old = person.channel.evidence().await.unwrap();
    person.pay(shop, PAID).await;
    (person, old)
}

pub(crate) async fn matrix(world: &World, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let all = std::env::var("REORGS").is_ok_and(|which| which == "all");
    give_bank(world, U256::from(1_000 * MORE)).await;
    let shop = Person::arrive(world, "reorg-shop", world.listen).await;
    for step in [Step::Deposit, Step::Dispute, Step::Answer, Step::Finalize] {
        for depth in 1..=K + 2 {
            for seen in [false, true] {
                if !all && (depth < K + 2 || !seen) {
                    continue;
                }
                let began = Instant::now();
                let (fair, got) = cell(world, &shop, step, depth, seen).await;
                hub.must_run();
                let when = if seen { "after" } else { "before" };
                let name = format!("{step:?}, {depth} deep, {when} the hub saw it");
                println!("{name}: fair {fair}, got {got}, {:.0?}", began.elapsed());
                cases.push(Case { name, fair, got });
            }
        }
    }
    shop.client.shutdown().await;
    hub.stop();
}

/// What the client must have in the end, and what it has.
async fn cell(world: &World, shop: &Person, step: Step, depth: u64, seen: bool) -> (i128, i128) {
    let (person, old) = arrive(world, &format!("{step:?}-{depth}-{seen}"), shop).await;
    let id = person.channel.id();
    if step == Step::Deposit {
        let config = old.config.clone();
        send(world, world.deployed.adjudicator, &calls::deposit(&config, MORE)).await;
        undo(world, depth, seen).await;
        // Whoever paid in learns that it is gone, and pays in again.
        if state(world, id).await.total < before_deposit(&old) + MORE {
            send(world, world.deployed.adjudicator, &calls::deposit(&config, MORE)).await;
        }
    } else {
        dispute(world, &person.key, &old, false).await;
    }
    if step == Step::Dispute {
        undo(world, depth, seen).await;
        if !matches!(state(world, id).await.status, abi::Status::Disputed) {
            dispute(world, &person.key, &old, false).await;
        }
    }
    let fair = person.settled();
    if step != Step::Deposit {
        answered(world, &person).await;
    }
    if step == Step::Answer {
        undo(world, depth, seen).await;
        answered(world, &person).await;
    }
    if step == Step::Deposit {
        return spend(world, person, shop).await;
    }
    pass(world, rest_of_window(0)).await;
    closed(world, id).await;
    if step == Step::Finalize {
        undo(world, depth, seen).await;
        // The blocks that came instead are as early as those that went.
        pass(world, rest_of_window(0)).await;
        closed(world, id).await;
    }
    let got = purse(world, &person).await - (ENDOWMENT - DEPOSIT);
    person.client.shutdown().await;
    (signed(fair), signed(got))
}

fn signed(amount: u128) -> i128 {
    i128::try_from(amount).unwrap()
}

/// What both sides paid in before.
fn before_deposit(evidence: &Evidence) -> u128 {
    evidence.deposits.0.0 + evidence.deposits.1.0
}

/// The whole deposit can be spent, and closed with.
async fn spend(world: &World, person: Person, shop: &Person) -> (i128, i128) {
    let all = DEPOSIT + MORE - 2 * (PAID + PAID / 1000);
    let began = Instant::now();
    while person.channel.view().unwrap().balance.spendable.0 < all {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "the deposit does not come"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The hub sees it a moment later.
    while person.client.pay(shop.key.address(), PAID).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "the hub refuses");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let fair = person.settled();
    person.channel.close().await.unwrap();
    closed(world, person.channel.id()).await;
    let got = purse(world, &person).await - (ENDOWMENT - DEPOSIT);
    person.client.shutdown().await;
    (signed(fair), signed(got))
}

async fn answered(world: &World, person: &Person) {
    until(world, person.channel.id(), "answer", |state| state.clientSeq >= 2).await;
}
