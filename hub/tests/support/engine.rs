//! The real engine over any store, with its channels opened by facts of a chain.

use super::client::{Client, HUB, HUB_KEY, TOKEN, domain, key};
use clap::ValueEnum as _;
use hub::{
    engine::{EngineChoice, EngineOptions, Signatures},
    execution::Execution,
    ledger::{ChainBlock, ChainFact, ChainPosition, LockPolicy, Policy, Reserve, RowItems, Tariff},
    now::Now,
    store::{ShardId, Store},
};
use protocol_spec::{
    Address, Amount, UnixSeconds,
    channel::{Clock, Delays},
    message::HubInfo,
};
use std::{sync::Arc, time::Duration};

/// The clock of all engine tests stands still: nothing expires while a test waits.
pub(crate) const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

pub(crate) fn clock() -> Clock {
    Clock { now: NOW, chain: NOW }
}

pub(crate) fn policy() -> Policy {
    Policy {
        server: "hub.test".to_owned(),
        log_epoch: 1,
        delays: Delays::default(),
        challenge_period_s: 3600,
        retention_s: 7 * 24 * 3600,
        events_per_channel_max: 2_000_000,
        remembered_max: 10_000_000,
        locks: LockPolicy::standard(Delays::default()),
        tokens: vec![Tariff {
            token: TOKEN,
            fee_flat: Amount(1),
            fee_ppm: 0,
            locked_max: Amount(u128::MAX >> 40),
            reserve: Reserve::default(),
            capacity: Default::default(),
            send_min: Amount::ZERO,
        }],
    }
}

/// `TEST_ENGINE` is what verifies signatures, by its name in hub.toml; without it a hub's default.
fn signatures() -> Signatures {
    let engine = std::env::var("TEST_ENGINE").ok();
    Signatures {
        engine: engine.map_or(EngineChoice::Tables, |name| {
            EngineChoice::from_str(&name, false).unwrap()
        }),
        ..Signatures::default()
    }
}

pub(crate) fn options(store: Arc<dyn Store>) -> EngineOptions {
    let now = Now::new(|| NOW);
    let hub = key(HUB_KEY);
    EngineOptions {
        domain: domain(),
        info: HubInfo {
            server: "hub.test".to_owned(),
            chain_id: 31_337,
            adjudicator: Address::repeat_byte(0xad),
            hub: HUB,
            hub_signer: hub.address(),
            hub_public_key: hub.public().to_compressed().to_vec(),
            tokens: vec![TOKEN],
            challenge_period_s: 3600,
            confirmations: 1,
            now: NOW,
        },
        policy: policy(),
        key: hub,
        store,
        shard: ShardId(0),
        now,
        execution: Execution::Threads,
        workers: 2,
        signatures: signatures(),
        checkpoint_every: Duration::from_millis(200),
        checkpoint_records: 200,
        rows: RowItems::FEW,
    }
}

/// One block that opens and funds every channel with `deposit` on both sides.
pub(crate) fn opening(clients: &[Client], deposit: u128) -> ChainBlock {
    let facts = clients.iter().flat_map(|client| {
        let channel = client.channel.id();
        [
            ChainFact::Opened(client.channel.config().clone()),
            ChainFact::Deposited {
                channel,
                total: Amount(deposit),
                client_net: (Amount(deposit), Amount::ZERO),
            },
            ChainFact::Reserved {
                channel,
                amount: Amount(deposit),
            },
        ]
    });
    ChainBlock {
        position: ChainPosition {
            number: 1,
            hash: [1; 32],
            timestamp: NOW,
        },
        facts: facts.collect(),
    }
}

/// `count` clients who know of the deposits.
pub(crate) fn clients(count: u64, deposit: u128) -> Vec<Client> {
    let funded = |number| {
        let mut client = Client::new(number, TOKEN);
        for side in [protocol_spec::Side::Client, protocol_spec::Side::Hub] {
            client.channel.deposit_confirmed(side, Amount(deposit));
        }
        client
    };
    (0..count).map(funded).collect()
}
