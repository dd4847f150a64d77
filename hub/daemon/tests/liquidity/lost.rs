//! What the hub has sent, and a crash, a mempool or a reorganisation loses.

use super::{
    PATIENCE, Payers, alice_and_shop, channel_of, mine_every, nonces, quiet, refill_sent, releases, report,
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
    providers::{Provider as _, RootProvider},
    rpc::types::Transaction,
    sol_types::{SolCall as _, SolEvent as _},
};
use axum::{Json, Router, extract::State, routing::post};
use hub::chain::{Chain as _, ChainLog, LogQuery};
use protocol_spec::{ChannelId, abi::IAdjudicator};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

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

pub(super) async fn set_balance(world: &World, account: Address, wei: u128) {
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
    let (mut process, alice, shop, used) = refill_sent(&world).await;
    let id = shop.channel.id();
    let held = state(&world, id).await.total;
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

/// A channel, and a transaction for the mempool.
type Armed = Option<(ChannelId, Vec<u8>)>;

/// A door before the world's chain that lets a reorganisation happen between two questions of the hub.
#[derive(Clone)]
struct Between {
    upstream: RootProvider,
    /// Before the next question after this channel: what is handed to the mempool again, of the block that vanishes.
    armed: Arc<Mutex<Armed>>,
}

impl Between {
    /// Puts it into the hub's configuration.
    async fn start(world: &World) -> Self {
        let between = Self {
            upstream: world.bank.provider().clone(),
            armed: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(post(Self::answer))
            .with_state(between.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = std::fs::read_to_string(&world.config).unwrap();
        std::fs::write(&world.config, config.replace(&world.rpc_url, &url)).unwrap();
        between
    }

    async fn answer(State(between): State<Self>, Json(request): Json<Value>) -> Json<Value> {
        let (id, parameters) = (&request["id"], request["params"].clone());
        between.reorganise(&request).await;
        let method = request["method"].as_str().unwrap().to_owned();
        let asked = between
            .upstream
            .raw_request::<_, Value>(method.into(), parameters);
        Json(match asked.await {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(error) => {
                let error = error.as_error_resp().unwrap().clone();
                json!({"jsonrpc": "2.0", "id": id, "error": error})
            }
        })
    }

    async fn reorganise(&self, request: &Value) {
        let raw = {
            let mut armed = self.armed.lock().unwrap();
            let asks = |channel: &ChannelId| {
                let call = IAdjudicator::channelCall {
                    channelId: channel.0.into(),
                };
                let data = alloy::primitives::hex::encode(call.abi_encode());
                request["method"] == "eth_call" && request["params"].to_string().contains(&data)
            };
            armed.take_if(|(channel, _)| asks(channel))
        };
        if let Some((_, raw)) = raw {
            let none: [(String, u64); 0] = [];
            let reorg = self
                .upstream
                .raw_request::<_, Value>("anvil_reorg".into(), (1, none));
            reorg.await.unwrap();
            let _ = self.upstream.send_raw_transaction(&raw).await.unwrap();
        }
    }
}

/// As before, but the reorganisation comes between the hub's look at the blocks and its look at the channel: what it reads
/// there is of the other branch, and it knows nothing yet of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_reorg_between_two_questions_pays_nothing_in_twice() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(dir.path(), "", "").await;
    let between = Between::start(&world).await;
    let (mut process, _alice, shop, used) = refill_sent(&world).await;
    let id = shop.channel.id();
    let held = state(&world, id).await.total;
    process.kill();
    world.bank.mine(1).await.unwrap();
    let refill = transactions(&world, BlockNumberOrTag::Latest).await.remove(0);
    let raw = refill.inner.inner().encoded_2718();

    let mut process = Hub::spawn(&world);
    process.ready();
    report(&world);
    *between.armed.lock().unwrap() = Some((id, raw));
    logged(&world, "reorg of unconfirmed blocks", 1).await;
    assert!(between.armed.lock().unwrap().is_none());
    report(&world);
    assert_eq!(nonces(&world).await, (used, used + 1), "sent a second time");

    mine_every(&world, 1).await;
    let refilled = held + 9_000;
    until(&world, id, "the refill", |state| state.total == refilled).await;
    quiet(&world).await;
    assert_eq!(state(&world, id).await.total, refilled);
    process.stop();
}

/// The block of the newest deposit of the hub in a channel.
async fn block_of_reserve(world: &World, channel: ChannelId) -> u64 {
    let query = LogQuery {
        address: world.deployed.adjudicator,
        from: 0,
        to: world.bank.head().await.unwrap().number,
    };
    let logs = world.bank.logs(query).await.unwrap();
    let of_channel = |log: &&ChainLog| {
        let event = IAdjudicator::Reserved::decode_raw_log(log.topics.iter().copied(), &log.data);
        event.is_ok_and(|event| event.channelId.0 == channel.0)
    };
    logs.iter().rev().find(of_channel).unwrap().block_number
}

/// SIGKILL before the hub sees that confirmed blocks have vanished, and again once it has said so: its deposit, which it had
/// believed, is paid in again, once, and the channel goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_deep_reorg_and_kills_around_it_lose_nothing_and_pay_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(dir.path(), "", "").await;
    let mut process = Hub::spawn(&world);
    process.ready();
    let (alice, shop) = alice_and_shop(&world).await;
    let id = shop.channel.id();
    let held = state(&world, id).await.total;
    alice.pay(&shop, 9_000).await;
    let refilled = held + 9_000;
    until(&world, id, "the refill", |state| state.total == refilled).await;
    // Confirmed, and believed.
    quiet(&world).await;
    mine_every(&world, 0).await;
    process.kill();
    let head = world.bank.head().await.unwrap().number;
    reorg(&world, head + 1 - block_of_reserve(&world, id).await).await;
    assert_eq!(state(&world, id).await.total, held, "it is on the other branch");

    let mut process = Hub::spawn(&world);
    logged(&world, "a confirmed block vanished", 1).await;
    process.kill();
    let mut process = Hub::spawn(&world);
    process.ready();
    mine_every(&world, 1).await;
    until(&world, id, "the refill again", |state| state.total == refilled).await;
    logged(&world, "what it rests on is back on the chain", 1).await;
    quiet(&world).await;
    assert_eq!(state(&world, id).await.total, refilled, "once");
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
    let (mut process, alice, shop, used) = refill_sent(&world).await;
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
