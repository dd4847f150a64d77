//! Mass exit: many channels disputed with stale evidence inside one window, on blocks of 30 million gas.

use crate::{
    court::{closed, give_bank, open_by_bank, pass, percent_of_window, rest_of_window, state},
    people::{DEPOSIT, Person, wallet_key},
    process::Hub,
    world::World,
};
use alloy::sol_types::SolCall;
use client_sdk::{ChannelHandle, Client, Config, Evidence, RedbStore, SignerKey};
use futures::{StreamExt, stream};
use hub::chain::{AlloyChain, Chain, ChainOptions, LogQuery, TxRequest};
use protocol_spec::{Side, abi, abi::IAdjudicator, calls};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const PAID: u128 = 1_000;
const FEE: u128 = 1;
const AT_ONCE: usize = 50;
/// Enough for a dispute with one voucher.
const DISPUTE_GAS: u64 = 300_000;
const PATIENCE: Duration = Duration::from_secs(300);

struct Exit {
    channel: ChannelHandle,
    config: Config,
    stale: Evidence,
}

pub(crate) async fn exit(world: &World, count: usize) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let shop = Person::arrive(world, "mass-shop", world.listen).await;
    let key = SignerKey::from_bytes(&rand::random()).unwrap();
    world.endow(key.address(), 0).await;
    let client = Client::builder(format!("ws://{}", world.listen))
        .signer(key.clone())
        .sender(wallet_key(&key))
        .store(RedbStore::open(world.dir.join("mass.redb")).unwrap())
        .rpc(world.rpc_url.as_str())
        .token(world.deployed.token)
        .chain_poll(Duration::from_secs(2))
        .connect()
        .await
        .unwrap();
    let exits = channels(world, &client, &shop, count).await;
    client.shutdown().await;
    shop.client.shutdown().await;

    let sender = options(&key);
    let sender = AlloyChain::connect(&world.rpc_url, sender).await.unwrap();
    let from = world.bank.head().await.unwrap().number;
    let began = Instant::now();
    let disputes = exits.iter().map(|exit| dispute(world, &sender, exit));
    for sent in stream::iter(disputes).buffered(AT_ONCE).collect::<Vec<_>>().await {
        let receipt = sender.wait(sent, 0).await.unwrap();
        assert!(receipt.success);
    }
    println!(
        "{count} channels disputed with stale evidence in {:.1?}",
        began.elapsed()
    );
    answered(world, &exits).await;
    println!(
        "all of them answered {:.1?} after the first dispute",
        began.elapsed()
    );
    gas(world, from, count).await;

    pass(world, percent_of_window(50)).await;
    pass(world, rest_of_window(50)).await;
    for exit in &exits {
        closed(world, exit.channel.id()).await;
    }
    println!(
        "all of them paid out {:.1?} after the first dispute",
        began.elapsed()
    );
    let fair = (DEPOSIT - 2 * (PAID + FEE)) * count as u128;
    assert_eq!(
        world.tokens_of(key.address()).await,
        fair,
        "old evidence never wins"
    );
    hub.stop();
}

fn options(key: &SignerKey) -> ChainOptions {
    ChainOptions {
        signer: Some(wallet_key(key)),
        poll_interval: Duration::from_millis(20),
        ..ChainOptions::default()
    }
}

/// Open channels of one client, paid for by the bank; each has paid twice and keeps what it held after the first time.
async fn channels(world: &World, client: &Client, shop: &Person, count: usize) -> Vec<Exit> {
    give_bank(world, DEPOSIT * u128::try_from(count).unwrap()).await;
    let one = |_| async move {
        let (config, channel) = open_by_bank(world, client).await;
        channel.pay(shop.channel.id(), PAID).await.unwrap();
        let stale = channel.evidence().await.unwrap();
        channel.pay(shop.channel.id(), PAID).await.unwrap();
        Exit {
            channel,
            config,
            stale,
        }
    };
    stream::iter(0..count)
        .map(one)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn dispute(world: &World, sender: &AlloyChain, exit: &Exit) -> alloy::primitives::B256 {
    let call = calls::dispute(&exit.config, Side::Hub, &exit.stale.received);
    let request = TxRequest {
        to: Some(world.deployed.adjudicator),
        data: call.abi_encode().into(),
        gas_limit: Some(DISPUTE_GAS),
        ..TxRequest::default()
    };
    sender.send(request).await.unwrap().hash
}

/// Waits until the chain knows the newest voucher of each.
async fn answered(world: &World, exits: &[Exit]) {
    let began = Instant::now();
    for exit in exits {
        loop {
            let state = state(world, exit.channel.id()).await;
            assert!(matches!(state.status, abi::Status::Disputed));
            if state.clientPaid == 2 * (PAID + FEE) {
                break;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "not answered: {} paid as the chain knows it",
                state.clientPaid
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What the hub's answers cost.
async fn gas(world: &World, from: u64, count: usize) {
    let query = LogQuery {
        address: world.deployed.adjudicator,
        from,
        to: world.bank.head().await.unwrap().number,
    };
    let topic = <IAdjudicator::Disputed as alloy::sol_types::SolEvent>::SIGNATURE_HASH;
    let submitted = <IAdjudicator::Submitted as alloy::sol_types::SolEvent>::SIGNATURE_HASH;
    let logs = world.bank.logs(query).await.unwrap();
    let of = |topic| {
        let logs = logs.iter().filter(move |log| log.topics.first() == Some(&topic));
        logs.map(|log| log.tx_hash).collect::<BTreeSet<_>>()
    };
    // A dispute submits, too; the hub's answers are the transactions that start none.
    let answers: Vec<_> = of(submitted).difference(&of(topic)).copied().collect();
    let mut used = 0;
    for hash in &answers {
        used += world.bank.receipt(*hash).await.unwrap().unwrap().gas_used;
    }
    let each = used / count as u64;
    println!(
        "{} transactions, {used} gas, {each} per channel: a block of 30M gas answers {}, a window of 24 h of 12 s blocks {}",
        answers.len(),
        30_000_000 / each,
        30_000_000 / each * 7200
    );
    assert!(
        answers.len() <= count.div_ceil(10).max(5),
        "in batches: {}",
        answers.len()
    );
}
