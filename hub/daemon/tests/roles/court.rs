//! What all cases need: sending with `settle`'s code, moving the time, reading the chain.
#![allow(dead_code, reason = "no test uses all of it")]

use crate::{
    people::{DEPOSIT, Person, wallet_key},
    world::{CHALLENGE_PERIOD_S, World},
};
use alloy::{network::EthereumWallet, primitives::Address, providers::Provider, sol_types::SolCall};
use client_sdk::{ChannelHandle, Client, Config, Digest, SignerKey};
use hub::{
    app::dev::mint_and_approve,
    chain::{CallRequest, Chain, TxRequest},
    settle::{CheckedEvidence, Intent, Node, Settle, Verb},
};
use protocol_spec::{ChannelId, Evidence, Side, abi, abi::IAdjudicator, calls};
use std::time::{Duration, Instant};

/// Longest wait for the hub to do what it must.
const PATIENCE: Duration = Duration::from_secs(60);

/// One line of the table. Amounts are of the honest party.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) fair: i128,
    pub(crate) got: i128,
}

/// The hub's owner, whose key lies beside its configuration.
pub(crate) fn owner(world: &World) -> SignerKey {
    let text = std::fs::read_to_string(world.hub_dir.join("keys/owner.key")).unwrap();
    let bytes: [u8; 32] = hex::decode(text.trim()).unwrap().try_into().unwrap();
    SignerKey::from_bytes(&bytes).unwrap()
}

/// The same vouchers from the other side.
pub(crate) fn turned(evidence: &Evidence) -> Evidence {
    let mut turned = evidence.clone();
    turned.side = Side::Hub;
    std::mem::swap(&mut turned.sent, &mut turned.received);
    turned
}

/// Starts a dispute with `evidence`, whatever `settle` thinks of it; `None`: shows nothing.
pub(crate) async fn dispute(world: &World, key: &SignerKey, evidence: &Evidence, bare: bool) {
    let settle = settle(world, evidence).await;
    let intent = Intent {
        verb: Verb::Dispute,
        sender: key.address(),
        force: true,
        without_evidence: bare,
    };
    let plan = settle.plan(intent).await.unwrap();
    let call = plan.transaction();
    let cost = settle.node().simulate(&call).await.unwrap();
    let wallet = EthereumWallet::from(wallet_key(key));
    let hash = settle.node().broadcast(&call, &cost, &wallet).await.unwrap();
    settle.node().wait(&call, hash, 0).await.unwrap();
}

pub(crate) async fn settle(world: &World, evidence: &Evidence) -> Settle {
    let node = Node::connect(&world.rpc_url).await.unwrap();
    let evidence = CheckedEvidence::check(evidence.clone()).unwrap();
    Settle::open(node, evidence).await.unwrap()
}

/// Does one thing as an honest person would.
pub(crate) async fn act(world: &World, key: &SignerKey, evidence: &Evidence, verb: Verb) {
    let wallet = EthereumWallet::from(wallet_key(key));
    let settle = settle(world, evidence).await;
    settle.run(verb, key.address(), &wallet, 0).await.unwrap();
}

/// Moves the chain's time ahead.
pub(crate) async fn pass(world: &World, seconds: u64) {
    world.bank.increase_time(seconds).await.unwrap();
    world.bank.mine(1).await.unwrap();
}

/// Replaces the newest `depth` blocks by empty ones. Transactions are lost, as in anvil.
pub(crate) async fn reorg(world: &World, depth: u64) {
    let provider = world.bank.provider();
    let none: [(String, u64); 0] = [];
    let asked = provider.raw_request::<_, serde_json::Value>("anvil_reorg".into(), (depth, none));
    asked.await.unwrap();
    // The bank's own queue must not go on with nonces of the other branch.
    world.bank.resync().await.unwrap();
}

pub(crate) fn percent_of_window(percent: u64) -> u64 {
    CHALLENGE_PERIOD_S * percent / 100
}

/// From `percent` of the window to after its end.
pub(crate) fn rest_of_window(percent: u64) -> u64 {
    CHALLENGE_PERIOD_S - percent_of_window(percent) + 1
}

pub(crate) async fn state(world: &World, channel: ChannelId) -> abi::ChannelState {
    let call = IAdjudicator::channelCall {
        channelId: channel.0.into(),
    };
    let request = CallRequest {
        to: world.deployed.adjudicator,
        data: call.abi_encode().into(),
        ..CallRequest::default()
    };
    let answer = world.bank.call(request).await.unwrap();
    IAdjudicator::channelCall::abi_decode_returns(&answer).unwrap()
}

/// Waits until the chain shows of the channel what is expected of the hub.
pub(crate) async fn until(
    world: &World,
    channel: ChannelId,
    what: &str,
    seen: impl Fn(&abi::ChannelState) -> bool,
) {
    let began = Instant::now();
    loop {
        let state = state(world, channel).await;
        if seen(&state) {
            return;
        }
        let (seq, window) = (state.clientSeq, state.windowEnd);
        assert!(
            began.elapsed() < PATIENCE,
            "the hub does not: {what}; the chain knows voucher {seq}, window until {window}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn closed(world: &World, channel: ChannelId) {
    until(world, channel, "finalize", |state| {
        matches!(state.status, abi::Status::Closed)
    })
    .await;
}

/// Tokens that a person holds on chain.
pub(crate) async fn purse(world: &World, person: &Person) -> u128 {
    world.tokens_of(person.key.address()).await
}

/// From the account that pays for everything.
pub(crate) async fn send(world: &World, to: Address, call: &impl SolCall) {
    let request = TxRequest {
        to: Some(to),
        data: call.abi_encode().into(),
        ..TxRequest::default()
    };
    let sent = world.bank.send(request).await.unwrap();
    assert!(world.bank.wait(sent.hash, 0).await.unwrap().success);
}

/// Tokens for the bank, which the adjudicator may take.
pub(crate) async fn give_bank(world: &World, amount: u128) {
    mint_and_approve(&world.bank, world.deployed, amount)
        .await
        .unwrap();
}

/// A channel of `client` that the bank opens and pays for. Tokens first: [`give_bank`].
pub(crate) async fn open_by_bank(world: &World, client: &Client) -> (Config, ChannelHandle) {
    let config = Config {
        client: client.signer(),
        client_signer: client.signer(),
        hub: client.pin().hub,
        hub_signer: client.pin().hub_signer,
        token: world.deployed.token,
        challenge_period_s: CHALLENGE_PERIOD_S,
        salt: Digest(rand::random()),
    };
    let channel = client.attach(config.clone()).await.unwrap();
    send(world, world.deployed.adjudicator, &calls::open(&config, DEPOSIT)).await;
    channel.wait_live().await.unwrap();
    (config, channel)
}
