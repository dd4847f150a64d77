//! Reorganisations against a real hub with k = 1: some steps, k + 2 deep, after the hub saw them; with `REORGS=all`
//! every step, every depth up to k + 2, before and after.

use crate::{
    court::{Case, act, closed, dispute, give_bank, pass, purse, reorg, rest_of_window, send, state, until},
    locks::{self, plot},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::{CHALLENGE_PERIOD_S, World},
};
use client_sdk::Evidence;
use hub::{chain::Chain, settle::Verb};
use protocol_spec::{abi, calls};
use std::time::{Duration, Instant};

/// Longest wait for a channel to go on.
const PATIENCE: Duration = Duration::from_secs(60);
/// Confirmations of the tests' hubs.
const K: u64 = 1;
const PAID: u128 = 30_000;
/// Paid in later.
const MORE: u128 = 50_000;

/// Taken out while the channel is open.
const TAKEN: u128 = 40_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The client opens and deposits, the hub pays in its reserve.
    Open,
    /// Somebody pays in more for the client.
    Deposit,
    /// The client shows the hub's voucher while the channel is open.
    Checkpoint,
    /// Both sides sign that the client takes something out.
    Withdraw,
    /// Both sides sign that it is over.
    Close,
    /// The client disputes with an old state.
    Dispute,
    /// The hub shows the newest one.
    Answer,
    /// A merchant shows a preimage on chain only.
    Resolve,
    /// The hub has it paid out.
    Finalize,
}

const STEPS: [Step; 9] = [
    Step::Open,
    Step::Deposit,
    Step::Checkpoint,
    Step::Withdraw,
    Step::Close,
    Step::Dispute,
    Step::Answer,
    Step::Resolve,
    Step::Finalize,
];
/// Those that run unless all are asked for.
const SLICE: [Step; 4] = [Step::Open, Step::Withdraw, Step::Answer, Step::Resolve];

/// The newest block: the step is in it.
async fn head(world: &World) -> u64 {
    world.bank.head().await.unwrap().number
}

