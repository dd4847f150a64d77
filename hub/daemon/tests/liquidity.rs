//! The liquidity manager and the settlement policy through the real binary, the real SDK and a chain reached by HTTP.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

#[path = "../../tests/settle/anvil.rs"]
mod anvil;
#[path = "roles/court.rs"]
mod court;
#[path = "liquidity/lost.rs"]
mod lost;
#[path = "support/people.rs"]
mod people;
#[path = "support/process.rs"]
mod process;
#[path = "support/world.rs"]
mod world;

use alloy::{eips::BlockId, primitives::B256, providers::Provider, sol_types::SolEvent};
use client_sdk::{ChannelError, ClientEvent, PayError, ReturnReason};
use court::{state, until};
use futures::future::join_all;
use hub::chain::{Chain, ChainLog, LogQuery};
use people::{DEPOSIT, ENDOWMENT, Person};
use process::Hub;
use protocol_spec::{
    ChannelId, Side,
    abi::{self, IAdjudicator},
    message::ErrorCode,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use world::{FEE_PPM, RESERVE, VAULT, World};

const TARGET: u128 = 10_000;
const HIGH: u128 = 30_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Two people with a channel each.
async fn alice_and_shop(world: &World) -> (Person, Person) {
    tokio::join!(
        Person::arrive(world, "alice", world.listen),
        Person::arrive(world, "shop", world.listen)
    )
}

/// A world whose hub has small reserves, and what else the test sets.
async fn small(dir: &std::path::Path, more_of_token: &str, more: &str) -> World {
    with_reserve(dir, (TARGET, 2_000, HIGH), more_of_token, more).await
}

/// The same with other reserves: initial, low and high.
async fn with_reserve(
    dir: &std::path::Path,
    (initial, low, high): (u128, u128, u128),
    more_of_token: &str,
    more: &str,
) -> World {
    let world = World::embedded(dir).await;
    let text = std::fs::read_to_string(&world.config).unwrap();
    let before = format!("initial = \"{RESERVE}\", low_watermark = \"{}\"", RESERVE / 4);
    let after = format!("initial = \"{initial}\", low_watermark = \"{low}\", high_watermark = \"{high}\"");
    assert!(text.contains(&before));
    let text = text.replace(&before, &after);
    let text = text.replace("[fees]", &format!("{more_of_token}\n[fees]"));
    let text = text.replace("[chain]", "[chain]\nact_s = 60");
    std::fs::write(&world.config, text + more).unwrap();
    world
}

/// `hub ARGS --config FILE`, which must succeed. Returns stdout.
#[track_caller]
fn hub(world: &World, args: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_hub"))
        .args(args)
        .arg("--config")
        .arg(&world.config)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{args:?}: {status} {stderr}");
    String::from_utf8(stdout).unwrap()
}

/// Status line and text of `POST /settle-now` with this token.
fn post_settle_now(world: &World, token: Option<&str>) -> String {
    let body = r#"{"token":null,"channel":null,"checkpoints":true}"#;
    let header = token.map(|token| format!("x-hub-operator: {token}\r\n"));
    let request = format!(
        "POST /settle-now HTTP/1.0\r\nHost: evil:9945\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        header.unwrap_or_default(),
        body.len()
    );
    let mut stream = TcpStream::connect(world.ops).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What a web page or a neighbour can send moves nothing.
fn only_the_token_is_answered(world: &World) {
    let file = world.hub_dir.join("data/operator.token");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(file).unwrap();
    for wrong in [None, Some("1"), Some(&token[1..]), Some(&"0".repeat(64))] {
        let answer = post_settle_now(world, wrong);
        assert!(
            answer.starts_with("HTTP/1.0 403") && answer.contains("x-hub-operator"),
            "{wrong:?}: {answer}"
        );
    }
    let log = std::fs::read_to_string(world.dir.join("hub.log")).unwrap();
    assert!(!log.contains(&token), "it is never logged");
}

fn report(world: &World) -> Value {
    serde_json::from_str(&hub(world, &["liquidity", "--json"])).unwrap()
}

fn units(value: &Value) -> u128 {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .parse()
        .unwrap()
}

fn channel_of(report: &Value, id: ChannelId) -> &Value {
    let channels = report["channels"].as_array().unwrap();
    let found = channels
        .iter()
        .find(|line| line["channel"] == id.to_string().as_str());
    found.unwrap_or_else(|| panic!("{id} is not in {report}"))
}

fn promised(report: &Value) -> u128 {
    units(&report["tokens"][0]["promised"])
}

/// For want of reserve.
async fn bounces(payer: &Person, payee: &Person, amount: u128) {
    let refused = payer.client.pay(payee.key.address(), amount).await.unwrap_err();
    let PayError::Bounced { reason, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(*reason, ReturnReason::InsufficientReserve, "{refused}");
}

/// 15,000 is more than the target, and the hub refills for it because a channel may hold that much.
async fn dry_is_refilled(alice: &Person, shop: &Person) {
    let mut events = alice.client.events();
    bounces(alice, shop, 15_000).await;
    let ready_at = loop {
        match tokio::time::timeout(PATIENCE, events.recv())
            .await
            .unwrap()
            .unwrap()
        {
            ClientEvent::ReserveComing { ready_at, .. } => break ready_at.0,
            _ => continue,
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(ready_at < now + 30, "ready at {ready_at}, now {now}");
    tokio::time::sleep(Duration::from_secs(ready_at.saturating_sub(now))).await;
    alice
        .client
        .pay(shop.key.address(), 15_000_u128)
        .await
        .expect("the hint was true");
}

/// The hub's balance in Alice's channel has grown above the high watermark: it comes back to the vault.
async fn surplus_comes_back(world: &World, alice: &Person, shop: &Person) {
    alice.pay(shop, 8_000).await;
    let spent = 1_000 + 15_000 + 8_000 + (1_000 + 15_000 + 8_000) * FEE_PPM / 1_000_000;
    assert!(
        TARGET + spent > HIGH,
        "the merchant's money is the hub's in Alice's channel"
    );
    until(world, alice.channel.id(), "the release", |state| {
        state.hubWithdrawn == spent
    })
    .await;
    alice.pay(shop, 100).await;
}

/// The shop orders more than the hub would hold ready, for a fee.
async fn capacity_is_ordered(world: &World, alice: &Person, shop: &Person) {
    let held = shop.channel.view().unwrap().hub_deposit.0;
    let too_much = shop.channel.request_capacity(100_001_u128).await.unwrap_err();
    assert!(
        matches!(&too_much, ChannelError::Hub(error) if error.is(ErrorCode::NoCapacity)),
        "{too_much}"
    );
    let offer = shop.channel.request_capacity(50_000_u128).await.unwrap();
    assert_eq!(offer.quote.fee.0, 50, "0.1 %");
    assert_eq!(promised(&report(world)), 50_000, "a quote is a promise");
    shop.channel.accept_capacity(&offer).await.unwrap();
    let twice = shop.channel.accept_capacity(&offer).await.unwrap_err();
    assert!(
        matches!(
            twice,
            PayError::Bounced {
                reason: ReturnReason::QuoteUnknown,
                ..
            }
        ),
        "{twice}"
    );
    shop.channel.wait_hub_deposit(held + 50_000).await.unwrap();
    alice.pay(shop, 45_000).await;
}

/// Once nothing is on its way.
async fn operator_sees_it(world: &World, shop: &Person) {
    let began = Instant::now();
    let seen = loop {
        let seen = report(world);
        let quiet = seen["actions"].as_array().unwrap().is_empty() && promised(&seen) == 0;
        if quiet {
            break seen;
        }
        assert!(began.elapsed() < PATIENCE, "{seen}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let token = &seen["tokens"][0];
    assert_eq!(units(&token["vault"]), world.vault().await);
    assert!(
        units(&token["vault"]) < VAULT && units(&token["reserved"]) >= 60_000,
        "{token}"
    );
    let line = channel_of(&seen, shop.channel.id());
    assert_eq!(
        (units(&line["target"]), line["level"].as_str()),
        (TARGET.max(69_100 / 2), Some("ok"))
    );
    let table = hub(world, &["liquidity", "--all"]);
    for part in [
        "in the vault",
        &shop.channel.id().to_string(),
        "gas of what would be sent now",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_reserve_is_refilled_when_the_hint_says_and_what_is_too_much_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(dir.path(), "", "").await;
    let mut process = Hub::spawn(&world);
    process.ready();
    let (alice, shop) = alice_and_shop(&world).await;
    alice.pay(&shop, 1_000).await;

    dry_is_refilled(&alice, &shop).await;
    surplus_comes_back(&world, &alice, &shop).await;
    capacity_is_ordered(&world, &alice, &shop).await;
    operator_sees_it(&world, &shop).await;
    alice.client.close().await.unwrap();
    let fees = 1 + 15 + 8 + 1 + 45; // each rounded up
    let left = ENDOWMENT - 69_100 - fees;
    assert_eq!(world.tokens_of(alice.key.address()).await, left);
    process.stop();
}

/// Until the report says that the channel's reserve waits, and that `why` is the reason.
async fn waits(world: &World, id: ChannelId, why: &str) {
    let began = Instant::now();
    let action = loop {
        let seen = report(world);
        let actions = seen["actions"].as_array().unwrap();
        let mut of_it = actions.iter();
        if let Some(action) = of_it.find(|action| action["channel"] == id.to_string().as_str()) {
            break action.clone();
        }
        assert!(began.elapsed() < PATIENCE, "{seen}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(action["now"], false, "{action}");
    assert!(action["why"].as_str().unwrap().contains(why), "{action}");
}

/// The report is made when it is asked for, the numbers by the next look at the reserves.
async fn in_metrics(world: &World, lines: &[&str]) {
    let began = Instant::now();
    loop {
        let metrics = process::get(world.ops, "/metrics");
        if lines.iter().all(|line| metrics.contains(line)) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{metrics}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// H2: strangers who open channels lock up what the vault does not keep, and no more; the others are served.
#[tokio::test(flavor = "multi_thread")]
async fn opening_channels_takes_nothing_of_what_the_vault_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(dir.path(), "", "").await;
    let text = std::fs::read_to_string(&world.config).unwrap();
    let kept = format!("high_watermark = \"{HIGH}\", kept = \"{}\"", VAULT - 2 * TARGET);
    let changed = text.replace(&format!("high_watermark = \"{HIGH}\""), &kept);
    assert_ne!(changed, text);
    std::fs::write(&world.config, changed).unwrap();
    let mut process = Hub::spawn(&world);
    process.ready();
    let (alice, shop) = alice_and_shop(&world).await;
    let new = Person::arrive_without_reserve(&world, "new", world.listen, |builder| builder).await;
    let id = new.channel.id();
    waits(&world, id, "kept for orders").await;
    in_metrics(&world, &["hub_reserves_held_back 1"]).await;
    assert_eq!(world.vault().await, VAULT - 2 * TARGET);

    // Too large for its reserve, and nothing is promised: only what was paid as much as a first reserve is refilled out
    // of what is kept.
    let mut events = alice.client.events();
    bounces(&alice, &shop, 15_000).await;
    alice.pay(&shop, TARGET).await;
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, ClientEvent::ReserveComing { .. }), "{event:?}");
    }
    shop.channel.wait_hub_deposit(2 * TARGET).await.unwrap();
    let began = Instant::now();
    while let Err(refused) = alice.client.pay(shop.key.address(), 15_000_u128).await {
        assert!(began.elapsed() < PATIENCE, "{refused}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(world.vault().await < VAULT - 3 * TARGET, "out of what is kept");
    // A payment to the new one bounces, without a promise; what it orders it gets, and nothing else.
    bounces(&alice, &new, 500).await;
    let offer = new.channel.request_capacity(1_000_u128).await.unwrap();
    new.channel.accept_capacity(&offer).await.unwrap();
    new.channel.wait_hub_deposit(1_000_u128).await.unwrap();
    alice.pay(&new, 500).await;
    process.stop();
}

/// E12: who could not defend a channel sets nothing aside in it; what was set aside before goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_cannot_defend_pays_into_no_new_channel_until_it_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(dir.path(), "", "").await;
    let mut process = Hub::spawn(&world);
    process.ready();
    let alice = Person::arrive(&world, "alice", world.listen).await;
    let full = world.bank.balance(world.hub).await.unwrap();
    // One answer costs more.
    lost::set_balance(&world, world.hub, 35_000).await;
    let shop = Person::arrive_without_reserve(&world, "shop", world.listen, |builder| builder).await;
    let id = shop.channel.id();
    waits(&world, id, "the wallet cannot pay").await;
    in_metrics(&world, &["hub_gas_wallet_short 1", "hub_reserves_held_back 1"]).await;
    let refused = shop.channel.request_capacity(1_000_u128).await.unwrap_err();
    assert!(
        matches!(&refused, ChannelError::Hub(error) if error.is(ErrorCode::NoCapacity)),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("its wallet could not defend it"),
        "{refused}"
    );
    alice.channel.request_capacity(1_000_u128).await.unwrap();
    assert_eq!(state(&world, id).await.total, DEPOSIT, "nothing was paid in");
    let log = std::fs::read_to_string(world.dir.join("hub.log")).unwrap();
    assert!(log.contains("until then new channels get no reserve"), "{log}");
    assert!(
        !log.contains("transaction not sent"),
        "it was not even tried: {log}"
    );

    lost::set_balance(&world, world.hub, full.to()).await;
    until(&world, id, "the reserve", |state| state.total == DEPOSIT + TARGET).await;
    shop.channel.wait_hub_deposit(TARGET).await.unwrap();
    alice.pay(&shop, 1_000).await;
    process.stop();
}

/// The transactions that took reserve back, by channel.
async fn releases(world: &World) -> Vec<(ChannelId, B256)> {
    let query = LogQuery {
        address: world.deployed.adjudicator,
        from: 0,
        to: world.bank.head().await.unwrap().number,
    };
    let logs = world.bank.logs(query).await.unwrap();
    let decode = |log: &ChainLog| {
        let event = IAdjudicator::Withdrawn::decode_raw_log(log.topics.iter().copied(), &log.data).ok()?;
        (event.side == Side::Hub.index()).then_some((ChannelId(event.channelId.0), log.tx_hash))
    };
    logs.iter().filter_map(decode).collect()
}

/// Three payers in whose channels the hub will have too much at the same moment. It looks seldom: between two looks lies
/// at most one boundary, so at least two releases go together.
struct Payers {
    world: World,
    hub: Hub,
    payers: Vec<Person>,
    shop: Person,
    /// In the vault before.
    vault: u128,
}

impl Payers {
    /// The hub's deposit in every channel.
    const INITIAL: u128 = 100_000;
    /// What each has spent, and the hub takes back.
    const SPENT: u128 = 6_000 + 6_000 * FEE_PPM / 1_000_000;
    /// What each pays later, with the fee.
    const MORE: u128 = 101;

    async fn arrive(dir: &std::path::Path) -> Self {
        let world = with_reserve(dir, (Self::INITIAL, 1_000, 105_000), "", "").await;
        let text = std::fs::read_to_string(&world.config).unwrap();
        let slow = text.replace("poll_interval_ms = 200", "poll_interval_ms = 2000");
        assert_ne!(text, slow);
        std::fs::write(&world.config, slow).unwrap();
        let mut hub = Hub::spawn(&world);
        hub.ready();
        let arrive = |name: &'static str| Person::arrive(&world, name, world.listen);
        let (alice, bob, carol, shop) =
            tokio::join!(arrive("alice"), arrive("bob"), arrive("carol"), arrive("shop"));
        let payers = vec![alice, bob, carol];
        for payer in &payers {
            payer.pay(&shop, 1_000).await;
        }
        let vault = world.vault().await;
        Self {
            world,
            hub,
            payers,
            shop,
            vault,
        }
    }

    /// From then on the hub has too much.
    async fn spend(&self) {
        join_all(self.payers.iter().map(|payer| payer.pay(&self.shop, 5_000))).await;
    }

    async fn released(&self) {
        for payer in &self.payers {
            until(&self.world, payer.channel.id(), "the release", |state| {
                state.hubWithdrawn == Self::SPENT
            })
            .await;
        }
    }

    /// Everybody pays on, and leaves with what is theirs.
    async fn pay_on_and_close(&self) {
        for payer in &self.payers {
            payer.pay(&self.shop, 100).await;
        }
        for payer in &self.payers {
            payer.client.close().await.unwrap();
            let left = ENDOWMENT - Self::SPENT - Self::MORE;
            assert_eq!(self.world.tokens_of(payer.key.address()).await, left);
        }
    }

    /// All is home, by one event for each. Everybody pays on, and leaves with what is theirs. Returns the transactions.
    async fn leave(self) -> BTreeSet<B256> {
        let sent = releases(&self.world).await;
        let mut channels: Vec<_> = sent.iter().map(|(channel, _)| *channel).collect();
        channels.sort();
        let mut expected: Vec<_> = self.payers.iter().map(|payer| payer.channel.id()).collect();
        expected.sort();
        assert_eq!(channels, expected, "one event for each, once");
        assert_eq!(
            self.world.vault().await,
            self.vault + 3 * Self::SPENT,
            "all of it is home"
        );
        self.pay_on_and_close().await;
        self.hub.stop();
        sent.into_iter().map(|(_, hash)| hash).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_wait_together_are_one_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let all = Payers::arrive(dir.path()).await;
    all.spend().await;
    all.released().await;
    let transactions = all.leave().await;
    assert!(transactions.len() < 3, "{transactions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closes_are_gathered_until_settle_now_and_vouchers_worth_much_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "\n[settlement]\nmin_batch = 3\nmax_wait_s = 3600\n";
    let world = small(dir.path(), "checkpoint_above = \"4000\"", policy).await;
    let mut process = Hub::spawn(&world);
    process.ready();
    let (alice, shop) = alice_and_shop(&world).await;
    alice.pay(&shop, 3_000).await;
    alice.pay(&shop, 2_000).await;
    let paid = 5_000 + 5_000 * FEE_PPM / 1_000_000;
    until(&world, alice.channel.id(), "the checkpoint", |state| {
        state.clientPaid == paid
    })
    .await;

    let id = alice.channel.id();
    let closing = tokio::spawn({
        let client = alice.client.clone();
        async move { client.close().await }
    });
    let began = Instant::now();
    loop {
        let seen = report(&world);
        let close =
            |action: &&Value| action["what"] == "close" && action["channel"] == id.to_string().as_str();
        if let Some(action) = seen["actions"].as_array().unwrap().iter().find(close) {
            assert_eq!(action["now"], false, "{action}");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{seen}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    only_the_token_is_answered(&world);
    let gathered = |seen: Value| {
        let actions = seen["actions"].as_array().unwrap().clone();
        actions
            .iter()
            .any(|action| action["what"] == "close" && action["now"] == false)
    };
    assert!(gathered(report(&world)), "nothing was sent");
    assert!(
        matches!(state(&world, id).await.status, abi::Status::Open),
        "it waits"
    );
    let other = hub(
        &world,
        &[
            "settle-now",
            "--json",
            "--channel",
            &shop.channel.id().to_string(),
        ],
    );
    let other: Value = serde_json::from_str(&other).unwrap();
    assert_eq!(other["transactions"], 0, "nothing was gathered there: {other}");
    let sent = hub(&world, &["settle-now"]);
    assert!(sent.contains(&id.to_string()), "{sent}");
    closing.await.unwrap().unwrap();
    assert_eq!(world.tokens_of(alice.key.address()).await, ENDOWMENT - paid);
    assert!(paid < DEPOSIT);
    process.stop();
}

/// Transactions of the hub: in blocks, and with those that wait for one.
async fn nonces(world: &World) -> (u64, u64) {
    let count = |block| {
        world
            .bank
            .provider()
            .get_transaction_count(world.hub)
            .block_id(block)
    };
    let used = count(BlockId::latest()).await.unwrap();
    (used, count(BlockId::pending()).await.unwrap())
}

async fn nonces_are(world: &World, expected: (u64, u64)) {
    let began = Instant::now();
    while nonces(world).await != expected {
        assert!(began.elapsed() < PATIENCE, "not {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the hub has nothing to do.
async fn quiet(world: &World) {
    let began = Instant::now();
    loop {
        let seen = report(world);
        if promised(&seen) == 0 && seen["actions"].as_array().unwrap().is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{seen}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Seconds between blocks; 0: none comes by itself.
async fn mine_every(world: &World, seconds: u64) {
    let asked = world
        .bank
        .provider()
        .raw_request::<_, Value>("evm_setIntervalMining".into(), [seconds]);
    asked.await.unwrap();
}

/// A hub that has sent a refill of the shop's channel, after so many transactions that blocks have; from here on blocks come
/// only when asked for.
async fn refill_sent(world: &World) -> (Hub, Person, Person, u64) {
    let mut process = Hub::spawn(world);
    process.ready();
    let (alice, shop) = alice_and_shop(world).await;
    mine_every(world, 0).await;
    let (used, _) = nonces(world).await;
    // Below the low watermark of 2,000.
    alice.pay(&shop, 9_000).await;
    nonces_are(world, (used, used + 1)).await;
    (process, alice, shop, used)
}

/// Killed when a refill was sent and no block has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refill_that_was_on_its_way_at_a_crash_is_not_paid_in_twice() {
    let dir = tempfile::tempdir().unwrap();
    let world = small(dir.path(), "", "").await;
    let (mut process, alice, shop, used) = refill_sent(&world).await;
    let id = shop.channel.id();
    // No block has the refill.
    let held = state(&world, id).await.total;

    process.kill();
    let mut process = Hub::spawn(&world);
    process.ready();
    // It answers between two looks, so it has had one, and knows of the need.
    let seen = report(&world);
    let refill = |action: &&Value| action["what"] == "refill" && action["channel"] == id.to_string().as_str();
    assert!(
        seen["actions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|action| refill(&action)),
        "{seen}"
    );
    assert_eq!(
        nonces(&world).await,
        (used, used + 1),
        "it was sent a second time"
    );

    mine_every(&world, 1).await;
    let refilled = held + 9_000;
    until(&world, id, "the refill", |state| state.total == refilled).await;
    // Once the hub has seen it, it pays in again what is needed then, and is not held up by what was.
    quiet(&world).await;
    assert_eq!(state(&world, id).await.total, refilled);
    alice.pay(&shop, 9_000).await;
    until(&world, id, "the next refill", |state| state.total > refilled).await;
    process.stop();
}
