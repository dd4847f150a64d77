//! People with the real SDK, at a real hub. Shared by the tests that need some.
#![allow(dead_code, reason = "no test uses all of it")]

use super::world::World;
use alloy::{primitives::B256, signers::local::PrivateKeySigner};
use client_sdk::{ChannelHandle, Client, ClientBuilder, Paid, PayOptions, RedbStore, SignerKey};
use std::time::Duration;

/// Tokens that everybody is given.
pub(crate) const ENDOWMENT: u128 = 1_000_000;
/// What is deposited of them.
pub(crate) const DEPOSIT: u128 = 800_000;

pub(crate) struct Person {
    pub(crate) key: SignerKey,
    pub(crate) client: Client,
    pub(crate) channel: ChannelHandle,
}

impl Person {
    /// With an open channel that the hub has paid into. `hub`: where the hub is reached.
    pub(crate) async fn arrive(world: &World, name: &str, hub: std::net::SocketAddr) -> Self {
        Self::arrive_with(world, name, hub, |builder| builder).await
    }

    /// As [`Self::arrive`], with options of its own.
    pub(crate) async fn arrive_with(
        world: &World,
        name: &str,
        hub: std::net::SocketAddr,
        options: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Self {
        let person = Self::arrive_without_reserve(world, name, hub, options).await;
        person.channel.wait_hub_deposit(1_u128).await.unwrap();
        person
    }

    /// The same, whether or not the hub pays in.
    pub(crate) async fn arrive_without_reserve(
        world: &World,
        name: &str,
        hub: std::net::SocketAddr,
        options: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Self {
        let key = SignerKey::from_bytes(&rand::random()).unwrap();
        world.endow(key.address(), ENDOWMENT).await;
        let builder = Self::builder(world, name, hub, &key);
        let client = options(builder).connect().await.unwrap();
        let channel = client.open(DEPOSIT).await.unwrap();
        Self { key, client, channel }
    }

    /// The SDK on the person's store.
    pub(crate) fn builder(
        world: &World,
        name: &str,
        hub: std::net::SocketAddr,
        key: &SignerKey,
    ) -> ClientBuilder {
        Client::builder(format!("ws://{hub}"))
            .signer(key.clone())
            .sender(wallet_key(key))
            .store(RedbStore::open(world.dir.join(format!("{name}.redb"))).unwrap())
            .rpc(world.rpc_url.as_str())
            .token(world.deployed.token)
            .chain_poll(Duration::from_millis(200))
            // People here answer when the test says so; those who let the SDK do it say so.
            .defend(false)
    }

    /// What its vouchers are worth.
    pub(crate) fn settled(&self) -> u128 {
        self.channel.view().unwrap().balance.settled.0
    }

    /// Pays once the hub, too, has seen its reserve in the payee's channel: the payee may see it first. Where a test has moved
    /// chain time the hub may know of that before the client, so the payment lives longer than by default.
    pub(crate) async fn pay(&self, payee: &Self, amount: u128) -> Paid {
        let to = payee.key.address();
        while self
            .client
            .quote(to, amount)
            .await
            .unwrap()
            .would_bounce
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let options = PayOptions {
            expires_in: Some(Duration::from_secs(12 * 3600)),
            ..PayOptions::default()
        };
        self.client.pay_with(to, amount, options).await.unwrap()
    }
}

pub(crate) fn wallet_key(key: &SignerKey) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::from(*key.to_bytes())).unwrap()
}