/// Lets the hub see the block that the step is in, or not, then replaces the newest blocks so that it is among them.
async fn undo(world: &World, from: u64, depth: u64, seen: bool) {
    if seen || depth > 1 {
        // Blocks come by themselves, one a second.
        while head(world).await < from + depth - 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    if seen {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mined = head(world).await - from;
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
    give_bank(world, 100 * (MORE + DEPOSIT)).await;
    let shop = Person::arrive(world, "reorg-shop", world.listen).await;
    for step in STEPS {
        for depth in 1..=K + 2 {
            for seen in [false, true] {
                // Nobody pays before the hub has seen the channel.
                let sliced = !SLICE.contains(&step) || depth < K + 2 || !seen;
                if (!all && sliced) || (step == Step::Open && !seen) {
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
    let name = format!("{step:?}-{depth}-{seen}");
    match step {
        Step::Open => open(world, shop, &name, depth).await,
        Step::Resolve => resolve(world, &name, depth, seen).await,
        Step::Deposit | Step::Checkpoint | Step::Withdraw | Step::Close => {
            let (person, old) = arrive(world, &name, shop).await;
            together(world, shop, step, depth, seen, person, old).await
        }
        Step::Dispute | Step::Answer | Step::Finalize => {
            let (person, old) = arrive(world, &name, shop).await;
            alone(world, step, depth, seen, person, old).await
        }
    }
}

/// All of the channel is on the other branch, also what the hub paid in; what was paid stays paid.
async fn open(world: &World, shop: &Person, name: &str, depth: u64) -> (i128, i128) {
    let from = head(world).await + 1;
    let (person, old) = arrive(world, name, shop).await;
    undo(world, from, depth, true).await;
    assert!(matches!(
        state(world, person.channel.id()).await.status,
        abi::Status::None
    ));
    // The hub pays in again by itself, the client does the same here.
    send(
        world,
        world.deployed.adjudicator,
        &calls::open(&old.config, DEPOSIT),
    )
    .await;
    let purse = purse(world, &person).await;
    finish(world, person, shop, purse).await
}

/// What goes on in an open channel.
async fn together(
    world: &World,
    shop: &Person,
    step: Step,
    depth: u64,
    seen: bool,
    person: Person,
    old: Evidence,
) -> (i128, i128) {
    let (id, adjudicator) = (person.channel.id(), world.deployed.adjudicator);
    match step {
        Step::Deposit => {
            let deposit = calls::deposit(&old.config, MORE);
            send(world, adjudicator, &deposit).await;
            undo(world, head(world).await, depth, seen).await;
            // Whoever paid in learns that it is gone, and pays in again.
            if state(world, id).await.total < before_deposit(&old) + MORE {
                send(world, adjudicator, &deposit).await;
            }
            spendable(&person, DEPOSIT + MORE - 2 * (PAID + PAID / 1000)).await;
        }
        Step::Checkpoint => {
            let mut news = person.channel.payments(None);
            // More than it has paid: else showing the voucher would cost it something.
            shop.pay(&person, 3 * PAID).await;
            news.next().await.unwrap().unwrap();
            let evidence = person.channel.evidence().await.unwrap();
            act(world, &person.key, &evidence, Verb::Submit).await;
            undo(world, head(world).await, depth, seen).await;
            act(world, &person.key, &evidence, Verb::Submit).await;
        }
        Step::Withdraw => {
            let channel = person.channel.clone();
            let taking = tokio::spawn(async move { channel.withdraw(TAKEN).await });
            until(world, id, "withdraw", |state| state.clientWithdrawn > 0).await;
            undo(world, head(world).await, depth, seen).await;
            until(world, id, "withdraw again", |state| state.clientWithdrawn > 0).await;
            taking.await.unwrap().unwrap();
        }
        _ => {
            let fair = person.settled();
            person.channel.close().await.unwrap();
            closed(world, id).await;
            undo(world, head(world).await, depth, seen).await;
            closed(world, id).await;
            return leave(world, person, fair, ENDOWMENT - DEPOSIT).await;
        }
    }
    let taken = if step == Step::Withdraw { TAKEN } else { 0 };
    let (fair, got) = finish(world, person, shop, ENDOWMENT - DEPOSIT).await;
    (fair + signed(taken), got)
}

/// A dispute with an old state.
async fn alone(
    world: &World,
    step: Step,
    depth: u64,
    seen: bool,
    person: Person,
    old: Evidence,
) -> (i128, i128) {
    let id = person.channel.id();
    dispute(world, &person.key, &old, false).await;
    if step == Step::Dispute {
        undo(world, head(world).await, depth, seen).await;
        if !matches!(state(world, id).await.status, abi::Status::Disputed) {
            dispute(world, &person.key, &old, false).await;
        }
    }
    let fair = person.settled();
    answered(world, &person).await;
    if step == Step::Answer {
        undo(world, head(world).await, depth, seen).await;
        answered(world, &person).await;
    }
    pass(world, rest_of_window(0)).await;
    closed(world, id).await;
    if step == Step::Finalize {
        undo(world, head(world).await, depth, seen).await;
        // The blocks that came instead are as early as those that went.
        pass(world, rest_of_window(0)).await;
        closed(world, id).await;
    }
    leave(world, person, fair, ENDOWMENT - DEPOSIT).await
}

/// The hub hears of a preimage from a block that vanishes. The merchant gets its money, and the payer pays it.
async fn resolve(world: &World, name: &str, depth: u64, seen: bool) -> (i128, i128) {
    let plot = plot(world, name).await;
    let (merchant, id) = (&plot.merchant, plot.merchant.channel.id());
    let mut without = plot.evidence.clone();
    without.received.witnesses.clear();
    let counted = |state: &abi::ChannelState| state.hubLocks.counted > 0;
    let mut undone = false;
    while !counted(&state(world, id).await) {
        if !matches!(state(world, id).await.status, abi::Status::Disputed) {
            dispute(world, &merchant.key, &without, false).await;
        }
        act(world, &merchant.key, &plot.evidence, Verb::Resolve).await;
        if !std::mem::replace(&mut undone, true) {
            undo(world, head(world).await, depth, seen).await;
        }
    }
    let paid = plot.paying.await.unwrap().unwrap();
    assert_eq!(plot.evidence.received.witnesses[0].1, paid.witness);
    pass(world, 2 * CHALLENGE_PERIOD_S + 1).await;
    closed(world, id).await;
    plot.payer.client.shutdown().await;
    let fair = DEPOSIT + locks::BEFORE + locks::AMOUNT;
    leave(world, plot.merchant, fair, ENDOWMENT - DEPOSIT).await
}

fn signed(amount: u128) -> i128 {
    i128::try_from(amount).unwrap()
}

/// What both sides paid in before.
fn before_deposit(evidence: &Evidence) -> u128 {
    evidence.deposits.0.0 + evidence.deposits.1.0
}

async fn spendable(person: &Person, amount: u128) {
    let began = Instant::now();
    while person.channel.view().unwrap().balance.spendable.0 < amount {
        assert!(began.elapsed() < PATIENCE, "the deposit does not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The channel goes on: it pays once more, and is closed by both. `purse`: what the client holds on chain before.
async fn finish(world: &World, person: Person, shop: &Person, purse: u128) -> (i128, i128) {
    let began = Instant::now();
    // The hub sees what came back a moment later.
    while person.client.pay(shop.key.address(), PAID).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "the hub refuses");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let fair = person.settled();
    person.channel.close().await.unwrap();
    closed(world, person.channel.id()).await;
    leave(world, person, fair, purse).await
}

/// What is fair, and what came.
async fn leave(world: &World, person: Person, fair: u128, before: u128) -> (i128, i128) {
    let got = signed(purse(world, &person).await) - signed(before);
    person.client.shutdown().await;
    (signed(fair), got)
}

async fn answered(world: &World, person: &Person) {
    until(world, person.channel.id(), "answer", |state| state.clientSeq >= 2).await;
}
