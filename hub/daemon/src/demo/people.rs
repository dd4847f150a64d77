//! Paying clients and merchants, each with its own key, store, connection and ledger.

use super::traffic::Report;
use crate::stage::{say, world::World};
use alloy::{primitives::B256, signers::local::PrivateKeySigner};
use anyhow::Context;
use client_sdk::{ChannelHandle, Client, RedbStore, SignerKey};
use futures::{StreamExt, TryStreamExt, stream};
use hub::{cli::demo::DemoArgs, ops};
use protocol_spec::{Address, Amount};
use std::time::Duration;

/// Tokens each paying client is given.
pub(super) const ENDOWMENT: u128 = 10_000_000_000;
/// What it deposits of them.
const DEPOSIT: u128 = 8_000_000_000;
/// People who arrive at once.
const ARRIVE_AT_ONCE: usize = 25;

pub(super) struct Person {
    pub(super) name: String,
    pub(super) key: SignerKey,
    pub(super) client: Client,
    pub(super) channel: ChannelHandle,
    pub(super) endowment: u128,
}

pub(super) struct People {
    pub(super) payers: Vec<Person>,
    pub(super) merchants: Vec<Person>,
}

/// What a person's own ledger says.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) address: Address,
    pub(super) endowment: u128,
    pub(super) paid: u128,
    pub(super) fees: u128,
    pub(super) received: u128,
    /// What the vouchers it holds are worth on chain, plus what it never deposited.
    pub(super) proven: u128,
}

impl Person {
    async fn arrive(world: &World, name: String, endowment: u128, deposit: u128) -> anyhow::Result<Self> {
        let key = ops::secrets::create_key(&world.dir.join(format!("{name}.key")))?;
        let hash = world.endow(key.address(), endowment).await?;
        world.settled(hash).await?;
        let store = RedbStore::open(world.dir.join(format!("{name}.redb")))?;
        let client = Client::builder(format!("ws://{}", world.listen))
            .signer(key.clone())
            .sender(PrivateKeySigner::from_bytes(&B256::from(*key.to_bytes()))?)
            .store(store)
            .rpc(world.rpc_url.clone())
            .token(world.deployed.token)
            .chain_poll(Duration::from_millis(500))
            // The demo does by `settle` what the SDK would do, and with the same key.
            .defend(false)
            .reconnect(Duration::from_millis(50), Duration::from_millis(500))
            .connect()
            .await?;
        let channel = client
            .open(deposit)
            .await
            .with_context(|| format!("{name} opens"))?;
        channel
            .wait_hub_deposit(1_u128)
            .await
            .with_context(|| format!("{name} waits for its reserve"))?;
        Ok(Self {
            name,
            key,
            client,
            channel,
            endowment,
        })
    }

    fn address(&self) -> Address {
        self.key.address()
    }

    pub(super) fn settled(&self) -> Amount {
        self.channel
            .view()
            .map(|view| view.balance.settled)
            .unwrap_or_default()
    }

    fn ledger(&self, paid: u128, fees: u128, received: u128) -> Ledger {
        let deposit = self
            .channel
            .view()
            .map(|view| view.balance.deposit)
            .unwrap_or_default();
        let kept = self.endowment.saturating_sub(deposit.0);
        let proven = kept.saturating_add(self.settled().0);
        Ledger {
            address: self.address(),
            endowment: self.endowment,
            paid,
            fees,
            received,
            proven,
        }
    }
}

impl People {
    pub(super) async fn arrive(world: &World, args: &DemoArgs) -> anyhow::Result<Self> {
        say(&format!(
            "{} clients and {} merchants open their channels on chain ...",
            args.clients, args.merchants
        ));
        let merchants = arrive(world, "merchant", args.merchants, 0, 0).await?;
        let payers = arrive(world, "client", args.clients, ENDOWMENT, DEPOSIT).await?;
        Ok(Self { payers, merchants })
    }

    /// Everybody's own ledger. The vouchers are worth what they are worth, whether the channel is settled or not.
    pub(super) fn ledgers(&self, report: &Report) -> (Vec<Ledger>, Vec<Ledger>) {
        let payers = self
            .payers
            .iter()
            .zip(&report.paid)
            .map(|(person, paid)| person.ledger(paid.amount, paid.fees, 0));
        let merchants = self
            .merchants
            .iter()
            .zip(&report.received)
            .map(|(person, sum)| person.ledger(0, 0, *sum));
        (payers.collect(), merchants.collect())
    }

    /// Writes everybody's evidence beside their stores and keys: all that `settle` needs.
    pub(super) async fn keep(&self, world: &World) -> anyhow::Result<()> {
        for person in self.payers.iter().chain(&self.merchants) {
            let evidence = serde_json::to_vec_pretty(&person.channel.evidence().await?)?;
            std::fs::write(world.dir.join(format!("{}.evidence.json", person.name)), evidence)?;
        }
        Ok(())
    }

    pub(super) async fn shutdown(&self) {
        for person in self.payers.iter().chain(&self.merchants) {
            person.client.clone().shutdown().await;
        }
    }
}

async fn arrive(
    world: &World,
    role: &str,
    count: u32,
    endowment: u128,
    deposit: u128,
) -> anyhow::Result<Vec<Person>> {
    let one = |number: u32| Person::arrive(world, format!("{role}-{number}"), endowment, deposit);
    stream::iter(0..count)
        .map(one)
        .buffered(ARRIVE_AT_ONCE)
        .try_collect()
        .await
}
