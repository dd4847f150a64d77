//! What the hub has sent, and a crash, a mempool or a reorganisation loses.

use super::{
    PATIENCE, Payers, alice_and_shop, channel_of, mine_every, nonces, nonces_are, quiet, releases, report,
    small, units,
};
use crate::{
    court::{pass, reorg, state, until},
    process::Hub,
    world::World,
};
use alloy::{
    consensus::Transaction as _,
    eips::{BlockNumberOrTag, eip2718::Encodable2718 as _},
    network::TransactionResponse as _,
    primitives::Address,
    providers::Provider as _,
    rpc::types::Transaction,
    sol_types::SolCall as _,
};
use hub::chain::Chain as _;
use protocol_spec::{ChannelId, abi::IAdjudicator};
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

/// After this a release that nobody mined has lapsed: its deadline and the lag.
const LAPSED_S: u64 = 300 + 600 + 60;

/// The hub's transactions in the newest block, or in none.
async fn transactions(world: &World, block: BlockNumberOrTag) -> Vec<Transaction> {
    let block = world.bank.provider().get_block_by_number(block).full().await;
    let all = block.unwrap().unwrap().transactions.into_transactions_vec();
    all.into_iter().filter(|one| one.from() == world.hub).collect()
}

/// The mempool loses what no block has.
async fn lose(world: &World) {
    for one in transactions(world, BlockNumberOrTag::Pending).await {
        let provider = world.bank.provider();
        let dropped = provider.raw_request::<_, Value>("anvil_dropTransaction".into(), [one.tx_hash()]);
        assert!(!dropped.await.unwrap().is_null());
    }
}

async fn set_balance(world: &World, account: Address, wei: u128) {
    let wei = format!("{wei:#x}");
    let provider = world.bank.provider();
    let set = provider.raw_request::<_, Value>("anvil_setBalance".into(), (account, wei));
    set.await.unwrap();
}

/// Waits until the hub's log has said something so often.
async fn logged(world: &World, words: &str, times: usize) {
    let began = Instant::now();
    let log = || std::fs::read_to_string(world.dir.join("hub.log")).unwrap();
    while log().matches(words).count() < times {
        assert!(began.elapsed() < PATIENCE, "not logged: {words}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The process that sent a refill is gone; a block has it, so no reserve waits; then a reorg gives it back to the mempool.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_reorg_a_refill_of_an_earlier_process_is_not_sent_a_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(dir.path(), "", "").await;
    let mut process = Hub::spawn(&world);
    process.ready();
    let (alice, shop) = alice_and_shop(&world).await;
    let id = shop.channel.id();
    let held = state(&world, id).await.total;
    mine_every(&world, 0).await;
    let (used, _) = nonces(&world).await;
    alice.pay(&shop, 9_000).await;
    nonces_are(&world, (used, used + 1)).await;
    process.kill();
    world.bank.mine(1).await.unwrap();
    let refill = transactions(&world, BlockNumberOrTag::Latest).await.remove(0);

    let mut process = Hub::spawn(&world);
    process.ready();
    // It answers between two looks, so it has had one.
    report(&world);
    assert_eq!(nonces(&world).await, (used + 1, used + 1));
    process.signal(Signal::STOP);
    reorg(&world, 1).await;
    let raw = refill.inner.inner().encoded_2718();
    let _ = world.bank.provider().send_raw_transaction(&raw).await.unwrap();
    assert_eq!(
        nonces(&world).await,
        (used, used + 1),
        "it waits for a block again"
    );
    process.signal(Signal::CONT);
    logged(&world, "reorg of unconfirmed blocks", 1).await;
    report(&world);
    assert_eq!(nonces(&world).await, (used, used + 1), "sent a second time");

    mine_every(&world, 1).await;
    let refilled = held + 9_000;
    until(&world, id, "the refill", |state| state.total == refilled).await;
    quiet(&world).await;
    assert_eq!(state(&world, id).await.total, refilled);
    alice.pay(&shop, 9_000).await;
    until(&world, id, "the next refill", |state| state.total > refilled).await;
    process.stop();
}

/// The hub's owner has no coins, so it sends nothing: then nothing is on its way, and an order does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refill_that_cannot_be_sent_keeps_no_order_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(dir.path(), "", "").await;
    let mut process = Hub::spawn(&world);
    process.ready();
    let (alice, shop) = alice_and_shop(&world).await;
    let id = shop.channel.id();
    let held = state(&world, id).await.total;
    let coins = world.bank.balance(world.hub).await.unwrap();
    set_balance(&world, world.hub, 0).await;
    alice.pay(&shop, 9_000).await;
    logged(&world, "a refill of the reserve was given up", 1).await;
    let offer = shop.channel.request_capacity(1_000_u128).await.unwrap();
    let free = alice.channel.request_capacity(1_000_u128).await.unwrap();
    assert_eq!(offer.quote.ready_in_s, free.quote.ready_in_s);
    shop.channel.accept_capacity(&offer).await.unwrap();
    set_balance(&world, world.hub, coins.to()).await;
    // The fee that the shop paid is the hub's there, too.
    let both = held + 9_000 - offer.quote.fee.0 + 1_000;
    until(&world, id, "the refill and the order", |state| {
        state.total == both
    })
    .await;
    process.stop();
}

/// The refill was announced and sent; the process is killed, the mempool loses it, and the money is not needed any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_refill_that_was_lost_with_its_process_keeps_no_order_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(dir.path(), "", "").await;
    let mut process = Hub::spawn(&world);
    process.ready();
    let (alice, shop) = alice_and_shop(&world).await;
    mine_every(&world, 0).await;
    let (used, _) = nonces(&world).await;
    alice.pay(&shop, 9_000).await;
    nonces_are(&world, (used, used + 1)).await;
    shop.client.pay(alice.key.address(), 5_000_u128).await.unwrap();
    process.kill();
    lose(&world).await;
    assert_eq!(nonces(&world).await, (used, used));

    let mut process = Hub::spawn(&world);
    process.ready();
    mine_every(&world, 1).await;
    logged(&world, "a refill of the reserve was given up", 1).await;
    let offer = shop.channel.request_capacity(1_000_u128).await.unwrap();
    let free = alice.channel.request_capacity(1_000_u128).await.unwrap();
    assert_eq!(offer.quote.ready_in_s, free.quote.ready_in_s);
    process.stop();
}

/// With no block until then, all three releases are sent, and no block has them.
async fn send_releases(all: &Payers) {
    mine_every(&all.world, 0).await;
    all.spend().await;
    let began = Instant::now();
    let (mut batches, mut sent) = (0, 0);
    while sent < all.payers.len() {
        assert!(began.elapsed() < PATIENCE, "{sent} releases were sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
        (batches, sent) = (0, 0);
        for one in transactions(&all.world, BlockNumberOrTag::Pending).await {
            if let Ok(call) = IAdjudicator::withdrawManyCall::abi_decode(one.input()) {
                (batches, sent) = (batches + 1, sent + call.items.len());
            } else if IAdjudicator::withdrawCall::abi_decode(one.input()).is_ok() {
                sent += 1;
            }
        }
    }
    assert!(batches > 0, "of three at least two go together");
}

/// Then the hub is killed, and the mempool loses them.
async fn lose_releases(all: &mut Payers) {
    send_releases(all).await;
    all.hub.kill();
    lose(&all.world).await;
    let (used, next) = nonces(&all.world).await;
    assert_eq!(used, next);
}

/// Everybody is connected again.
async fn start_again(all: &mut Payers) {
    all.hub = Hub::spawn(&all.world);
    all.hub.ready();
    for person in all.payers.iter().chain([&all.shop]) {
        person.channel.wait_live().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_were_lost_with_their_process_are_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Payers::arrive(dir.path()).await;
    lose_releases(&mut all).await;
    start_again(&mut all).await;
    mine_every(&all.world, 1).await;
    all.released().await;
    all.leave().await;
}

/// The hub was away for so long that no block takes them. The channels are free: their clients pay on, and close, which
/// would wait for a release; the hub's part comes home by that.
#[tokio::test(flavor = "multi_thread")]
async fn releases_that_lapsed_while_the_hub_was_away_free_their_channels() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Payers::arrive(dir.path()).await;
    lose_releases(&mut all).await;
    pass(&all.world, LAPSED_S).await;
    mine_every(&all.world, 1).await;
    start_again(&mut all).await;
    all.pay_on_and_close().await;
    assert_eq!(releases(&all.world).await, []);
    let home = Payers::INITIAL + Payers::SPENT + Payers::MORE;
    assert_eq!(all.world.vault().await, all.vault + 3 * home);
    all.hub.stop();
}

/// Deeper than the hub waits: it had believed the releases, and their channels are frozen until it has brought them back.
#[tokio::test(flavor = "multi_thread")]
async fn releases_that_a_deep_reorg_took_away_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let all = Payers::arrive(dir.path()).await;
    send_releases(&all).await;
    all.world.bank.mine(1).await.unwrap();
    all.released().await;
    // Deep enough to be believed.
    all.world.bank.mine(2).await.unwrap();
    let ids: Vec<ChannelId> = all.payers.iter().map(|payer| payer.channel.id()).collect();
    let began = Instant::now();
    let believed =
        |seen: &Value, id| units(&channel_of(seen, id)["reserved"]) == Payers::INITIAL - Payers::SPENT;
    while !ids.iter().all(|id| believed(&report(&all.world), *id)) {
        assert!(began.elapsed() < PATIENCE, "{}", report(&all.world));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    reorg(&all.world, 3).await;
    assert_eq!(releases(&all.world).await, []);
    mine_every(&all.world, 1).await;
    logged(&all.world, "a confirmed block vanished", 1).await;
    all.released().await;
    logged(&all.world, "what it rests on is back on the chain", ids.len()).await;
    all.leave().await;
}
